//! How a tenant guards itself. There is one policy a tenant; version 0 means that it was never stored and the
//! defaults hold. A stored policy always names a data owner.

mod convert;
mod model;
mod rpc;
mod sql;

pub(crate) use convert::parse;
pub(crate) use model::SecurityPolicy;
pub(crate) use rpc::Rpc;
pub(crate) use sql::{get, insert_in};
