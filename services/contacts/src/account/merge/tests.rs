//! What becomes of two accounts that are merged, changed and parted, against a model of theirs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rapport_contacts_api::v1 as pb;
use rapport_kit::name;
use rapport_proto::common::v1 as common;
use uuid::Uuid;

use super::super::COLLECTION;
use super::super::convert::parse;
use super::super::convert::tests::{known, named};
use super::*;
use crate::contact_point::ContactPoint;

/// A text of an account, and lists by what their entries are about.
const SECTORS: [&str; 3] = ["", "Steel", "Trade"];
const SYSTEMS: [&str; 3] = ["crm", "erp", "shop"];
const TAG_WORDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const MAILBOXES: [&str; 4] = ["info", "sales", "jobs", "press"];
const NESTINGS: [Nesting; 3] = [Nesting::Apart, Nesting::LoserBelow, Nesting::SurvivorBelow];

/// An account as the model below sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Card {
    sector: usize,
    /// 0 for none.
    parent: u128,
    tags: BTreeMap<usize, usize>,
    ids: BTreeMap<usize, usize>,
    /// Label of each mailbox.
    mail: BTreeMap<usize, usize>,
}

impl Card {
    fn list(&mut self, which: usize) -> &mut BTreeMap<usize, usize> {
        match which % 3 {
            0 => &mut self.tags,
            1 => &mut self.ids,
            _ => &mut self.mail,
        }
    }

    fn details(&self) -> Details {
        let mailbox = |(at, label): (&usize, &usize)| pb::ContactPoint {
            kind: pb::contact_point::Kind::Email.into(),
            value: format!("{}@example.org", MAILBOXES[*at]),
            label: format!("{label}"),
            ..pb::ContactPoint::default()
        };
        let sent = pb::Account {
            sector: SECTORS[self.sector].to_owned(),
            parent: if self.parent == 0 { String::new() } else { name::format(COLLECTION, Uuid::from_u128(self.parent)) },
            contact_points: self.mail.iter().map(mailbox).collect(),
            tags: self.tags.keys().map(|at| TAG_WORDS[*at].to_owned()).collect(),
            external_ids: self.ids.iter().map(|(at, id)| common::ExternalId { system: SYSTEMS[*at].to_owned(), id: format!("{id}") }).collect(),
            ..named("Acme")
        };
        parse(sent, &known()).unwrap()
    }

    fn of(details: &Details) -> Self {
        let at = |words: &[&str], word: &str| words.iter().position(|known| *known == word).unwrap();
        let mailbox = |point: &ContactPoint| (at(&MAILBOXES, point.value.split('@').next().unwrap()), point.label.parse().unwrap());
        Self {
            sector: at(&SECTORS, &details.sector),
            parent: details.parent.map_or(0, |parent| parent.as_u128()),
            tags: details.tags.iter().map(|tag| (at(&TAG_WORDS, tag), 0)).collect(),
            ids: details.external_ids.iter().map(|pair| (at(&SYSTEMS, &pair.system), pair.id.parse().unwrap())).collect(),
            mail: details.profile.contact_points.iter().map(mailbox).collect(),
        }
    }
}

fn card() -> impl Strategy<Value = Card> {
    let list = |keys: usize, values: usize| prop::collection::btree_map(0..keys, 0..values, 0..=keys);
    (0..SECTORS.len(), 0..4_u128, list(TAG_WORDS.len(), 1), list(SYSTEMS.len(), 4), list(MAILBOXES.len(), 4))
        .prop_map(|(sector, parent, tags, ids, mail)| Card { sector, parent, tags, ids, mail })
}

/// A change of the survivor after the merge.
#[derive(Debug, Clone)]
enum Edit {
    Sector(usize),
    Parent(u128),
    Put(usize, usize, usize),
    Remove(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0..SECTORS.len()).prop_map(Edit::Sector),
        (0..6_u128).prop_map(Edit::Parent),
        (0..3_usize, 0..5_usize, 0..4_usize).prop_map(|(list, key, value)| Edit::Put(list, key, value)),
        (0..3_usize, 0..5_usize).prop_map(|(list, key)| Edit::Remove(list, key)),
    ]
}

/// A single value of both in the end, told by whose it was: a change goes to the one that it came from.
fn of_value<T: Copy + PartialEq>(had: T, lost: T, merged: T, now: T) -> (T, T) {
    match (now == merged, merged == had) {
        (true, _) => (had, lost),
        (false, true) => (now, lost),
        (false, false) => (had, now),
    }
}

/// What both are to have in the end, told entry by entry: whose it was, and what became of it.
fn expected(survivor: &Card, loser: &Card, merged: &Card, now: &Card) -> (Card, Card) {
    let (mut one, mut other) = (survivor.clone(), loser.clone());
    (one.sector, other.sector) = of_value(survivor.sector, loser.sector, merged.sector, now.sector);
    (one.parent, other.parent) = of_value(survivor.parent, loser.parent, merged.parent, now.parent);
    for which in 0..3 {
        let (had, lost, now) = (survivor.clone().list(which).clone(), loser.clone().list(which).clone(), now.clone().list(which).clone());
        for key in 0..5 {
            match (had.get(&key), lost.get(&key), now.get(&key)) {
                (None, None, Some(new)) | (Some(_), _, Some(new)) => drop(one.list(which).insert(key, *new)),
                (None, Some(_), Some(new)) => drop(other.list(which).insert(key, *new)),
                // The loser's id was not in the merged account, so that it was not removed either.
                (Some(kept), Some(left_out), None) if which == 1 && kept != left_out => drop(one.list(which).remove(&key)),
                (_, _, None) => {
                    one.list(which).remove(&key);
                    other.list(which).remove(&key);
                }
            }
        }
    }
    (one, other)
}

/// What the survivor is to be right after the merge.
fn together(survivor: &Card, loser: &Card, nesting: Nesting) -> Card {
    let mut one = survivor.clone();
    one.sector = if survivor.sector == 0 { loser.sector } else { survivor.sector };
    one.parent = match nesting {
        Nesting::Apart if survivor.parent == 0 => loser.parent,
        Nesting::Apart | Nesting::LoserBelow => survivor.parent,
        Nesting::SurvivorBelow => loser.parent,
    };
    for which in 0..3 {
        for (key, value) in loser.clone().list(which) {
            one.list(which).entry(*key).or_insert(*value);
        }
    }
    one
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_is_changed_after_a_merge_of_accounts_goes_to_the_one_it_came_from(
        survivor in card(),
        loser in card(),
        nesting in prop::sample::select(NESTINGS.to_vec()),
        edits in prop::collection::vec(edit(), 0..6),
    ) {
        let (before, lost) = (survivor.details(), loser.details());
        let merged = merged(&before, &lost, &[], nesting).unwrap();
        let at_first = Card::of(&merged);
        prop_assert_eq!(&at_first, &together(&survivor, &loser, nesting));
        let mut card = at_first.clone();
        for edit in edits {
            match edit {
                Edit::Sector(sector) => card.sector = sector,
                Edit::Parent(parent) => card.parent = parent,
                Edit::Put(list, key, value) => {
                    let (keys, value) = [(TAG_WORDS.len(), 0), (SYSTEMS.len(), value), (MAILBOXES.len(), value)][list];
                    card.list(list).insert(key % keys, value);
                }
                Edit::Remove(list, key) => drop(card.list(list).remove(&key)),
            }
        }
        // Entries that stay keep their places, as they do for somebody who edits a form.
        let mut now = card.details();
        let place = |point: &ContactPoint| merged.profile.contact_points.iter().position(|other| other.is_same(point)).unwrap_or(usize::MAX);
        now.profile.contact_points.sort_by_key(place);
        // An address in the place of another one counts as that one changed, which the model does not know.
        let replaced = now.profile.contact_points.len() == merged.profile.contact_points.len()
            && now.profile.contact_points.iter().any(|point| place(point) == usize::MAX);
        prop_assume!(!replaced);
        let (one, other) = unmerged(&before, &lost, &merged, &now).unwrap();
        prop_assert_eq!((Card::of(&one), Card::of(&other)), expected(&survivor, &loser, &at_first, &card));
    }

    #[test]
    fn accounts_that_part_without_a_change_in_between_have_what_they_had(
        survivor in card(),
        loser in card(),
        nesting in prop::sample::select(NESTINGS.to_vec()),
        from_loser in prop::sample::subsequence(crate::account::convert::PATHS, 0..=14),
    ) {
        let (before, lost) = (survivor.details(), loser.details());
        let merged = merged(&before, &lost, &from_loser, nesting).unwrap();
        prop_assert_eq!(unmerged(&before, &lost, &merged, &merged).unwrap(), (before, lost));
    }
}

#[test]
fn what_both_accounts_have_and_differs_is_named_and_what_is_asked_for_is_taken() {
    let of = |sent: pb::Account| parse(sent, &known()).unwrap();
    let one = of(pb::Account { sector: "Steel".to_owned(), employee_count: Some(4), ..named("Acme") });
    let other = of(pb::Account { sector: "Trade".to_owned(), founded_year: Some(1900), ..named("ACME") });
    assert_eq!(conflicts(&one, &other), ["display_name", "sector"]);
    let together = merged(&one, &other, &["sector", "employee_count"], Nesting::Apart).unwrap();
    let profile = &together.profile;
    assert_eq!((together.display_name.as_str(), together.sector.as_str()), ("Acme", "Trade"));
    assert_eq!((profile.employee_count, profile.founded_year), (None, Some(1900)));
}

#[test]
fn a_legal_entity_that_is_set_stays_even_if_the_losers_fields_are_taken() {
    let entity = Some(Uuid::from_u128(7));
    let of = |legal_entity| Details { legal_entity, ..parse(named("Acme"), &known()).unwrap() };
    assert_eq!(merged(&of(entity), &of(None), &["legal_entity"], Nesting::Apart).unwrap().legal_entity, entity);
    assert_eq!(merged(&of(None), &of(entity), &[], Nesting::Apart).unwrap().legal_entity, entity);
}
