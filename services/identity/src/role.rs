//! Roles: named sets of permissions and field rules. Shipped ones have ids derived from the tenant's and never
//! change; the shipped administrator at the level of all records is what makes an administrator.

mod convert;
mod model;
mod rpc;
mod sql;

pub(crate) use convert::permissions;
pub(crate) use model::{Role, administrator, shipped};
pub(crate) use rpc::Rpc;
pub(crate) use sql::{find, insert_in};
