//! The policy as every service reads it: all changes, from the journal, in an order that loses none.
//!
//! Guarantees: only rows behind the transaction horizon are given out, so that no commit that comes later can
//! stand before one that was given out already. A place counts in the era in which it was given out: when
//! identity's database was restored and a new era has begun, every follower reads everything again, since what
//! it was told last may not be there any more.

use std::sync::Arc;

use prost::Message;
use rapport_kit::Fault;
use rapport_proto::Event;
use rapport_proto::common::v1 as common;
use tonic::{Request, Response, Status};

use crate::Identity;

const MAX_PAGE: i64 = 500;
/// Bytes of changes in one answer, unless the first change alone has more: half of what a follower's client takes.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Versions of one era in what is given out. A restore takes versions back; followers would hold what was lost
/// for newer than what happens afterwards, were not all versions of an era above those of the era before.
/// Events carry plain versions: from then on followers go by what they poll.
const ERA_BITS: u32 = 40;

/// A place in the journal: the era in which it was given out, and the row's era, transaction and id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    given: i32,
    era: i32,
    xid: u64,
    id: i64,
}

impl Place {
    /// Before everything.
    fn start(given: i32) -> Self {
        Self { given, era: 0, xid: 0, id: 0 }
    }

    fn read(since: &str) -> Result<Self, Fault> {
        if since.is_empty() {
            return Ok(Self::start(0));
        }
        let mut parts = since.splitn(4, '.');
        let mut part = || parts.next().unwrap_or_default();
        match (part().parse(), part().parse(), part().parse(), part().parse()) {
            (Ok(given), Ok(era), Ok(xid), Ok(id)) => Ok(Self { given, era, xid, id }),
            _ => Err(Fault::argument("SINCE_INVALID", "Start again with an empty since: this one was not given out here.").with("since", since)),
        }
    }

    /// Where to read on in the era `current`.
    fn within(self, current: i32) -> Self {
        if self.given == current { self } else { Self::start(current) }
    }

    fn write(&self) -> String {
        format!("{}.{}.{}.{}", self.given, self.era, self.xid, self.id)
    }
}

/// The RPC service.
pub(crate) struct Rpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl common::policy_service_server::PolicyService for Rpc {
    async fn get_policy_changes(
        &self,
        request: Request<common::GetPolicyChangesRequest>,
    ) -> Result<Response<common::GetPolicyChangesResponse>, Status> {
        let request = request.into_inner();
        let place = Place::read(&request.since)?;
        let size = match i64::from(request.page_size) {
            size @ 1..=MAX_PAGE => size,
            _ => MAX_PAGE,
        };
        let (changes, next, has_more) = self.changes(place, size).await?;
        Ok(Response::new(common::GetPolicyChangesResponse { changes, next_since: next.write(), has_more }))
    }

    async fn get_signing_keys(&self, _: Request<common::GetSigningKeysRequest>) -> Result<Response<common::GetSigningKeysResponse>, Status> {
        let keys = crate::signing_key::published(&self.0.system).await?;
        Ok(Response::new(common::GetSigningKeysResponse { keys }))
    }
}

impl Rpc {
    /// Changes after a place, the place to go on from, and whether there are more.
    async fn changes(&self, place: Place, size: i64) -> Result<(Vec<common::PolicyChange>, Place, bool), Fault> {
        let mut conn = self.0.system.conn().await?;
        let current = sqlx::query_scalar!(r#"select kit.current_era() as "era!""#).fetch_one(&mut conn).await?;
        let mut place = place.within(current);
        // What earlier eras hold is all committed; the horizon is this era's.
        let mut rows = sqlx::query!(
            r#"select era, xid::text as "xid!", id, message from kit.journal
               where fact = $1 and (era < $5 or xid < pg_snapshot_xmin(pg_current_snapshot()))
                 and (era, xid, id) > ($2, $3::text::xid8, $4)
               order by era, xid, id limit $6"#,
            common::PolicyChange::KEY,
            place.era,
            place.xid.to_string(),
            place.id,
            current,
            size + 1
        )
        .fetch_all(&mut conn)
        .await?;
        let size = usize::try_from(size).map_err(Fault::internal)?;
        let given = fit(rows.iter().take(size).map(|row| row.message.as_ref().map_or(0, Vec::len)));
        let has_more = rows.len() > given;
        rows.truncate(given);
        if let Some(row) = rows.last() {
            place = Place { given: current, era: row.era, xid: row.xid.parse().map_err(Fault::internal)?, id: row.id };
        }
        let mut changes = Vec::with_capacity(rows.len());
        // A row whose payload was erased has nothing left to apply.
        for message in rows.into_iter().filter_map(|row| row.message) {
            let mut change = common::PolicyChange::decode(message.as_slice()).map_err(Fault::internal)?;
            change.version += i64::from(current - 1) << ERA_BITS;
            changes.push(change);
        }
        Ok((changes, place, has_more))
    }
}

/// How many changes of these sizes go into one answer. The first one always does, or the feed would stand still.
fn fit(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let within = sizes.take_while(|size| {
        bytes += size;
        bytes <= MAX_BYTES
    });
    within.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_what_a_follower_takes_and_one_change_at_least() {
        assert_eq!(fit([MAX_BYTES / 2, MAX_BYTES / 2, 1].into_iter()), 2);
        assert_eq!(fit([MAX_BYTES + 1, 1].into_iter()), 1);
        assert_eq!(fit([0; 500].into_iter()), 500);
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place { given: 2, era: 1, xid: u64::MAX, id: 77 };
        assert_eq!(Place::read(&place.write()).unwrap(), place);
        assert_eq!(Place::read("").unwrap().xid, 0);
        for bad in ["1", "1.2", "1.2.3", "1.2.3.x", "a.b.c.d", "-"] {
            assert_eq!(Place::read(bad).unwrap_err().reason(), "SINCE_INVALID", "{bad}");
        }
    }

    #[test]
    fn a_place_of_another_era_is_the_beginning_of_this_one() {
        let place = Place { given: 1, era: 1, xid: 500, id: 77 };
        assert_eq!(place.clone().within(1), place);
        assert_eq!(place.within(2), Place::start(2));
        // On the way through what earlier eras hold it is not begun again.
        let under_way = Place { given: 2, era: 1, xid: 3, id: 4 };
        assert_eq!(under_way.clone().within(2), under_way);
    }
}
