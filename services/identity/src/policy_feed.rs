//! The policy as every service reads it: all changes, from the journal, in an order that loses none.
//!
//! Guarantees: only rows behind the transaction horizon are given out, so that no commit that comes later can
//! stand before one that was given out already.

use std::sync::Arc;

use prost::Message;
use rapport_kit::Fault;
use rapport_proto::Event;
use rapport_proto::common::v1 as common;
use tonic::{Request, Response, Status};

use crate::Identity;

const MAX_PAGE: i64 = 500;

/// A place in the journal: era, transaction and row.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    era: i32,
    xid: u64,
    id: i64,
}

impl Place {
    fn read(since: &str) -> Result<Self, Fault> {
        if since.is_empty() {
            return Ok(Self { era: 0, xid: 0, id: 0 });
        }
        let mut parts = since.splitn(3, '.');
        let mut part = || parts.next().unwrap_or_default();
        match (part().parse(), part().parse(), part().parse()) {
            (Ok(era), Ok(xid), Ok(id)) => Ok(Self { era, xid, id }),
            _ => Err(Fault::argument("SINCE_INVALID", "Start again with an empty since: this one was not given out here.").with("since", since)),
        }
    }

    fn write(&self) -> String {
        format!("{}.{}.{}", self.era, self.xid, self.id)
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
        let (changes, next, has_more) = self.changes(&place, size).await?;
        let next_since = next.map_or(request.since, |place| place.write());
        Ok(Response::new(common::GetPolicyChangesResponse { changes, next_since, has_more }))
    }

    async fn get_signing_keys(&self, _: Request<common::GetSigningKeysRequest>) -> Result<Response<common::GetSigningKeysResponse>, Status> {
        let keys = crate::signing_key::published(&self.0.system).await?;
        Ok(Response::new(common::GetSigningKeysResponse { keys }))
    }
}

impl Rpc {
    async fn changes(&self, place: &Place, size: i64) -> Result<(Vec<common::PolicyChange>, Option<Place>, bool), Fault> {
        let mut conn = self.0.system.conn().await?;
        let mut rows = sqlx::query!(
            r#"select era, xid::text as "xid!", id, message from kit.journal
               where fact = $1 and xid < pg_snapshot_xmin(pg_current_snapshot()) and (xid, id) > ($2::text::xid8, $3)
               order by xid, id limit $4"#,
            common::PolicyChange::KEY,
            place.xid.to_string(),
            place.id,
            size + 1
        )
        .fetch_all(&mut conn)
        .await?;
        let size = usize::try_from(size).map_err(Fault::internal)?;
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next = match rows.last() {
            Some(row) => Some(Place { era: row.era, xid: row.xid.parse().map_err(Fault::internal)?, id: row.id }),
            None => None,
        };
        let mut changes = Vec::with_capacity(rows.len());
        // A row whose payload was erased has nothing left to apply.
        for message in rows.into_iter().filter_map(|row| row.message) {
            changes.push(common::PolicyChange::decode(message.as_slice()).map_err(Fault::internal)?);
        }
        Ok((changes, next, has_more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place { era: 1, xid: u64::MAX, id: 77 };
        assert_eq!(Place::read(&place.write()).unwrap(), place);
        assert_eq!(Place::read("").unwrap().xid, 0);
        for bad in ["1", "1.2", "1.2.x", "a.b.c", "-"] {
            assert_eq!(Place::read(bad).unwrap_err().reason(), "SINCE_INVALID", "{bad}");
        }
    }
}
