//! Many new contacts by one statement.

use chrono::{DateTime, Utc};
use rapport_kit::db::Conn;
use rapport_kit::journal::Entry;
use rapport_kit::{Ctx, Fault};
use uuid::Uuid;

use super::Contact;
use super::sql::{Keys, refusal};

/// New contacts that were made at one time, ready to be written.
#[derive(Debug)]
pub struct Created {
    at: DateTime<Utc>,
    columns: Columns,
    entries: Vec<Entry>,
}

/// Columns of new contacts and of their look-up rows, each as one array.
#[derive(Debug, Default)]
struct Columns {
    ids: Vec<Uuid>,
    owner_kinds: Vec<i16>,
    owners: Vec<Uuid>,
    people: Vec<String>,
    families: Vec<String>,
    givens: Vec<String>,
    languages: Vec<String>,
    roles: Vec<String>,
    external_ids: Vec<String>,
    tags: Vec<String>,
    of_points: Vec<Uuid>,
    point_kinds: Vec<i16>,
    points: Vec<String>,
    of_pairs: Vec<Uuid>,
    systems: Vec<String>,
    pairs: Vec<String>,
    of_tags: Vec<Uuid>,
    labels: Vec<String>,
    of_accounts: Vec<Uuid>,
    accounts: Vec<Uuid>,
    soles: Vec<bool>,
}

impl Created {
    /// Contacts with what the journal says of them; none if there are none.
    ///
    /// # Errors
    /// INTERNAL.
    pub fn of(created: Vec<(Contact, Entry)>) -> Result<Option<Self>, Fault> {
        let (contacts, entries): (Vec<Contact>, Vec<Entry>) = created.into_iter().unzip();
        let Some(first) = contacts.first() else { return Ok(None) };
        Ok(Some(Self { at: first.created_at, columns: Columns::of(&contacts)?, entries }))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.columns.ids.len()
    }
}

/// Writes new contacts with their look-up rows and journal entries. For jobs alone: to be found they wait with what comes in bulk
/// (`in_bulk::wait_behind_people`, which the caller has called).
///
/// # Errors
/// Those of `refusal`; what the database answers. Nothing is written then.
pub async fn insert(conn: &mut Conn, ctx: &Ctx, created: Created) -> Result<(), Fault> {
    let Created { at, columns, entries } = created;
    sqlx::query!(
        "with r as (
           select * from unnest($3::uuid[], $4::smallint[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
             r(id, owner_kind, owner_id, person, family, given, language, roles, external_ids, tags)
         ), w as (
           insert into contacts (tenant_id, id, version, owner_kind, owner_id, person, family_folded, given_folded, language,
             account_roles, external_ids, tags, created_at, updated_at)
           select $1, r.id, 1, r.owner_kind, r.owner_id, r.person::jsonb, r.family, r.given, r.language, r.roles::jsonb, r.external_ids::jsonb,
             array(select jsonb_array_elements_text(r.tags::jsonb)), $2, $2 from r
         ), points as (
           insert into contact_point_keys (tenant_id, record_id, kind, normalized)
           select $1, k.id, k.kind, k.point from unnest($13::uuid[], $14::smallint[], $15::text[]) k(id, kind, point)
         ), pairs as (
           insert into external_ids (tenant_id, collection, system, external_id, record_id, live)
           select $1, 'contacts', k.system, k.pair, k.id, true from unnest($16::uuid[], $17::text[], $18::text[]) k(id, system, pair)
         ), labels as (
           insert into record_tags (tenant_id, record_id, tag) select $1, k.id, k.label from unnest($19::uuid[], $20::text[]) k(id, label)
         ), links as (
           insert into contact_accounts (tenant_id, contact_id, account_id, sole)
           select $1, k.id, k.account, k.sole from unnest($21::uuid[], $22::uuid[], $23::boolean[]) k(id, account, sole)
         ), queue as (
           insert into search_bulk (tenant_id, kind, record_ids) select $1, 2, piece from pieces($3) piece
         )
         select kit.record_all($24)",
        ctx.tenant(),
        at,
        &columns.ids,
        &columns.owner_kinds,
        &columns.owners,
        &columns.people,
        &columns.families,
        &columns.givens,
        &columns.languages,
        &columns.roles,
        &columns.external_ids,
        &columns.tags,
        &columns.of_points,
        &columns.point_kinds,
        &columns.points,
        &columns.of_pairs,
        &columns.systems,
        &columns.pairs,
        &columns.of_tags,
        &columns.labels,
        &columns.of_accounts,
        &columns.accounts,
        &columns.soles,
        entries as _
    )
    .fetch_one(conn)
    .await
    .map_err(refusal)?;
    Ok(())
}

impl Columns {
    fn of(contacts: &[Contact]) -> Result<Self, Fault> {
        let mut columns = Self::default();
        for contact in contacts {
            let (id, details) = (contact.id(), contact.details());
            columns.ids.push(id);
            columns.owner_kinds.push(details.owner.kind.number());
            columns.owners.push(details.owner.id);
            columns.people.push(serde_json::to_string(&details.person).map_err(Fault::internal)?);
            columns.families.push(details.person.family_folded());
            columns.givens.push(details.person.given_folded());
            columns.languages.push(details.person.language.clone());
            columns.roles.push(serde_json::to_string(&details.accounts).map_err(Fault::internal)?);
            columns.external_ids.push(serde_json::to_string(&details.external_ids).map_err(Fault::internal)?);
            columns.tags.push(serde_json::to_string(&details.tags).map_err(Fault::internal)?);
            let keys = Keys::of(contact);
            columns.of_points.extend(keys.points.iter().map(|_| id));
            columns.point_kinds.extend(keys.point_kinds);
            columns.points.extend(keys.points);
            columns.of_pairs.extend(keys.systems.iter().map(|_| id));
            columns.systems.extend(keys.systems);
            columns.pairs.extend(keys.ids);
            columns.of_tags.extend(details.tags.iter().map(|_| id));
            columns.labels.extend(details.tags.iter().cloned());
            columns.of_accounts.extend(keys.accounts.iter().map(|_| id));
            columns.accounts.extend(keys.accounts);
            columns.soles.extend(keys.soles);
        }
        Ok(columns)
    }
}
