//! What becomes of two contacts that are merged, changed and parted, against a model of theirs.

use proptest::prelude::*;
use rapport_contacts_api::v1 as pb;

use super::*;
use crate::contact::parse::parse;
use crate::contact::parse::tests::{details, known, named, point};
use crate::merge::lists::tests::{self as model, Lists, keep_places, of_value};

const JOBS: [&str; 3] = ["", "Buyer", "Engineer"];

/// A contact as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Card {
    job: usize,
    lists: Lists,
}

impl Card {
    fn details(&self) -> Details {
        let mut sent = named("Ada");
        let person = sent.person.as_mut().unwrap();
        person.job_title = JOBS[self.job].to_owned();
        person.contact_points = self.lists.contact_points();
        sent.tags = self.lists.tags();
        sent.external_ids = self.lists.external_ids();
        parse(sent, &known(None)).unwrap()
    }

    fn of(details: &Details) -> Self {
        let job = JOBS.iter().position(|job| *job == details.person.job_title).unwrap();
        Self { job, lists: Lists::of(&details.tags, &details.external_ids, &details.person.contact_points) }
    }
}

fn card() -> impl Strategy<Value = Card> {
    (0..JOBS.len(), model::lists()).prop_map(|(job, lists)| Card { job, lists })
}

/// A change of the survivor after the merge.
#[derive(Debug, Clone)]
enum Edit {
    Job(usize),
    Entry(model::Edit),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![1 => (0..JOBS.len()).prop_map(Edit::Job), 2 => model::edit().prop_map(Edit::Entry)]
}

/// What the survivor is to be right after the merge.
fn together(survivor: &Card, loser: &Card) -> Card {
    let job = if survivor.job == 0 { loser.job } else { survivor.job };
    Card { job, lists: Lists::together(&survivor.lists, &loser.lists) }
}

/// What both are to be in the end.
fn expected(survivor: &Card, loser: &Card, merged: &Card, now: &Card) -> (Card, Card) {
    let (one, other) = of_value(survivor.job, loser.job, merged.job, now.job);
    let (ones, others) = Lists::parted(&survivor.lists, &loser.lists, &now.lists);
    (Card { job: one, lists: ones }, Card { job: other, lists: others })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn what_is_changed_after_a_merge_goes_to_the_record_it_came_from(
        survivor in card(),
        loser in card(),
        edits in prop::collection::vec(edit(), 0..6),
    ) {
        let (before, lost) = (survivor.details(), loser.details());
        let merged = merged(&before, &lost, &[]).unwrap();
        let at_first = Card::of(&merged);
        prop_assert_eq!(&at_first, &together(&survivor, &loser));
        let mut card = at_first.clone();
        for edit in edits {
            match edit {
                Edit::Job(job) => card.job = job,
                Edit::Entry(edit) => card.lists.edit(edit),
            }
        }
        let mut now = card.details();
        prop_assume!(keep_places(&merged.person.contact_points, &mut now.person.contact_points));
        let (one, other) = unmerged(&before, &lost, &merged, &now).unwrap();
        prop_assert_eq!((Card::of(&one), Card::of(&other)), expected(&survivor, &loser, &at_first, &card));
    }

    #[test]
    fn parting_without_a_change_in_between_gives_both_what_they_had(
        survivor in card(),
        loser in card(),
        from_loser in prop::sample::subsequence(crate::contact::convert::PATHS, 0..=14),
    ) {
        let (before, lost) = (survivor.details(), loser.details());
        let merged = merged(&before, &lost, &from_loser).unwrap();
        prop_assert_eq!(unmerged(&before, &lost, &merged, &merged).unwrap(), (before, lost));
    }
}

fn with_mail(values: &[&str]) -> Details {
    let mut sent = named("Ada");
    sent.person.as_mut().unwrap().contact_points = values.iter().map(|value| point(pb::contact_point::Kind::Email, value)).collect();
    parse(sent, &known(None)).unwrap()
}

fn mail(details: &Details) -> Vec<(&str, bool)> {
    details.person.contact_points.iter().map(|point| (point.value.as_str(), point.primary)).collect()
}

#[test]
fn of_two_marked_addresses_the_survivors_stays_marked_and_both_are_marked_again_apart() {
    let (survivor, loser) = (with_mail(&["a@x.org"]), with_mail(&["b@x.org"]));
    let together = merged(&survivor, &loser, &[]).unwrap();
    assert_eq!(mail(&together), [("a@x.org", true), ("b@x.org", false)]);
    let (one, other) = unmerged(&survivor, &loser, &together, &together).unwrap();
    assert_eq!((mail(&one), mail(&other)), (vec![("a@x.org", true)], vec![("b@x.org", true)]));
}

#[test]
fn an_address_that_was_corrected_in_its_place_goes_back_to_whom_it_came_from() {
    let (survivor, loser) = (with_mail(&["a@x.org"]), with_mail(&["b@x.org"]));
    let together = merged(&survivor, &loser, &[]).unwrap();
    let corrected = merged(&survivor, &with_mail(&["c@x.org"]), &[]).unwrap();
    let (one, other) = unmerged(&survivor, &loser, &together, &corrected).unwrap();
    assert_eq!((mail(&one), mail(&other)), (vec![("a@x.org", true)], vec![("c@x.org", true)]));
}

#[test]
fn a_contact_that_changes_would_leave_without_name_and_address_gets_its_own_back() {
    let (survivor, mut loser) = (with_mail(&["a@x.org"]), details("Bea"));
    let mut before = survivor.clone();
    before.person.given_name.clear();
    loser.person.family_name = "Celik".to_owned();
    let together = merged(&before, &loser, &[]).unwrap();
    let mut now = together.clone();
    now.person.contact_points.clear();
    let (one, other) = unmerged(&before, &loser, &together, &now).unwrap();
    assert_eq!((mail(&one), other.person.given_name.as_str()), (vec![("a@x.org", true)], "Bea"));
}

#[test]
fn what_both_have_and_differs_is_named_and_what_is_asked_for_is_taken() {
    let (mut survivor, mut loser) = (with_mail(&["a@x.org"]), with_mail(&["A@X.org"]));
    (survivor.person.job_title, loser.person.job_title) = ("Buyer".to_owned(), "Engineer".to_owned());
    loser.person.notes = "Quiet".to_owned();
    assert_eq!(conflicts(&survivor, &loser), ["person.job_title", "person.contact_points"]);
    let together = merged(&survivor, &loser, &["person.job_title"]).unwrap();
    assert_eq!((together.person.job_title.as_str(), together.person.notes.as_str()), ("Engineer", "Quiet"));
    assert_eq!(mail(&together), [("a@x.org", true)]);
}

#[test]
fn more_tags_than_a_contact_may_have_are_refused_by_name() {
    let tagged = |prefix: &str| Details { tags: (0..30).map(|at| format!("{prefix}{at:02}")).collect(), ..details("Ada") };
    assert_eq!(merged(&tagged("a"), &tagged("b"), &[]), Err(TooMany { field: "tags", max: 50 }));
    assert_eq!(merged(&tagged("a"), &tagged("b"), &["tags"]).unwrap().tags.len(), 30);
}
