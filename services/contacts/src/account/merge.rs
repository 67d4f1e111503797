//! What two accounts become when they are merged, and when they part again. Pure.

use super::model::Profile;
use super::{Details, Relationship};
use crate::limits;
use crate::merge::lists::{self, ADDRESSES, EXTERNAL_IDS, POINTS, TAGS, TooMany, list};
use crate::merge::parts::{Entries, Story};

const RELATIONSHIPS: Entries<Relationship> =
    Entries { is_same: |one, other| one == other, may_replace: |_, _| false, words_tell: false, primary: None };

/// How two accounts that are merged lie to each other in the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// Neither lies below the other.
    Apart,
    /// The loser lies below the survivor, which keeps its place.
    LoserBelow,
    /// The survivor lies below the loser, whose place it takes.
    SurvivorBelow,
}

/// The survivor's details after it has taken the loser in; `from_loser` are paths of [`super::convert::PATHS`]. A legal
/// entity that it has stays: who asks for the loser's instead is refused before.
///
/// # Errors
/// [`TooMany`].
pub fn merged(survivor: &Details, loser: &Details, from_loser: &[&str], nesting: Nesting) -> Result<Details, TooMany> {
    let takes = |path: &str| from_loser.contains(&path);
    let text = |path: &str, own: &String, other: &String| if takes(path) || own.is_empty() { other.clone() } else { own.clone() };
    let number = |path: &str, own: Option<i32>, other: Option<i32>| if takes(path) { other } else { own.or(other) };
    let (one, other) = (&survivor.profile, &loser.profile);
    let revenue = if takes("annual_revenue") {
        &other.annual_revenue
    } else {
        one.annual_revenue.as_ref().map_or(&other.annual_revenue, |_| &one.annual_revenue)
    };
    let mut details = Details {
        display_name: text("display_name", &survivor.display_name, &loser.display_name),
        relationships: list(&RELATIONSHIPS, &survivor.relationships, &loser.relationships, takes("relationships")),
        legal_entity: survivor.legal_entity.or(loser.legal_entity),
        parent: match nesting {
            Nesting::Apart if takes("parent") => loser.parent,
            Nesting::Apart => survivor.parent.or(loser.parent),
            Nesting::LoserBelow => survivor.parent,
            Nesting::SurvivorBelow => loser.parent,
        },
        sector: text("sector", &survivor.sector, &loser.sector),
        profile: Profile {
            website: text("website", &one.website, &other.website),
            employee_count: number("employee_count", one.employee_count, other.employee_count),
            annual_revenue: revenue.clone(),
            founded_year: number("founded_year", one.founded_year, other.founded_year),
            contact_points: list(&POINTS, &one.contact_points, &other.contact_points, takes("contact_points")),
            addresses: list(&ADDRESSES, &one.addresses, &other.addresses, takes("addresses")),
        },
        owner: if takes("owner") { loser.owner } else { survivor.owner },
        external_ids: list(&EXTERNAL_IDS, &survivor.external_ids, &loser.external_ids, takes("external_ids")),
        tags: list(&TAGS, &survivor.tags, &loser.tags, takes("tags")),
    };
    settle(&mut details);
    require_fit(&details)?;
    Ok(details)
}

/// Paths of what both have and that differs.
#[must_use]
pub fn conflicts(survivor: &Details, loser: &Details) -> Vec<&'static str> {
    let (one, other) = (&survivor.profile, &loser.profile);
    let text = |own: &str, other: &str| !own.is_empty() && !other.is_empty() && own != other;
    let found = [
        ("display_name", text(&survivor.display_name, &loser.display_name)),
        ("legal_entity", differ(survivor.legal_entity, loser.legal_entity)),
        ("parent", differ(survivor.parent, loser.parent)),
        ("sector", text(&survivor.sector, &loser.sector)),
        ("website", text(&one.website, &other.website)),
        ("employee_count", differ(one.employee_count, other.employee_count)),
        ("annual_revenue", differ(one.annual_revenue.as_ref(), other.annual_revenue.as_ref())),
        ("founded_year", differ(one.founded_year, other.founded_year)),
        ("contact_points", POINTS.disagree(&one.contact_points, &other.contact_points)),
        ("addresses", ADDRESSES.disagree(&one.addresses, &other.addresses)),
        ("owner", survivor.owner != loser.owner),
        ("external_ids", EXTERNAL_IDS.disagree(&survivor.external_ids, &loser.external_ids)),
    ];
    found.into_iter().filter(|(_, differs)| *differs).map(|(path, _)| path).collect()
}

/// Whether both are there and not the same.
pub fn differ<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
    own.zip(other).is_some_and(|(own, other)| own != other)
}

/// The details of the survivor and the loser after they have parted.
///
/// # Errors
/// [`TooMany`].
pub fn unmerged(survivor: &Details, loser: &Details, merged: &Details, now: &Details) -> Result<(Details, Details), TooMany> {
    let told = Told { survivor, loser, merged, now };
    let display_name = told.value(|details| &details.display_name);
    let relationships = told.entries(&RELATIONSHIPS, |details| &details.relationships);
    let legal_entity = told.value(|details| &details.legal_entity);
    let parent = told.value(|details| &details.parent);
    let sector = told.value(|details| &details.sector);
    let website = told.value(|details| &details.profile.website);
    let employee_count = told.value(|details| &details.profile.employee_count);
    let annual_revenue = told.value(|details| &details.profile.annual_revenue);
    let founded_year = told.value(|details| &details.profile.founded_year);
    let contact_points = told.entries(&POINTS, |details| &details.profile.contact_points);
    let addresses = told.entries(&ADDRESSES, |details| &details.profile.addresses);
    let owner = told.value(|details| &details.owner);
    let external_ids = told.entries(&EXTERNAL_IDS, |details| &details.external_ids);
    let tags = told.entries(&TAGS, |details| &details.tags);
    let of_survivor = Details {
        display_name: display_name.0,
        relationships: relationships.0,
        legal_entity: legal_entity.0,
        parent: parent.0,
        sector: sector.0,
        profile: Profile {
            website: website.0,
            employee_count: employee_count.0,
            annual_revenue: annual_revenue.0,
            founded_year: founded_year.0,
            contact_points: contact_points.0,
            addresses: addresses.0,
        },
        owner: owner.0,
        external_ids: external_ids.0,
        tags: tags.0,
    };
    let of_loser = Details {
        display_name: display_name.1,
        relationships: relationships.1,
        legal_entity: legal_entity.1,
        parent: parent.1,
        sector: sector.1,
        profile: Profile {
            website: website.1,
            employee_count: employee_count.1,
            annual_revenue: annual_revenue.1,
            founded_year: founded_year.1,
            contact_points: contact_points.1,
            addresses: addresses.1,
        },
        owner: owner.1,
        external_ids: external_ids.1,
        tags: tags.1,
    };
    Ok((restored(of_survivor)?, restored(of_loser)?))
}

/// Two accounts before a merge, and the survivor right after it and now.
struct Told<'a> {
    survivor: &'a Details,
    loser: &'a Details,
    merged: &'a Details,
    now: &'a Details,
}

impl Told<'_> {
    fn value<T: Clone + PartialEq>(&self, of: fn(&Details) -> &T) -> (T, T) {
        Story { survivor: of(self.survivor), loser: of(self.loser), merged: of(self.merged), now: of(self.now) }.part()
    }

    fn entries<T: Clone + PartialEq>(&self, entries: &Entries<T>, of: fn(&Details) -> &Vec<T>) -> (Vec<T>, Vec<T>) {
        entries.part(Story { survivor: of(self.survivor), loser: of(self.loser), merged: of(self.merged), now: of(self.now) })
    }
}

fn restored(mut details: Details) -> Result<Details, TooMany> {
    settle(&mut details);
    require_fit(&details)?;
    Ok(details)
}

/// Marks and orders as every account has them.
fn settle(details: &mut Details) {
    lists::settle_points(&mut details.profile.contact_points);
    lists::settle_addresses(&mut details.profile.addresses);
    details.relationships.sort_unstable();
    details.relationships.dedup();
    details.external_ids.sort_unstable();
    lists::settle_labels(&mut details.tags);
}

fn require_fit(details: &Details) -> Result<(), TooMany> {
    lists::require_fit(&[
        ("contact_points", details.profile.contact_points.len(), limits::CONTACT_POINTS),
        ("addresses", details.profile.addresses.len(), limits::ADDRESSES),
        ("external_ids", details.external_ids.len(), limits::EXTERNAL_IDS),
        ("tags", details.tags.len(), limits::TAGS),
    ])
}

#[cfg(test)]
mod tests;
