//! The records of a bulk change: chosen, told by a fingerprint, stored in pieces with the job.

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Fault, Tx};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::change::Change;
use crate::layout::Resource;
use crate::{account, contact};

/// Records of a change at most.
pub(super) const MOST: usize = 100_000;
/// Records that a step takes.
const PIECE: usize = 500;

/// The records that a change concerns, in the order of ids; one more than [`MOST`] where there are more.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID); PERMISSION_DENIED (FIELD_HIDDEN); what the database answers.
pub(super) async fn choose(conn: &mut Conn, ctx: &Ctx, change: &Change) -> Result<Vec<Uuid>, Fault> {
    let table = match change.resource {
        Resource::Contact => contact::sql::TABLE,
        Resource::Account => account::sql::TABLE,
    };
    let mut query = QueryBuilder::new(format!("select c.id from {} c where c.tenant_id = ", change.resource.collection()));
    query.push_bind(ctx.tenant()).push(" and c.deleted_at is null");
    match change.resource {
        Resource::Contact => contact::list::narrow(&mut query, ctx, &change.filter)?,
        Resource::Account => account::list::narrow(&mut query, ctx, &change.filter)?,
    }
    for permission in [change.resource.read_permission(), change.permission()] {
        ctx.scope_of(permission).push(&mut query, table);
    }
    if let Some(ids) = &change.ids {
        query.push(" and c.id = any(").push_bind(ids.clone()).push(")");
    }
    query.push(format_args!(" order by c.id limit {}", MOST + 1));
    Ok(query.build_query_scalar().fetch_all(conn).await?)
}

/// Stands for a change and its records; nobody can make one without having been shown it.
pub(super) fn token(ctx: &Ctx, change: &pb::BulkChange, ids: &[Uuid]) -> String {
    let ids: Vec<u8> = ids.iter().flat_map(Uuid::as_bytes).copied().collect();
    let mac = ctx.call().sealer.mac(&[b"bulk change", ctx.tenant().as_bytes(), &change.encode_to_vec(), &ids]);
    mac.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Stores the records of a job that is started in this transaction, and takes away what ended jobs have left.
///
/// # Errors
/// What the database answers.
pub(super) async fn store(tx: &mut Tx, ctx: &Ctx, job: Uuid, ids: &[Uuid]) -> Result<(), Fault> {
    sqlx::query!(
        "delete from bulk_set s where s.tenant_id = $1
           and not exists (select from kit.job j where j.tenant_id = s.tenant_id and j.id = s.job_id and j.state in (1, 2))",
        ctx.tenant()
    )
    .execute(tx.conn())
    .await?;
    for (place, piece) in (0_i32..).zip(ids.chunks(PIECE)) {
        sqlx::query!("insert into bulk_set (tenant_id, job_id, place, record_ids) values ($1, $2, $3, $4)", ctx.tenant(), job, place, piece)
            .execute(tx.conn())
            .await?;
    }
    Ok(())
}

/// What is left of a job's records.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Where the first piece stands.
    pub(super) place: i32,
    /// The first piece; empty if nothing is left.
    pub(super) ids: Vec<Uuid>,
    /// How many records are left, those of the piece among them.
    pub(super) count: i64,
}

/// What is left of a job's records.
///
/// # Errors
/// What the database answers.
pub(super) async fn left(conn: &mut Conn, ctx: &Ctx, job: Uuid) -> Result<Left, Fault> {
    let first = sqlx::query!(
        r#"select place, record_ids,
             (select sum(cardinality(record_ids)) from bulk_set where tenant_id = $1 and job_id = $2) as "count!"
           from bulk_set where tenant_id = $1 and job_id = $2 order by place limit 1"#,
        ctx.tenant(),
        job
    )
    .fetch_optional(conn)
    .await?;
    Ok(first.map(|first| Left { place: first.place, ids: first.record_ids, count: first.count }).unwrap_or_default())
}

/// Leaves `again` of the piece at `place`, or nothing of it.
///
/// # Errors
/// What the database answers.
pub(super) async fn keep(tx: &mut Tx, ctx: &Ctx, job: Uuid, place: i32, again: &[Uuid]) -> Result<(), Fault> {
    if again.is_empty() {
        sqlx::query!("delete from bulk_set where tenant_id = $1 and job_id = $2 and place = $3", ctx.tenant(), job, place).execute(tx.conn()).await?;
        return Ok(());
    }
    sqlx::query!("update bulk_set set record_ids = $4 where tenant_id = $1 and job_id = $2 and place = $3", ctx.tenant(), job, place, again)
        .execute(tx.conn())
        .await?;
    Ok(())
}
