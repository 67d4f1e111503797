//! Why somebody may or may not do something with a record: the same grants, levels and shares that decide,
//! asked one by one.

use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::reason::Kind;
use uuid::Uuid;

use super::{Common, RecordType, within};
use crate::access::{Access, Effect, Levels, Scope};
use crate::ctx::Ctx;
use crate::fault::Fault;

impl Common {
    pub(super) async fn explain(
        &self,
        ctx: &Ctx,
        kind: RecordType,
        id: Uuid,
        subject: Uuid,
        action: pb::AccessAction,
    ) -> Result<pb::ExplainAccessResponse, Fault> {
        let permission = format!("{}.{}", kind.resource, verb(action)?);
        let Some(access) = self.policy.access(ctx.tenant(), subject).await? else {
            return Ok(answer(false, vec![reason(Kind::Policy, "The subject does not exist here or is disabled.".to_owned())]));
        };
        let granting: Vec<_> = access.roles.iter().filter(|(role, _)| role.permits(&permission)).collect();
        if granting.is_empty() {
            return Ok(answer(false, vec![reason(Kind::Role, format!("No role of the subject permits {permission}."))]));
        }
        let mut reasons = Vec::new();
        for (role, levels) in granting {
            for (level, single) in each(*levels) {
                let scope = Scope { levels: single, ..access.scope(&permission) };
                let reached = self.reaches(ctx, kind, id, &scope).await?;
                let verdict = if reached { "reaches the record" } else { "does not reach the record" };
                reasons.push(pb::Reason {
                    kind: Kind::Scope.into(),
                    text: format!("Role {:?} permits {permission} at level {level}, which {verdict}.", role.display_name),
                    role: role.display_name.clone(),
                    level: level.to_owned(),
                    share: String::new(),
                });
            }
        }
        reasons.extend(self.shares(ctx, id, &access).await?);
        // The verdict comes from the same condition that get, list and update use.
        let mut conn = self.db.for_tenant(ctx).await?;
        let allowed = within(&mut conn, ctx.tenant(), kind, id, &access.scope(&permission)).await?;
        for (path, effect) in access.fields(kind.resource).iter() {
            let effect = match effect {
                Effect::Hidden => "hidden",
                Effect::Masked => "masked",
                Effect::ReadOnly => "read-only",
            };
            reasons.push(reason(Kind::FieldRule, format!("Field {path} is {effect}, because every role of the subject on it says so.")));
        }
        Ok(answer(allowed, reasons))
    }

    /// Whether one level alone, without any share, reaches the record.
    async fn reaches(&self, ctx: &Ctx, kind: RecordType, id: Uuid, scope: &Scope) -> Result<bool, Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        let alone = Scope { subject_shares: false, ..scope.clone() };
        within(&mut conn, ctx.tenant(), kind, id, &alone).await
    }

    async fn shares(&self, ctx: &Ctx, id: Uuid, access: &Access) -> Result<Vec<pb::Reason>, Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        let rows: Vec<(Uuid, String, bool)> = sqlx::query_as(
            "select subject_id, subject_kind, can_write from kit.share
             where tenant_id = $1 and record_id = $2 and (subject_id = $3 or subject_id = any($4)) order by subject_id limit 100",
        )
        .bind(ctx.tenant())
        .bind(id)
        .bind(access.subject)
        .bind(&access.groups)
        .fetch_all(&mut conn)
        .await?;
        let share = |(subject, kind, can_write): (Uuid, String, bool)| pb::Reason {
            kind: Kind::Share.into(),
            text: format!("The record is shared with {kind}/{subject} for {}.", if can_write { "writing" } else { "reading" }),
            share: format!("{kind}/{subject}"),
            ..pb::Reason::default()
        };
        Ok(rows.into_iter().map(share).collect())
    }
}

fn verb(action: pb::AccessAction) -> Result<&'static str, Fault> {
    match action {
        pb::AccessAction::Read => Ok("read"),
        pb::AccessAction::Update => Ok("update"),
        pb::AccessAction::Delete => Ok("delete"),
        pb::AccessAction::Unspecified => Err(Fault::invalid("action", "must be one of the actions")),
    }
}

/// Levels one by one, with their names.
fn each(levels: Levels) -> Vec<(&'static str, Levels)> {
    let none = Levels::default();
    let all = [
        ("OWN", levels.own, Levels { own: true, ..none }),
        ("TEAM", levels.team, Levels { team: true, ..none }),
        ("BUSINESS_UNIT_SUBTREE", levels.subtree, Levels { subtree: true, ..none }),
        ("ALL", levels.all, Levels { all: true, ..none }),
    ];
    all.into_iter().filter(|(_, held, _)| *held).map(|(name, _, single)| (name, single)).collect()
}

fn reason(kind: Kind, text: String) -> pb::Reason {
    pb::Reason { kind: kind.into(), text, ..pb::Reason::default() }
}

fn answer(allowed: bool, reasons: Vec<pb::Reason>) -> pb::ExplainAccessResponse {
    pb::ExplainAccessResponse { allowed, reasons }
}
