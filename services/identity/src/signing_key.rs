//! Signing keys: the next one is published before it signs, the current one signs, the previous one is published
//! until its last tokens have expired.
//!
//! Guarantees: exactly one key signs; private halves are stored sealed (AES-256-GCM under a key derived from the
//! `sealing` secret) and leave the process never. Keys belong to the installation, not to a tenant.

mod rpc;
mod seal;
mod signer;
mod sql;

pub(crate) use rpc::{Rpc, published};
pub(crate) use signer::{Issued, Signer, Subject};
pub(crate) use sql::{drop_previous, rotate_older};
