//! Types that all services share: value messages, the services that every process serves for its own
//! records, and the rows of the generated rule and event tables.

#![expect(clippy::all, clippy::allow_attributes, reason = "generated code is not written for lints")]

include!(concat!(env!("OUT_DIR"), "/api.rs"));

/// What a caller must show before a method is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// No credential.
    Public,
    /// The installation credential of the operator, or a service's own.
    Operator,
    /// Any valid token of a tenant.
    Authenticated,
    /// A valid token whose subject holds the method's permission at some level.
    Permission,
}

/// What repeating a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Reads only, or does nothing more when it is sent again.
    Safe,
    /// Changes something; repeated safely under one idempotency key.
    Keyed,
    /// Changes something and answers with a secret; not repeated by clients.
    Never,
}

/// The rule of one method, as written in its proto.
#[derive(Debug, Clone, Copy)]
pub struct MethodRule {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Full name of the request message.
    pub request: &'static str,
    /// Who may enter.
    pub door: Door,
    /// `<service>.<resource>.<action>`; empty unless the door asks for one.
    pub permission: &'static str,
    /// What repeating the call does.
    pub repeat: Repeat,
    /// Whether reads are recorded in the access log.
    pub sensitive_read: bool,
    /// Whether a tenant without a stored security policy may be served.
    pub set_up: bool,
    /// Whether request or answer is a stream; clients neither hold such a call back nor repeat it.
    pub streaming: bool,
}

/// One row of the event catalogue.
#[derive(Debug, Clone, Copy)]
pub struct EventMeta {
    /// Routing key without partition.
    pub key: &'static str,
    /// Full name of the message.
    pub message: &'static str,
}

/// A message that is published; generated, never written by hand.
pub trait Event: prost::Message + Default {
    /// Routing key without partition, `<service>.<resource>.<fact>.v1`.
    const KEY: &'static str;
    /// Full name of the message.
    const MESSAGE: &'static str;
}
