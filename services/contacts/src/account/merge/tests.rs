//! What becomes of two accounts that are merged, changed and parted, against a model of theirs.

use proptest::prelude::*;
use rapport_contacts_api::v1 as pb;
use rapport_kit::name;
use uuid::Uuid;

use super::super::COLLECTION;
use super::super::convert::parse;
use super::super::convert::tests::{known, named};
use super::*;
use crate::merge::lists::tests::{self as model, Lists, keep_places, of_value};

const SECTORS: [&str; 3] = ["", "Steel", "Trade"];
const NESTINGS: [Nesting; 3] = [Nesting::Apart, Nesting::LoserBelow, Nesting::SurvivorBelow];

/// An account as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Card {
    sector: usize,
    /// 0 for none.
    parent: u128,
    lists: Lists,
}

impl Card {
    fn details(&self) -> Details {
        let sent = pb::Account {
            sector: SECTORS[self.sector].to_owned(),
            parent: if self.parent == 0 { String::new() } else { name::format(COLLECTION, Uuid::from_u128(self.parent)) },
            contact_points: self.lists.contact_points(),
            tags: self.lists.tags(),
            external_ids: self.lists.external_ids(),
            ..named("Acme")
        };
        parse(sent, &known()).unwrap()
    }

    fn of(details: &Details) -> Self {
        Self {
            sector: SECTORS.iter().position(|sector| *sector == details.sector).unwrap(),
            parent: details.parent.map_or(0, |parent| parent.as_u128()),
            lists: Lists::of(&details.tags, &details.external_ids, &details.profile.contact_points),
        }
    }
}

fn card() -> impl Strategy<Value = Card> {
    (0..SECTORS.len(), 0..4_u128, model::lists()).prop_map(|(sector, parent, lists)| Card { sector, parent, lists })
}

/// A change of the survivor after the merge.
#[derive(Debug, Clone)]
enum Edit {
    Sector(usize),
    Parent(u128),
    Entry(model::Edit),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        1 => (0..SECTORS.len()).prop_map(Edit::Sector),
        1 => (0..6_u128).prop_map(Edit::Parent),
        2 => model::edit().prop_map(Edit::Entry),
    ]
}

/// What the survivor is to be right after the merge.
fn together(survivor: &Card, loser: &Card, nesting: Nesting) -> Card {
    let sector = if survivor.sector == 0 { loser.sector } else { survivor.sector };
    let parent = match nesting {
        Nesting::Apart if survivor.parent == 0 => loser.parent,
        Nesting::Apart | Nesting::LoserBelow => survivor.parent,
        Nesting::SurvivorBelow => loser.parent,
    };
    Card { sector, parent, lists: Lists::together(&survivor.lists, &loser.lists) }
}

/// What both are to be in the end.
fn expected(survivor: &Card, loser: &Card, merged: &Card, now: &Card) -> (Card, Card) {
    let sectors = of_value(survivor.sector, loser.sector, merged.sector, now.sector);
    let parents = of_value(survivor.parent, loser.parent, merged.parent, now.parent);
    let lists = Lists::parted(&survivor.lists, &loser.lists, &now.lists);
    (Card { sector: sectors.0, parent: parents.0, lists: lists.0 }, Card { sector: sectors.1, parent: parents.1, lists: lists.1 })
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
                Edit::Entry(edit) => card.lists.edit(edit),
            }
        }
        let mut now = card.details();
        prop_assume!(keep_places(&merged.profile.contact_points, &mut now.profile.contact_points));
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
