//! Sessions: a period in which a user is signed in on one device.
//!
//! Invariants: a session has one live refresh token. Its predecessor may come again until it was used itself,
//! and leads to the same one, so that a lost answer or a second tab signs nobody out; any earlier token ends
//! the session, since one of its two users is a thief.

mod convert;
mod model;
mod rpc;
mod sign_in;
mod sql;

pub(crate) use rpc::Rpc;
pub(crate) use sql::{end_all, purge};
