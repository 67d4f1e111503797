//! Tenants: the boundary of isolation. One is created with everything that its first administrator needs, in one
//! transaction: the top business unit, the shipped roles, the administrator and, if given, the security policy.

mod convert;
mod create;
mod model;
mod rpc;
mod sql;

pub(crate) use model::Tenant;
pub(crate) use rpc::Rpc;
pub(crate) use sql::{find, lock};
