//! What two contacts become when they are merged, and when they part again. Pure.

use super::{AccountRole, Details, Person};
use crate::address::Address;
use crate::contact_point::{self, ContactPoint};
use crate::external_id::ExternalId;
use crate::limits;
use crate::merge::parts::{Entries, Story};

const POINTS: Entries<ContactPoint> =
    Entries { is_same: ContactPoint::is_same, may_replace: |one, other| one.kind == other.kind, primary: Some(|point| &mut point.primary) };
const ADDRESSES: Entries<Address> =
    Entries { is_same: is_same_address, may_replace: |one, other| one.kind == other.kind, primary: Some(|address| &mut address.primary) };
/// A contact may have several roles at an account, one after the other; they stay together.
const ROLES: Entries<AccountRole> =
    Entries { is_same: |one, other| one.account == other.account, may_replace: |_, _| false, primary: Some(|role| &mut role.primary) };
/// One id a system.
const EXTERNAL_IDS: Entries<ExternalId> = Entries { is_same: |one, other| one.system == other.system, may_replace: |_, _| false, primary: None };
const TAGS: Entries<String> = Entries { is_same: |one, other| one == other, may_replace: |_, _| false, primary: None };

fn is_same_address(one: &Address, other: &Address) -> bool {
    Address { primary: other.primary, ..one.clone() } == *other
}

/// Why two contacts cannot become one, or cannot part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// The list that would be too long.
    pub field: &'static str,
    /// Entries that it may have.
    pub max: usize,
}

/// The survivor's details after it has taken the loser in; `from_loser` are paths of [`super::convert::PATHS`].
///
/// # Errors
/// [`TooMany`].
pub fn merged(survivor: &Details, loser: &Details, from_loser: &[&str]) -> Result<Details, TooMany> {
    let takes = |path: &str| from_loser.contains(&path);
    let text = |path: &str, own: &String, other: &String| if takes(path) || own.is_empty() { other.clone() } else { own.clone() };
    let (one, other) = (&survivor.person, &loser.person);
    let mut details = Details {
        person: Person {
            given_name: text("person.given_name", &one.given_name, &other.given_name),
            family_name: text("person.family_name", &one.family_name, &other.family_name),
            additional_name: text("person.additional_name", &one.additional_name, &other.additional_name),
            salutation: text("person.salutation", &one.salutation, &other.salutation),
            language: text("person.language", &one.language, &other.language),
            birth_date: if takes("person.birth_date") { other.birth_date } else { one.birth_date.or(other.birth_date) },
            job_title: text("person.job_title", &one.job_title, &other.job_title),
            contact_points: list(&POINTS, &one.contact_points, &other.contact_points, takes("person.contact_points")),
            addresses: list(&ADDRESSES, &one.addresses, &other.addresses, takes("person.addresses")),
            notes: text("person.notes", &one.notes, &other.notes),
        },
        accounts: list(&ROLES, &survivor.accounts, &loser.accounts, takes("accounts")),
        owner: if takes("owner") { loser.owner } else { survivor.owner },
        external_ids: list(&EXTERNAL_IDS, &survivor.external_ids, &loser.external_ids, takes("external_ids")),
        tags: list(&TAGS, &survivor.tags, &loser.tags, takes("tags")),
    };
    settle(&mut details);
    // Taken as a whole, emptiness too: what cannot be reached and has no name is nobody.
    if is_nobody(&details.person) {
        details.person.contact_points.clone_from(&one.contact_points);
        details.person.given_name.clone_from(&one.given_name);
        details.person.family_name.clone_from(&one.family_name);
    }
    require_fit(&details)?;
    Ok(details)
}

fn list<T: Clone + PartialEq>(entries: &Entries<T>, survivor: &[T], loser: &[T], is_losers: bool) -> Vec<T> {
    if is_losers { loser.to_vec() } else { entries.unite(survivor, loser) }
}

/// Paths of what both have and that differs.
#[must_use]
pub fn conflicts(survivor: &Details, loser: &Details) -> Vec<&'static str> {
    let (one, other) = (&survivor.person, &loser.person);
    let text = |own: &str, other: &str| !own.is_empty() && !other.is_empty() && own != other;
    let found = [
        ("person.given_name", text(&one.given_name, &other.given_name)),
        ("person.family_name", text(&one.family_name, &other.family_name)),
        ("person.additional_name", text(&one.additional_name, &other.additional_name)),
        ("person.salutation", text(&one.salutation, &other.salutation)),
        ("person.language", text(&one.language, &other.language)),
        ("person.birth_date", one.birth_date.zip(other.birth_date).is_some_and(|(own, other)| own != other)),
        ("person.job_title", text(&one.job_title, &other.job_title)),
        ("person.contact_points", POINTS.disagree(&one.contact_points, &other.contact_points)),
        ("person.addresses", ADDRESSES.disagree(&one.addresses, &other.addresses)),
        ("person.notes", text(&one.notes, &other.notes)),
        ("accounts", ROLES.disagree(&survivor.accounts, &loser.accounts)),
        ("owner", survivor.owner != loser.owner),
        ("external_ids", EXTERNAL_IDS.disagree(&survivor.external_ids, &loser.external_ids)),
    ];
    found.into_iter().filter(|(_, differs)| *differs).map(|(path, _)| path).collect()
}

/// The details of the survivor and the loser after they have parted.
///
/// # Errors
/// [`TooMany`].
pub fn unmerged(survivor: &Details, loser: &Details, merged: &Details, now: &Details) -> Result<(Details, Details), TooMany> {
    let person = |of: fn(&Person) -> &String| {
        Story { survivor: of(&survivor.person), loser: of(&loser.person), merged: of(&merged.person), now: of(&now.person) }.part()
    };
    let given_name = person(|person| &person.given_name);
    let family_name = person(|person| &person.family_name);
    let additional_name = person(|person| &person.additional_name);
    let salutation = person(|person| &person.salutation);
    let language = person(|person| &person.language);
    let job_title = person(|person| &person.job_title);
    let notes = person(|person| &person.notes);
    let birth_date = value(|details| &details.person.birth_date, survivor, loser, merged, now);
    let owner = value(|details| &details.owner, survivor, loser, merged, now);
    let contact_points = entries(&POINTS, |details| &details.person.contact_points, survivor, loser, merged, now);
    let addresses = entries(&ADDRESSES, |details| &details.person.addresses, survivor, loser, merged, now);
    let accounts = entries(&ROLES, |details| &details.accounts, survivor, loser, merged, now);
    let external_ids = entries(&EXTERNAL_IDS, |details| &details.external_ids, survivor, loser, merged, now);
    let tags = entries(&TAGS, |details| &details.tags, survivor, loser, merged, now);
    let of_survivor = Details {
        person: Person {
            given_name: given_name.0,
            family_name: family_name.0,
            additional_name: additional_name.0,
            salutation: salutation.0,
            language: language.0,
            birth_date: birth_date.0,
            job_title: job_title.0,
            contact_points: contact_points.0,
            addresses: addresses.0,
            notes: notes.0,
        },
        accounts: accounts.0,
        owner: owner.0,
        external_ids: external_ids.0,
        tags: tags.0,
    };
    let of_loser = Details {
        person: Person {
            given_name: given_name.1,
            family_name: family_name.1,
            additional_name: additional_name.1,
            salutation: salutation.1,
            language: language.1,
            birth_date: birth_date.1,
            job_title: job_title.1,
            contact_points: contact_points.1,
            addresses: addresses.1,
            notes: notes.1,
        },
        accounts: accounts.1,
        owner: owner.1,
        external_ids: external_ids.1,
        tags: tags.1,
    };
    Ok((restored(of_survivor, survivor)?, restored(of_loser, loser)?))
}

fn value<T: Clone + PartialEq>(of: fn(&Details) -> &T, survivor: &Details, loser: &Details, merged: &Details, now: &Details) -> (T, T) {
    Story { survivor: of(survivor), loser: of(loser), merged: of(merged), now: of(now) }.part()
}

fn entries<T: Clone + PartialEq>(
    entries: &Entries<T>,
    of: fn(&Details) -> &Vec<T>,
    survivor: &Details,
    loser: &Details,
    merged: &Details,
    now: &Details,
) -> (Vec<T>, Vec<T>) {
    entries.part(Story { survivor: of(survivor), loser: of(loser), merged: of(merged), now: of(now) })
}

/// What a record is after parting; a person who would be nobody gets names and contact points back.
fn restored(mut details: Details, before: &Details) -> Result<Details, TooMany> {
    if is_nobody(&details.person) {
        details.person.given_name.clone_from(&before.person.given_name);
        details.person.family_name.clone_from(&before.person.family_name);
        details.person.contact_points.clone_from(&before.person.contact_points);
    }
    settle(&mut details);
    require_fit(&details)?;
    Ok(details)
}

fn is_nobody(person: &Person) -> bool {
    person.given_name.is_empty() && person.family_name.is_empty() && person.contact_points.is_empty()
}

/// Marks and orders as every contact has them.
fn settle(details: &mut Details) {
    POINTS.settle_primary(&mut details.person.contact_points, |one, other| one.kind == other.kind);
    contact_point::settle_primary(&mut details.person.contact_points);
    ADDRESSES.settle_primary(&mut details.person.addresses, |one, other| one.kind == other.kind);
    ROLES.settle_primary(&mut details.accounts, |_, _| true);
    if let (false, Some(first)) = (details.accounts.iter().any(|role| role.primary), details.accounts.first_mut()) {
        first.primary = true;
    }
    details.external_ids.sort_unstable();
    details.tags.sort_unstable();
    details.tags.dedup();
}

fn require_fit(details: &Details) -> Result<(), TooMany> {
    let lists = [
        ("person.contact_points", details.person.contact_points.len(), limits::CONTACT_POINTS),
        ("person.addresses", details.person.addresses.len(), limits::ADDRESSES),
        ("accounts", details.accounts.len(), limits::ACCOUNT_ROLES),
        ("external_ids", details.external_ids.len(), limits::EXTERNAL_IDS),
        ("tags", details.tags.len(), limits::TAGS),
    ];
    match lists.into_iter().find(|(_, entries, max)| entries > max) {
        Some((field, _, max)) => Err(TooMany { field, max }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rapport_contacts_api::v1 as pb;
    use rapport_proto::common::v1 as common;

    use super::super::parse::parse;
    use super::super::parse::tests::{details, known, named, point};
    use super::*;

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
            from_loser in prop::sample::subsequence(super::super::convert::PATHS, 0..=14),
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
}
