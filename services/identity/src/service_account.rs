//! Service accounts: programs of the tenant. They hold grants as users do and sign in with keys.

mod convert;
mod model;
mod rpc;
mod sql;

pub(crate) use model::ServiceAccount;
pub(crate) use rpc::Rpc;
pub(crate) use sql::find;
