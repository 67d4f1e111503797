//! The contact service: parse, read, decide, write once, answer.

use std::collections::HashMap;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_service_server::ContactService;
use rapport_kit::command::{self, Done, Settled};
use rapport_kit::journal::{self, Record};
use rapport_kit::policy::Policy;
use rapport_kit::{Ctx, Db, Fault, clock, name, page};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::surroundings::Surroundings;
use super::{COLLECTION, Contact, Fact, RESOURCE, convert, list, sql, upsert};
use crate::{convert as parts, events, external_id, limits, update};

const READ: &str = "contacts.contact.read";

/// Serves contacts.
#[derive(Debug, Clone)]
pub struct Contacts {
    db: Db,
    policy: Policy,
}

/// A change of one contact.
enum Change {
    Update { sent: Box<pb::Contact>, paths: Vec<&'static str> },
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
        let contact = sql::lookup(&mut self.db.for_tenant(&ctx).await?, &ctx, &ctx.scope(), &pair).await?;
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
        let done = self.write(&ctx, id, &etag, &Change::Update { sent: Box::new(sent), paths }).await;
        self.answer(&ctx, done).await
    }

    async fn batch_upsert_contacts(
        &self,
        request: Request<pb::BatchUpsertContactsRequest>,
    ) -> Result<Response<pb::BatchUpsertContactsResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        Ok(Response::new(upsert::upsert(&self.db, &self.policy, &ctx, request.into_inner()).await?))
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
    /// Contacts in `db`, for owners that `policy` knows.
    #[must_use]
    pub fn new(db: Db, policy: Policy) -> Self {
        Self { db, policy }
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateContactRequest) -> Result<Done<pb::Contact>, Fault> {
        let sent = request.contact.ok_or_else(|| Fault::invalid("contact", "is required"))?;
        let surroundings = Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&sent), None).await?;
        let details = surroundings.new_details(ctx, sent)?;
        let (contact, fact) = Contact::create(clock::new_id(), details, ctx.now());
        let entry = events::contact(ctx, &contact, fact)?;
        sql::insert(&mut self.db.for_tenant(ctx).await?, ctx, &contact, entry).await?;
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
            let Some(fact) = self.decide(ctx, &mut contact, change).await? else { return Ok(unchanged(&contact)) };
            let entry = events::contact(ctx, &contact, fact)?;
            if sql::update(&mut self.db.for_tenant(ctx).await?, ctx, &contact, entry).await? {
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
            Change::Update { sent, paths } => {
                let merged = convert::merge(contact, sent, paths);
                let surroundings = Surroundings::read(&self.db, &self.policy, ctx, std::slice::from_ref(&merged), Some(contact.details())).await?;
                let details = surroundings.details(ctx, merged, Some(contact.details()))?;
                require_no_live(&self.db, ctx, &contact.details().leaves(&details.accounts)).await?;
                Ok(contact.change(details, ctx.now())?)
            }
            Change::Delete => {
                require_no_live(&self.db, ctx, &contact.details().leaves(&[])).await?;
                Ok(contact.delete(ctx.now()))
            }
            Change::Undelete => Ok(Some(contact.undelete(ctx.now())?)),
        }
    }

    async fn visible(&self, ctx: &Ctx, id: Uuid) -> Result<Contact, Fault> {
        let found = sql::get(&mut self.db.for_tenant(ctx).await?, ctx, &ctx.scope(), id).await?;
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

/// Refuses to take the one contact of a private customer away from it.
///
/// # Errors
/// FAILED_PRECONDITION (CONTACT_OF_PERSON_ACCOUNT).
pub async fn require_no_live(db: &Db, ctx: &Ctx, accounts: &[Uuid]) -> Result<(), Fault> {
    if accounts.is_empty() || sql::live_accounts(&mut db.for_tenant(ctx).await?, ctx, accounts).await?.is_empty() {
        return Ok(());
    }
    Err(Fault::precondition("CONTACT_OF_PERSON_ACCOUNT", "The person is the one contact of a private customer; delete that account first."))
}

/// What there was to do is so already.
fn unchanged(contact: &Contact) -> Done<pb::Contact> {
    Done::Unchanged(convert::to_proto(contact.clone()), Record { collection: COLLECTION, id: contact.id(), version: contact.version() })
}

fn shown(ctx: &Ctx, mut contact: pb::Contact) -> Response<pb::Contact> {
    convert::hide(&mut contact, ctx.fields(RESOURCE));
    Response::new(contact)
}
