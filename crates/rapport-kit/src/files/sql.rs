//! Every statement about files and their chunks.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{File, MOST};
use crate::access::{Scope, Table};
use crate::ctx::Ctx;
use crate::db::{Conn, SystemDb};
use crate::fault::Fault;
use crate::journal::Entry;

/// Files that retention removes with one statement: each may have a thousand chunks.
pub(crate) const PIECE: u64 = 50;
const SELECT: &str = "select f.tenant_id, f.id, f.version, f.state, f.owner_id, f.owner, f.display_name, f.media_type, f.size, f.stored, f.sha256,
    f.permission, f.created_at, f.completed_at, f.expires_at from kit.file f where f.tenant_id = ";
/// Where access looks.
const TABLE: Table = Table { tenant: "f.tenant_id", id: "f.id", owner: "f.owner_id" };

/// The file, if it is in `scope`.
pub(crate) async fn find(conn: &mut Conn, ctx: &Ctx, scope: &Scope, id: Uuid) -> Result<Option<File>, Fault> {
    let mut query = QueryBuilder::<Postgres>::new(SELECT);
    query.push_bind(ctx.tenant()).push(" and f.id = ").push_bind(id);
    scope.push(&mut query, TABLE);
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// The file, for work that was let at it before.
pub(super) async fn get(conn: &mut Conn, tenant: Uuid, id: Uuid) -> Result<Option<File>, Fault> {
    let mut query = QueryBuilder::<Postgres>::new(SELECT);
    query.push_bind(tenant).push(" and f.id = ").push_bind(id);
    Ok(query.build_query_as().fetch_optional(conn).await?)
}

/// Stores a new file with its journal entry, if there is `room`: bytes of all the tenant's files, this one among them;
/// none asks for no room. Answers whether.
pub(crate) async fn insert(conn: &mut Conn, file: &File, room: Option<i64>, entry: Entry) -> Result<bool, Fault> {
    let stored = sqlx::query(
        "with w as (
           insert into kit.file (tenant_id, id, owner_id, owner, display_name, media_type, size, created_at, expires_at, permission)
           select $1, $2, $3, $4, $5, $6, $7, $8, $9, $13
           where $10 is null or (select count(*) < $11 and coalesce(sum(coalesce(size, stored)), 0) <= $10 - $7 from kit.file where tenant_id = $1)
           returning 1
         ) select kit.record($12) from w",
    )
    .bind(file.tenant_id)
    .bind(file.id)
    .bind(file.owner_id)
    .bind(&file.owner)
    .bind(&file.display_name)
    .bind(&file.media_type)
    .bind(file.size)
    .bind(file.created_at)
    .bind(file.expires_at)
    .bind(room)
    .bind(MOST)
    .bind(entry)
    .bind(&file.permission)
    .fetch_optional(conn)
    .await?;
    Ok(stored.is_some())
}

/// Appends a chunk of an upload if it begins where the stored bytes end and the file is long enough; answers whether.
pub(crate) async fn append_at(conn: &mut Conn, file: &File, offset: i64, bytes: &[u8]) -> Result<bool, Fault> {
    let done = sqlx::query(
        "with grown as (
           update kit.file set stored = stored + length($4)
           where tenant_id = $1 and id = $2 and state = 1 and stored = $3 and stored + length($4) <= size returning 1
         ) insert into kit.file_chunk (tenant_id, file_id, start, bytes) select $1, $2, $3, $4 from grown",
    )
    .bind(file.tenant_id)
    .bind(file.id)
    .bind(offset)
    .bind(bytes)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Appends to a file of a job; false if it is gone or complete, or would take more than `most` bytes.
pub(super) async fn append(conn: &mut Conn, tenant: Uuid, id: Uuid, bytes: &[u8], most: i64) -> Result<bool, Fault> {
    let done = sqlx::query(
        "with grown as (
           update kit.file set stored = stored + length($3)
           where tenant_id = $1 and id = $2 and state = 1 and size is null and stored + length($3) <= $4 returning stored
         ) insert into kit.file_chunk (tenant_id, file_id, start, bytes) select $1, $2, stored - length($3), $3 from grown",
    )
    .bind(tenant)
    .bind(id)
    .bind(bytes)
    .bind(most)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The rest of the chunk that has the byte at `offset`, `most` bytes of it, nothing past the end; none if there is no such
/// file.
pub(super) async fn read_at(conn: &mut Conn, tenant: Uuid, id: Uuid, offset: i64, most: usize) -> Result<Option<Vec<u8>>, Fault> {
    let bytes: Option<Option<Vec<u8>>> = sqlx::query_scalar(
        "select (select substr(bytes, ($3 - start + 1)::integer, $4) from kit.file_chunk
           where tenant_id = $1 and file_id = $2 and start <= $3 and start > $3 - 1048576 order by start desc limit 1)
         from kit.file where tenant_id = $1 and id = $2",
    )
    .bind(tenant)
    .bind(id)
    .bind(offset)
    .bind(i32::try_from(most).map_err(Fault::internal)?)
    .fetch_optional(conn)
    .await?;
    Ok(bytes.map(Option::unwrap_or_default))
}

/// Stores that a file is complete with its journal entry, if nothing was appended since; answers whether.
pub(crate) async fn complete(conn: &mut Conn, file: &File, entry: Entry) -> Result<bool, Fault> {
    let done = sqlx::query(
        "with w as (
           update kit.file set state = 2, version = $3, size = $4, sha256 = $5, completed_at = $6, expires_at = $7
           where tenant_id = $1 and id = $2 and version = $3 - 1 and state = 1 and stored = $4 returning 1
         ) select kit.record($8) from w",
    )
    .bind(file.tenant_id)
    .bind(file.id)
    .bind(file.version)
    .bind(file.size)
    .bind(&file.sha256)
    .bind(file.completed_at)
    .bind(file.expires_at)
    .bind(entry)
    .fetch_optional(conn)
    .await?;
    Ok(done.is_some())
}

/// Deletes the file with its chunks, under its journal entry, if it is as it was; answers whether.
pub(crate) async fn delete(conn: &mut Conn, file: &File, entry: Entry) -> Result<bool, Fault> {
    let done =
        sqlx::query("with w as (delete from kit.file where tenant_id = $1 and id = $2 and version = $3 returning 1) select kit.record($4) from w")
            .bind(file.tenant_id)
            .bind(file.id)
            .bind(file.version)
            .bind(entry)
            .fetch_optional(conn)
            .await?;
    Ok(done.is_some())
}

/// The time is asked for again where a row is deleted: an upload may have been completed in between. What a job still
/// has to read or is writing stays.
const PURGE: &str = "delete from kit.file where expires_at < now() and ctid = any(array(
    select ctid from kit.file f where expires_at < now() and not exists (
      select from kit.job j where j.tenant_id = f.tenant_id and j.state in (1, 2) and f.id = any(j.input_ids || j.output_ids))
    limit $1))";

/// Removes files whose time is over, [`PIECE`] at most; answers how many.
pub(crate) async fn purge(db: &SystemDb) -> Result<u64, Fault> {
    let most = i64::try_from(PIECE).map_err(Fault::internal)?;
    let done = sqlx::query(PURGE).bind(most).execute(&mut db.conn().await?).await?;
    Ok(done.rows_affected())
}
