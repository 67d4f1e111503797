//! Keeps the search index: takes records that were written out of the queue and writes their keys.
//!
//! Guarantees: a record is taken out of the queue and its keys are written by one transaction, so that nothing is lost
//! when a process dies; keys of a later version are never replaced by those of an earlier one, however many processes
//! work at once; what came in bulk comes after what somebody changed, which waits for it no longer than for a batch of it,
//! and gives way to jobs that run. At most 500 records are held at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rapport_kit::db::SystemDb;
use rapport_kit::tasks::Tasks;
use rapport_kit::{Fault, Tx};
use uuid::Uuid;

use super::sql::{self, Document, RecordKey};
use super::{Kind, keys};
use crate::account::{self, Account};
use crate::contact::{self, Contact};
use crate::in_bulk::Rest;

const BUSY: Duration = Duration::from_millis(5);
const IDLE: Duration = Duration::from_millis(250);
/// Wait after the database refused or could not be reached.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Rounds after which the queue is read from its beginning.
const ROUNDS: u32 = 64;

/// How far the queue was read, by those that did not come in bulk and those that did. Rows before that are gone but for a
/// few, and going through what is left of them costs more than taking the next; those that were committed late are found
/// from the beginning, again and again.
#[derive(Debug, Default)]
struct Place {
    own: i64,
    bulk: i64,
    rounds: u32,
    /// Whether the index was put in order since anything was written.
    is_settled: bool,
    /// Of what came in bulk.
    rest: Rest,
}

/// Starts keeping the index, until the process ends.
pub fn run(system: &SystemDb, tasks: &Tasks) {
    let (system, waiting) = (system.clone(), tasks.clone());
    tasks.spawn("search index", async move {
        let mut place = Place::default();
        loop {
            let wait = match round(&system, &mut place).await {
                Ok(false) => IDLE,
                Ok(true) => BUSY,
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

/// Indexes the records that wait longest; answers whether there may be more. When none waits, what is to be made again is
/// queued, and after the last of all the index is put in order once.
async fn round(system: &SystemDb, place: &mut Place) -> Result<bool, Fault> {
    let begun = Instant::now();
    let is_resting = !place.rest.is_over();
    let begun_at_beginning = (place.own, place.bulk) == (0, 0);
    if begun_at_beginning && !sql::is_any_waiting(&mut system.conn().await?).await? {
        return finish(system, place).await;
    }
    let own = pass(system, false, &mut place.own).await?;
    let mut bulk = 0;
    if own < sql::FULL && !is_resting {
        bulk = pass(system, true, &mut place.bulk).await?;
        if bulk > 0 {
            place.rest.follow(system, begun).await?;
        }
    }
    place.rounds += 1;
    if place.rounds.is_multiple_of(ROUNDS) {
        (place.own, place.bulk) = (0, 0);
    }
    place.is_settled &= own + bulk == 0;
    Ok(own + bulk > 0 || !begun_at_beginning && !is_resting)
}

/// Indexes those of a lane that wait longest behind row `after`; answers how many there were.
async fn pass(system: &SystemDb, is_bulk: bool, after: &mut i64) -> Result<usize, Fault> {
    let mut tx = system.begin().await?;
    let (records, last) = if is_bulk { sql::take_pieces(&mut tx, *after).await? } else { sql::take(&mut tx, *after).await? };
    if last.is_some() {
        index(&mut tx, &records).await?;
        tx.commit().await?;
    }
    *after = last.unwrap_or_default();
    Ok(records.len())
}

/// What is left to do when nothing waits.
async fn finish(system: &SystemDb, place: &mut Place) -> Result<bool, Fault> {
    let mut tx = system.begin().await?;
    let is_again = sql::queue_again(&mut tx).await?;
    tx.commit().await?;
    if !is_again && !place.is_settled {
        sql::settle(&mut system.conn().await?).await?;
        place.is_settled = true;
    }
    Ok(is_again)
}

async fn index(tx: &mut Tx, taken: &BTreeSet<(String, RecordKey)>) -> Result<(), Fault> {
    let of = |collection: &str| -> Vec<RecordKey> { taken.iter().filter(|(of, _)| of == collection).map(|(_, record)| *record).collect() };
    let accounts = sql::accounts(tx, &of(account::COLLECTION)).await?;
    let contacts = sql::contacts(tx, &of(contact::COLLECTION)).await?;
    let documents = accounts.into_iter().map(|(tenant, record)| of_account(tenant, record));
    let documents = documents.chain(contacts.into_iter().map(|(tenant, record)| of_contact(tenant, record)));
    sql::put(tx, documents.collect()).await
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
