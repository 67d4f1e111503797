//! The journal holds everything: every table of every service is made again from the last snapshots of its
//! records, and is row for row the one that is there.
//!
//! What is left out stands below with its reason. A table that is neither rebuilt nor left out, or a column
//! that a decoder forgets, fails here.

mod contacts;
mod identity;
mod journal;
mod load;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use rapport_kit::testing::eventually;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::office::{Office, superuser};

/// Rows as JSON objects, by table.
type Rows = BTreeMap<&'static str, Vec<Value>>;

/// Tables that no record is kept in.
const LEFT_OUT: &[(&str, &str)] = &[
    ("kit.journal", "the source"),
    ("kit.outbox", "what the broker has not confirmed yet"),
    ("kit.bound_key", "what consumers were bound to; learned again at their start"),
    ("kit.claimed_key", "what consumers have asked for; learned again from the broker"),
    ("kit.unclaimed_key", "what nobody has asked for yet"),
    ("kit.idempotency", "answers for a day"),
    ("kit.inbox", "what was handled; not a record"),
    ("kit.dead_letter", "events of others that wait for a decision"),
    ("kit.job", "work under way, which moves with every step; its beginnings and ends are journaled"),
    ("kit.file", "what jobs read and leave for some weeks"),
    ("kit.file_chunk", "the bytes of files"),
    ("kit.lease", "who does what for the next seconds"),
    ("kit.seal", "the checkpoints over the journal"),
    ("kit.signing_keys", "identity's published keys; asked for again"),
    ("kit.access_log", "reads and refusals, which change no record"),
    ("kit.policy_cursor", "a place in identity's journal"),
    ("kit.policy_tenant", "the copy of identity's policy, which the feed reads again"),
    ("kit.policy_unit", "the same"),
    ("kit.unit_ancestor", "the same"),
    ("kit.policy_team", "the same"),
    ("kit.team_member", "the same"),
    ("kit.policy_subject", "the same"),
    ("kit.policy_role", "the same"),
    ("kit.policy_revoked_session", "the same, for an hour"),
    ("public.bulk_set", "what is left to be done of bulk changes under way"),
    ("public.search_again", "which tenants' keys are made again"),
    ("public.search_queue", "what the search index has not taken in yet"),
    ("public.search_bulk", "what came in bulk and it has not taken in yet"),
    ("public.duplicate_queue", "what has not been compared yet"),
    ("public.duplicate_bulk", "what came in bulk and has not been compared yet"),
    ("public.duplicate_keys", "keys of records; a row in the queue makes them again"),
    ("public.duplicate_keyed", "which version of a record they are of"),
    ("public.duplicate_pairs", "found again by comparing; what people said of them is journaled"),
    ("public.import_reports", "what imports counted; the journal has what they did"),
    ("public.import_keys", "what the rows of running imports were about"),
    ("public.import_links", "the same"),
    ("public.import_pieces", "rows of sheets whose import runs"),
    ("kit._migrations", "the schema's level"),
    ("public._sqlx_migrations", "the schema's level"),
];
const LEFT_OUT_OF_IDENTITY: &[(&str, &str)] = &[
    ("kit.share", "identity's records are not shared"),
    ("public.session", "journaled when it ends; people sign in again"),
    ("public.sign_in_failure", "the count of the last failures"),
    ("public.signing_key", "the installation's secret, sealed; made anew"),
    ("public.signing_key_rotation", "answers to an operator for a day"),
];

/// Columns of rebuilt tables that the journal does not hold.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("public.number_series", "next", "a counter; goes on above the highest number that an account has"),
    ("public.search_doc", "version", "of the record's last write of its own; a share is no such"),
    ("public.users", "password_hash", "a secret"),
    ("public.api_key", "secret_hash", "a secret"),
    ("public.api_key", "last_use_at", "changes with every use, to the minute, and is no change of the key"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_made_again_from_the_journal_row_for_row() {
    let office = Office::open().await;
    load::run(&office).await;
    let [identity, contacts] = office.databases.as_slice() else { panic!("two databases") };
    let (mut identity, mut contacts) = (superuser(identity).await, superuser(contacts).await);
    eventually("contacts knows the legal entities", async || {
        let known = entities(&mut superuser(&office.databases[1]).await, "public.legal_entities").await;
        (known == entities(&mut superuser(&office.databases[0]).await, "public.legal_entity").await).then_some(())
    })
    .await;

    eventually("the search index has taken everything in", async || {
        let waiting: i64 = sqlx::query_scalar("select (select count(*) from search_queue) + (select count(*) from search_bulk)")
            .fetch_one(&mut superuser(&office.databases[1]).await)
            .await
            .ok()?;
        (waiting == 0).then_some(())
    })
    .await;

    let of_identity = journal::records(&mut identity).await;
    let of_contacts = journal::records(&mut contacts).await;
    let left_out: Vec<&str> = LEFT_OUT.iter().chain(LEFT_OUT_OF_IDENTITY).map(|(table, _)| *table).collect();
    let mut problems = compare(&mut identity, identity::rows(&of_identity), &left_out).await;
    let left_out: Vec<&str> = LEFT_OUT.iter().map(|(table, _)| *table).collect();
    problems.extend(compare(&mut contacts, contacts::rows(&of_contacts, &of_identity), &left_out).await);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What differs between the rebuilt tables and those that are there.
async fn compare(conn: &mut PgConnection, rows: Rows, left_out: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%s.%s', relnamespace::regnamespace, relname) from pg_class
         where relkind in ('r', 'p') and not relispartition and relnamespace in ('kit'::regnamespace, 'public'::regnamespace) order by 1",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("an answer");
    let known: BTreeSet<&str> = rows.keys().chain(left_out).copied().collect();
    problems.extend(tables.iter().filter(|table| !known.contains(table.as_str())).map(|table| format!("{table}: neither rebuilt nor left out")));
    sqlx::query("create schema rebuilt").execute(&mut *conn).await.expect("a schema for the rebuilt tables");
    for (table, rows) in rows {
        problems.extend(differences(conn, table, rows).await);
    }
    problems
}

async fn differences(conn: &mut PgConnection, table: &str, rows: Vec<Value>) -> Vec<String> {
    let rebuilt = table.rsplit('.').next().unwrap_or(table);
    for (statement, bound) in [
        (format!("create table rebuilt.{rebuilt} as select * from {table} with no data"), None),
        (format!("insert into rebuilt.{rebuilt} select * from jsonb_populate_recordset(null::rebuilt.{rebuilt}, $1)"), Some(Value::Array(rows))),
    ] {
        let query = sqlx::query(AssertSqlSafe(statement));
        let query = if let Some(rows) = bound { query.bind(rows) } else { query };
        query.execute(&mut *conn).await.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    let without: Vec<&str> = COLUMNS.iter().filter(|(of, _, _)| *of == table).map(|(_, column, _)| *column).collect();
    let (live, made) = (
        format!("select to_jsonb(t) - $1::text[] as row from {table} t"),
        format!("select to_jsonb(t) - $1::text[] as row from rebuilt.{rebuilt} t"),
    );
    let compare = format!(
        "select format('lost by the journal: %s', row) from ({live} except all {made}) lost
         union all select format('only in the journal: %s', row) from ({made} except all {live}) surplus order by 1"
    );
    let mut found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(compare)).bind(&without).fetch_all(&mut *conn).await.expect("an answer");
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}"))).fetch_one(&mut *conn).await.expect("an answer");
    if count == 0 {
        found.push("has no rows: the load proves nothing about it".to_owned());
    }
    found.into_iter().map(|problem| format!("{table}: {problem}")).collect()
}

async fn entities(conn: &mut PgConnection, table: &str) -> Vec<(uuid::Uuid, i64)> {
    sqlx::query_as(AssertSqlSafe(format!("select id, version from {table} order by id"))).fetch_all(conn).await.expect("an answer")
}
