//! Users: people, what they may do, and whether they may at all.
//!
//! ```text
//! active ⇄ disabled     by an administrator
//! active → locked → active     by failed sign-ins, and by time, sign-in or an administrator
//! ```
//!
//! Invariants: an e-mail address belongs to one user of a tenant, whatever its case; a tenant always has an
//! active user who holds the shipped administrator role over all records.

mod convert;
mod grants;
mod model;
mod password;
mod rpc;
mod sql;

pub(crate) use grants::{granting, require_everything, require_rules_kept, require_unit_within, require_within};
pub(crate) use model::{Grant, Level, User, email_key, put_grant, remove_grant};
pub(crate) use rpc::Rpc;
pub(crate) use sql::{credentials, find, holds_password, insert_in, stand_still, update_in, visible};
