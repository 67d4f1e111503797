//! What becomes of two contacts that are merged, changed and parted, against a model of theirs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rapport_contacts_api::v1 as pb;
use rapport_proto::common::v1 as common;

use super::*;
use crate::contact::parse::parse;
use crate::contact::parse::tests::{details, known, named, point};
use crate::contact_point::ContactPoint;

/// A text of a contact, and lists by what their entries are about.
const JOBS: [&str; 3] = ["", "Buyer", "Engineer"];
const SYSTEMS: [&str; 3] = ["crm", "erp", "shop"];
const TAG_WORDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const MAILBOXES: [&str; 4] = ["ada", "bea", "cem", "dan"];

/// A contact as the model below sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Card {
    job: usize,
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
        let mut sent = named("Ada");
        let person = sent.person.as_mut().unwrap();
        person.job_title = JOBS[self.job].to_owned();
        let mailbox = |(at, label): (&usize, &usize)| {
            let value = format!("{}@example.org", MAILBOXES[*at]);
            pb::ContactPoint { label: format!("{label}"), ..point(pb::contact_point::Kind::Email, &value) }
        };
        person.contact_points = self.mail.iter().map(mailbox).collect();
        sent.tags = self.tags.keys().map(|at| TAG_WORDS[*at].to_owned()).collect();
        sent.external_ids = self.ids.iter().map(|(at, id)| common::ExternalId { system: SYSTEMS[*at].to_owned(), id: format!("{id}") }).collect();
        parse(sent, &known(None)).unwrap()
    }

    fn of(details: &Details) -> Self {
        let at = |words: &[&str], word: &str| words.iter().position(|known| *known == word).unwrap();
        let mailbox = |point: &ContactPoint| (at(&MAILBOXES, point.value.split('@').next().unwrap()), point.label.parse().unwrap());
        Self {
            job: at(&JOBS, &details.person.job_title),
            tags: details.tags.iter().map(|tag| (at(&TAG_WORDS, tag), 0)).collect(),
            ids: details.external_ids.iter().map(|pair| (at(&SYSTEMS, &pair.system), pair.id.parse().unwrap())).collect(),
            mail: details.person.contact_points.iter().map(mailbox).collect(),
        }
    }
}

fn card() -> impl Strategy<Value = Card> {
    let list = |keys: usize, values: usize| prop::collection::btree_map(0..keys, 0..values, 0..=keys);
    (0..JOBS.len(), list(TAG_WORDS.len(), 1), list(SYSTEMS.len(), 4), list(MAILBOXES.len(), 4)).prop_map(|(job, tags, ids, mail)| Card {
        job,
        tags,
        ids,
        mail,
    })
}

/// A change of the survivor after the merge.
#[derive(Debug, Clone)]
enum Edit {
    Job(usize),
    Put(usize, usize, usize),
    Remove(usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (0..JOBS.len()).prop_map(Edit::Job),
        (0..3_usize, 0..5_usize, 0..4_usize).prop_map(|(list, key, value)| Edit::Put(list, key, value)),
        (0..3_usize, 0..5_usize).prop_map(|(list, key)| Edit::Remove(list, key)),
    ]
}

/// What both are to have in the end, told entry by entry: whose it was, and what became of it.
fn expected(survivor: &Card, loser: &Card, now: &Card) -> (Card, Card) {
    let (mut one, mut other) = (survivor.clone(), loser.clone());
    let taken = survivor.job == 0 && loser.job != 0;
    let merged_job = if taken { loser.job } else { survivor.job };
    if now.job != merged_job {
        if taken { other.job = now.job } else { one.job = now.job }
    }
    for which in 0..3 {
        let (had, lost, now) = (survivor.clone().list(which).clone(), loser.clone().list(which).clone(), now.clone().list(which).clone());
        for key in 0..5 {
            match (had.get(&key), lost.get(&key), now.get(&key)) {
                (None, None, Some(new)) | (Some(_), _, Some(new)) => drop(one.list(which).insert(key, *new)),
                (None, Some(_), Some(new)) => drop(other.list(which).insert(key, *new)),
                // The loser's id was not in the merged contact, so that it was not removed either.
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
        let mut card = Card::of(&merged);
        for edit in edits {
            match edit {
                Edit::Job(job) => card.job = job,
                Edit::Put(list, key, value) => {
                    let (keys, value) = [(TAG_WORDS.len(), 0), (SYSTEMS.len(), value), (MAILBOXES.len(), value)][list];
                    card.list(list).insert(key % keys, value);
                }
                Edit::Remove(list, key) => drop(card.list(list).remove(&key)),
            }
        }
        // Entries that stay keep their places, as they do for somebody who edits a form.
        let mut now = card.details();
        let place = |point: &ContactPoint| merged.person.contact_points.iter().position(|other| other.is_same(point)).unwrap_or(usize::MAX);
        now.person.contact_points.sort_by_key(place);
        // An address in the place of another one counts as that one changed, which the model does not know.
        let replaced = now.person.contact_points.len() == merged.person.contact_points.len()
            && now.person.contact_points.iter().any(|point| place(point) == usize::MAX);
        prop_assume!(!replaced);
        let (one, other) = unmerged(&before, &lost, &merged, &now).unwrap();
        let (expected_one, expected_other) = expected(&survivor, &loser, &card);
        prop_assert_eq!((Card::of(&one), Card::of(&other)), (expected_one, expected_other));
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
