//! A consumer of another team's: writes down every event about contacts, once for each time it takes effect.
//!
//! `RAPPORT_LEDGER` names the database and the names on the broker; with `RAPPORT_LEDGER_FORGETS` set it
//! handles again what it has handled before.

use futures_util::future::BoxFuture;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::inbox::{Consumers, Received};
use rapport_kit::testing::{self, Infra};
use rapport_kit::{App, Fault, Service, Tx, db, name, process};
use rapport_proto::Event;

static MIGRATIONS: db::Migrations = sqlx::migrate!("ledger/migrations");

static LEDGER: Service = Service { name: "ledger", migrations: &MIGRATIONS, methods: &[], descriptors: &[], start: |app| Box::pin(start(app)) };

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let instance = setting("RAPPORT_LEDGER").unwrap_or_default();
    let infra = Infra::from_environment();
    let logins = db::provision(&infra.postgres, "ledger", &format!("ledger_{instance}"), None, &testing::password()).await?;
    db::migrate(&logins.migrator, &MIGRATIONS).await?;
    let running = testing::run(&LEDGER, &infra, &logins, "http://127.0.0.1:9", &format!("{instance}.")).await;
    process::asked_to_end().await?;
    running.stop().await;
    Ok(())
}

async fn start(app: &mut App) -> Result<(), Fault> {
    let consumers = Consumers::new("ledger").on::<contacts::ContactCreated, _>(note).on::<contacts::ContactUpdated, _>(note);
    app.consume(if setting("RAPPORT_LEDGER_FORGETS").is_some() { consumers.forgetful() } else { consumers });
    Ok(())
}

fn note<E: Event + Send + 'static>(tx: &mut Tx, received: Received<E>) -> BoxFuture<'_, Result<(), Fault>> {
    Box::pin(async move {
        let (_, record) = name::split(&received.subject).ok_or_else(|| Fault::argument("EVENT_UNREADABLE", "The event names no record."))?;
        sqlx::query("insert into effects (tenant_id, record_id, version) values ($1, $2, $3)")
            .bind(received.tenant)
            .bind(record)
            .bind(received.version)
            .execute(tx.conn())
            .await?;
        Ok(())
    })
}

#[expect(clippy::disallowed_methods, reason = "a test program is told by the environment")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
