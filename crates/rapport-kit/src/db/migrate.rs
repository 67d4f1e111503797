//! Brings a database to the level of this build: the kit's own migrations, then the service's.
//!
//! Guarantees: one migrator at a time; the lock is taken by asking again and again, because a session that
//! waits inside the server holds a snapshot and would deadlock with concurrent index builds. Migrations of a newer
//! build stay as they are: a release that was taken back works on the schema that it finds.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

use crate::fault::Fault;

const LOCK_WAIT: Duration = Duration::from_secs(120);

/// The migrations of one service; `sqlx::migrate!()` makes them.
pub type Migrations = Migrator;

static KIT: Migrator = sqlx::migrate!();

fn kit() -> Migrator {
    let mut kit = Migrator { migrations: KIT.migrations.clone(), ..Migrator::DEFAULT };
    kit.create_schema("kit");
    kit.dangerous_set_table_name("kit._migrations");
    kit.set_locking(false);
    kit.set_ignore_missing(true);
    kit
}

fn own(migrations: &Migrations) -> Migrator {
    let mut own = Migrator { migrations: migrations.migrations.clone(), ..Migrator::DEFAULT };
    own.set_locking(false);
    own.set_ignore_missing(true);
    own
}

/// Applies what is missing, as the owner of the schema. Safe to run by several processes at once.
///
/// # Errors
/// UNAVAILABLE (MIGRATION_LOCKED) if another migrator holds the lock for two minutes; FAILED_PRECONDITION
/// (MIGRATION_CHANGED) if the database was made with another text of one of them; what the database answers.
pub async fn migrate(url: &SecretString, migrations: &Migrations) -> Result<(), Fault> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    let mut connection = options.connect().await?;
    lock(&mut connection).await?;
    kit().run(&mut connection).await.map_err(failed)?;
    own(migrations).run(&mut connection).await.map_err(failed)?;
    connection.execute("grant select on kit._migrations, public._sqlx_migrations to rapport_app, rapport_system").await?;
    connection.close().await?;
    Ok(())
}

fn failed(error: MigrateError) -> Fault {
    match error {
        MigrateError::VersionMismatch(version) => Fault::precondition(
            "MIGRATION_CHANGED",
            format!(
                "The database was made with another text of migration {version}. Run the release that made it; on a development machine \
                 delete its data (`scripts/infra wipe dev`)."
            ),
        ),
        other => Fault::internal(other),
    }
}

async fn lock(connection: &mut PgConnection) -> Result<(), Fault> {
    let begun = Instant::now();
    loop {
        let locked: bool =
            sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('rapport.migrate', 0))").fetch_one(&mut *connection).await?;
        if locked {
            return Ok(());
        }
        if begun.elapsed() > LOCK_WAIT {
            return Err(Fault::unavailable("MIGRATION_LOCKED", "Another migration of this database has not ended within two minutes."));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How many migrations of this build the database lacks. Needs only the application role.
///
/// # Errors
/// What the database answers.
pub async fn pending(connection: &mut super::Conn, migrations: &Migrations) -> Result<usize, Fault> {
    let mut missing = 0;
    for (table, migrator) in [("kit._migrations", &KIT), ("public._sqlx_migrations", migrations)] {
        let level = level(connection, table).await?;
        missing += migrator.iter().filter(|migration| migration.version > level).count();
    }
    Ok(missing)
}

/// The newest migrations of the kit and of the service that the database has. Needs only the application role.
pub(crate) async fn levels(connection: &mut super::Conn) -> Result<[(&'static str, i64); 2], Fault> {
    Ok([("kit", level(connection, "kit._migrations").await?), ("service", level(connection, "public._sqlx_migrations").await?)])
}

async fn level(connection: &mut super::Conn, table: &str) -> Result<i64, Fault> {
    let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(0);
    }
    let query = if table == "kit._migrations" {
        "select coalesce(max(version), 0) from kit._migrations where success"
    } else {
        "select coalesce(max(version), 0) from public._sqlx_migrations where success"
    };
    Ok(sqlx::query_scalar(query).fetch_one(&mut *connection).await?)
}

/// Checksums of the kit's and the service's migrations, one after the other: names a schema's state.
#[cfg(feature = "testing")]
pub(crate) fn checksums(migrations: &Migrations) -> Vec<u8> {
    KIT.iter().chain(migrations.iter()).flat_map(|migration| migration.checksum.iter().copied()).collect()
}
