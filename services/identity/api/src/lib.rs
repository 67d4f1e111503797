//! Generated code of the identity API: messages, clients, server traits, rules and events.

#![expect(clippy::all, clippy::allow_attributes, reason = "generated code is not written for lints")]

include!(concat!(env!("OUT_DIR"), "/api.rs"));
