//! Deliveries as they come: each is handled, held behind an earlier one of its record, or buried.

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, TimeDelta};
use futures_util::FutureExt;
use prometheus::IntGauge;
use uuid::Uuid;

use super::held::{self, Held};
use super::{Consumers, FIRST_WAIT, LONGEST_WAIT, key, passes, subject, tenant};
use crate::bus::Delivery;
use crate::clock;
use crate::db::{Db, Tx};
use crate::fault::Fault;
use crate::metrics;
use crate::tasks::{Tasks, Window};

/// Takes charge of an event: whether it is new here, and whether an earlier one of its record is held. The lock
/// on the first held one lasts until the event stands behind it, so that whoever ends the first finds the next.
const TAKE: &str = "
    with taken as (
      insert into kit.inbox (tenant_id, consumer, event_id) values ($1, $2, $3) on conflict do nothing returning 1
    ), ahead as (
      select 1 from kit.dead_letter where tenant_id = $1 and consumer = $2 and subject = $4 order by seq limit 1 for share
    )
    select exists (select from taken), exists (select from ahead)";

impl Consumers {
    /// Handles deliveries in order; answers how many are done.
    pub(super) async fn handle(&self, db: &Db, tasks: &Tasks, deliveries: Vec<Delivery>) -> usize {
        let mut done = 0;
        while let Some(first) = deliveries.get(done) {
            tell_age(first);
            // As many of one tenant as follow each other share a transaction; if that fails, one at a time.
            let tenant = tenant(first);
            let run = deliveries.iter().skip(done).take_while(|delivery| super::tenant(delivery) == tenant).count();
            let together = deliveries.get(done..done + run).unwrap_or_default();
            if run > 1 && self.attempt(db, tasks, together).await.is_ok() {
                done += run;
                continue;
            }
            if !self.one(db, tasks, first).await {
                return done;
            }
            done += 1;
        }
        for delivery in deliveries.iter().take(done) {
            metrics::inbox_delay().observe(age(delivery).as_seconds_f64());
        }
        if let Some(last) = deliveries.last() {
            inbox_age(last).set(0);
        }
        done
    }

    /// Handles one delivery until it is done or dead; false if the process stops first.
    async fn one(&self, db: &Db, tasks: &Tasks, delivery: &Delivery) -> bool {
        let mut wait = FIRST_WAIT;
        let mut attempts = 0;
        loop {
            let fault = match self.attempt(db, tasks, std::slice::from_ref(delivery)).await {
                Ok(()) => return true,
                Err(fault) => fault,
            };
            attempts += 1;
            if !passes(&fault, attempts) {
                match self.bury(db, delivery, &fault, attempts).await {
                    Ok(()) => return true,
                    Err(error) => tracing::warn!(%error, "a dead letter could not be stored; trying again"),
                }
            }
            tell_age(delivery);
            tracing::warn!(event = delivery.id, %fault, "an event could not be handled yet");
            if !tasks.pause(wait).await {
                return false;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&self, db: &Db, tasks: &Tasks, deliveries: &[Delivery]) -> Result<(), Fault> {
        survived(self.commit(db, tasks, deliveries)).await
    }

    /// Inbox rows and effects of deliveries of one tenant, in one transaction.
    async fn commit(&self, db: &Db, tasks: &Tasks, deliveries: &[Delivery]) -> Result<(), Fault> {
        let Some(tenant) = deliveries.first().and_then(tenant) else {
            return Err(Fault::argument("EVENT_UNREADABLE", "The event names no tenant."));
        };
        let mut tx = db.begin_for(tenant).await?;
        for delivery in deliveries {
            let (is_new, is_behind) = self.take(&mut tx, tenant, delivery).await?;
            if !is_new {
                metrics::duplicate_events().inc();
                continue;
            }
            // A binding can outlive its reaction by one release; such an event has no effect here.
            let Some(reaction) = self.reactions.get(key(&delivery.routing_key)) else { continue };
            if is_behind {
                held::hold(&mut tx, tenant, &self.service, delivery, Held::Waiting).await?;
            } else {
                reaction(&mut tx, delivery, tenant).await?;
            }
        }
        tasks.at(Window::BeforeCommit).await;
        tx.commit().await
    }

    async fn take(&self, tx: &mut Tx, tenant: Uuid, delivery: &Delivery) -> Result<(bool, bool), Fault> {
        let taken = sqlx::query_as(TAKE).bind(tenant).bind(&self.service).bind(&delivery.id).bind(subject(delivery));
        let (is_new, is_behind): (bool, bool) = taken.fetch_one(tx.conn()).await?;
        Ok((is_new || !self.remembers, is_behind))
    }

    async fn bury(&self, db: &Db, delivery: &Delivery, fault: &Fault, attempts: i32) -> Result<(), Fault> {
        let tenant = tenant(delivery).unwrap_or(Uuid::nil());
        let mut tx = db.begin_for(tenant).await?;
        let (is_new, is_behind) = self.take(&mut tx, tenant, delivery).await?;
        if is_new {
            let reason = fault.to_string();
            let held = if is_behind { Held::Waiting } else { Held::Dead { reason: &reason, attempts } };
            held::hold(&mut tx, tenant, &self.service, delivery, held).await?;
        }
        tx.commit().await?;
        held::tell(&delivery.id, fault);
        Ok(())
    }
}

/// How long ago the change happened that the event tells of; nothing if it does not say when.
fn age(delivery: &Delivery) -> TimeDelta {
    let recorded = delivery.headers.get("cloudEvents:time").and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    recorded.map_or(TimeDelta::zero(), |recorded| (clock::now() - recorded.to_utc()).max(TimeDelta::zero()))
}

fn inbox_age(delivery: &Delivery) -> IntGauge {
    let partition = delivery.routing_key.rsplit_once('.').map_or("", |(_, partition)| partition);
    metrics::inbox_age().with_label_values(&[partition])
}

/// The event that is at hand now: while it cannot be handled its age grows, and everything behind it waits.
fn tell_age(delivery: &Delivery) {
    inbox_age(delivery).set(age(delivery).num_milliseconds());
}

/// Ends, or answers the fault; a panic is one too, because a dead consumer would hold its partition up.
pub(super) async fn survived(commit: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    AssertUnwindSafe(commit).catch_unwind().await.unwrap_or_else(|_| {
        metrics::panics().inc();
        Err(Fault::internal("a reaction panicked"))
    })
}
