//! Keeps the search index: takes records that were written out of the queue and writes their keys.
//!
//! Guarantees: a record is taken out of the queue and its keys are written by one transaction, so that nothing is lost
//! when a process dies; keys of a later version are never replaced by those of an earlier one, however many processes
//! work at once. At most 500 records are held at a time.

use std::time::Duration;

use rapport_kit::Fault;
use rapport_kit::db::SystemDb;
use rapport_kit::tasks::Tasks;
use uuid::Uuid;

use super::sql::{self, Document, RecordKey};
use super::{Kind, keys};
use crate::account::{self, Account};
use crate::contact::{self, Contact};

const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(250);
/// Wait after the database refused or could not be reached.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Starts keeping the index, until the process ends.
pub fn run(system: &SystemDb, tasks: &Tasks) {
    let (system, waiting) = (system.clone(), tasks.clone());
    tasks.spawn("search index", async move {
        loop {
            let wait = match round(&system).await {
                Ok(0) => IDLE,
                Ok(_) => BUSY,
                Err(error) => {
                    tracing::warn!(%error, "changed records could not be indexed for search; they are tried again");
                    BACK_OFF
                }
            };
            if !waiting.pause(wait).await {
                return;
            }
        }
    });
}

/// Indexes the records that wait longest; answers how many there were.
async fn round(system: &SystemDb) -> Result<usize, Fault> {
    if !sql::is_any_waiting(&mut system.conn().await?).await? {
        return Ok(0);
    }
    let mut tx = system.begin().await?;
    let taken = sql::take(&mut tx).await?;
    let of = |collection: &str| -> Vec<RecordKey> { taken.iter().filter(|(of, _)| of == collection).map(|(_, record)| *record).collect() };
    let accounts = sql::accounts(&mut tx, &of(account::COLLECTION)).await?;
    let contacts = sql::contacts(&mut tx, &of(contact::COLLECTION)).await?;
    let documents = accounts.into_iter().map(|(tenant, record)| of_account(tenant, record));
    let documents = documents.chain(contacts.into_iter().map(|(tenant, record)| of_contact(tenant, record)));
    sql::put(&mut tx, documents.collect()).await?;
    tx.commit().await?;
    Ok(taken.len())
}

fn of_account(tenant: Uuid, account: Account) -> Document {
    let (id, version, owner, updated_at) = (account.id(), account.version(), account.details().owner.id, account.updated_at());
    let keys = keys::of_account(tenant, &account::convert::to_proto(account));
    Document { record: (tenant, id), kind: Kind::Account, version, owner, updated_at, keys }
}

fn of_contact(tenant: Uuid, contact: Contact) -> Document {
    let (id, version, owner, updated_at) = (contact.id(), contact.version(), contact.details().owner.id, contact.updated_at());
    let keys = keys::of_contact(tenant, &contact::convert::to_proto(contact));
    Document { record: (tenant, id), kind: Kind::Contact, version, owner, updated_at, keys }
}
