//! Merges as they are shown and published.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::merge::State as Told;
use rapport_kit::{clock, command};

use super::{Merge, State};

/// A merge as it is shown and published.
#[must_use]
pub fn to_proto(merge: &Merge) -> pb::Merge {
    let state = match merge.state {
        State::Merged => Told::Merged,
        State::Unmerged => Told::Unmerged,
    };
    pb::Merge {
        name: merge.name(),
        survivor: merge.survivor_name(),
        loser: merge.loser_name(),
        from_loser: merge.from_loser.clone(),
        state: state.into(),
        creator: merge.creator.clone(),
        expire_time: Some(clock::timestamp(merge.expires_at())),
        survivor_etag: command::etag(merge.survivor_version),
        loser_etag: command::etag(merge.loser_version),
        etag: command::etag(merge.version),
        create_time: Some(clock::timestamp(merge.created_at)),
        update_time: Some(clock::timestamp(merge.updated_at)),
    }
}
