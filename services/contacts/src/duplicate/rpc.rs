//! The service of duplicates: find, list, review, sweep.

use prost::Message;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::duplicate_service_server::DuplicateService;
use rapport_contacts_api::v1::find_duplicates_request::Record as Sent;
use rapport_kit::access::Scope;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::jobs::{Asked, Jobs};
use rapport_kit::journal::{self, Record};
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, name};
use rapport_proto::common::v1::Job;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::check::{self, Sought};
use super::pair::{Pair, Verdict};
use super::rule::Details;
use super::{PAIRS, Profile, Rules, convert, pair_sql, rule_convert, sweep};
use crate::owner::Owner;
use crate::search::Kind;
use crate::{account, batch, contact, events};

/// Records that a search answers at most.
const FOUND: usize = 20;

/// Serves duplicates.
#[derive(Debug, Clone)]
pub struct Duplicates {
    db: Db,
    policy: Policy,
    rules: Rules,
    jobs: Jobs,
}

#[tonic::async_trait]
impl DuplicateService for Duplicates {
    async fn find_duplicates(&self, request: Request<pb::FindDuplicatesRequest>) -> Result<Response<pb::FindDuplicatesResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let sent = request.into_inner().record.ok_or_else(|| Fault::invalid("contact", "is required, or account"))?;
        let (kind, sought) = self.sought(&ctx, sent).await?;
        let rules = self.rules.of(&self.db, &ctx).await?;
        let rules: Vec<&Details> = rules.iter().filter(|rule| rule.kind == kind).collect();
        let found = check::find(&self.db, &ctx, kind, &rules, vec![sought]).await?.into_iter().flatten();
        let matches = found.take(FOUND).map(|found| convert::match_to_proto(kind, &found)).collect();
        Ok(Response::new(pb::FindDuplicatesResponse { matches }))
    }

    async fn list_duplicate_pairs(
        &self,
        request: Request<pb::ListDuplicatePairsRequest>,
    ) -> Result<Response<pb::ListDuplicatePairsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(pair_sql::list(&self.db, &ctx, request.get_ref()).await?))
    }

    async fn review_duplicate_pair(&self, request: Request<pb::ReviewDuplicatePairRequest>) -> Result<Response<pb::DuplicatePair>, Status> {
        let ctx = Ctx::of(&request)?;
        let done = self.review(&ctx, request.get_ref()).await;
        self.answer(&ctx, done).await
    }

    async fn start_duplicate_sweep(&self, request: Request<pb::StartDuplicateSweepRequest>) -> Result<Response<Job>, Status> {
        let ctx = Ctx::of(&request)?;
        let mut request = request.into_inner();
        if request.collection.is_empty() {
            contact::COLLECTION.clone_into(&mut request.collection);
        }
        rule_convert::kind(&request.collection).ok_or_else(|| Fault::invalid("collection", "must be accounts or contacts"))?;
        let asked = Asked { kind: sweep::KIND.name, request: request.encode_to_vec(), input_files: Vec::new() };
        Ok(Response::new(self.jobs.start(&ctx, asked).await?))
    }
}

impl Duplicates {
    /// Duplicates in `db`, under `rules`; `jobs` sweep.
    #[must_use]
    pub fn new(db: Db, policy: Policy, rules: Rules, jobs: Jobs) -> Self {
        Self { db, policy, rules, jobs }
    }

    /// What `sent` is compared by.
    async fn sought(&self, ctx: &Ctx, sent: Sent) -> Result<(Kind, Sought), Fault> {
        match sent {
            Sent::Contact(sent) => {
                let id = name::parse_optional(contact::COLLECTION, &sent.name, "contact.name")?;
                let around = contact::surroundings::Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&sent), None).await?;
                Ok((Kind::Contact, Sought { id, profile: Profile::of_contact(&around.details(ctx, sent, None)?) }))
            }
            Sent::Account(sent) => {
                let id = name::parse_optional(account::COLLECTION, &sent.name, "account.name")?;
                let around = account::surroundings::Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&sent), None).await?;
                Ok((Kind::Account, Sought { id, profile: Profile::of_account(&around.details(ctx, sent, None)?) }))
            }
        }
    }

    async fn review(&self, ctx: &Ctx, request: &pb::ReviewDuplicatePairRequest) -> Result<Done<pb::DuplicatePair>, Fault> {
        let id = name::parse(PAIRS, &request.name, "name")?;
        let verdict: Verdict = convert::verdict(request, ctx.now())?;
        for _ in 0..command::ATTEMPTS {
            let mut pair = self.changeable(ctx, id).await?;
            command::require_etag(&request.etag, pair.version(), || pair.name())?;
            let today = ctx.now().date_naive();
            if !pair.review(verdict, Owner::caller(ctx), ctx.now())? {
                let record = Record { collection: PAIRS, id, version: pair.version() };
                return Ok(Done::Unchanged(convert::to_proto(&pair, today), record));
            }
            let entry = events::duplicate_pair_reviewed(ctx, &pair)?;
            if pair_sql::review(&mut self.db.for_tenant(ctx).await?, ctx, &pair, entry).await? {
                return Ok(Done::Written(convert::to_proto(&pair, today)));
            }
            if !request.etag.is_empty() {
                break;
            }
        }
        Err(command::lost_race(&request.etag, request.name.clone()))
    }

    /// The pair, if the caller may change both of its records.
    async fn changeable(&self, ctx: &Ctx, id: Uuid) -> Result<Pair, Fault> {
        let name = || name::format(PAIRS, id);
        let mut conn = self.db.for_tenant(ctx).await?;
        let kind = pair_sql::kind(&mut conn, ctx, id).await?.ok_or_else(|| Fault::not_found(name()))?;
        let scope = |action: &str| -> Scope { ctx.scope_of(&format!("{}.{action}", kind.resource())) };
        if pair_sql::get(&mut conn, ctx, kind, &scope("read"), id).await?.is_none() {
            return Err(Fault::not_found(name()));
        }
        pair_sql::get(&mut conn, ctx, kind, &scope("update"), id).await?.ok_or_else(|| batch::read_only(&name()))
    }

    /// What was done, or the answer of the earlier request with the same key, as the caller may see it today.
    async fn answer(&self, ctx: &Ctx, outcome: Result<Done<pb::DuplicatePair>, Fault>) -> Result<Response<pb::DuplicatePair>, Status> {
        let mut pair = match command::settle(&self.db, ctx, outcome).await? {
            Settled::Now(pair) => pair,
            Settled::Earlier(earlier) => {
                let (id, version) = earlier.record()?;
                self.changeable(ctx, id).await?;
                let pair: pb::DuplicatePair = journal::at_version(&self.db, ctx, id, version).await?;
                pb::DuplicatePair { etag: command::etag(version), ..pair }
            }
        };
        if let Some(kind) = convert::kind_of(&pair.first_record) {
            convert::hide(&mut pair, ctx.fields(kind.resource()));
        }
        Ok(Response::new(pair))
    }
}
