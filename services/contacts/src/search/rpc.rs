//! The search service: parse, find candidates, rank, read what is shown.

use std::collections::HashMap;

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::search_result::Record;
use rapport_contacts_api::v1::search_service_server::SearchService;
use rapport_kit::access::Scope;
use rapport_kit::page::{self, Cursor, KeyValue, Measured};
use rapport_kit::{Ctx, Db, Fault};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Kind;
use super::keys::{FIELDS, Field};
use super::query::Query;
use super::sql::{self, Candidate};
use crate::{account, contact};

/// Records of the largest page.
const MAX_SIZE: i64 = 100;

/// Serves search.
#[derive(Debug, Clone)]
pub struct Search {
    db: Db,
}

/// A record at its place among those that were found.
#[derive(Debug)]
struct Hit {
    candidate: Candidate,
    closeness: i64,
    /// None if the caller may not read it any more.
    result: Option<pb::SearchResult>,
}

impl Measured for Hit {
    fn bytes(&self) -> usize {
        self.result.as_ref().map_or(0, Message::encoded_len)
    }
}

#[tonic::async_trait]
impl SearchService for Search {
    async fn search_records(&self, request: Request<pb::SearchRecordsRequest>) -> Result<Response<pb::SearchRecordsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let query = Query::parse(&request.query)?;
        let kinds = kinds(&request.collections)?;
        let size = page::size(request.page_size)?.min(MAX_SIZE);
        let asked = page::Query::of(&ctx).with("query", &request.query).with("collections", request.collections.join(","));
        let after = ctx.call().sealer.open(&request.page_token, &asked)?;

        let mut hits = self.hits(&ctx, &kinds, &query).await?;
        hits.retain(|hit| after.as_ref().is_none_or(|after| hit.is_after(after)));
        hits.truncate(usize::try_from(size).map_err(Fault::internal)? + 1);
        self.read(&ctx, &mut hits).await?;
        let next_page_token = page::end(&ctx, &asked, &mut hits, size, |last| Ok(last.place()))?;
        Ok(Response::new(pb::SearchRecordsResponse { results: hits.into_iter().filter_map(|hit| hit.result).collect(), next_page_token }))
    }
}

impl Search {
    /// Search over what is in `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// What fits, in order.
    async fn hits(&self, ctx: &Ctx, kinds: &[Kind], query: &Query) -> Result<Vec<Hit>, Fault> {
        let scopes: Vec<(Kind, Scope)> = kinds.iter().map(|kind| (*kind, scope(ctx, *kind))).filter(|(_, scope)| scope.permits_anything()).collect();
        let fields: Vec<Field> =
            FIELDS.into_iter().filter(|field| scopes.iter().any(|(kind, _)| *kind == field.kind) && may_search(ctx, *field)).collect();
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let sought = query.keys(ctx.tenant(), &fields);
        let found = sql::candidates(&mut self.db.for_tenant(ctx).await?, ctx, &scopes, &sought).await?;
        let mut hits: Vec<Hit> =
            found.into_iter().map(|candidate| Hit { closeness: sought.closeness(&candidate.keys), candidate, result: None }).collect();
        hits.sort_unstable_by_key(|hit| std::cmp::Reverse(hit.order()));
        Ok(hits)
    }

    /// Reads the records as the caller may see them now.
    async fn read(&self, ctx: &Ctx, hits: &mut [Hit]) -> Result<(), Fault> {
        let of =
            |kind: Kind| -> Vec<Uuid> { hits.iter().map(|hit| &hit.candidate).filter(|found| found.kind == kind).map(|found| found.id).collect() };
        let mut records: HashMap<Uuid, Record> = HashMap::new();
        let (accounts, contacts) = (of(Kind::Account), of(Kind::Contact));
        let mut conn = self.db.for_tenant(ctx).await?;
        if !accounts.is_empty() {
            let found = account::sql::get_many(&mut conn, ctx, &scope(ctx, Kind::Account), &accounts).await?;
            for found in found.into_iter().filter(|found| !found.is_deleted()) {
                let (id, mut shown) = (found.id(), account::convert::to_proto(found));
                account::convert::hide(&mut shown, ctx.fields(account::RESOURCE));
                records.insert(id, Record::Account(shown));
            }
        }
        if !contacts.is_empty() {
            let found = contact::sql::get_many(&mut conn, ctx, &scope(ctx, Kind::Contact), &contacts).await?;
            for found in found.into_iter().filter(|found| !found.is_deleted()) {
                let (id, mut shown) = (found.id(), contact::convert::to_proto(found));
                contact::convert::hide(&mut shown, ctx.fields(contact::RESOURCE));
                records.insert(id, Record::Contact(shown));
            }
        }
        for hit in hits {
            hit.result = records.remove(&hit.candidate.id).map(|record| pb::SearchResult { record: Some(record) });
        }
        Ok(())
    }
}

impl Hit {
    /// The greatest comes first.
    fn order(&self) -> (i64, i64, Uuid) {
        (self.closeness, self.candidate.updated_at.timestamp_micros(), self.candidate.id)
    }

    fn place(&self) -> Cursor {
        Cursor { keys: vec![KeyValue::Int(self.closeness), KeyValue::Time(self.candidate.updated_at)], id: self.candidate.id }
    }

    fn is_after(&self, cursor: &Cursor) -> bool {
        match cursor.keys.as_slice() {
            [KeyValue::Int(closeness), KeyValue::Time(updated_at)] => self.order() < (*closeness, updated_at.timestamp_micros(), cursor.id),
            _ => false,
        }
    }
}

/// Records of the kind that the caller may read.
fn scope(ctx: &Ctx, kind: Kind) -> Scope {
    ctx.scope_of(&format!("{}.read", kind.resource()))
}

/// Whether the caller may learn what stands in the field.
fn may_search(ctx: &Ctx, field: Field) -> bool {
    let rules = ctx.fields(field.kind.resource());
    field.paths.iter().all(|path| rules.require_readable(path).is_ok())
}

/// The kinds of these collections; of none named all.
fn kinds(collections: &[String]) -> Result<Vec<Kind>, Fault> {
    let all = [Kind::Account, Kind::Contact];
    if let Some(position) = collections.iter().position(|name| !all.iter().any(|kind| kind.collection() == name)) {
        return Err(Fault::invalid(format!("collections[{position}]"), "must be accounts or contacts"));
    }
    Ok(all.into_iter().filter(|kind| collections.is_empty() || collections.iter().any(|name| name == kind.collection())).collect())
}
