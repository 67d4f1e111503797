//! Writes policy changes into the copy, each only if it is newer than what is there.

use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::policy_change::State;
use uuid::Uuid;

use super::load::{StoredGrant, StoredRule};
use crate::db::{SystemDb, Tx};
use crate::fault::Fault;
use crate::name;

/// What a change concerns in memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Concern {
    Tenant(Uuid),
    Subject(Uuid, Uuid),
    /// Session and the second after which it can be forgotten.
    Session(Uuid, i64),
}

struct Target {
    tenant: Uuid,
    id: Uuid,
    version: i64,
}

pub(super) async fn apply(db: &SystemDb, changes: &[pb::PolicyChange]) -> Result<Vec<Concern>, Fault> {
    let mut concerns = Vec::with_capacity(changes.len());
    let mut tx = db.begin().await?;
    for change in changes {
        match one(&mut tx, change).await {
            Ok(concern) => concerns.push(concern),
            // One change that names nothing must not keep all later ones from taking effect.
            Err(fault) if fault.code() == tonic::Code::InvalidArgument => {
                tracing::error!(name = change.name, %fault, "a policy change cannot be read")
            }
            Err(fault) => return Err(fault),
        }
    }
    tx.commit().await?;
    Ok(concerns)
}

async fn one(tx: &mut Tx, change: &pb::PolicyChange) -> Result<Concern, Fault> {
    let tenant = name::parse("tenants", &change.tenant, "tenant")?;
    let (collection, id) = name::split(&change.name).ok_or_else(|| Fault::invalid("name", "must be the name of a policy record"))?;
    let target = Target { tenant, id, version: change.version };
    match (&change.state, collection) {
        (Some(State::TenantState(state)), _) => store_tenant(tx, &target, state.ready).await?,
        (Some(State::Unit(unit)), _) => store_unit(tx, &target, Some(unit)).await?,
        (None, "businessUnits") => store_unit(tx, &target, None).await?,
        (Some(State::Team(team)), _) => store_team(tx, &target, Some(team)).await?,
        (None, "teams") => store_team(tx, &target, None).await?,
        (Some(State::Role(role)), _) => store_role(tx, &target, Some(role)).await?,
        (None, "roles") => store_role(tx, &target, None).await?,
        (Some(State::Subject(subject)), _) => {
            store_subject(tx, &target, collection, Some(subject)).await?;
            return Ok(Concern::Subject(tenant, id));
        }
        (None, "users" | "serviceAccounts") => {
            store_subject(tx, &target, collection, None).await?;
            return Ok(Concern::Subject(tenant, id));
        }
        (Some(State::RevokedSession(session)), _) => {
            let forget_at = session.forget_time.map_or(i64::MAX, |time| time.seconds);
            store_session(tx, &target).await?;
            return Ok(Concern::Session(id, forget_at));
        }
        (None, _) => {}
    }
    Ok(Concern::Tenant(tenant))
}

async fn store_tenant(tx: &mut Tx, target: &Target, ready: bool) -> Result<(), Fault> {
    sqlx::query(
        "insert into kit.policy_tenant as p (tenant_id, version, ready) values ($1, $2, $3)
         on conflict (tenant_id) do update set version = excluded.version, ready = excluded.ready where p.version < excluded.version",
    )
    .bind(target.tenant)
    .bind(target.version)
    .bind(ready)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn store_unit(tx: &mut Tx, target: &Target, unit: Option<&pb::PolicyUnit>) -> Result<(), Fault> {
    let parent = unit.map(|unit| name::parse_optional("businessUnits", &unit.parent, "parent")).transpose()?.flatten();
    // Two processes that apply two units at once would each miss the other's.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('rapport.units', 0))").execute(tx.conn()).await?;
    let done = sqlx::query(
        "insert into kit.policy_unit as p (tenant_id, id, version, parent_id, deleted) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, id) do update set version = excluded.version, parent_id = excluded.parent_id, deleted = excluded.deleted
         where p.version < excluded.version",
    )
    .bind(target.tenant)
    .bind(target.id)
    .bind(target.version)
    .bind(parent)
    .bind(unit.is_none())
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    // The tree is small (units of one organisation), so ancestors are made anew; a cycle would end by `union`.
    sqlx::query("delete from kit.unit_ancestor where tenant_id = $1").bind(target.tenant).execute(tx.conn()).await?;
    sqlx::query(
        "insert into kit.unit_ancestor (tenant_id, unit_id, ancestor_id)
         with recursive up (unit_id, ancestor_id) as (
           select id, id from kit.policy_unit where tenant_id = $1 and not deleted
           union
           select up.unit_id, u.parent_id from up join kit.policy_unit u on u.tenant_id = $1 and u.id = up.ancestor_id and not u.deleted
           where u.parent_id is not null)
         select $1, unit_id, ancestor_id from up",
    )
    .bind(target.tenant)
    .execute(tx.conn())
    .await?;
    Ok(())
}

async fn store_team(tx: &mut Tx, target: &Target, team: Option<&pb::PolicyTeam>) -> Result<(), Fault> {
    let members = team.map_or(&[][..], |team| &team.members);
    let members = members.iter().map(|member| name::parse("users", member, "members")).collect::<Result<Vec<_>, _>>()?;
    let done = sqlx::query(
        "insert into kit.policy_team as p (tenant_id, id, version, deleted) values ($1, $2, $3, $4)
         on conflict (tenant_id, id) do update set version = excluded.version, deleted = excluded.deleted where p.version < excluded.version",
    )
    .bind(target.tenant)
    .bind(target.id)
    .bind(target.version)
    .bind(team.is_none())
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("delete from kit.team_member where tenant_id = $1 and team_id = $2").bind(target.tenant).bind(target.id).execute(tx.conn()).await?;
    sqlx::query("insert into kit.team_member (tenant_id, team_id, subject_id) select $1, $2, unnest($3::uuid[]) on conflict do nothing")
        .bind(target.tenant)
        .bind(target.id)
        .bind(members)
        .execute(tx.conn())
        .await?;
    Ok(())
}

async fn store_subject(tx: &mut Tx, target: &Target, kind: &str, subject: Option<&pb::PolicySubject>) -> Result<(), Fault> {
    let nobody = pb::PolicySubject::default();
    let state = subject.unwrap_or(&nobody);
    let unit = name::parse_optional("businessUnits", &state.business_unit, "business_unit")?;
    let grants = state.grants.iter().map(stored_grant).collect::<Result<Vec<_>, _>>()?;
    sqlx::query(
        "insert into kit.policy_subject as p (tenant_id, id, version, kind, unit_id, active, grants, deleted) values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (tenant_id, id) do update set version = excluded.version, unit_id = excluded.unit_id, active = excluded.active,
           grants = excluded.grants, deleted = excluded.deleted where p.version < excluded.version",
    )
    .bind(target.tenant)
    .bind(target.id)
    .bind(target.version)
    .bind(kind)
    .bind(unit)
    .bind(state.active)
    .bind(sqlx::types::Json(grants))
    .bind(subject.is_none())
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn stored_grant(grant: &pb::PolicyGrant) -> Result<StoredGrant, Fault> {
    let level = match grant.level() {
        pb::GrantLevel::Own => "own",
        pb::GrantLevel::Team => "team",
        pb::GrantLevel::BusinessUnitSubtree => "subtree",
        pb::GrantLevel::All => "all",
        // Unknown levels reach nothing, so that an older service never gives more than it understands.
        pb::GrantLevel::Unspecified | pb::GrantLevel::Territory => "none",
    };
    Ok(StoredGrant { role: name::parse("roles", &grant.role, "grants.role")?, level: level.to_owned() })
}

async fn store_role(tx: &mut Tx, target: &Target, role: Option<&pb::PolicyRole>) -> Result<(), Fault> {
    let nothing = pb::PolicyRole::default();
    let state = role.unwrap_or(&nothing);
    let rules: Vec<StoredRule> = state.field_rules.iter().map(stored_rule).collect();
    sqlx::query(
        "insert into kit.policy_role as p (tenant_id, id, version, name, permissions, field_rules, deleted) values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (tenant_id, id) do update set version = excluded.version, name = excluded.name, permissions = excluded.permissions,
           field_rules = excluded.field_rules, deleted = excluded.deleted where p.version < excluded.version",
    )
    .bind(target.tenant)
    .bind(target.id)
    .bind(target.version)
    .bind(&state.display_name)
    .bind(&state.permissions)
    .bind(sqlx::types::Json(rules))
    .bind(role.is_none())
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn stored_rule(rule: &pb::FieldRule) -> StoredRule {
    let effect = match rule.effect() {
        pb::FieldEffect::ReadOnly => "read_only",
        pb::FieldEffect::Masked => "masked",
        // What is not understood is hidden.
        pb::FieldEffect::Hidden | pb::FieldEffect::Unspecified => "hidden",
    };
    StoredRule { resource: rule.resource.clone(), field: rule.field.clone(), effect: effect.to_owned() }
}

async fn store_session(tx: &mut Tx, target: &Target) -> Result<(), Fault> {
    sqlx::query("insert into kit.policy_revoked_session (tenant_id, id) values ($1, $2) on conflict do nothing")
        .bind(target.tenant)
        .bind(target.id)
        .execute(tx.conn())
        .await?;
    Ok(())
}
