//! Shares of single records.

use prost::Message;
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::access_service_server::AccessService;
use sqlx::AssertSqlSafe;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Common, RecordType, within};
use crate::command::{self, Done, Settled};
use crate::ctx::Ctx;
use crate::db::Tx;
use crate::fault::Fault;
use crate::journal::{self, Earlier, Record};
use crate::page::{self, Cursor, KeyValue, Query};
use crate::policy::Standing;
use crate::{clock, name};

/// Shares of one record at most.
const SHARES: i64 = 200;
/// Place of a share's fact among the facts of its version, behind the record's own.
const ORDINAL: i16 = 1;
/// Longest role text.
const ROLE: usize = 100;

#[tonic::async_trait]
impl AccessService for Common {
    async fn share_record(&self, request: Request<pb::ShareRecordRequest>) -> Result<Response<pb::Share>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let can_write = match request.access_level() {
            pb::AccessLevel::Read => false,
            pb::AccessLevel::Write => true,
            pb::AccessLevel::Unspecified => return Err(Fault::invalid("access_level", "must be one of the levels").into()),
        };
        if request.role.chars().count() > ROLE {
            return Err(Fault::invalid("role", format!("may have at most {ROLE} characters")).into());
        }
        let (subject_kind, subject) = subject_name(&request.subject)?;
        let (kind, id) = self.find(&request.name)?;
        let wanted = Wanted { subject_kind, subject, can_write, role: &request.role };
        let outcome = self.give(&ctx, &request.name, kind, id, wanted).await.map(Done::Written);
        match command::settle(&self.db, &ctx, outcome).await? {
            Settled::Now(share) => Ok(Response::new(share)),
            Settled::Earlier(earlier) => {
                self.readable(&ctx, &request.name).await?;
                Ok(Response::new(self.share_given(&ctx, &earlier).await?))
            }
        }
    }

    async fn unshare_record(&self, request: Request<pb::UnshareRecordRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let subject = subject_name(&request.subject)?;
        let (kind, id) = self.find(&request.name)?;
        let outcome = self.take_back(&ctx, &request, kind, id, subject).await;
        // Whoever gave up a share of their own may not see the record any more; there is nothing to show of it.
        command::settle(&self.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }

    async fn list_shares(&self, request: Request<pb::ListSharesRequest>) -> Result<Response<pb::ListSharesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let size = page::size(request.page_size)?;
        let query = Query::of(&ctx).with("name", &request.name);
        let cursor = ctx.call().sealer.open(&request.page_token, &query)?;
        let (_, id) = self.readable(&ctx, &request.name).await?;
        let mut tx = self.db.begin(&ctx).await?;
        let mut found = shares(&mut tx, &ctx, &request.name, id, None, cursor.map(|cursor| cursor.id), size + 1).await?;
        let next_page_token = page::end(&ctx, &query, &mut found, size, |share| {
            let (_, subject) = name::split(&share.subject).ok_or_else(|| Fault::internal("a stored share names no subject"))?;
            Ok(Cursor { keys: vec![KeyValue::Int(0)], id: subject })
        })?;
        Ok(Response::new(pb::ListSharesResponse { shares: found, next_page_token }))
    }

    async fn explain_access(&self, request: Request<pb::ExplainAccessRequest>) -> Result<Response<pb::ExplainAccessResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let subject = if request.subject.is_empty() { ctx.subject() } else { self.person(&ctx, &request.subject).await? };
        if subject != ctx.subject() && !ctx.scope_of("identity.access.explain").permits_anything() {
            let text = "Ask an administrator for a role with identity.access.explain, or explain your own access only.";
            return Err(Fault::denied("PERMISSION_MISSING", text).with("permission", "identity.access.explain").into());
        }
        let (kind, id) = if subject == ctx.subject() { self.find(&request.name)? } else { self.readable(&ctx, &request.name).await? };
        let action = request.action();
        let answer = self.explain(&ctx, kind, id, subject, action).await?;
        // To somebody who may not read the record it is absent, in explanations too.
        if !answer.allowed {
            self.readable(&ctx, &request.name).await?;
        }
        Ok(Response::new(answer))
    }
}

/// A share as it is asked for.
struct Wanted<'a> {
    subject_kind: &'static str,
    subject: Uuid,
    can_write: bool,
    role: &'a str,
}

impl page::Measured for pb::Share {
    fn bytes(&self) -> usize {
        self.encoded_len()
    }
}

impl Common {
    /// Stores a share and tells of it, in one transaction.
    async fn give(&self, ctx: &Ctx, record_name: &str, kind: RecordType, id: Uuid, wanted: Wanted<'_>) -> Result<pb::Share, Fault> {
        self.readable(ctx, record_name).await?;
        self.require_update(ctx, kind, id).await?;
        self.require_known(ctx, wanted.subject_kind, wanted.subject).await?;
        let mut tx = self.db.begin(ctx).await?;
        let version = next_version(&mut tx, ctx, kind, id).await?;
        let stored = sqlx::query(
            "insert into kit.share as s (tenant_id, record_id, subject_id, subject_kind, can_write, role, created_by, created_at)
             select $1, $2, $3, $4, $5, $6, $7, $8 where (select count(*) from kit.share where tenant_id = $1 and record_id = $2 and subject_id <> $3) < $9
             on conflict (tenant_id, record_id, subject_id) do update set can_write = excluded.can_write, role = excluded.role",
        )
        .bind(ctx.tenant())
        .bind(id)
        .bind(wanted.subject)
        .bind(wanted.subject_kind)
        .bind(wanted.can_write)
        .bind(wanted.role)
        .bind(&ctx.actor().name)
        .bind(ctx.now())
        .bind(SHARES)
        .execute(tx.conn())
        .await?;
        if stored.rows_affected() == 0 {
            return Err(Fault::precondition("TOO_MANY_SHARES", format!("Share with a team instead: a record has at most {SHARES} shares.")));
        }
        let share = shares(&mut tx, ctx, record_name, id, Some(wanted.subject), None, 1).await?.pop();
        let share = share.ok_or_else(|| Fault::internal("a share vanished"))?;
        let event = pb::RecordShared { record: record_name.to_owned(), share: Some(share.clone()) };
        record(&mut tx, ctx, Record { collection: kind.collection, id, version }, &event).await?;
        tx.commit().await?;
        Ok(share)
    }

    /// Takes a share back and tells of it, in one transaction; nothing to take back is well too.
    async fn take_back(
        &self,
        ctx: &Ctx,
        request: &pb::UnshareRecordRequest,
        kind: RecordType,
        id: Uuid,
        (subject_kind, subject): (&str, Uuid),
    ) -> Result<Done<()>, Fault> {
        self.readable(ctx, &request.name).await?;
        if subject != ctx.subject() {
            self.require_update(ctx, kind, id).await?;
        }
        let mut tx = self.db.begin(ctx).await?;
        // The record before the share, as where one is given: the other way round, two requests would wait for each other.
        let version = next_version(&mut tx, ctx, kind, id).await?;
        let gone = sqlx::query("delete from kit.share where tenant_id = $1 and record_id = $2 and subject_id = $3 and subject_kind = $4")
            .bind(ctx.tenant())
            .bind(id)
            .bind(subject)
            .bind(subject_kind)
            .execute(tx.conn())
            .await?;
        if gone.rows_affected() == 0 {
            // The record's new version is rolled back. The answer shows nothing of it, so that none matters.
            return Ok(Done::Unchanged((), Record { collection: kind.collection, id, version: 0 }));
        }
        let event = pb::RecordUnshared { record: request.name.clone(), subject: request.subject.clone() };
        record(&mut tx, ctx, Record { collection: kind.collection, id, version }, &event).await?;
        tx.commit().await?;
        Ok(Done::Written(()))
    }

    /// Refuses a subject that identity has not told of, or has told the end of.
    async fn require_known(&self, ctx: &Ctx, kind: &str, subject: Uuid) -> Result<(), Fault> {
        match self.policy.standing(ctx.tenant(), &[(kind, subject)]).await?.pop().flatten() {
            Some(Standing::Active | Standing::Disabled) => Ok(()),
            Some(Standing::Deleted) | None => Err(Fault::invalid("subject", "does not exist")),
        }
    }

    /// Id of a user or service account, which may be unknown here but is not the other of the two.
    async fn person(&self, ctx: &Ctx, text: &str) -> Result<Uuid, Fault> {
        let (kind, id) = subject_name(text)?;
        if !matches!(kind, "users" | "serviceAccounts") {
            return Err(Fault::invalid("subject", "must be a user or service account"));
        }
        let mut conn = self.db.for_tenant(ctx).await?;
        let query = "select exists (select from kit.policy_subject where tenant_id = $1 and id = $2 and kind <> $3)";
        let misnamed: bool = sqlx::query_scalar(query).bind(ctx.tenant()).bind(id).bind(kind).fetch_one(&mut conn).await?;
        if misnamed { Err(Fault::invalid("subject", "does not exist")) } else { Ok(id) }
    }

    async fn require_update(&self, ctx: &Ctx, kind: RecordType, id: Uuid) -> Result<(), Fault> {
        let scope = ctx.scope_of(&format!("{}.update", kind.resource));
        let mut conn = self.db.for_tenant(ctx).await?;
        if within(&mut conn, ctx.tenant(), kind, id, &scope).await? {
            return Ok(());
        }
        Err(Fault::denied("SHARE_NOT_ALLOWED", "Ask the record's owner: only who may change a record decides about its shares."))
    }

    /// The share as the earlier request gave it, whatever has become of it since.
    async fn share_given(&self, ctx: &Ctx, earlier: &Earlier) -> Result<pb::Share, Fault> {
        let (id, version) = earlier.record()?;
        let facts = journal::changes(&self.db, ctx, id, Some((version, ORDINAL + 1)), 1).await?;
        let message = facts.first().filter(|fact| fact.version == version).and_then(|fact| fact.message.as_deref());
        let expired = || Fault::precondition("ANSWER_EXPIRED", "The request was carried out before, but what it wrote has been erased since.");
        let event = pb::RecordShared::decode(message.ok_or_else(expired)?).map_err(Fault::internal)?;
        event.share.ok_or_else(expired)
    }
}

fn subject_name(text: &str) -> Result<(&'static str, Uuid), Fault> {
    let (collection, id) = name::split(text).ok_or_else(|| Fault::invalid("subject", "must look like users/{uuid}"))?;
    let kind = ["users", "serviceAccounts", "teams", "businessUnits"].into_iter().find(|kind| *kind == collection);
    Ok((kind.ok_or_else(|| Fault::invalid("subject", "must be a user, service account, team or business unit"))?, id))
}

/// Raises the record's version, since its shares are part of it; locks it for the rest of the transaction.
async fn next_version(tx: &mut Tx, ctx: &Ctx, kind: RecordType, id: Uuid) -> Result<i64, Fault> {
    let statement = format!("update {} set version = version + 1 where tenant_id = $1 and id = $2 returning version", kind.table);
    let version = sqlx::query_scalar(AssertSqlSafe(statement)).bind(ctx.tenant()).bind(id).fetch_optional(tx.conn()).await?;
    version.ok_or_else(|| Fault::not_found(name::format(kind.collection, id)))
}

/// The fact stands behind the place of the record's own fact, since it carries no snapshot.
async fn record<E: rapport_proto::Event>(tx: &mut Tx, ctx: &Ctx, record: Record, event: &E) -> Result<(), Fault> {
    let mut entry = journal::entry(ctx, record, event, Vec::new())?;
    entry.ordinal = ORDINAL;
    sqlx::query("select kit.record($1)").bind(entry).execute(tx.conn()).await?;
    Ok(())
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    subject_id: Uuid,
    subject_kind: String,
    can_write: bool,
    role: String,
    created_by: String,
    created_at: chrono::DateTime<chrono::Utc>,
}

async fn shares(
    tx: &mut Tx,
    ctx: &Ctx,
    record: &str,
    id: Uuid,
    only: Option<Uuid>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<pb::Share>, Fault> {
    let rows: Vec<Row> = sqlx::query_as(
        "select subject_id, subject_kind, can_write, role, created_by, created_at from kit.share
         where tenant_id = $1 and record_id = $2 and ($3::uuid is null or subject_id = $3) and ($4::uuid is null or subject_id > $4)
         order by subject_id limit $5",
    )
    .bind(ctx.tenant())
    .bind(id)
    .bind(only)
    .bind(after)
    .bind(limit)
    .fetch_all(tx.conn())
    .await?;
    let share = |row: Row| pb::Share {
        name: format!("{record}/shares/{}", row.subject_id),
        subject: format!("{}/{}", row.subject_kind, row.subject_id),
        access_level: if row.can_write { pb::AccessLevel::Write } else { pb::AccessLevel::Read }.into(),
        role: row.role,
        creator: row.created_by,
        create_time: Some(clock::timestamp(row.created_at)),
    };
    Ok(rows.into_iter().map(share).collect())
}
