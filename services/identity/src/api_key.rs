//! Keys of service accounts: `rpk_` and an opaque text, of which a digest is stored. A key is exchanged for
//! access tokens of five minutes; revoking it ends those too.

mod convert;
mod exchange;
mod model;
mod sql;

pub(crate) use exchange::{Page, create, exchange, list, revoke};
pub(crate) use model::ApiKey;
pub(crate) use sql::find;
