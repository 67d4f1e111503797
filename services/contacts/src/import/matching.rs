//! Which records rows and cells are about, as the caller may see them.

use std::collections::{HashMap, HashSet};

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::access::Scope;
use rapport_kit::db::Conn;
use rapport_kit::filter::fold;
use rapport_kit::{Ctx, Fault, name};
use rlibphonenumber::Region;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::mapping::rules_of;
use crate::contact_point::{self, ContactPoint, Kind};
use crate::external_id::ExternalId;
use crate::layout::Resource;
use crate::violations::Violations;
use crate::{account, contact, merge, search};

/// How it is told which record is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'a> {
    /// By what.
    pub by: By,
    /// The system of external ids.
    pub system: &'a str,
}

impl<'a> Match<'a> {
    /// The way that `sent` names, if it serves for `resource`.
    pub fn parse(found: &mut Violations, field: &str, resource: Resource, sent: Option<&'a pb::ImportMatch>) -> Self {
        let (by, system) = sent.map_or((By::Unspecified, ""), |sent| (sent.by(), sent.system.as_str()));
        let serves = match by {
            By::Unspecified | By::ExternalId | By::Record | By::Email | By::Phone => true,
            By::Number | By::DisplayName => resource == Resource::Account,
        };
        if !serves {
            found.add(format!("{field}.by"), "does not serve for contacts, which have no number and no name of their own");
        }
        if by == By::ExternalId && system.is_empty() {
            found.add(format!("{field}.system"), "is required for external ids");
        }
        Self { by, system }
    }

    /// Refuses to look for records by what the caller does not see.
    ///
    /// # Errors
    /// PERMISSION_DENIED (FIELD_HIDDEN).
    pub fn require_readable(&self, ctx: &Ctx, resource: Resource) -> Result<(), Fault> {
        let path = match (self.by, resource) {
            (By::Unspecified | By::Record, _) => return Ok(()),
            (By::ExternalId, _) => "external_ids",
            (By::Email | By::Phone, Resource::Contact) => "person.contact_points",
            (By::Email | By::Phone, Resource::Account) => "contact_points",
            (By::Number, _) => "number",
            (By::DisplayName, _) => "display_name",
        };
        rules_of(ctx, resource).require_readable(path)
    }

    /// The keys under which a record is looked for that has these external ids, contact points, number and names.
    #[must_use]
    pub fn keys(&self, marks: &Marks<'_>, region: Option<Region>) -> Vec<String> {
        let points = |of: pb::contact_point::Kind, kind: Kind| {
            let values = marks.points.iter().filter(move |point| point.kind() == of);
            let own = |point: &pb::ContactPoint| point.region.parse().ok().or(region);
            let normalized = values.filter_map(move |point| contact_point::normalize(kind, point.value.trim(), own(point)).ok());
            normalized.filter(|text| !text.is_empty()).map(|text| fold(&text)).collect()
        };
        let one = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        match self.by {
            By::Unspecified => Vec::new(),
            By::ExternalId => marks.external_ids.iter().filter(|pair| pair.system == self.system).map(|pair| pair.id.clone()).collect(),
            By::Email => points(pb::contact_point::Kind::Email, Kind::Email),
            By::Phone => points(pb::contact_point::Kind::Phone, Kind::Phone),
            By::Number => one(marks.number),
            By::DisplayName => one(&fold(marks.display_name)),
            By::Record => one(marks.record),
        }
    }
}

/// What a record can be told by.
#[derive(Debug)]
pub struct Marks<'a> {
    /// Its name, such as `contacts/{uuid}`.
    pub record: &'a str,
    /// Its ids in other systems.
    pub external_ids: &'a [rapport_proto::common::v1::ExternalId],
    /// Its contact points.
    pub points: &'a [pb::ContactPoint],
    /// An account's number.
    pub number: &'a str,
    /// An account's name.
    pub display_name: &'a str,
}

impl Match<'_> {
    /// The keys under which a record is found that has these contact points and external ids, as they are stored.
    #[must_use]
    pub fn stored_keys(&self, points: &[ContactPoint], pairs: &[ExternalId]) -> Vec<String> {
        let of = |kind: Kind| {
            let (kinds, texts) = contact_point::keys(points);
            kinds.into_iter().zip(texts).filter(|(of, _)| *of == kind.number()).map(|(_, text)| text).collect()
        };
        match self.by {
            By::Email => of(Kind::Email),
            By::Phone => of(Kind::Phone),
            By::ExternalId => pairs.iter().filter(|pair| pair.system == self.system).map(|pair| pair.id.clone()).collect(),
            By::Unspecified | By::Record | By::Number | By::DisplayName => Vec::new(),
        }
    }
}

/// The live records in `scope` that `keys` stand for; a key may stand for several.
///
/// # Errors
/// What the database answers.
pub async fn find(
    conn: &mut Conn,
    ctx: &Ctx,
    scope: &Scope,
    resource: Resource,
    way: Match<'_>,
    keys: &[String],
) -> Result<HashMap<String, Vec<Uuid>>, Fault> {
    let mut found: HashMap<String, Vec<Uuid>> = HashMap::new();
    // PostgreSQL's text has no NUL: such a key is nobody's.
    let mut keys: Vec<String> = keys.iter().filter(|key| !key.contains('\0')).cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    let sought = keys.clone();
    if keys.is_empty() || way.by == By::Unspecified {
        return Ok(found);
    }
    let (table, collection, of) = match resource {
        Resource::Contact => ("contacts", contact::COLLECTION, contact::sql::TABLE),
        Resource::Account => ("accounts", account::COLLECTION, account::sql::TABLE),
    };
    let mut query = QueryBuilder::<Postgres>::new("select k.key, c.id from unnest(");
    match way.by {
        By::Record => {
            let ids: Vec<Uuid> = keys.iter().filter_map(|key| name::split(key).filter(|(of, _)| *of == collection).map(|(_, id)| id)).collect();
            query
                .push_bind(ids)
                .push(format!("::uuid[]) i(id) join {table} c on c.id = i.id cross join lateral (select '{collection}/' || c.id) k(key)"));
        }
        By::ExternalId => {
            query.push_bind(keys).push("::text[]) k(key) join external_ids e on e.live and e.external_id = k.key and e.tenant_id = ");
            query
                .push_bind(ctx.tenant())
                .push(" and e.collection = ")
                .push_bind(collection)
                .push(" and e.system = ")
                .push_bind(way.system.to_owned());
            query.push(format!(" join {table} c on c.id = e.record_id"));
        }
        By::Email | By::Phone => {
            let kind = if way.by == By::Email { Kind::Email } else { Kind::Phone };
            query.push_bind(keys).push("::text[]) k(key) join contact_point_keys p on p.normalized = k.key and p.tenant_id = ");
            query.push_bind(ctx.tenant()).push(" and p.kind = ").push_bind(kind.number());
            query.push(format!(" join {table} c on c.id = p.record_id"));
        }
        By::Number => {
            query.push_bind(keys).push(format!("::text[]) k(key) join {table} c on c.number = k.key"));
        }
        By::DisplayName => {
            query.push_bind(keys).push(format!("::text[]) k(key) join {table} c on c.name_folded = k.key"));
        }
        By::Unspecified => return Ok(found),
    }
    query.push(" where c.deleted_at is null and c.tenant_id = ").push_bind(ctx.tenant());
    scope.push(&mut query, of);
    for row in query.build().fetch_all(&mut *conn).await? {
        found.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    if matches!(way.by, By::ExternalId | By::Number) {
        // Each legal entity counts for itself: a number may be another's as well, and an id is of one record alone.
        let lost = sought.into_iter().filter(|key| way.by == By::Number || !found.contains_key(key)).collect();
        follow(conn, ctx, scope, resource, way, lost, &mut found).await?;
    }
    Ok(found)
}

/// Adds the records that merged ones go on in, by the ids and numbers that these had: whoever feeds them knows of no merge.
async fn follow(
    conn: &mut Conn,
    ctx: &Ctx,
    scope: &Scope,
    resource: Resource,
    way: Match<'_>,
    keys: Vec<String>,
    found: &mut HashMap<String, Vec<Uuid>>,
) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let systems = vec![way.system.to_owned(); keys.len()];
    let followed: Vec<(String, Uuid)> = match (way.by, resource) {
        (By::Number, _) => merge::sql::followed_numbers(conn, ctx, &keys).await?,
        (_, Resource::Contact) => without_system(merge::sql::followed(conn, ctx, search::Kind::Contact, &systems, &keys).await?),
        (_, Resource::Account) => without_system(merge::sql::followed(conn, ctx, search::Kind::Account, &systems, &keys).await?),
    };
    let into: Vec<Uuid> = followed.iter().map(|(_, id)| *id).collect();
    let seen: HashSet<Uuid> = match resource {
        Resource::Contact => contact::sql::get_many(conn, ctx, scope, &into).await?.iter().map(contact::Contact::id).collect(),
        Resource::Account => account::sql::get_many(conn, ctx, scope, &into).await?.iter().map(account::Account::id).collect(),
    };
    let followed = followed.into_iter().filter(|(_, id)| seen.contains(id));
    if way.by == By::Number {
        followed.for_each(|(key, id)| found.entry(key).or_default().push(id));
    } else {
        // Of several that had the id, the one that was merged last.
        found.extend(followed.map(|(key, id)| (key, vec![id])));
    }
    Ok(())
}

fn without_system(followed: Vec<(String, String, Uuid)>) -> Vec<(String, Uuid)> {
    followed.into_iter().map(|(_, id, into)| (id, into)).collect()
}

/// The one record that `keys` stand for; none if there is none.
///
/// # Errors
/// FAILED_PRECONDITION (MATCH_AMBIGUOUS) if they stand for several.
pub fn one(found: &HashMap<String, Vec<Uuid>>, keys: &[String]) -> Result<Option<Uuid>, Fault> {
    let mut ids: Vec<Uuid> = keys.iter().filter_map(|key| found.get(key)).flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => Err(Fault::precondition("MATCH_AMBIGUOUS", "Several records are meant by what the row is matched by; match by an external id.")
            .with("records", ids.len().to_string())),
    }
}
