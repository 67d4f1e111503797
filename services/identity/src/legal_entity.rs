//! Legal entities: the companies of a tenant with country, currency, fiscal year and number series. The currency
//! never changes. They are never deleted: documents name them.

mod codes;
mod convert;
mod model;
mod rpc;
mod sql;

pub(crate) use model::LegalEntity;
pub(crate) use rpc::Rpc;
