//! A varied load through the public methods: everything that can be made, changed, moved, taken away and
//! brought back happens at least once.

mod contacts;
mod identity;

use rapport_identity_api::v1 as pb;

use crate::office::{Office, policy};

/// Who and what the organisation has once identity is set up.
pub(super) struct Organisation {
    /// An administrator's token.
    admin: String,
    /// Users and a team, by name.
    ada: String,
    ben: String,
    team: String,
    /// A legal entity whose accounts have a series of their own, and one whose accounts have none.
    numbered: String,
    plain: String,
}

/// Two tenants; the first one has everything.
pub(super) async fn run(office: &Office) {
    office.tenant("first", None).await;
    office.tenant("second", Some(pb::SecurityPolicy { history_retention_days: 0, ..policy() })).await;
    let organisation = identity::run(office).await;
    contacts::run(office, &organisation).await;
}
