//! The contact service: parse, read, decide, write once, answer.

use std::collections::HashMap;
use std::sync::Arc;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_service_server::ContactService;
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
use super::{COLLECTION, Contact, Fact, RESOURCE, Refusal, convert, list, sql, upsert};
use crate::duplicate::check::Guard;
use crate::duplicate::{Profile, Rules};
use crate::merge::returned;
use crate::search::Kind;
use crate::{account, convert as parts, events, external_id, limits, update};

const READ: &str = "contacts.contact.read";

/// Serves contacts.
#[derive(Debug, Clone)]
pub struct Contacts {
    db: Db,
    policy: Policy,
    reads: Arc<Reads<Contact>>,
    rules: Rules,
}

/// A change of one contact.
enum Change {
    Update { sent: Box<pb::Contact>, paths: Vec<&'static str>, allow_duplicates: bool },
    Delete,
    Undelete,
}

#[tonic::async_trait]
impl ContactService for Contacts {
    async fn get_contact(&self, request: Request<pb::GetContactRequest>) -> Result<Response<pb::Contact>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let time = parts::as_of(request.as_of, ctx.now())?;
        let contact = self.visible(&ctx, id).await?;
        let Some(time) = time else { return Ok(shown(&ctx, convert::to_proto(contact))) };
        let (_, then) = journal::as_of(&self.db, &ctx, id, time).await?.ok_or_else(|| Fault::not_found(&request.name))?;
        Ok(shown(&ctx, then))
    }

    async fn batch_get_contacts(&self, request: Request<pb::BatchGetContactsRequest>) -> Result<Response<pb::BatchGetContactsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let names = request.into_inner().names;
        let ids = name::parse_all(COLLECTION, &names, limits::BATCH_GET)?;
        let found = sql::get_many(&mut self.db.for_tenant(&ctx).await?, &ctx, &ctx.scope(), &ids).await?;
        let mut found: HashMap<Uuid, Contact> = found.into_iter().map(|contact| (contact.id(), contact)).collect();
        let mut answer = pb::BatchGetContactsResponse::default();
        for id in ids {
            match found.remove(&id) {
                Some(contact) => answer.contacts.push(shown(&ctx, convert::to_proto(contact)).into_inner()),
                None => answer.missing_names.push(name::format(COLLECTION, id)),
            }
        }
        page::require_fit(&answer)?;
        Ok(Response::new(answer))
    }

    async fn list_contacts(&self, request: Request<pb::ListContactsRequest>) -> Result<Response<pb::ListContactsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(list::list(&self.db, &ctx, request.get_ref()).await?))
    }

    async fn lookup_contact(&self, request: Request<pb::LookupContactRequest>) -> Result<Response<pb::Contact>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let pair = external_id::parse_pair(request.system, request.id)?;
        // Who does not see the ids may not learn of them by trying.
        ctx.fields(RESOURCE).require_readable("external_ids")?;
        let mut conn = self.db.for_tenant(&ctx).await?;
        let contact = match sql::lookup(&mut conn, &ctx, &ctx.scope(), &pair).await? {
            Some(contact) => Some(contact),
            None => sql::lookup_merged(&mut conn, &ctx, &ctx.scope(), &pair).await?,
        };
        let contact = contact.ok_or_else(|| Fault::not_found(format!("contact that {} calls {}", pair.system, pair.id)))?;
        Ok(shown(&ctx, convert::to_proto(contact)))
    }

    async fn create_contact(&self, request: Request<pb::CreateContactRequest>) -> Result<Response<pb::Contact>, Status> {
        let ctx = Ctx::of(&request)?;
        let done = self.create(&ctx, request.into_inner()).await;
        self.answer(&ctx, done).await
    }

    async fn update_contact(&self, request: Request<pb::UpdateContactRequest>) -> Result<Response<pb::Contact>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let sent = request.contact.ok_or_else(|| Fault::invalid("contact", "is required"))?;
        let id = name::parse(COLLECTION, &sent.name, "contact.name")?;
        let paths = update::paths(request.update_mask, |path| convert::is_populated(&sent, path), convert::PATHS, ctx.fields(RESOURCE))?;
        let etag = sent.etag.clone();
        let done = self.write(&ctx, id, &etag, &Change::Update { sent: Box::new(sent), paths, allow_duplicates: request.allow_duplicates }).await;
        self.answer(&ctx, done).await
    }

    async fn batch_upsert_contacts(
        &self,
        request: Request<pb::BatchUpsertContactsRequest>,
    ) -> Result<Response<pb::BatchUpsertContactsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(upsert::upsert(&self.db, &self.policy, &self.rules, &ctx, request.into_inner()).await?))
    }

    async fn delete_contact(&self, request: Request<pb::DeleteContactRequest>) -> Result<Response<pb::Contact>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let done = self.write(&ctx, id, &request.etag, &Change::Delete).await;
        self.answer(&ctx, done).await
    }

    async fn undelete_contact(&self, request: Request<pb::UndeleteContactRequest>) -> Result<Response<pb::Contact>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let id = name::parse(COLLECTION, &request.name, "name")?;
        let done = self.write(&ctx, id, &request.etag, &Change::Undelete).await;
        self.answer(&ctx, done).await
    }
}

impl Contacts {
    /// Contacts in `db`, for owners that `policy` knows; `rules` say which are duplicates.
    #[must_use]
    pub fn new(db: Db, policy: Policy, rules: Rules, tasks: Tasks) -> Self {
        let reads = Reads::new(db.clone(), tasks, |conn, ctx, scope, ids| Box::pin(sql::get_each(conn, ctx, scope, ids)));
        Self { db, policy, rules, reads }
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateContactRequest) -> Result<Done<pb::Contact>, Fault> {
        let sent = request.contact.ok_or_else(|| Fault::invalid("contact", "is required"))?;
        let surroundings = Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&sent), None).await?;
        let details = surroundings.new_details(ctx, sent)?;
        let (contact, fact) = Contact::create(clock::new_id(), details, ctx.now());
        let guard = Guard::of(&self.rules, &self.db, ctx, Kind::Contact).await?;
        if !request.allow_duplicates {
            guard.require_new(&self.db, ctx, contact.id(), &Profile::from(&contact)).await?;
        }
        let entry = events::contact(ctx, &contact, fact)?;
        let keys = guard.keys(|| Profile::from(&contact));
        sql::insert(&mut self.db.for_tenant(ctx).await?, ctx, &contact, entry, keys.as_deref()).await?;
        Ok(Done::Written(convert::to_proto(contact)))
    }

    /// One change of one contact: read, decide, write; again if others changed it meanwhile.
    async fn write(&self, ctx: &Ctx, id: Uuid, etag: &str, change: &Change) -> Result<Done<pb::Contact>, Fault> {
        for _ in 0..command::ATTEMPTS {
            let mut contact = self.changeable(ctx, id).await?;
            command::require_etag(etag, contact.version(), || contact.name())?;
            if matches!(change, Change::Delete) && contact.is_deleted() {
                return Ok(unchanged(&contact));
            }
            if contact.merged_into().is_some() {
                require_unmerged(&mut self.db.for_tenant(ctx).await?, ctx, &contact).await?;
            }
            let before = contact.clone();
            let Some(fact) = self.decide(ctx, &mut contact, change).await? else { return Ok(unchanged(&contact)) };
            let guard = Guard::of(&self.rules, &self.db, ctx, Kind::Contact).await?;
            if let Change::Update { allow_duplicates: false, .. } = change {
                guard.require_new_after(&self.db, ctx, contact.id(), || (Profile::from(&before), Profile::from(&contact))).await?;
            }
            let entry = events::contact(ctx, &contact, fact)?;
            let keys = guard.keys(|| if contact.is_deleted() { Profile::default() } else { Profile::from(&contact) });
            if sql::update(&mut self.db.for_tenant(ctx).await?, ctx, &contact, entry, keys.as_deref()).await? {
                return Ok(Done::Written(convert::to_proto(contact)));
            }
            if !etag.is_empty() {
                return Err(Fault::etag_mismatch(contact.name()));
            }
        }
        Err(Fault::contended())
    }

    async fn decide(&self, ctx: &Ctx, contact: &mut Contact, change: &Change) -> Result<Option<Fact>, Fault> {
        match change {
            Change::Update { sent, paths, .. } => {
                let merged = convert::merge(contact, sent, paths);
                let surroundings = Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&merged), Some(contact.details())).await?;
                let details = surroundings.details(ctx, merged, Some(contact.details()))?;
                require_free(&self.db, ctx, &contact.details().leaves(&details.accounts)).await?;
                Ok(contact.change(details, ctx.now())?)
            }
            Change::Delete => {
                require_free(&self.db, ctx, &contact.details().leaves(&[])).await?;
                Ok(contact.delete(ctx.now()))
            }
            Change::Undelete => {
                returned::contact(&self.db, ctx, contact).await?;
                follow_accounts(&mut self.db.for_tenant(ctx).await?, ctx, contact).await?;
                Ok(Some(contact.undelete(ctx.now())?))
            }
        }
    }

    async fn visible(&self, ctx: &Ctx, id: Uuid) -> Result<Contact, Fault> {
        let found = self.reads.get(ctx, &ctx.scope(), id).await?;
        found.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))
    }

    /// The contact, if the caller may do to it what the method does.
    async fn changeable(&self, ctx: &Ctx, id: Uuid) -> Result<Contact, Fault> {
        let mut conn = self.db.for_tenant(ctx).await?;
        if let Some(contact) = sql::get(&mut conn, ctx, &ctx.scope(), id).await? {
            return Ok(contact);
        }
        let name = name::format(COLLECTION, id);
        match sql::get(&mut conn, ctx, &ctx.scope_of(READ), id).await? {
            Some(_) => Err(crate::batch::read_only(&name)),
            None => Err(Fault::not_found(name)),
        }
    }

    /// What was done, or the answer of the earlier request with the same key, as the caller may see it today.
    async fn answer(&self, ctx: &Ctx, outcome: Result<Done<pb::Contact>, Fault>) -> Result<Response<pb::Contact>, Status> {
        let earlier = match command::settle(&self.db, ctx, outcome).await? {
            Settled::Now(contact) => return Ok(shown(ctx, contact)),
            Settled::Earlier(earlier) => earlier,
        };
        let (id, version) = earlier.record()?;
        let visible = sql::get(&mut self.db.for_tenant(ctx).await?, ctx, &ctx.scope_of(READ), id).await?;
        let contact = visible.ok_or_else(|| Fault::not_found(name::format(COLLECTION, id)))?;
        if contact.version() == version {
            return Ok(shown(ctx, convert::to_proto(contact)));
        }
        // A deletion leaves no snapshot: but for its time, the record stayed as it stood before.
        let deletion: Option<(i64, pb::ContactDeleted)> = events::deletion(&self.db, ctx, id, version).await?;
        let (stood, delete_time) = deletion.map_or((version, None), |(deleted, event)| (deleted - 1, event.delete_time));
        let snapshot: pb::Contact = journal::at_version(&self.db, ctx, id, stood).await?;
        let update_time = delete_time.or(snapshot.update_time);
        Ok(shown(ctx, pb::Contact { etag: command::etag(version), update_time, delete_time, ..snapshot }))
    }
}

/// Refuses to take the one contact of a private customer away from it; asks nobody where there is none.
///
/// # Errors
/// FAILED_PRECONDITION (CONTACT_OF_PERSON_ACCOUNT).
pub(crate) async fn require_free(db: &Db, ctx: &Ctx, accounts: &[Uuid]) -> Result<(), Fault> {
    if accounts.is_empty() { Ok(()) } else { require_no_live(&mut db.for_tenant(ctx).await?, ctx, accounts).await }
}

/// The same on a connection.
///
/// # Errors
/// FAILED_PRECONDITION (CONTACT_OF_PERSON_ACCOUNT).
pub(crate) async fn require_no_live(conn: &mut Conn, ctx: &Ctx, accounts: &[Uuid]) -> Result<(), Fault> {
    if accounts.is_empty() || sql::live_accounts(conn, ctx, accounts).await?.is_empty() {
        return Ok(());
    }
    Err(Fault::precondition("CONTACT_OF_PERSON_ACCOUNT", "The person is the one contact of a private customer; delete that account first."))
}

/// Refuses a contact that was merged into another one, which is named to those who may see it.
///
/// # Errors
/// FAILED_PRECONDITION (RECORD_MERGED).
pub(crate) async fn require_unmerged(conn: &mut Conn, ctx: &Ctx, contact: &Contact) -> Result<(), Fault> {
    let Some(into) = contact.merged_into() else { return Ok(()) };
    let refusal = Fault::from(Refusal::Merged);
    match sql::get(conn, ctx, &ctx.scope_of(READ), into).await? {
        Some(survivor) => Err(refusal.with("merged_into", survivor.name())),
        None => Err(refusal),
    }
}

/// Has a contact that is to come back from the bin act for the accounts that go on in the place of those that were merged
/// meanwhile.
///
/// # Errors
/// What the database answers.
pub(crate) async fn follow_accounts(conn: &mut Conn, ctx: &Ctx, contact: &mut Contact) -> Result<(), Fault> {
    let accounts: Vec<Uuid> = contact.details().accounts.iter().map(|role| role.account).collect();
    let merged = account::sql::merged(conn, ctx, &accounts).await?;
    contact.follow_accounts(&merged);
    Ok(())
}

/// What there was to do is so already.
fn unchanged(contact: &Contact) -> Done<pb::Contact> {
    Done::Unchanged(convert::to_proto(contact.clone()), Record { collection: COLLECTION, id: contact.id(), version: contact.version() })
}

fn shown(ctx: &Ctx, mut contact: pb::Contact) -> Response<pb::Contact> {
    convert::hide(&mut contact, ctx.fields(RESOURCE));
    Response::new(contact)
}
