//! The account service: parse, read, decide, write once, answer.

use std::collections::HashMap;
use std::sync::Arc;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::account_service_server::AccountService;
use rapport_kit::batch::Reads;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::db::Conn;
use rapport_kit::journal::{self, Record};
use rapport_kit::policy::Policy;
use rapport_kit::tasks::Tasks;
use rapport_kit::{Ctx, Db, Fault, clock, name, page};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::surroundings::Surroundings;
use super::write::{self, Decided};
use super::{Account, COLLECTION, RESOURCE, Refusal, convert, list, sql, upsert};
use crate::merge::returned;
use crate::{convert as parts, events, external_id, limits, update};

const READ: &str = "contacts.account.read";

/// Serves accounts.
#[derive(Debug, Clone)]
pub struct Accounts {
    db: Db,
    policy: Policy,
    reads: Arc<Reads<Account>>,
}

/// A change of one account.
enum Change {
    Update { sent: Box<pb::Account>, paths: Vec<&'static str> },
    Delete,
    Undelete,
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn get_account(&self, request: Request<pb::GetAccountRequest>) -> Result<Response<pb::Account>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let time = parts::as_of(request.as_of, ctx.now())?;
        let account = self.visible(&ctx, id).await?;
        let Some(time) = time else { return Ok(shown(&ctx, convert::to_proto(account))) };
        let (_, then) = journal::as_of(&self.db, &ctx, id, time).await?.ok_or_else(|| Fault::not_found(&request.name))?;
        Ok(shown(&ctx, then))
    }

    async fn batch_get_accounts(&self, request: Request<pb::BatchGetAccountsRequest>) -> Result<Response<pb::BatchGetAccountsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let names = request.into_inner().names;
        let ids = name::parse_all(COLLECTION, &names, limits::BATCH_GET)?;
        let found = sql::get_many(&mut self.db.for_tenant(&ctx).await?, &ctx, &ctx.scope(), &ids).await?;
        let mut found: HashMap<Uuid, Account> = found.into_iter().map(|account| (account.id(), account)).collect();
        let mut answer = pb::BatchGetAccountsResponse::default();
        for id in ids {
            match found.remove(&id) {
                Some(account) => answer.accounts.push(shown(&ctx, convert::to_proto(account)).into_inner()),
                None => answer.missing_names.push(name::format(COLLECTION, id)),
            }
        }
        page::require_fit(&answer)?;
        Ok(Response::new(answer))
    }

    async fn list_accounts(&self, request: Request<pb::ListAccountsRequest>) -> Result<Response<pb::ListAccountsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(list::list(&self.db, &ctx, request.get_ref()).await?))
    }

    async fn lookup_account(&self, request: Request<pb::LookupAccountRequest>) -> Result<Response<pb::Account>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let pair = external_id::parse_pair(request.system, request.id)?;
        // Who does not see the ids may not learn of them by trying.
        ctx.fields(RESOURCE).require_readable("external_ids")?;
        let mut conn = self.db.for_tenant(&ctx).await?;
        let account = match sql::lookup(&mut conn, &ctx, &ctx.scope(), &pair).await? {
            Some(account) => Some(account),
            None => sql::lookup_merged(&mut conn, &ctx, &ctx.scope(), &pair).await?,
        };
        let account = account.ok_or_else(|| Fault::not_found(format!("account that {} calls {}", pair.system, pair.id)))?;
        Ok(shown(&ctx, convert::to_proto(account)))
    }

    async fn create_account(&self, request: Request<pb::CreateAccountRequest>) -> Result<Response<pb::Account>, Status> {
        let ctx = Ctx::of(&request)?;
        let done = self.create(&ctx, request.into_inner()).await;
        self.answer(&ctx, done).await
    }

    async fn update_account(&self, request: Request<pb::UpdateAccountRequest>) -> Result<Response<pb::Account>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let sent = request.account.ok_or_else(|| Fault::invalid("account", "is required"))?;
        let id = name::parse(COLLECTION, &sent.name, "account.name")?;
        let paths = update::paths(request.update_mask, |path| convert::is_populated(&sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
        let etag = sent.etag.clone();
        let done = self.write(&ctx, id, &etag, &Change::Update { sent: Box::new(sent), paths }).await;
        self.answer(&ctx, done).await
    }

    async fn batch_upsert_accounts(
        &self,
        request: Request<pb::BatchUpsertAccountsRequest>,
    ) -> Result<Response<pb::BatchUpsertAccountsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(upsert::upsert(&self.db, &self.policy, &ctx, request.into_inner()).await?))
    }

    async fn delete_account(&self, request: Request<pb::DeleteAccountRequest>) -> Result<Response<pb::Account>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let done = self.write(&ctx, id, &request.etag, &Change::Delete).await;
        self.answer(&ctx, done).await
    }

    async fn undelete_account(&self, request: Request<pb::UndeleteAccountRequest>) -> Result<Response<pb::Account>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let done = self.write(&ctx, id, &request.etag, &Change::Undelete).await;
        self.answer(&ctx, done).await
    }
}

impl Accounts {
    /// Accounts in `db`, for owners that `policy` knows.
    #[must_use]
    pub fn new(db: Db, policy: Policy, tasks: Tasks) -> Self {
        let reads = Reads::new(db.clone(), tasks, |conn, ctx, scope, ids| Box::pin(sql::get_each(conn, ctx, scope, ids)));
        Self { db, policy, reads }
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateAccountRequest) -> Result<Done<pb::Account>, Fault> {
        let sent = request.account.ok_or_else(|| Fault::invalid("account", "is required"))?;
        let surroundings = Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&sent), None).await?;
        let kind = convert::kind(&sent);
        let details = surroundings.new_details(ctx, sent)?;
        let mut created = Decided::created(Account::create(clock::new_id(), kind, details, ctx.now()));
        write::write(&self.db, ctx, &mut [&mut created], &[]).await?;
        Ok(Done::Written(convert::to_proto(created.account)))
    }

    /// One change of one account: read, decide, write; again if others changed it meanwhile.
    async fn write(&self, ctx: &Ctx, id: Uuid, etag: &str, change: &Change) -> Result<Done<pb::Account>, Fault> {
        for _ in 0..command::ATTEMPTS {
            let account = self.changeable(ctx, id).await?;
            command::require_etag(etag, account.version(), || account.name())?;
            if matches!(change, Change::Delete) && account.is_deleted() {
                return Ok(unchanged(&account));
            }
            if account.merged_into().is_some() {
                require_unmerged(&mut self.db.for_tenant(ctx).await?, ctx, &account).await?;
            }
            let Some(mut decided) = self.decide(ctx, &account, change).await? else { return Ok(unchanged(&account)) };
            if write::write(&self.db, ctx, &mut [&mut decided], &[]).await? {
                return Ok(Done::Written(convert::to_proto(decided.account)));
            }
            if !etag.is_empty() {
                return Err(Fault::etag_mismatch(account.name()));
            }
        }
        Err(Fault::contended())
    }

    async fn decide(&self, ctx: &Ctx, before: &Account, change: &Change) -> Result<Option<Decided>, Fault> {
        let mut account = before.clone();
        let fact = match change {
            Change::Update { sent, paths } => {
                let merged = convert::merge(before, sent, paths);
                let surroundings = Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&merged), Some(before.details())).await?;
                let details = surroundings.details(ctx, merged, Some(before.details()))?;
                account.change(details, ctx.now())?
            }
            Change::Delete => account.delete(ctx.now()),
            Change::Undelete => {
                returned::account(&self.db, ctx, &mut account).await?;
                follow_parent(&mut self.db.for_tenant(ctx).await?, ctx, &mut account).await?;
                Some(account.undelete(ctx.now())?)
            }
        };
        Ok(fact.map(|fact| Decided::changed(before, account, fact)))
    }

    async fn visible(&self, ctx: &Ctx, id: Uuid) -> Result<Account, Fault> {
        let found = self.reads.get(ctx, &ctx.scope(), id).await?;
        found.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))
    }

    /// The account, if the caller may do to it what the method does.
    async fn changeable(&self, ctx: &Ctx, id: Uuid) -> Result<Account, Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        if let Some(account) = sql::get(&mut conn, ctx, &ctx.scope(), id).await? {
            return Ok(account);
        }
        let name = name::format(COLLECTION, id);
        match sql::get(&mut conn, ctx, &ctx.scope_of(READ), id).await? {
            Some(_) => Err(crate::batch::read_only(&name)),
            None => Err(Fault::not_found(name)),
        }
    }

    /// What was done, or the answer of the earlier request with the same key, as the caller may see it today.
    async fn answer(&self, ctx: &Ctx, outcome: Result<Done<pb::Account>, Fault>) -> Result<Response<pb::Account>, Status> {
        let earlier = match command::settle(&self.db, ctx, outcome).await? {
            Settled::Now(account) => return Ok(shown(ctx, account)),
            Settled::Earlier(earlier) => earlier,
        };
        let (id, version) = earlier.record()?;
        let visible = sql::get(&mut self.db.for_tenant(ctx).await?, ctx, &ctx.scope_of(READ), id).await?;
        let account = visible.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))?;
        if account.version() == version {
            return Ok(shown(ctx, convert::to_proto(account)));
        }
        // A deletion leaves no snapshot: but for its time, the record stayed as it stood before.
        let deletion: Option<(i64, pb::AccountDeleted)> = events::deletion(&self.db, ctx, id, version).await?;
        let (stood, delete_time) = deletion.map_or((version, None), |(deleted, event)| (deleted - 1, event.delete_time));
        let snapshot: pb::Account = journal::at_version(&self.db, ctx, id, stood).await?;
        let update_time = delete_time.or(snapshot.update_time);
        Ok(shown(ctx, pb::Account { etag: command::etag(version), update_time, delete_time, ..snapshot }))
    }
}

/// Refuses an account that was merged into another one, which is named to those who may see it.
///
/// # Errors
/// FAILED_PRECONDITION (RECORD_MERGED).
pub(crate) async fn require_unmerged(conn: &mut Conn, ctx: &Ctx, account: &Account) -> Result<(), Fault> {
    let Some(into) = account.merged_into() else { return Ok(()) };
    let refusal = Fault::from(Refusal::Merged);
    match sql::get(conn, ctx, &ctx.scope_of(READ), into).await? {
        Some(survivor) => Err(refusal.with("merged_into", survivor.name())),
        None => Err(refusal),
    }
}

/// Has an account that is to come back from the bin name the one that goes on in the place of its parent, if that one was
/// merged meanwhile.
///
/// # Errors
/// What the database answers.
pub(crate) async fn follow_parent(conn: &mut Conn, ctx: &Ctx, account: &mut Account) -> Result<(), Fault> {
    let merged = sql::merged(conn, ctx, account.details().parent.as_slice()).await?;
    account.follow_parent(&merged);
    Ok(())
}

/// What there was to do is so already.
fn unchanged(account: &Account) -> Done<pb::Account> {
    Done::Unchanged(convert::to_proto(account.clone()), Record { collection: COLLECTION, id: account.id(), version: account.version() })
}

fn shown(ctx: &Ctx, mut account: pb::Account) -> Response<pb::Account> {
    convert::hide(&mut account, ctx.fields(RESOURCE));
    Response::new(account)
}
