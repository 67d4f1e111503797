//! Looks for duplicates of a record before it is written: where a rule refuses them, and where somebody asks.
//!
//! Guarantees: only records that the caller may see are told, and nothing is compared that the caller's roles hide. What
//! is similar beyond that refuses nothing; the task finds it, and those who see both records see the pair.

use std::collections::{BTreeMap, BTreeSet};

use rapport_kit::{Ctx, Db, Fault, name};
use uuid::Uuid;

use super::rule::{Details, Match};
use super::{Profile, Rules, keys, rule, sql};
use crate::search::Kind;

/// Names that a refusal gives at most.
const NAMED: usize = 5;

/// A record that is to be written.
#[derive(Debug, Clone)]
pub struct Sought {
    /// Its id; it is no duplicate of itself.
    pub id: Option<Uuid>,
    /// What it is compared by.
    pub profile: Profile,
}

/// What the tenant's rules refuse, at one write. Where none refuses anything, it does nothing and costs nothing.
#[derive(Debug, Clone)]
pub struct Guard {
    kind: Kind,
    blocking: Vec<Details>,
}

impl Guard {
    /// For records of the kind.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn of(rules: &Rules, db: &Db, ctx: &Ctx, kind: Kind) -> Result<Self, Fault> {
        let rules = rules.of(db, ctx).await?;
        Ok(Self { kind, blocking: rules.iter().filter(|rule| rule.kind == kind && rule.blocks).cloned().collect() })
    }

    /// Whether any rule refuses duplicates.
    #[must_use]
    pub fn refuses(&self) -> bool {
        !self.blocking.is_empty()
    }

    /// The keys of a record that is written, if a rule refuses duplicates: the next write has to meet it at once.
    pub fn keys(&self, profile: impl FnOnce() -> Profile) -> Option<Vec<i64>> {
        self.refuses().then(|| keys::of(self.kind, &profile()))
    }

    /// Refuses a record that a rule takes for one that the caller sees.
    ///
    /// # Errors
    /// ALREADY_EXISTS (DUPLICATE_FOUND); what the database answers.
    pub async fn require_new(&self, db: &Db, ctx: &Ctx, id: Uuid, profile: &Profile) -> Result<(), Fault> {
        if self.blocking.is_empty() {
            return Ok(());
        }
        let refusal = self.refusals(db, ctx, vec![Sought { id: Some(id), profile: profile.clone() }]).await?.into_iter().flatten().next();
        refusal.map_or(Ok(()), Err)
    }

    /// The same for a changed record, if what it is compared by is another than before; so that a record that is a
    /// duplicate already can be changed otherwise.
    ///
    /// # Errors
    /// As [`Guard::require_new`].
    pub async fn require_new_after(&self, db: &Db, ctx: &Ctx, id: Uuid, profiles: impl FnOnce() -> (Profile, Profile)) -> Result<(), Fault> {
        if self.blocking.is_empty() {
            return Ok(());
        }
        let (before, after) = profiles();
        if before == after { Ok(()) } else { self.require_new(db, ctx, id, &after).await }
    }

    /// For each of `records` the refusal of a rule that takes it for one that the caller sees, if there is one. What people
    /// have said to be two is.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn refusals(&self, db: &Db, ctx: &Ctx, records: Vec<Sought>) -> Result<Vec<Option<Fault>>, Fault> {
        let blocking: Vec<&Details> = self.blocking.iter().collect();
        let ids: Vec<Option<Uuid>> = records.iter().map(|record| record.id).collect();
        let mut found = find(db, ctx, self.kind, &blocking, records).await?;
        let like_others: Vec<Uuid> = ids.iter().zip(&found).filter(|(_, found)| !found.is_empty()).filter_map(|(id, _)| *id).collect();
        if !like_others.is_empty() {
            let apart = sql::told_apart(&mut db.for_tenant(ctx).await?, ctx.tenant(), &like_others).await?;
            for (id, found) in ids.into_iter().zip(&mut found) {
                found.retain(|(other, _)| id.is_none_or(|id| !apart.contains(&(id, *other))));
            }
        }
        Ok(found.into_iter().map(|found| refusal(self.kind, &found)).collect())
    }
}

fn refusal(kind: Kind, found: &[(Uuid, Match)]) -> Option<Fault> {
    if found.is_empty() {
        return None;
    }
    let names: Vec<String> = found.iter().take(NAMED).map(|(id, _)| name::format(kind.collection(), *id)).collect();
    let names = names.join(", ");
    let text = format!("It seems to be there already: {names}. Change that one, or say allow_duplicates.");
    Some(Fault::exists("DUPLICATE_FOUND", text).with("names", names))
}

/// For each of `records` those that the caller sees and that a rule takes for the same, the likeliest first.
///
/// # Errors
/// What the database answers.
pub async fn find(db: &Db, ctx: &Ctx, kind: Kind, rules: &[&Details], mut records: Vec<Sought>) -> Result<Vec<Vec<(Uuid, Match)>>, Fault> {
    let fields = ctx.fields(kind.resource());
    records.iter_mut().for_each(|record| record.profile.hide(kind, fields));
    if rules.is_empty() {
        return Ok(records.iter().map(|_| Vec::new()).collect());
    }
    let mut sharing: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (position, record) in records.iter().enumerate() {
        keys::of(kind, &record.profile).into_iter().for_each(|key| sharing.entry(key).or_default().push(position));
    }
    let mut found: Vec<Vec<(Uuid, Match)>> = records.iter().map(|_| Vec::new()).collect();
    if sharing.is_empty() {
        return Ok(found);
    }
    let scope = ctx.scope_of(&format!("{}.read", kind.resource()));
    let candidates = sql::sharing(&mut db.for_tenant(ctx).await?, ctx, kind, &scope, sharing.keys().copied().collect()).await?;
    // Of one record every candidate is its own; making the keys of each costs more than comparing it.
    let is_one = records.len() == 1;
    for candidate in candidates {
        let shared = if is_one { Vec::new() } else { keys::of(kind, &candidate.profile) };
        let of_shared = shared.iter().filter_map(|key| sharing.get(key)).flatten().copied();
        let positions: BTreeSet<usize> = of_shared.chain(is_one.then_some(0)).collect();
        for position in positions {
            let (Some(record), Some(found)) = (records.get(position), found.get_mut(position)) else { continue };
            if record.id == Some(candidate.id) {
                continue;
            }
            let said = rule::matches(rules.iter().copied(), &record.profile, &candidate.profile);
            found.extend(said.map(|said| (candidate.id, said)));
        }
    }
    found.iter_mut().for_each(|found| found.sort_by_key(|(id, said)| (std::cmp::Reverse(said.score), *id)));
    Ok(found)
}
