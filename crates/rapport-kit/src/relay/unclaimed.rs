//! Events that nobody asks for yet: passed over now, sent as soon as a first consumer asks.
//!
//! Guarantees: an event that was passed over reaches the first consumer of its key if it is younger than a bound in
//! days. Keys are claimed once for a publisher and not by each consumer: a later consumer of a key gets what is recorded
//! after it has bound, and reads what was before from the publisher.
//!
//! Of a key that nobody asks for, one row is kept and its first event published again now and then; the journal keeps the
//! rest. The first event goes out before any other of its key, and while a key has a row no event of it leaves by the way
//! of others, so that the ones after it cannot overtake: a replay puts the events back into the outbox in the order of
//! their ids, which is the order of a record's versions, and the key's row goes with its last piece. A process may die at
//! any moment: what is put back twice comes twice, which inboxes absorb.
//!
//! All keys are asked for in the order of their first events until one is wanted, and replayed together a moment later,
//! so that the events of a record stay in order over the keys that found their consumer together; those that still come
//! back leave the replay. Over other keys there is no such order. A key that finds its first consumer after another key
//! was claimed brings its old events after newer ones of the other; so does a key that a consumer binds later than that
//! moment after its first one; and a consumer that has bound one key and not yet the next when it is asked can get the
//! first event of a key before earlier ones of its record. Reactions over several keys compare versions.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{Relay, Row};
use crate::bus::Outcome;
use crate::db::Conn;
use crate::fault::Fault;
use crate::metrics;
use crate::tasks::{Tasks, Window};

/// How old the knowledge of keys may be.
const FRESH: Duration = Duration::from_secs(1);
/// First and longest wait between two probes of keys of which no event came since.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Wait before the next probe of a key of which an event came.
const SOON: Duration = Duration::from_secs(2);
/// Time in which a consumer that is starting binds its other keys and partitions too.
const BINDING: Duration = Duration::from_secs(1);
/// Keys probed in one round, far more than a service has.
const PROBES: i64 = 100;
/// Ids of the journal that one piece of a replay goes through.
const PIECE: i64 = 1_000;
/// Ids of the journal that keys look through for younger first events, in one round.
const LOOK: i64 = 10_000;
/// Rows of bulk work in the outbox beyond which a replay waits.
const ROOM: i64 = 5_000;

/// What is known of event keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Those that a queue wanted at least once.
    claimed: HashSet<String>,
    /// Those that have a row, and the id through which their events are back in the outbox, if they are replayed.
    unclaimed: HashMap<String, Option<i64>>,
    read_at: Option<Instant>,
}

impl Keys {
    /// Whether a queue wanted this key at least once.
    pub(super) fn is_claimed(&self, key: &str) -> bool {
        self.claimed.contains(key)
    }

    /// Whether no queue wanted this key so far and no replay is about to ask for its events.
    fn is_wanted_by_nobody(&self, key: &str) -> bool {
        !self.is_claimed(key) && self.unclaimed.get(key).is_none_or(Option::is_none)
    }

    /// Whether a replay has yet to come to the event of this key and id.
    pub(super) fn is_passed_over(&self, key: &str, id: i64) -> bool {
        self.unclaimed.get(key).is_some_and(|through| through.is_none_or(|through| id > through))
    }

    /// Reads the keys if what is known may be old; answers whether it did.
    pub(super) async fn refresh(&mut self, conn: &mut Conn) -> Result<bool, Fault> {
        if self.read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(false);
        }
        self.read(conn).await?;
        Ok(true)
    }

    /// Has the keys read before they are used again.
    pub(super) fn forget(&mut self) {
        self.read_at = None;
    }

    async fn read(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let claimed: Vec<String> = sqlx::query_scalar("select key from kit.claimed_key").fetch_all(&mut *conn).await?;
        let unclaimed: Vec<(String, Option<i64>)> =
            sqlx::query_as("select key, replayed_through from kit.unclaimed_key").fetch_all(&mut *conn).await?;
        self.claimed = claimed.into_iter().collect();
        self.unclaimed = unclaimed.into_iter().collect();
        self.read_at = Some(Instant::now());
        Ok(())
    }
}

/// Gives keys that nobody claimed their row, or lowers the row's first event. A key whose event came back ($5) leaves the
/// replay.
const REMEMBER: &str = "
    insert into kit.unclaimed_key as known (key, first_id, first_xid, first_recorded_at, probe_at)
    select distinct on (r.key) r.key, o.id, o.xid, o.recorded_at, now() + make_interval(secs => $6)
    from unnest($1::smallint[], $2::boolean[], $3::bigint[], $4::text[]) r (shard, bulk, id, key)
    join kit.outbox o on o.shard = r.shard and o.bulk = r.bulk and o.id = r.id
    where not exists (select from kit.claimed_key c where c.key = r.key)
    order by r.key, o.id
    on conflict (key) do update set
      replayed_through = case when $5::boolean then null else known.replayed_through end,
      first_id = least(known.first_id, excluded.first_id),
      first_xid = case when excluded.first_id < known.first_id then excluded.first_xid else known.first_xid end,
      first_recorded_at = case when excluded.first_id < known.first_id then excluded.first_recorded_at else known.first_recorded_at end,
      probe_at = least(known.probe_at, excluded.probe_at)
    where $5::boolean or excluded.first_id < known.first_id or excluded.probe_at < known.probe_at";

/// Takes rows out of the outbox that a replay will come to. The lock keeps the replay from going past them meanwhile.
const PASS_OVER: &str = "
    with known as (
      select key, coalesce(replayed_through, first_id - 1) as place from kit.unclaimed_key where key = any($4::text[]) order by key for share)
    delete from kit.outbox o using unnest($1::smallint[], $2::boolean[], $3::bigint[], $4::text[]) r (shard, bulk, id, key), known
    where o.shard = r.shard and o.bulk = r.bulk and o.id = r.id and known.key = r.key and r.id > known.place
    returning o.id";

/// The first events of keys, as rows of the outbox.
const FIRST_EVENTS: &str = "
    select kit.shard(j.record_id) as shard, true as bulk, j.id, j.tenant_id, j.record_type, j.record_id, j.version, j.ordinal, j.fact,
      j.message_type, j.message, j.actor, j.request_id, j.trace_id, j.era, j.recorded_at
    from kit.unclaimed_key u
    join kit.journal j on j.xid = u.first_xid and j.id = u.first_id and j.recorded_at = u.first_recorded_at
    where u.replayed_through is null and u.first_recorded_at >= now() - make_interval(days => $1)
    order by j.id limit $2";

/// Whether keys are due, and whether somebody wants one of them.
const DUE: &str = "
    select coalesce(bool_or(u.probe_at <= now()), false), coalesce(bool_or(c.key is not null), false)
    from kit.unclaimed_key u left join kit.claimed_key c on c.key = u.key where u.replayed_through is null";

/// Puts a piece of the journal back into the outbox: as bulk work, so that it does not hold other records up. What never
/// left the outbox is sent twice.
const PUT_BACK: &str = "
    insert into kit.outbox (shard, id, tenant_id, xid, recorded_at, record_id, bulk, replayed_at)
    select kit.shard(j.record_id), j.id, j.tenant_id, j.xid, j.recorded_at, j.record_id, true, now()
    from kit.journal j join kit.unclaimed_key u on u.key = j.fact and j.id > u.replayed_through
    where u.key = any($4) and j.id > $1 and j.id <= $2 and j.recorded_at >= now() - make_interval(days => $3)
    on conflict do nothing";

/// Keys whose first event is too old to be sent, and where each has got to; locked, always in the order of keys, as by
/// everyone who locks several.
const TOO_OLD: &str = "
    select key, first_id from kit.unclaimed_key
    where replayed_through is null and first_recorded_at < now() - make_interval(days => $1) order by key limit $2 for update";

/// The next events of keys ($1) from one id to before another that are young enough become their first ones.
const NEXT_FIRST: &str = "
    with piece as materialized (
      select fact, id, xid, recorded_at from kit.journal
      where fact = any($1) and id >= $2 and id < $3 and recorded_at >= now() - make_interval(days => $4)),
    next as (
      select distinct on (p.fact) p.* from piece p join kit.unclaimed_key u on u.key = p.fact and p.id >= u.first_id order by p.fact, p.id)
    update kit.unclaimed_key u set first_id = next.id, first_xid = next.xid, first_recorded_at = next.recorded_at from next where u.key = next.fact";

impl Relay {
    /// Takes rows out of the outbox whose keys nobody asks for yet; answers how many. `came_back` says that they were
    /// published in vain. Rows that are to be sent after all stay, and hold what follows of their records.
    pub(super) async fn pass_over(&mut self, rows: &[&Row], came_back: bool) -> Result<usize, Fault> {
        if rows.is_empty() {
            return Ok(0);
        }
        let shards: Vec<i16> = rows.iter().map(|row| row.shard).collect();
        let bulks: Vec<bool> = rows.iter().map(|row| row.bulk).collect();
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let keys: Vec<String> = rows.iter().map(|row| row.fact.clone()).collect();
        let mut conn = self.db.conn().await?;
        let remember = sqlx::query(REMEMBER).bind(&shards).bind(&bulks).bind(&ids).bind(&keys).bind(came_back);
        remember.bind(SOON.as_secs_f64()).execute(&mut conn).await?;
        let pass_over = sqlx::query_scalar(PASS_OVER).bind(&shards).bind(&bulks).bind(&ids).bind(&keys);
        let passed: Vec<i64> = pass_over.fetch_all(&mut conn).await?;
        let gone: HashSet<i64> = passed.iter().copied().collect();
        self.held.extend(rows.iter().filter(|row| !gone.contains(&row.id)).map(|row| row.record()));
        if came_back || passed.len() < rows.len() {
            self.keys.read(&mut conn).await?;
        }
        let unwanted = rows.iter().filter(|row| gone.contains(&row.id) && self.keys.is_wanted_by_nobody(&row.fact)).count();
        metrics::unclaimed_events().inc_by(unwanted.try_into().unwrap_or(u64::MAX));
        Ok(passed.len())
    }

    /// Remembers keys that a queue wanted, before their rows are forgotten.
    pub(super) async fn claim(&mut self, keys: HashSet<&str>) -> Result<(), Fault> {
        let new: Vec<String> = keys.into_iter().filter(|key| !self.keys.is_claimed(key)).map(str::to_owned).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut conn = self.db.conn().await?;
        sqlx::query("insert into kit.claimed_key (key) select unnest($1::text[]) on conflict do nothing").bind(&new).execute(&mut conn).await?;
        sqlx::query(
            "update kit.unclaimed_key set probe_at = now() + make_interval(secs => $2)
             where key in (select key from kit.unclaimed_key order by key for update)
               and exists (select from kit.unclaimed_key u where u.key = any($1) and u.replayed_through is null)",
        )
        .bind(&new)
        .bind(BINDING.as_secs_f64())
        .execute(&mut conn)
        .await?;
        self.keys.claimed.extend(new);
        Ok(())
    }

    /// Goes on with the replay, begins one, or asks whether somebody wants a key by now; answers whether there is more to
    /// do at once. Several processes may do so at the same time.
    pub(super) async fn catch_up(&mut self, tasks: &Tasks) -> Result<bool, Fault> {
        if self.keys.unclaimed.is_empty() {
            return Ok(false);
        }
        if self.keys.unclaimed.values().any(Option::is_some) {
            return self.replay(tasks).await;
        }
        let (is_due, is_wanted): (bool, bool) = sqlx::query_as(DUE).fetch_one(&mut self.db.conn().await?).await?;
        match (is_due, is_wanted) {
            (false, _) => Ok(false),
            (true, false) => self.probe().await,
            (true, true) => self.begin_replay().await,
        }
    }

    /// Publishes the first event of each key, the earliest first, until a queue takes one. Before that, keys whose first
    /// event is too old find a younger one, piece by piece without a pause.
    async fn probe(&mut self) -> Result<bool, Fault> {
        if self.let_go().await? {
            self.keys.forget();
            return Ok(true);
        }
        let first: Vec<Row> = {
            let mut conn = self.db.conn().await?;
            sqlx::query_as(FIRST_EVENTS).bind(self.unclaimed_days).bind(PROBES).fetch_all(&mut conn).await?
        };
        for row in first {
            let batch = [self.outgoing(&row)];
            if self.publish(&batch).await? == [Outcome::Confirmed] {
                metrics::relayed_events().inc();
                self.claim(HashSet::from([row.fact.as_str()])).await?;
                self.probe_wait = FIRST_WAIT;
                return Ok(false);
            }
        }
        self.probe_wait = (self.probe_wait * 2).min(LONGEST_WAIT);
        let mut conn = self.db.conn().await?;
        sqlx::query(
            "update kit.unclaimed_key set probe_at = now() + make_interval(secs => $1)
             where key in (select key from kit.unclaimed_key where replayed_through is null order by key for update)",
        )
        .bind(self.probe_wait.as_secs_f64())
        .execute(&mut conn)
        .await?;
        Ok(false)
    }

    /// Has keys whose first event is too old to be sent look through a piece of the journal for a younger one, and forgets
    /// those that have come to its end; answers whether there were any. While they look, no event of them is passed over,
    /// so that none is missed; hence one piece at a time.
    async fn let_go(&self) -> Result<bool, Fault> {
        let mut tx = self.db.begin().await?;
        let old: Vec<(String, i64)> = sqlx::query_as(TOO_OLD).bind(self.unclaimed_days).bind(PROBES).fetch_all(tx.conn()).await?;
        let (keys, places): (Vec<String>, Vec<i64>) = old.into_iter().unzip();
        let Some(place) = places.into_iter().min() else { return Ok(false) };
        // Read after the lock: nothing that was passed over has a higher id.
        let last: i64 = sqlx::query_scalar("select last_value from kit.journal_id").fetch_one(tx.conn()).await?;
        let end = (place + LOOK).min(last + 1);
        sqlx::query(NEXT_FIRST).bind(&keys).bind(place).bind(end).bind(self.unclaimed_days).execute(tx.conn()).await?;
        let go_on = if end > last {
            sqlx::query("delete from kit.unclaimed_key where key = any($1) and first_recorded_at < now() - make_interval(days => $2)")
                .bind(&keys)
                .bind(self.unclaimed_days)
        } else {
            // Too old still, so that they look again from here; also at an event of this very id that is yet to be committed.
            sqlx::query(
                "update kit.unclaimed_key set first_id = $3
                 where key = any($1) and first_recorded_at < now() - make_interval(days => $2) and first_id < $3",
            )
            .bind(&keys)
            .bind(self.unclaimed_days)
            .bind(end)
        };
        go_on.execute(tx.conn()).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn begin_replay(&mut self) -> Result<bool, Fault> {
        let mut conn = self.db.conn().await?;
        sqlx::query(
            "update kit.unclaimed_key set replayed_through = first_id - 1
             where key in (select key from kit.unclaimed_key where replayed_through is null order by key for update)",
        )
        .execute(&mut conn)
        .await?;
        tracing::info!("events that were passed over are sent: somebody asks for them now");
        self.keys.forget();
        Ok(true)
    }

    /// Puts the next piece of the journal back into the outbox. With the last piece the keys go, so that what comes after
    /// it leaves by the way of others.
    async fn replay(&mut self, tasks: &Tasks) -> Result<bool, Fault> {
        let mut tx = self.db.begin().await?;
        let replayed: Vec<(String, i64)> =
            sqlx::query_as("select key, replayed_through from kit.unclaimed_key where replayed_through is not null order by key for update")
                .fetch_all(tx.conn())
                .await?;
        // Another process may begin the replay of other keys meanwhile: those are not gone through here.
        let (keys, places): (Vec<String>, Vec<i64>) = replayed.into_iter().unzip();
        let Some(place) = places.into_iter().min() else {
            self.keys.forget();
            return Ok(false);
        };
        // Read after the lock: nothing that was passed over has a higher id.
        let (last, waiting): (i64, i64) =
            sqlx::query_as("select last_value, (select count(*) from (select from kit.outbox where bulk limit $1) events) from kit.journal_id")
                .bind(ROOM)
                .fetch_one(tx.conn())
                .await?;
        if waiting >= ROOM {
            return Ok(false);
        }
        let end = (place + PIECE).min(last);
        let put_back = sqlx::query(PUT_BACK).bind(place).bind(end).bind(self.unclaimed_days).bind(&keys);
        let put_back = put_back.execute(tx.conn()).await?.rows_affected();
        let go_on = if end < last {
            sqlx::query("update kit.unclaimed_key set replayed_through = $2 where key = any($1) and replayed_through < $2").bind(&keys).bind(end)
        } else {
            sqlx::query("delete from kit.unclaimed_key where key = any($1)").bind(&keys)
        };
        go_on.execute(tx.conn()).await?;
        tx.commit().await?;
        tasks.at(Window::AfterReplay).await;
        metrics::replayed_events().inc_by(put_back);
        self.keys.forget();
        Ok(true)
    }
}
