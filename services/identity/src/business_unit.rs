//! Business units: the tree of the organisation, at most 32 levels deep and without cycles; names are unique
//! below one parent. What changes the tree first locks the tenant.

mod convert;
mod model;
mod rpc;
mod sql;

pub(crate) use model::BusinessUnit;
pub(crate) use rpc::Rpc;
pub(crate) use sql::{insert_in, upwards};
