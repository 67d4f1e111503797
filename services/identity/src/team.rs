//! Teams: people of any unit who own records together, at most 1,000.

mod convert;
mod model;
mod rpc;
mod sql;

pub(crate) use model::Team;
pub(crate) use rpc::Rpc;
