//! A view: a named filter, order and choice of columns of a list, for oneself, a team or everybody.
//!
//! Invariants: whose view it is and what it lists never change; a filter and an order are ones that the list took when
//! they were set; a view has a team if and only if its team sees it.

pub mod convert;
pub mod model;
pub mod rpc;
pub mod sql;

pub use model::{Details, Fact, View, Visibility};
pub use rpc::Views;

/// Collection of views in names.
pub const COLLECTION: &str = "contactsViews";
