//! What two contacts become when they are merged, and when they part again. Pure.

use super::{AccountRole, Details, Person};
use crate::limits;
use crate::merge::lists::{self, ADDRESSES, EXTERNAL_IDS, POINTS, TAGS, TooMany, list};
use crate::merge::parts::{Entries, Story};

/// A contact may have several roles at an account, one after the other; they stay together.
pub(super) const ROLES: Entries<AccountRole> = Entries {
    is_same: |one, other| one.account == other.account,
    may_replace: |_, _| false,
    words_tell: true,
    primary: Some(|role| &mut role.primary),
};

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
    lists::settle_points(&mut details.person.contact_points);
    lists::settle_addresses(&mut details.person.addresses);
    settle_roles(&mut details.accounts);
    details.external_ids.sort_unstable();
    lists::settle_labels(&mut details.tags);
}

/// One account to show with the person, where there is any.
pub(super) fn settle_roles(roles: &mut [AccountRole]) {
    ROLES.settle_primary(roles, |_, _| true);
    if let (false, Some(first)) = (roles.iter().any(|role| role.primary), roles.first_mut()) {
        first.primary = true;
    }
}

fn require_fit(details: &Details) -> Result<(), TooMany> {
    lists::require_fit(&[
        ("person.contact_points", details.person.contact_points.len(), limits::CONTACT_POINTS),
        ("person.addresses", details.person.addresses.len(), limits::ADDRESSES),
        ("accounts", details.accounts.len(), limits::ACCOUNT_ROLES),
        ("external_ids", details.external_ids.len(), limits::EXTERNAL_IDS),
        ("tags", details.tags.len(), limits::TAGS),
    ])
}

#[cfg(test)]
mod tests;
