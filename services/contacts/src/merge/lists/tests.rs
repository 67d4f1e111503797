//! A model of what two records have in common that are merged, changed and parted: lists entry by entry, single values by
//! whose they were. Tests of contacts and of accounts hold what becomes of those against it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rapport_contacts_api::v1 as pb;
use rapport_proto::common::v1 as common;

use crate::contact_point::ContactPoint;
use crate::external_id::ExternalId;

const TAGS: [&str; 5] = ["a", "b", "c", "d", "e"];
const SYSTEMS: [&str; 3] = ["crm", "erp", "shop"];
const MAILBOXES: [&str; 4] = ["ada", "bea", "info", "sales"];
/// Of each list: what its entries can be about, and what they can say.
const SIZES: [(usize, usize); 3] = [(TAGS.len(), 1), (SYSTEMS.len(), 4), (MAILBOXES.len(), 4)];
/// Place of the external ids among the lists.
const IDS: usize = 1;

/// Tags, external ids and contact points of a record: what an entry says, by what it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lists([BTreeMap<usize, usize>; 3]);

/// A change of one entry.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put(usize, usize, usize),
    Remove(usize, usize),
}

pub(crate) fn lists() -> impl Strategy<Value = Lists> {
    SIZES.map(|(keys, values)| prop::collection::btree_map(0..keys, 0..values, 0..=keys)).prop_map(Lists)
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0..3_usize, 0..5_usize, 0..4_usize).prop_map(|(list, key, value)| Edit::Put(list, key, value)),
        (0..3_usize, 0..5_usize).prop_map(|(list, key)| Edit::Remove(list, key)),
    ]
}

impl Lists {
    pub(crate) fn of(tags: &[String], ids: &[ExternalId], points: &[ContactPoint]) -> Self {
        let at = |words: &[&str], word: &str| words.iter().position(|known| *known == word).unwrap();
        let mailbox = |point: &ContactPoint| (at(&MAILBOXES, point.value.split('@').next().unwrap()), point.label.parse().unwrap());
        Self([
            tags.iter().map(|tag| (at(&TAGS, tag), 0)).collect(),
            ids.iter().map(|pair| (at(&SYSTEMS, &pair.system), pair.id.parse().unwrap())).collect(),
            points.iter().map(mailbox).collect(),
        ])
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        self.0[0].keys().map(|at| TAGS[*at].to_owned()).collect()
    }

    pub(crate) fn external_ids(&self) -> Vec<common::ExternalId> {
        self.0[IDS].iter().map(|(at, id)| common::ExternalId { system: SYSTEMS[*at].to_owned(), id: id.to_string() }).collect()
    }

    pub(crate) fn contact_points(&self) -> Vec<pb::ContactPoint> {
        let mailbox = |(at, label): (&usize, &usize)| pb::ContactPoint {
            kind: pb::contact_point::Kind::Email.into(),
            value: format!("{}@example.org", MAILBOXES[*at]),
            label: label.to_string(),
            ..pb::ContactPoint::default()
        };
        self.0[2].iter().map(mailbox).collect()
    }

    pub(crate) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Put(list, key, value) => drop(self.0[list].insert(key % SIZES[list].0, value % SIZES[list].1)),
            Edit::Remove(list, key) => drop(self.0[list].remove(&key)),
        }
    }

    /// What the survivor is to have right after the merge.
    pub(crate) fn together(survivor: &Self, loser: &Self) -> Self {
        let mut both = loser.clone();
        both.0.iter_mut().zip(&survivor.0).for_each(|(list, own)| list.extend(own));
        both
    }

    /// What both are to have in the end, told entry by entry: whose it was, and what became of it.
    pub(crate) fn parted(survivor: &Self, loser: &Self, now: &Self) -> (Self, Self) {
        let (mut one, mut other) = (survivor.clone(), loser.clone());
        for (which, (keys, _)) in SIZES.into_iter().enumerate() {
            for key in 0..keys {
                match (survivor.0[which].get(&key), loser.0[which].get(&key), now.0[which].get(&key)) {
                    (None, None, Some(new)) | (Some(_), _, Some(new)) => drop(one.0[which].insert(key, *new)),
                    (None, Some(_), Some(new)) => drop(other.0[which].insert(key, *new)),
                    // The loser's id was not in the merged record, so that it was not removed either.
                    (Some(kept), Some(left_out), None) if which == IDS && kept != left_out => drop(one.0[which].remove(&key)),
                    (_, _, None) => {
                        one.0[which].remove(&key);
                        other.0[which].remove(&key);
                    }
                }
            }
        }
        (one, other)
    }
}

/// A single value of both in the end, told by whose it was: a change goes to the one that it came from.
pub(crate) fn of_value<T: Copy + PartialEq>(had: T, lost: T, merged: T, now: T) -> (T, T) {
    match (now == merged, merged == had) {
        (true, _) => (had, lost),
        (false, true) => (now, lost),
        (false, false) => (had, now),
    }
}

/// Has entries that stay keep their places, as they do for somebody who edits a form. False if one stands in the place of
/// another, which then counts as changed, and of which the model does not know.
pub(crate) fn keep_places(merged: &[ContactPoint], now: &mut [ContactPoint]) -> bool {
    let place = |point: &ContactPoint| merged.iter().position(|other| other.is_same(point)).unwrap_or(usize::MAX);
    now.sort_by_key(place);
    now.len() != merged.len() || now.iter().all(|point| place(point) < usize::MAX)
}
