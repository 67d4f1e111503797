//! Bulk changes: what they show before, whom they concern, what they leave.

use rapport_contacts::bulk::KIND;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::bulk_change::Change;
use rapport_contacts_api::v1::bulk_sample::{After, Before};
use rapport_contacts_api::v1::bulk_service_client::BulkServiceClient;
use rapport_kit::jobs::Kind;
use rapport_kit::tasks::Window;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::job_service_client::JobServiceClient;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel, Job, JobState, UndoJobRequest};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::exports::death::{die_at, worker};
use crate::exports::{ended, table, written};
use crate::support::{Desk, named, reading, refusal, violation};

static KINDS: [Kind; 1] = [KIND];

fn client(desk: &Desk) -> BulkServiceClient<Channel> {
    BulkServiceClient::new(desk.service.channel.clone())
}

/// A change of the contacts that `filter` asks for.
pub(crate) fn contacts(filter: &str, change: Change) -> pb::BulkChange {
    pb::BulkChange { collection: "contacts".to_owned(), filter: filter.to_owned(), names: Vec::new(), change: Some(change) }
}

pub(crate) fn tags(tags: &[&str]) -> pb::TagList {
    pb::TagList { tags: tags.iter().map(|tag| (*tag).to_owned()).collect() }
}

async fn preview(desk: &Desk, who: &Subject, change: &pb::BulkChange) -> Result<pb::PreviewBulkChangeResponse, Status> {
    let request = pb::PreviewBulkChangeRequest { change: Some(change.clone()) };
    Ok(client(desk).preview_bulk_change(who.request(request)).await?.into_inner())
}

async fn start(desk: &Desk, who: &Subject, change: &pb::BulkChange, preview_token: &str) -> Result<Job, Status> {
    let request = pb::StartBulkChangeRequest { change: Some(change.clone()), preview_token: preview_token.to_owned() };
    Ok(client(desk).start_bulk_change(who.request(request)).await?.into_inner())
}

/// The job of a change that was previewed, once it has ended.
pub(crate) async fn make(desk: &Desk, who: &Subject, change: &pb::BulkChange) -> Job {
    let shown = preview(desk, who, change).await.expect("a preview");
    let job = start(desk, who, change, &shown.preview_token).await.expect("a job");
    let job = ended(desk, who, &job.name).await;
    assert_eq!((job.state(), &job.error), (JobState::Succeeded, &None));
    assert_eq!((job.done_count, job.total_count), (shown.count, Some(shown.count)));
    job
}

async fn tagged(desk: &Desk, family_name: &str, tag: &str) -> pb::Contact {
    desk.create(pb::Contact { tags: vec![tag.to_owned()], ..named(family_name) }).await.expect("a contact")
}

async fn read(desk: &Desk, name: &str) -> pb::Contact {
    let request = pb::GetContactRequest { name: name.to_owned(), as_of: None };
    desk.contacts().get_contact(desk.clerk.request(request)).await.expect("the contact").into_inner()
}

/// What the job refused: names with reasons.
async fn refused(desk: &Desk, who: &Subject, job: &Job) -> Vec<(String, String)> {
    let rows = table(&written(desk, who, job).await);
    assert_eq!(rows[0], ["Record", "Reason", "Message"]);
    rows[1..].iter().map(|row| (row[0].clone(), row[1].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_first_and_made_to_what_was_shown() {
    let desk = Desk::open().await;
    let (one, two) = (tagged(&desk, "Celik", "vip").await, tagged(&desk, "Demir", "vip").await);
    let other = tagged(&desk, "Kaya", "new").await;
    let change = contacts("tags:vip", Change::AddTags(tags(&["gold", "vip"])));
    let shown = preview(&desk, &desk.clerk, &change).await.unwrap();
    assert_eq!((shown.count, shown.capped), (2, false));
    for (sample, stored) in shown.samples.iter().zip([&one, &two]) {
        assert_eq!(sample.name, stored.name);
        assert_eq!(sample.before, Some(Before::ContactBefore(stored.clone())));
        let Some(After::ContactAfter(after)) = &sample.after else { panic!("a contact: {sample:?}") };
        assert_eq!((after.tags.join(" "), &sample.error), ("gold vip".to_owned(), &None));
    }
    assert_eq!(read(&desk, &one.name).await, one, "a preview changes nothing");

    let job = make(&desk, &desk.clerk, &change).await;
    assert_eq!((job.kind.as_str(), job.done_count, job.refused_count, job.output_files.len()), ("contacts.bulk", 2, 0, 0));
    for changed in [&one, &two] {
        let now = read(&desk, &changed.name).await;
        assert_eq!((now.tags.join(" "), now.etag), ("gold vip".to_owned(), "2".to_owned()));
    }
    assert_eq!(read(&desk, &other.name).await, other);
    // Made again, it finds everything so already.
    assert_eq!(make(&desk, &desk.clerk, &change).await.done_count, 2);
    assert_eq!(read(&desk, &one.name).await.etag, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_came_after_the_preview_are_not_changed_unseen() {
    let desk = Desk::open().await;
    tagged(&desk, "Celik", "vip").await;
    let change = contacts("tags:vip", Change::Delete(true));
    let shown = preview(&desk, &desk.clerk, &change).await.unwrap();
    let late = tagged(&desk, "Demir", "vip").await;
    let status = start(&desk, &desk.clerk, &change, &shown.preview_token).await.expect_err("another set");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "PREVIEW_OUTDATED".to_owned()));
    // Nor does the token open another change of the same records.
    let shown = preview(&desk, &desk.clerk, &change).await.unwrap();
    let other = contacts("tags:vip", Change::RemoveTags(tags(&["vip"])));
    let status = start(&desk, &desk.clerk, &other, &shown.preview_token).await.expect_err("another change");
    assert_eq!(refusal(&status), (Code::FailedPrecondition, "PREVIEW_OUTDATED".to_owned()));
    assert_eq!(read(&desk, &late.name).await, late);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_change_does_what_a_single_call_would() {
    let desk = Desk::open().await;
    let team = format!("teams/{}", desk.service.identity.team(desk.tenant, &[]));
    let account = pb::Account { display_name: "Nordlicht".to_owned(), tags: vec!["vip".to_owned()], ..pb::Account::default() };
    let account = desk.accounts().create_account(desk.clerk.request(pb::CreateAccountRequest { account: Some(account) })).await.unwrap().into_inner();
    let contact = tagged(&desk, "Celik", "vip").await;
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let person = pb::Person { language: "tr".to_owned(), ..pb::Person::default() };
    let set_contact =
        pb::SetContactFields { contact: Some(pb::Contact { person: Some(person), ..pb::Contact::default() }), update_mask: mask("person.language") };
    let set_account =
        pb::SetAccountFields { account: Some(pb::Account { sector: "Steel".to_owned(), ..pb::Account::default() }), update_mask: mask("sector") };
    let of_account = |change: Change| pb::BulkChange {
        collection: "accounts".to_owned(),
        names: vec![account.name.clone()],
        filter: String::new(),
        change: Some(change),
    };
    for change in [
        contacts("tags:vip", Change::SetContactFields(set_contact)),
        of_account(Change::SetAccountFields(set_account)),
        contacts("tags:vip", Change::AssignOwner(team.clone())),
        of_account(Change::AssignOwner(team.clone())),
        contacts("tags:vip", Change::AddTags(tags(&["gold"]))),
        of_account(Change::RemoveTags(tags(&["vip"]))),
    ] {
        assert_eq!(make(&desk, &desk.clerk, &change).await.refused_count, 0, "{change:?}");
    }
    let now = read(&desk, &contact.name).await;
    assert_eq!(
        (now.person.as_ref().map(|person| person.language.as_str()), now.tags.join(" "), &now.owner),
        (Some("tr"), "gold vip".to_owned(), &team)
    );
    let get = desk.clerk.request(pb::GetAccountRequest { name: account.name.clone(), as_of: None });
    let now = desk.accounts().get_account(get).await.unwrap().into_inner();
    assert_eq!((now.sector.as_str(), now.tags.len(), &now.owner), ("Steel", 0, &team));
    for change in [contacts("tags:gold", Change::Delete(true)), of_account(Change::Delete(true))] {
        make(&desk, &desk.clerk, &change).await;
    }
    assert!(read(&desk, &contact.name).await.delete_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_listed_with_the_reason_and_the_rest_is_changed() {
    let desk = Desk::open().await;
    let customer = pb::Account { display_name: "Ada".to_owned(), kind: pb::account::Kind::Person.into(), ..pb::Account::default() };
    let customer =
        desk.accounts().create_account(desk.clerk.request(pb::CreateAccountRequest { account: Some(customer) })).await.unwrap().into_inner();
    let role = pb::AccountRole { account: customer.name, ..pb::AccountRole::default() };
    let sole = desk.create(pb::Contact { accounts: vec![role], tags: vec!["old".to_owned()], ..named("Sole") }).await.unwrap();
    let free = tagged(&desk, "Free", "old").await;
    let change = contacts("tags:old", Change::Delete(true));
    let shown = preview(&desk, &desk.clerk, &change).await.unwrap();
    assert!(shown.samples[0].error.is_some() && shown.samples[1].error.is_none(), "{shown:?}");
    let job = make(&desk, &desk.clerk, &change).await;
    assert_eq!((job.done_count, job.refused_count), (2, 1));
    assert_eq!(refused(&desk, &desk.clerk, &job).await, [(sole.name.clone(), "CONTACT_OF_PERSON_ACCOUNT".to_owned())]);
    assert!(read(&desk, &sole.name).await.delete_time.is_none() && read(&desk, &free.name).await.delete_time.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bulk_change_did_is_taken_back_but_for_what_was_edited_since() {
    let desk = Desk::open().await;
    let (kept, edited) = (tagged(&desk, "Kept", "vip").await, tagged(&desk, "Edited", "vip").await);
    let parent = pb::Account { display_name: "Nordlicht".to_owned(), ..pb::Account::default() };
    let parent = desk.accounts().create_account(desk.clerk.request(pb::CreateAccountRequest { account: Some(parent) })).await.unwrap().into_inner();
    let child = pb::Account { display_name: "Nordlicht Nord".to_owned(), parent: parent.name.clone(), ..pb::Account::default() };
    let child = desk.accounts().create_account(desk.clerk.request(pb::CreateAccountRequest { account: Some(child) })).await.unwrap().into_inner();
    let of_accounts = |change: Change| pb::BulkChange {
        collection: "accounts".to_owned(),
        filter: String::new(),
        names: vec![child.name.clone()],
        change: Some(change),
    };
    let tagging = make(&desk, &desk.clerk, &contacts("tags:vip", Change::AddTags(tags(&["gold"])))).await;
    assert!(tagging.undoable);
    desk.tag(&edited.name, "silver", None).await.unwrap();
    let deletion = make(&desk, &desk.clerk, &of_accounts(Change::Delete(true))).await;

    let undone = undo(&desk, &tagging).await;
    assert_eq!((undone.state(), undone.done_count, undone.refused_count), (JobState::Succeeded, 2, 1));
    assert_eq!(read(&desk, &kept.name).await.tags, ["vip"]);
    assert_eq!(read(&desk, &edited.name).await.tags, ["silver"]);
    let undone = undo(&desk, &deletion).await;
    assert_eq!((undone.state(), undone.done_count, undone.refused_count), (JobState::Succeeded, 1, 0));
    let get = desk.clerk.request(pb::GetAccountRequest { name: child.name.clone(), as_of: None });
    let back = desk.accounts().get_account(get).await.unwrap().into_inner();
    assert_eq!((back.delete_time, back.parent), (None, parent.name));
    let deletion = make(&desk, &desk.clerk, &contacts("tags:vip", Change::Delete(true))).await;
    assert!(read(&desk, &kept.name).await.delete_time.is_some());
    assert_eq!(undo(&desk, &deletion).await.refused_count, 0);
    assert_eq!(read(&desk, &kept.name).await.delete_time, None);
}

/// The job that takes another one back, once it has ended.
pub(crate) async fn undo(desk: &Desk, job: &Job) -> Job {
    let request = desk.clerk.request(UndoJobRequest { name: job.name.clone() });
    let undo = JobServiceClient::new(desk.service.channel.clone()).undo_job(request).await.expect("the job can be undone").into_inner();
    ended(desk, &desk.clerk, &undo.name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_database_takes_nothing_of_the_others_with_it() {
    let desk = Desk::open().await;
    let customer = pb::Account { display_name: "Ada".to_owned(), kind: pb::account::Kind::Person.into(), ..pb::Account::default() };
    let customer =
        desk.accounts().create_account(desk.clerk.request(pb::CreateAccountRequest { account: Some(customer) })).await.unwrap().into_inner();
    let (first, second) = (tagged(&desk, "First", "new").await, tagged(&desk, "Second", "new").await);
    // A private customer has one contact.
    let role = pb::AccountRole { account: customer.name.clone(), ..pb::AccountRole::default() };
    let set = pb::SetContactFields {
        contact: Some(pb::Contact { accounts: vec![role], ..pb::Contact::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["accounts".to_owned()] }),
    };
    let job = make(&desk, &desk.clerk, &contacts("tags:new", Change::SetContactFields(set))).await;
    assert_eq!(refused(&desk, &desk.clerk, &job).await, [(second.name.clone(), "PERSON_ACCOUNT_HAS_CONTACT".to_owned())]);
    assert_eq!(read(&desk, &first.name).await.accounts.len(), 1);
    assert_eq!(read(&desk, &second.name).await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_reaches_no_further_than_single_ones() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "tags".to_owned(), effect: FieldEffect::ReadOnly.into() };
    let everything = &["contacts.*", "jobs.*", "files.*"];
    let own = identity.user(desk.tenant, None, identity.role(desk.tenant, everything, Vec::new()), GrantLevel::Own);
    let bound = identity.user(desk.tenant, None, identity.role(desk.tenant, everything, vec![rule]), GrantLevel::All);
    let reader =
        identity.user(desk.tenant, None, identity.role(desk.tenant, &["contacts.bulk.create", "contacts.contact.read"], Vec::new()), GrantLevel::All);
    let hers = desk.create(pb::Contact { owner: own.name(), tags: vec!["vip".to_owned()], ..named("Hers") }).await.unwrap();
    let shared = tagged(&desk, "Shared", "vip").await;
    desk.share(reading(&shared.name, &own.name()), None).await.unwrap();
    tagged(&desk, "Whose", "vip").await;
    let change = contacts("tags:vip", Change::AddTags(tags(&["gold"])));
    let shown = preview(&desk, &own, &change).await.unwrap();
    assert_eq!(shown.samples.iter().map(|sample| &sample.name).collect::<Vec<_>>(), [&hers.name]);
    make(&desk, &own, &change).await;
    assert_eq!(read(&desk, &shared.name).await.tags, ["vip"]);
    for (who, reason) in [(&bound, "FIELD_READ_ONLY"), (&reader, "PERMISSION_MISSING")] {
        let status = preview(&desk, who, &change).await.expect_err(reason);
        assert_eq!(refusal(&status), (Code::PermissionDenied, reason.to_owned()));
        let status = start(&desk, who, &change, &shown.preview_token).await.expect_err(reason);
        assert_eq!(refusal(&status), (Code::PermissionDenied, reason.to_owned()));
    }
    let status = start(&desk, &own, &change, "").await.expect_err("no preview");
    assert_eq!(violation(&status).0, "preview_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_process_dies_anywhere_is_made_once() {
    let desk = Desk::configured(|config| config.jobs = 0).await;
    tagged(&desk, "Number 0", "vip").await;
    // More than two pieces. Their look-up rows stand as the service would write them.
    let copies = "with copy as (
        insert into contacts select r.* from contacts c, generate_series(1, 1199) n, jsonb_populate_record(c, jsonb_build_object('id', md5('copy ' || n)::uuid)) r
        where c.tenant_id = $1 returning tenant_id, id
      ) insert into record_tags (tenant_id, record_id, tag) select tenant_id, id, 'vip' from copy";
    sqlx::query(copies).bind(desk.tenant).execute(&mut desk.superuser().await).await.expect("copies of the contact");
    let change = contacts("tags:vip", Change::AddTags(tags(&["gold"])));
    let shown = preview(&desk, &desk.clerk, &change).await.unwrap();
    assert_eq!((shown.count, shown.samples.len()), (1200, 10));
    let job = start(&desk, &desk.clerk, &change, &shown.preview_token).await.unwrap();
    for window in [Window::JobTaken, Window::BeforeStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit] {
        die_at(&desk, &KINDS, window).await;
    }
    let survivor = worker(&desk, &KINDS);
    let job = ended(&desk, &desk.clerk, &job.name).await;
    assert_eq!((job.state(), job.done_count, job.refused_count), (JobState::Succeeded, 1200, 0));
    let counts: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from contacts where tenant_id = $1 and version = 2 and tags = '{gold,vip}'),
           (select count(*) from kit.journal where tenant_id = $1 and fact = 'contacts.contact.updated.v1'),
           (select count(*) from bulk_set)",
    )
    .bind(desk.tenant)
    .fetch_one(&mut desk.superuser().await)
    .await
    .unwrap();
    assert_eq!(counts, (1200, 1200, 0), "changed, journaled, left to be done");
    assert!(survivor.stop(std::time::Duration::from_secs(5)).await);
}
