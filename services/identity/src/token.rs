//! Tokens with which one service calls another in the name of a user, for a service's credential.

mod rpc;
mod trusted;

pub(crate) use rpc::Rpc;
pub(crate) use trusted::Trusted;
