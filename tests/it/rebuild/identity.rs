//! The tables of identity from its journal.

use std::collections::BTreeSet;

use rapport_identity_api::v1 as pb;
use rapport_kit::filter::fold;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Rows;
use super::journal::{Record, id, of, time};

/// Every table of identity. What was deleted has no row.
pub(super) fn rows(records: &[Record]) -> Rows {
    Rows::from([
        ("public.tenant", of(records, "tenants").map(|(record, state)| tenant(record, &state)).collect()),
        ("public.security_policy", of(records, "securityPolicies").map(|(record, state)| security_policy(record, &state)).collect()),
        ("public.legal_entity", alive(records, "legalEntities").map(|(record, state)| legal_entity(record, &state)).collect()),
        ("public.business_unit", alive(records, "businessUnits").map(|(record, state)| business_unit(record, &state)).collect()),
        ("public.team", alive(records, "teams").map(|(record, state)| team(record, &state)).collect()),
        ("public.role", alive(records, "roles").map(|(record, state)| role(record, &state)).collect()),
        ("public.users", alive(records, "users").map(|(record, state)| user(record, &state)).collect()),
        ("public.service_account", alive(records, "serviceAccounts").map(|(record, state)| service_account(record, &state)).collect()),
        ("public.api_key", api_keys(records)),
    ])
}

fn alive<'a, S: prost::Message + Default>(records: &'a [Record], collection: &'a str) -> impl Iterator<Item = (&'a Record, S)> {
    of(records, collection).filter(|(record, _)| !record.deleted)
}

fn tenant(record: &Record, state: &pb::Tenant) -> Value {
    json!({
        "tenant_id": record.tenant,
        "version": record.version,
        "slug": state.slug,
        "display_name": state.display_name,
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn security_policy(record: &Record, state: &pb::SecurityPolicy) -> Value {
    json!({
        "tenant_id": record.tenant,
        "version": record.version,
        "password_min_length": state.password_min_length,
        "lockout_attempts": state.lockout_attempts,
        "lockout_base_seconds": state.lockout_base_seconds,
        "session_idle_seconds": state.session_idle_seconds,
        "session_absolute_seconds": state.session_absolute_seconds,
        "history_retention_days": state.history_retention_days,
        "data_owner": state.data_owner,
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn legal_entity(record: &Record, state: &pb::LegalEntity) -> Value {
    let series = |one: &pb::NumberSeries| json!({"collection": one.collection, "prefix": one.prefix, "gapless": one.gapless, "next": one.next});
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "country": state.country,
        "currency": state.currency,
        "fiscal_year_start_month": state.fiscal_year_start_month,
        "default_language": state.default_language,
        "time_zone": state.time_zone,
        "tax_ids": state.tax_ids.iter().map(|tax_id| json!({"kind": tax_id.kind, "value": tax_id.value})).collect::<Vec<_>>(),
        "number_series": state.number_series.iter().map(series).collect::<Vec<_>>(),
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn business_unit(record: &Record, state: &pb::BusinessUnit) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "parent_id": id(&state.parent),
        "legal_entity_id": id(&state.legal_entity),
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn team(record: &Record, state: &pb::Team) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "description": state.description,
        "members": state.members.iter().map(|member| id(member)).collect::<Vec<_>>(),
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn role(record: &Record, state: &pb::Role) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "description": state.description,
        "shipped": state.shipped,
        "permissions": state.permissions,
        "field_rules": state.field_rules.iter().map(field_rule).collect::<Vec<_>>(),
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn field_rule(rule: &FieldRule) -> Value {
    let effect = match rule.effect() {
        FieldEffect::Hidden => "hidden",
        FieldEffect::Masked => "masked",
        FieldEffect::ReadOnly => "read_only",
        FieldEffect::Unspecified => panic!("a rule without effect"),
    };
    json!({"resource": rule.resource, "field": rule.field, "effect": effect})
}

fn user(record: &Record, state: &pb::User) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "email": state.email,
        "email_key": state.email.to_lowercase(),
        "email_folded": fold(&state.email),
        "unit_id": id(&state.business_unit),
        "disabled": state.state() == pb::user::State::Disabled,
        "locked_until": time(state.lock_expire_time),
        "grants": state.grants.iter().map(grant).collect::<Vec<_>>(),
        "locale": state.locale,
        "time_zone": state.time_zone,
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

fn grant(grant: &pb::Grant) -> Value {
    let level = match grant.level() {
        GrantLevel::Own => "own",
        GrantLevel::Team => "team",
        GrantLevel::BusinessUnitSubtree => "subtree",
        GrantLevel::All => "all",
        GrantLevel::Territory | GrantLevel::Unspecified => panic!("a grant without level"),
    };
    json!({"role": id(&grant.role), "level": level})
}

fn service_account(record: &Record, state: &pb::ServiceAccount) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "display_name": state.display_name,
        "name_folded": fold(&state.display_name),
        "description": state.description,
        "unit_id": id(&state.business_unit),
        "grants": state.grants.iter().map(grant).collect::<Vec<_>>(),
        "created_at": time(state.create_time),
        "updated_at": time(state.update_time),
    })
}

/// Keys go with their service account.
fn api_keys(records: &[Record]) -> Vec<Value> {
    let accounts: BTreeSet<Uuid> = alive::<pb::ServiceAccount>(records, "serviceAccounts").map(|(record, _)| record.id).collect();
    let of_account = |(_, state): &(&Record, pb::ApiKey)| id(&state.service_account).is_some_and(|account| accounts.contains(&account));
    of(records, "apiKeys").filter(of_account).map(|(record, state)| api_key(record, &state)).collect()
}

fn api_key(record: &Record, state: &pb::ApiKey) -> Value {
    json!({
        "tenant_id": record.tenant,
        "id": record.id,
        "version": record.version,
        "service_account_id": id(&state.service_account),
        "display_name": state.display_name,
        "scopes": state.scopes,
        "secret_prefix": state.secret_prefix,
        "expires_at": time(state.expire_time),
        "revoked_at": time(state.revoke_time),
        "created_at": time(state.create_time),
    })
}
