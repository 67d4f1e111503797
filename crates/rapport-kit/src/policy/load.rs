//! Reads one subject's access from the copy.

use serde::Deserialize;
use uuid::Uuid;

use super::Standing;
use crate::access::{Access, Effect, Levels, Role};
use crate::db::Db;
use crate::fault::Fault;

/// A grant as the copy stores it.
#[derive(Debug, serde::Serialize, Deserialize)]
pub(super) struct StoredGrant {
    pub(super) role: Uuid,
    pub(super) level: String,
}

/// A field rule as the copy stores it.
#[derive(Debug, serde::Serialize, Deserialize)]
pub(super) struct StoredRule {
    pub(super) resource: String,
    pub(super) field: String,
    pub(super) effect: String,
}

#[derive(Debug, sqlx::FromRow)]
struct SubjectRow {
    unit_id: Option<Uuid>,
    grants: sqlx::types::Json<Vec<StoredGrant>>,
    groups: Vec<Uuid>,
}

#[derive(Debug, sqlx::FromRow)]
struct RoleRow {
    id: Uuid,
    name: String,
    permissions: Vec<String>,
    field_rules: sqlx::types::Json<Vec<StoredRule>>,
}

pub(super) async fn tenant_ready(db: &Db, tenant: Uuid) -> Result<bool, Fault> {
    let mut conn = db.tenant(tenant).await?;
    let ready: Option<bool> =
        sqlx::query_scalar("select ready from kit.policy_tenant where tenant_id = $1").bind(tenant).fetch_optional(&mut conn).await?;
    Ok(ready.unwrap_or(false))
}

pub(super) async fn access(db: &Db, tenant: Uuid, subject: Uuid) -> Result<Option<Access>, Fault> {
    let mut conn = db.tenant(tenant).await?;
    let row: Option<SubjectRow> = sqlx::query_as(
        "select s.unit_id, s.grants, array(
           select team_id from kit.team_member m where m.tenant_id = $1 and m.subject_id = $2
           union all select ancestor_id from kit.unit_ancestor a where a.tenant_id = $1 and a.unit_id = s.unit_id) as groups
         from kit.policy_subject s where s.tenant_id = $1 and s.id = $2 and s.active and not s.deleted",
    )
    .bind(tenant)
    .bind(subject)
    .fetch_optional(&mut conn)
    .await?;
    let Some(SubjectRow { unit_id: unit, grants, groups }) = row else { return Ok(None) };
    let ids: Vec<Uuid> = grants.iter().map(|grant| grant.role).collect();
    let rows: Vec<RoleRow> =
        sqlx::query_as("select id, name, permissions, field_rules from kit.policy_role where tenant_id = $1 and id = any($2) and not deleted")
            .bind(tenant)
            .bind(&ids)
            .fetch_all(&mut conn)
            .await?;
    let roles = rows.into_iter().map(|row| {
        let levels = grants.iter().filter(|grant| grant.role == row.id).fold(Levels::default(), |levels, grant| level(levels, &grant.level));
        (role(row), levels)
    });
    Ok(Some(Access::new(subject, unit, groups, roles.collect())))
}

pub(super) async fn standing(db: &Db, tenant: Uuid, names: &[(&str, Uuid)]) -> Result<Vec<Option<Standing>>, Fault> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let (collections, ids): (Vec<&str>, Vec<Uuid>) = names.iter().copied().unzip();
    let mut conn = db.tenant(tenant).await?;
    let rows: Vec<(Option<bool>, Option<bool>)> = sqlx::query_as(
        "select coalesce(s.deleted, t.deleted, u.deleted), s.active from unnest($2::text[], $3::uuid[]) with ordinality n(kind, id, place)
           left join kit.policy_subject s on s.tenant_id = $1 and s.id = n.id and s.kind = n.kind
           left join kit.policy_team t on t.tenant_id = $1 and t.id = n.id and n.kind = 'teams'
           left join kit.policy_unit u on u.tenant_id = $1 and u.id = n.id and n.kind = 'businessUnits'
         order by n.place",
    )
    .bind(tenant)
    .bind(collections)
    .bind(ids)
    .fetch_all(&mut conn)
    .await?;
    let told = |(deleted, active): (Option<bool>, Option<bool>)| match (deleted?, active) {
        (true, _) => Some(Standing::Deleted),
        (false, Some(false)) => Some(Standing::Disabled),
        (false, _) => Some(Standing::Active),
    };
    Ok(rows.into_iter().map(told).collect())
}

fn level(mut levels: Levels, name: &str) -> Levels {
    match name {
        "own" => levels.own = true,
        "team" => levels.team = true,
        "subtree" => levels.subtree = true,
        "all" => levels.all = true,
        _ => {}
    }
    levels
}

fn role(row: RoleRow) -> Role {
    let rule = |rule: StoredRule| {
        let effect = match rule.effect.as_str() {
            "read_only" => Effect::ReadOnly,
            "masked" => Effect::Masked,
            _ => Effect::Hidden,
        };
        (rule.resource, rule.field, effect)
    };
    Role { display_name: row.name, permissions: row.permissions, field_rules: row.field_rules.0.into_iter().map(rule).collect() }
}
