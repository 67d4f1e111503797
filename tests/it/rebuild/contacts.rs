//! The tables of contacts from its journal, and its copies of legal entities from identity's.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use rapport_contacts::search::keys;
use rapport_contacts_api::v1 as pb;
use rapport_identity_api::v1::{LegalEntity, NumberSeries};
use rapport_kit::filter::fold;
use rapport_kit::name;
use rapport_proto::common::v1::ExternalId;
use rapport_proto::google_type::Date;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Rows;
use super::journal::{Record, id, of, time};
use super::shares::shares;

/// Every table of contacts. What was deleted keeps its row.
pub(super) fn rows(records: &[Record], of_identity: &[Record]) -> Rows {
    let accounts: Vec<(&Record, pb::Account)> = of(records, "accounts").collect();
    let contacts: Vec<(&Record, pb::Contact)> = of(records, "contacts").collect();
    let private: BTreeSet<Uuid> =
        accounts.iter().filter(|(_, state)| state.kind() == pb::account::Kind::Person).map(|(record, _)| record.id).collect();
    let none = Vec::new();
    let mut rows = Rows::new();
    rows.insert("public.accounts", accounts.iter().map(|(record, state)| account(record, state)).collect());
    rows.insert("public.contacts", contacts.iter().map(|(record, state)| contact(record, state, &private)).collect());
    rows.insert("public.contact_accounts", contacts.iter().flat_map(|(record, state)| contact_accounts(record, state, &private)).collect());
    let of_accounts = accounts.iter().map(|(record, state)| (*record, &state.contact_points, &state.external_ids, &state.tags));
    let of_contacts = contacts.iter().map(|(record, state)| {
        let points = state.person.as_ref().map_or(&none, |person| &person.contact_points);
        (*record, points, &state.external_ids, &state.tags)
    });
    for (record, points, external_ids, tags) in of_accounts.chain(of_contacts) {
        rows.entry("public.contact_point_keys").or_default().extend(point_keys(record, points));
        rows.entry("public.external_ids").or_default().extend(external_ids.iter().map(|pair| external_id(record, pair)));
        rows.entry("public.record_tags")
            .or_default()
            .extend(tags.iter().map(|tag| json!({"tenant_id": record.tenant, "record_id": record.id, "tag": tag})));
    }
    let index = accounts.iter().map(|(record, state)| indexed(record, 1, &account(record, state), keys::of_account(record.tenant, state)));
    let index = index
        .chain(contacts.iter().map(|(record, state)| indexed(record, 2, &contact(record, state, &private), keys::of_contact(record.tenant, state))));
    rows.insert("public.search_doc", index.collect());
    let views = of::<pb::View>(records, "contactsViews").filter(|(record, _)| !record.deleted);
    rows.insert("public.views", views.map(|(record, state)| view(record, &state)).collect());
    let mappings = of::<pb::ImportMapping>(records, "importMappings").filter(|(record, _)| !record.deleted);
    rows.insert("public.import_mappings", mappings.map(|(record, state)| import_mapping(record, &state)).collect());
    let rules = of::<pb::DuplicateRule>(records, "duplicateRules").filter(|(record, _)| !record.deleted);
    rows.insert("public.duplicate_rules", rules.map(|(record, state)| duplicate_rule(record, &state)).collect());
    rows.insert("public.merges", of::<pb::Merge>(records, "merges").map(|(record, state)| merge(record, &state)).collect());
    rows.insert("kit.share", records.iter().flat_map(shares).collect());
    let entities: Vec<(&Record, LegalEntity)> = of(of_identity, "legalEntities").collect();
    rows.insert("public.legal_entities", entities.iter().map(|(record, state)| legal_entity(record, state)).collect());
    rows.insert("public.number_series", number_series(&entities, &accounts));
    rows
}

fn account(record: &Record, state: &pb::Account) -> Value {
    let deletion = record.last::<pb::AccountDeleted>().filter(|_| record.deleted);
    let deleted = deletion.as_ref().and_then(|event| event.delete_time);
    let (owner_kind, owner) = owner(&state.owner);
    let money = state.annual_revenue.as_ref();
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "owner_kind": owner_kind,
        "owner_id": owner,
        "kind": state.kind,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "number": state.number,
        "relationships": state.relationships,
        "legal_entity_id": id(&state.legal_entity),
        "parent_id": id(&state.parent),
        "sector": state.sector,
        "profile": document(json!({
            "website": state.website,
            "employee_count": state.employee_count,
            "annual_revenue": money.map(|money| json!({"currency": money.currency_code, "units": money.units, "nanos": money.nanos})),
            "founded_year": state.founded_year,
            "contact_points": state.contact_points.iter().map(contact_point).collect::<Vec<_>>(),
            "addresses": state.addresses.iter().map(address).collect::<Vec<_>>(),
        })),
        "external_ids": state.external_ids.iter().map(|pair| json!({"system": pair.system, "id": pair.id})).collect::<Vec<_>>(),
        "tags": state.tags,
        "created_at": time(state.create_time),
        "updated_at": time(deleted.or(state.update_time)),
        "deleted_at": time(deleted),
        "merged_into": deletion.and_then(|event| id(&event.merged_into)),
    })
}

fn contact(record: &Record, state: &pb::Contact, private: &BTreeSet<Uuid>) -> Value {
    let deletion = record.last::<pb::ContactDeleted>().filter(|_| record.deleted);
    let deleted = deletion.as_ref().and_then(|event| event.delete_time);
    let (owner_kind, owner) = owner(&state.owner);
    let person = state.person.clone().unwrap_or_default();
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "owner_kind": owner_kind,
        "owner_id": owner,
        "person": document(json!({
            "given_name": person.given_name,
            "family_name": person.family_name,
            "additional_name": person.additional_name,
            "salutation": person.salutation,
            "language": person.language,
            "birth_date": person.birth_date.map(|date| document(json!({"year": Some(date.year).filter(|year| *year != 0), "month": date.month, "day": date.day}))),
            "job_title": person.job_title,
            "contact_points": person.contact_points.iter().map(contact_point).collect::<Vec<_>>(),
            "addresses": person.addresses.iter().map(address).collect::<Vec<_>>(),
            "notes": person.notes,
        })),
        "family_folded": fold(&person.family_name),
        "given_folded": fold(&person.given_name),
        "language": person.language,
        "account_roles": state.accounts.iter().map(|role| account_role(role, private)).collect::<Vec<_>>(),
        "external_ids": state.external_ids.iter().map(|pair| json!({"system": pair.system, "id": pair.id})).collect::<Vec<_>>(),
        "tags": state.tags,
        "created_at": time(state.create_time),
        "updated_at": time(deleted.or(state.update_time)),
        "deleted_at": time(deleted),
        "merged_into": deletion.and_then(|event| id(&event.merged_into)),
    })
}

/// A private customer has this one contact, which its kind says.
fn account_role(role: &pb::AccountRole, private: &BTreeSet<Uuid>) -> Value {
    let account = id(&role.account).expect("a role names an account");
    document(json!({
        "account": account,
        "sole": private.contains(&account),
        "role": role.role,
        "primary": role.primary,
        "start": role.start_date.as_ref().map(day),
        "end": role.end_date.as_ref().map(day),
    }))
}

fn contact_accounts(record: &Record, state: &pb::Contact, private: &BTreeSet<Uuid>) -> Vec<Value> {
    let accounts: BTreeSet<Uuid> = state.accounts.iter().filter_map(|role| id(&role.account)).collect();
    let row = |account: Uuid| {
        let sole = private.contains(&account) && !record.deleted;
        json!({"tenant_id": record.tenant, "contact_id": record.id, "account_id": account, "sole": sole})
    };
    accounts.into_iter().map(row).collect()
}

fn view(record: &Record, state: &pb::View) -> Value {
    let (owner_kind, owner) = owner(&state.owner);
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "owner_kind": owner_kind,
        "owner_id": owner,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "collection": state.collection,
        "filter": state.filter,
        "order_by": state.order_by,
        "columns": state.columns,
        "visibility": state.visibility,
        "team_id": id(&state.team),
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

/// A saved mapping. Its rules are stored as they were sent.
fn import_mapping(record: &Record, state: &pb::ImportMapping) -> Value {
    let (owner_kind, owner) = owner(&state.owner);
    let rules = state.rules.clone().unwrap_or_default();
    let bytes: String = rules.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "owner_kind": owner_kind,
        "owner_id": owner,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "collection": rules.collection,
        "format": state.format,
        "header": state.header,
        "rules": format!("\\x{bytes}"),
        "visibility": state.visibility,
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

/// A rule about duplicates. Its comparisons are stored under their names in lower case.
fn duplicate_rule(record: &Record, state: &pb::DuplicateRule) -> Value {
    let word = |name: &str, prefix: &str| name.strip_prefix(prefix).unwrap_or_default().to_lowercase();
    let comparison = |comparison: &pb::DuplicateComparison| {
        let mut stored = json!({
            "field": word(comparison.field().as_str_name(), "FIELD_"),
            "method": word(comparison.method().as_str_name(), "METHOD_"),
            "weight": comparison.weight,
            "penalty": comparison.penalty,
        });
        if !comparison.system.is_empty() {
            stored["system"] = json!(comparison.system);
        }
        stored
    };
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "kind": if state.collection == "accounts" { 1 } else { 2 },
        "comparisons": state.comparisons.iter().map(comparison).collect::<Vec<_>>(),
        "threshold": state.threshold,
        "blocks": state.action() == pb::duplicate_rule::Action::Block,
        "disabled": state.disabled,
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn merge(record: &Record, state: &pb::Merge) -> Value {
    let (collection, survivor) = name::split(&state.survivor).expect("a survivor");
    let version = |etag: &str| etag.parse::<i64>().expect("a version");
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "collection": collection,
        "survivor_id": survivor,
        "loser_id": id(&state.loser),
        "from_loser": state.from_loser,
        "survivor_version": version(&state.survivor_etag),
        "loser_version": version(&state.loser_etag),
        "state": state.state,
        "creator": state.creator,
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

/// The row of the search index of a record with this row.
fn indexed(record: &Record, kind: i16, row: &Value, keys: Vec<i64>) -> Value {
    json!({
        "tenant_id": record.tenant,
        "record_id": record.id,
        "kind": kind,
        "version": record.version,
        "owner_id": row["owner_id"],
        "updated_at": row["updated_at"],
        "keys": if record.deleted { Vec::new() } else { keys },
    })
}

fn contact_point(point: &pb::ContactPoint) -> Value {
    let kind = match point.kind() {
        pb::contact_point::Kind::Email => "email",
        pb::contact_point::Kind::Phone => "phone",
        pb::contact_point::Kind::Chat => "chat",
        pb::contact_point::Kind::Web => "web",
        pb::contact_point::Kind::Unspecified => panic!("a contact point without kind"),
    };
    let status = match point.status() {
        pb::contact_point::Status::Unverified => "unverified",
        pb::contact_point::Status::Valid => "valid",
        pb::contact_point::Status::Bouncing => "bouncing",
        pb::contact_point::Status::Invalid => "invalid",
        pb::contact_point::Status::Complained => "complained",
        pb::contact_point::Status::OptedOut => "opted_out",
        pb::contact_point::Status::Unspecified => panic!("a contact point without status"),
    };
    document(json!({
        "kind": kind,
        "value": point.value,
        "normalized": point.normalized,
        "label": point.label,
        "primary": point.primary,
        "status": status,
        "region": point.region,
    }))
}

fn address(address: &pb::Address) -> Value {
    let kind = match address.kind() {
        pb::address::Kind::Billing => "billing",
        pb::address::Kind::Shipping => "shipping",
        pb::address::Kind::Work => "work",
        pb::address::Kind::Home => "home",
        pb::address::Kind::Other => "other",
        pb::address::Kind::Unspecified => panic!("an address without kind"),
    };
    let postal = address.postal_address.clone().unwrap_or_default();
    document(json!({
        "kind": kind,
        "region": postal.region_code,
        "language": postal.language_code,
        "postal_code": postal.postal_code,
        "sorting_code": postal.sorting_code,
        "administrative_area": postal.administrative_area,
        "locality": postal.locality,
        "sublocality": postal.sublocality,
        "lines": postal.address_lines,
        "recipients": postal.recipients,
        "organization": postal.organization,
        "primary": address.primary,
    }))
}

/// What look-ups go by: each readable point once.
fn point_keys(record: &Record, points: &[pb::ContactPoint]) -> Vec<Value> {
    let readable = points.iter().filter(|point| !point.normalized.is_empty());
    let keys: BTreeSet<(i32, String)> = readable.map(|point| (point.kind, fold(&point.normalized))).collect();
    let row = |(kind, normalized)| json!({"tenant_id": record.tenant, "record_id": record.id, "kind": kind, "normalized": normalized});
    keys.into_iter().map(row).collect()
}

fn external_id(record: &Record, pair: &ExternalId) -> Value {
    json!({
        "tenant_id": record.tenant,
        "collection": record.collection,
        "system": pair.system,
        "external_id": pair.id,
        "record_id": record.id,
        "live": !record.deleted,
    })
}

fn legal_entity(record: &Record, state: &LegalEntity) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "country": state.country,
        "created_at": time(state.create_time),
    })
}

/// The series of legal entities, and of each tenant that has an account without one.
fn number_series(entities: &[(&Record, LegalEntity)], accounts: &[(&Record, pb::Account)]) -> Vec<Value> {
    let row = |tenant: Uuid, entity: Uuid, prefix: &str, gapless: bool| json!({"tenant_id": tenant, "legal_entity_id": entity, "collection": "accounts", "prefix": prefix, "gapless": gapless});
    let of_accounts = |state: &LegalEntity| state.number_series.iter().find(|series| series.collection == "accounts").cloned();
    let series: BTreeMap<Uuid, (Uuid, NumberSeries)> =
        entities.iter().filter_map(|(record, state)| Some((record.id, (record.tenant, of_accounts(state)?)))).collect();
    let without = accounts.iter().filter(|(_, state)| id(&state.legal_entity).is_none_or(|entity| !series.contains_key(&entity)));
    let tenants: BTreeSet<Uuid> = without.map(|(record, _)| record.tenant).collect();
    let own = tenants.into_iter().map(|tenant| row(tenant, Uuid::nil(), "", false));
    series.iter().map(|(entity, (tenant, series))| row(*tenant, *entity, &series.prefix, series.gapless)).chain(own).collect()
}

/// Number and id of an owner.
fn owner(text: &str) -> (i16, Uuid) {
    match name::split(text).expect("an owner") {
        ("users", id) => (1, id),
        ("teams", id) => (2, id),
        ("serviceAccounts", id) => (3, id),
        (other, _) => panic!("an owner of the kind {other}"),
    }
}

fn day(date: &Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}

/// A document without its empty members, as it is stored.
fn document(mut document: Value) -> Value {
    if let Some(members) = document.as_object_mut() {
        members.retain(|_, member| !member.is_null() && *member != "" && member.as_array().is_none_or(|list| !list.is_empty()));
    }
    document
}
