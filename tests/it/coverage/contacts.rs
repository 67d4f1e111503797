//! A valid request for each method of the contacts service, with everything that it needs made before.

use futures_util::future::BoxFuture;
use prost::Message;
use prost_types::FieldMask;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1 as pb;
use rapport_proto::google_type::{Date, PostalAddress};

use super::scene::{Scene, Valid};
use super::{dead_letters, duplicates, jobs, mappings, merges, work};

const SEARCH: &str = "/rapport.contacts.v1.SearchService/SearchRecords";

/// A record that was made for a request.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Stored {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "40")]
    pub(super) etag: String,
}

/// Which of the two resources; their standard methods take messages of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noun {
    Contact,
    Account,
}

/// A request of the method at `path` that succeeds for the scene's administrator; none if nobody has thought of one.
pub(super) fn valid<'a>(scene: &'a Scene, path: &str) -> Option<BoxFuture<'a, Valid>> {
    Some(match path {
        "/rapport.contacts.v1.ContactService/GetContact" => Box::pin(get(scene, Noun::Contact)),
        "/rapport.contacts.v1.ContactService/BatchGetContacts" => Box::pin(batch_get(scene, Noun::Contact)),
        "/rapport.contacts.v1.ContactService/ListContacts" => Box::pin(list(scene, Noun::Contact)),
        "/rapport.contacts.v1.ContactService/LookupContact" => Box::pin(look_up(scene, Noun::Contact)),
        "/rapport.contacts.v1.ContactService/CreateContact" => Box::pin(create_contact(scene)),
        "/rapport.contacts.v1.ContactService/UpdateContact" => Box::pin(update_contact(scene)),
        "/rapport.contacts.v1.ContactService/BatchUpsertContacts" => Box::pin(upsert_contacts(scene)),
        "/rapport.contacts.v1.ContactService/DeleteContact" => Box::pin(delete(scene, Noun::Contact)),
        "/rapport.contacts.v1.ContactService/UndeleteContact" => Box::pin(undelete(scene, Noun::Contact)),
        "/rapport.contacts.v1.AccountService/GetAccount" => Box::pin(get(scene, Noun::Account)),
        "/rapport.contacts.v1.AccountService/BatchGetAccounts" => Box::pin(batch_get(scene, Noun::Account)),
        "/rapport.contacts.v1.AccountService/ListAccounts" => Box::pin(list(scene, Noun::Account)),
        "/rapport.contacts.v1.AccountService/LookupAccount" => Box::pin(look_up(scene, Noun::Account)),
        "/rapport.contacts.v1.AccountService/CreateAccount" => Box::pin(create_account(scene)),
        "/rapport.contacts.v1.AccountService/UpdateAccount" => Box::pin(update_account(scene)),
        "/rapport.contacts.v1.AccountService/BatchUpsertAccounts" => Box::pin(upsert_accounts(scene)),
        "/rapport.contacts.v1.AccountService/DeleteAccount" => Box::pin(delete(scene, Noun::Account)),
        "/rapport.contacts.v1.AccountService/UndeleteAccount" => Box::pin(undelete(scene, Noun::Account)),
        SEARCH => Box::pin(search(scene)),
        merges::MERGE_CONTACTS => Box::pin(merges::merge_contacts(scene)),
        "/rapport.contacts.v1.MergeService/PreviewMergeContacts" => Box::pin(merges::preview_contacts(scene)),
        "/rapport.contacts.v1.MergeService/UnmergeContacts" => Box::pin(merges::unmerge_contacts(scene)),
        merges::MERGE_ACCOUNTS => Box::pin(merges::merge_accounts(scene)),
        "/rapport.contacts.v1.MergeService/PreviewMergeAccounts" => Box::pin(merges::preview_accounts(scene)),
        "/rapport.contacts.v1.MergeService/UnmergeAccounts" => Box::pin(merges::unmerge_accounts(scene)),
        "/rapport.contacts.v1.MergeService/GetMerge" => Box::pin(merges::get(scene)),
        "/rapport.contacts.v1.MergeService/ListMerges" => Box::pin(merges::list(scene)),
        "/rapport.contacts.v1.ViewService/GetView" => Box::pin(get_view(scene)),
        "/rapport.contacts.v1.ViewService/ListViews" => Box::pin(list_views(scene)),
        "/rapport.contacts.v1.ViewService/CreateView" => Box::pin(create_view(scene)),
        "/rapport.contacts.v1.ViewService/UpdateView" => Box::pin(update_view(scene)),
        "/rapport.contacts.v1.ViewService/DeleteView" => Box::pin(delete_view(scene)),
        "/rapport.contacts.v1.ImportMappingService/GetImportMapping" => Box::pin(mappings::get(scene)),
        "/rapport.contacts.v1.ImportMappingService/ListImportMappings" => Box::pin(mappings::list(scene)),
        "/rapport.contacts.v1.ImportMappingService/CreateImportMapping" => Box::pin(mappings::create(scene)),
        "/rapport.contacts.v1.ImportMappingService/UpdateImportMapping" => Box::pin(mappings::update(scene)),
        "/rapport.contacts.v1.ImportMappingService/DeleteImportMapping" => Box::pin(mappings::delete(scene)),
        "/rapport.contacts.v1.BulkService/PreviewBulkChange" => Box::pin(work::preview_bulk_change(scene)),
        "/rapport.contacts.v1.BulkService/StartBulkChange" => Box::pin(work::start_bulk_change(scene)),
        "/rapport.contacts.v1.ExportService/ExportContacts" => Box::pin(work::export(scene, Noun::Contact)),
        "/rapport.contacts.v1.ExportService/ExportAccounts" => Box::pin(work::export(scene, Noun::Account)),
        "/rapport.contacts.v1.ExportService/StartExport" => Box::pin(work::start_export(scene)),
        "/rapport.contacts.v1.DuplicateRuleService/GetDuplicateRule" => Box::pin(duplicates::get_rule(scene)),
        "/rapport.contacts.v1.DuplicateRuleService/ListDuplicateRules" => Box::pin(duplicates::list_rules(scene)),
        "/rapport.contacts.v1.DuplicateRuleService/CreateDuplicateRule" => Box::pin(duplicates::create_rule(scene)),
        "/rapport.contacts.v1.DuplicateRuleService/UpdateDuplicateRule" => Box::pin(duplicates::update_rule(scene)),
        "/rapport.contacts.v1.DuplicateRuleService/DeleteDuplicateRule" => Box::pin(duplicates::delete_rule(scene)),
        "/rapport.contacts.v1.DuplicateService/FindDuplicates" => Box::pin(duplicates::find()),
        "/rapport.contacts.v1.DuplicateService/ListDuplicatePairs" => Box::pin(duplicates::list_pairs(scene)),
        "/rapport.contacts.v1.DuplicateService/ReviewDuplicatePair" => Box::pin(duplicates::review_pair(scene)),
        "/rapport.contacts.v1.DuplicateService/StartDuplicateSweep" => Box::pin(duplicates::start_sweep()),
        "/rapport.contacts.v1.ImportService/InspectImport" => Box::pin(work::inspect_import(scene)),
        "/rapport.contacts.v1.ImportService/StartImport" => Box::pin(work::start_import(scene)),
        "/rapport.contacts.v1.ImportService/GetImportReport" => Box::pin(work::import_report(scene)),
        "/rapport.contacts.v1.ReconciliationService/StartReconciliation" => Box::pin(work::start_reconciliation(scene)),
        "/rapport.contacts.v1.ReconciliationService/GetReconciliation" => Box::pin(work::reconciliation(scene)),
        "/rapport.common.v1.AccessService/ShareRecord" => Box::pin(share(scene)),
        "/rapport.common.v1.AccessService/UnshareRecord" => Box::pin(unshare(scene)),
        "/rapport.common.v1.AccessService/ListShares" => Box::pin(list_shares(scene)),
        "/rapport.common.v1.AccessService/ExplainAccess" => Box::pin(explain(scene)),
        "/rapport.common.v1.AuditService/ListChanges" => Box::pin(list_changes(scene)),
        "/rapport.common.v1.AuditService/VerifySeal" => Box::pin(verify_seal()),
        "/rapport.common.v1.DeadLetterService/ListDeadLetters" => Box::pin(dead_letters::list(scene)),
        "/rapport.common.v1.DeadLetterService/ReplayDeadLetters" => Box::pin(dead_letters::replay(scene)),
        "/rapport.common.v1.DeadLetterService/DiscardDeadLetters" => Box::pin(dead_letters::discard(scene)),
        "/rapport.common.v1.JobService/GetJob" => Box::pin(jobs::get_job(scene)),
        "/rapport.common.v1.JobService/ListJobs" => Box::pin(jobs::list_jobs(scene)),
        "/rapport.common.v1.JobService/CancelJob" => Box::pin(jobs::cancel_job(scene)),
        "/rapport.common.v1.JobService/UndoJob" => Box::pin(jobs::undo_job(scene)),
        "/rapport.common.v1.FileService/CreateFile" => Box::pin(jobs::create_file(scene)),
        "/rapport.common.v1.FileService/UploadChunk" => Box::pin(jobs::upload_chunk(scene)),
        "/rapport.common.v1.FileService/CompleteUpload" => Box::pin(jobs::complete_upload(scene)),
        "/rapport.common.v1.FileService/GetFile" => Box::pin(jobs::get_file(scene)),
        "/rapport.common.v1.FileService/DownloadFile" => Box::pin(jobs::download_file(scene)),
        "/rapport.common.v1.FileService/DeleteFile" => Box::pin(jobs::delete_file(scene)),
        _ => return None,
    })
}

async fn get(scene: &Scene, noun: Noun) -> Valid {
    let name = make(scene, noun).await.name;
    Valid::read(&contacts::GetContactRequest { name, as_of: None }).about_a_record()
}

async fn batch_get(scene: &Scene, noun: Noun) -> Valid {
    let names = vec![make(scene, noun).await.name, make(scene, noun).await.name];
    Valid::read(&contacts::BatchGetContactsRequest { names })
}

async fn list(scene: &Scene, noun: Noun) -> Valid {
    for _ in 0..3 {
        make(scene, noun).await;
    }
    Valid::read(&contacts::ListContactsRequest::default())
}

async fn look_up(scene: &Scene, noun: Noun) -> Valid {
    let id = format!("looked up {}", scene.number());
    make_as(scene, noun, &id).await;
    Valid::read(&contacts::LookupContactRequest { system: "erp".to_owned(), id }).about_a_record()
}

async fn create_contact(scene: &Scene) -> Valid {
    let account = make(scene, Noun::Account).await.name;
    let contact = contacts::Contact { accounts: vec![role(account)], owner: scene.administrator.name(), ..contact(&fresh(scene)) };
    Valid::change(&contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false }, 1)
}

async fn create_account(scene: &Scene) -> Valid {
    let parent = make(scene, Noun::Account).await.name;
    let account = contacts::Account { parent, owner: scene.administrator.name(), ..account(&fresh(scene)) };
    Valid::change(&contacts::CreateAccountRequest { account: Some(account) }, 1)
}

async fn update_contact(scene: &Scene) -> Valid {
    let Stored { name, etag } = make(scene, Noun::Contact).await;
    let contact = contacts::Contact { name, etag, tags: vec!["changed".to_owned()], ..contacts::Contact::default() };
    Valid::change(&contacts::UpdateContactRequest { contact: Some(contact), update_mask: tags(), allow_duplicates: false }, 1).about_a_record()
}

async fn update_account(scene: &Scene) -> Valid {
    let Stored { name, etag } = make(scene, Noun::Account).await;
    let account = contacts::Account { name, etag, tags: vec!["changed".to_owned()], ..contacts::Account::default() };
    Valid::change(&contacts::UpdateAccountRequest { account: Some(account), update_mask: tags() }, 1).about_a_record()
}

/// One entry that is new and one that is known.
async fn upsert_contacts(scene: &Scene) -> Valid {
    let Stored { name, etag } = make(scene, Noun::Contact).await;
    let known = contacts::Contact { name, etag, tags: vec!["changed".to_owned()], ..contacts::Contact::default() };
    Valid::change(&contacts::BatchUpsertContactsRequest { contacts: vec![contact(&fresh(scene)), known], atomic: true, allow_duplicates: false }, 2)
}

async fn upsert_accounts(scene: &Scene) -> Valid {
    let Stored { name, etag } = make(scene, Noun::Account).await;
    let known = contacts::Account { name, etag, tags: vec!["changed".to_owned()], ..contacts::Account::default() };
    Valid::change(&contacts::BatchUpsertAccountsRequest { accounts: vec![account(&fresh(scene)), known], atomic: true }, 2)
}

async fn delete(scene: &Scene, noun: Noun) -> Valid {
    let Stored { name, etag } = make(scene, noun).await;
    Valid::change(&contacts::DeleteContactRequest { name, etag }, 1).about_a_record()
}

async fn undelete(scene: &Scene, noun: Noun) -> Valid {
    let request = delete(scene, noun).await.request;
    let answer = scene.send(method(noun, "Delete"), request).await.expect("an administrator deletes a record");
    let Stored { name, etag } = Stored::decode(answer.as_slice()).expect("a record");
    Valid::change(&contacts::UndeleteContactRequest { name, etag }, 1).about_a_record()
}

/// For a word that three contacts have and no other one, and that is in the index.
async fn search(scene: &Scene) -> Valid {
    let word = clock::new_id().simple().to_string();
    for _ in 0..3 {
        let person = contacts::Person { family_name: word.clone(), ..contacts::Person::default() };
        let request = contacts::CreateContactRequest {
            contact: Some(contacts::Contact { person: Some(person), ..contacts::Contact::default() }),
            allow_duplicates: false,
        };
        scene.send(method(Noun::Contact, "Create"), request.encode_to_vec()).await.expect("an administrator creates a contact");
    }
    let request = contacts::SearchRecordsRequest { query: word, ..contacts::SearchRecordsRequest::default() };
    eventually("three contacts are in the index", async || {
        let answer = scene.send(SEARCH, request.encode_to_vec()).await.expect("an administrator searches");
        let answer = contacts::SearchRecordsResponse::decode(answer.as_slice()).expect("the answer of a search");
        (answer.results.len() == 3).then_some(())
    })
    .await;
    Valid::read(&request)
}

/// A view of contacts that everybody of the tenant sees.
fn view(scene: &Scene) -> contacts::View {
    contacts::View {
        display_name: fresh(scene),
        collection: "contacts".to_owned(),
        filter: "tags:vip".to_owned(),
        order_by: "update_time desc".to_owned(),
        columns: vec!["person.family_name".to_owned(), "owner".to_owned()],
        visibility: contacts::view::Visibility::All.into(),
        ..contacts::View::default()
    }
}

async fn make_view(scene: &Scene) -> Stored {
    let request = contacts::CreateViewRequest { view: Some(view(scene)) }.encode_to_vec();
    let answer = scene.send("/rapport.contacts.v1.ViewService/CreateView", request).await.expect("an administrator creates a view");
    Stored::decode(answer.as_slice()).expect("a view")
}

async fn get_view(scene: &Scene) -> Valid {
    Valid::read(&contacts::GetViewRequest { name: make_view(scene).await.name }).about_a_record()
}

async fn list_views(scene: &Scene) -> Valid {
    for _ in 0..3 {
        make_view(scene).await;
    }
    Valid::read(&contacts::ListViewsRequest::default())
}

async fn create_view(scene: &Scene) -> Valid {
    Valid::change(&contacts::CreateViewRequest { view: Some(view(scene)) }, 1)
}

async fn update_view(scene: &Scene) -> Valid {
    let Stored { name, etag } = make_view(scene).await;
    let view = contacts::View { name, etag, filter: "tags:new".to_owned(), ..contacts::View::default() };
    Valid::change(&contacts::UpdateViewRequest { view: Some(view), update_mask: None }, 1).about_a_record()
}

async fn delete_view(scene: &Scene) -> Valid {
    let Stored { name, etag } = make_view(scene).await;
    Valid { removes: true, ..Valid::change(&contacts::DeleteViewRequest { name, etag }, 1).about_a_record() }
}

async fn share(scene: &Scene) -> Valid {
    let name = make(scene, Noun::Contact).await.name;
    Valid::change(&shared(name, scene.nobody.name()), 1).about_a_record()
}

async fn unshare(scene: &Scene) -> Valid {
    let name = made_and_shared(scene).await;
    Valid::change(&pb::UnshareRecordRequest { name, subject: scene.nobody.name() }, 1).about_a_record()
}

async fn list_shares(scene: &Scene) -> Valid {
    let name = made_and_shared(scene).await;
    Valid::read(&pb::ListSharesRequest { name, ..pb::ListSharesRequest::default() }).about_a_record()
}

async fn explain(scene: &Scene) -> Valid {
    let name = make(scene, Noun::Contact).await.name;
    Valid::read(&pb::ExplainAccessRequest { name, subject: String::new(), action: pb::AccessAction::Update.into() }).about_a_record()
}

async fn list_changes(scene: &Scene) -> Valid {
    let name = make(scene, Noun::Contact).await.name;
    for tag in ["first", "second"] {
        let contact = contacts::Contact { name: name.clone(), tags: vec![tag.to_owned()], ..contacts::Contact::default() };
        let request = contacts::UpdateContactRequest { contact: Some(contact), update_mask: tags(), allow_duplicates: false };
        scene.send("/rapport.contacts.v1.ContactService/UpdateContact", request.encode_to_vec()).await.expect("an administrator changes a contact");
    }
    Valid::read(&pb::ListChangesRequest { name, ..pb::ListChangesRequest::default() }).about_a_record()
}

async fn verify_seal() -> Valid {
    Valid::read(&pb::VerifySealRequest { name: "services/contacts".to_owned(), ..pb::VerifySealRequest::default() })
}

/// A contact that is shared with several people.
async fn made_and_shared(scene: &Scene) -> String {
    let name = make(scene, Noun::Contact).await.name;
    for subject in [&scene.nobody, &scene.colleague] {
        let request = shared(name.clone(), subject.name()).encode_to_vec();
        scene.send("/rapport.common.v1.AccessService/ShareRecord", request).await.expect("an administrator shares a contact");
    }
    name
}

fn shared(name: String, subject: String) -> pb::ShareRecordRequest {
    pb::ShareRecordRequest { name, subject, access_level: pb::AccessLevel::Write.into(), role: "second".to_owned() }
}

pub(super) async fn make(scene: &Scene, noun: Noun) -> Stored {
    make_as(scene, noun, &fresh(scene)).await
}

/// A stored record with this external id.
async fn make_as(scene: &Scene, noun: Noun, id: &str) -> Stored {
    let request = match noun {
        Noun::Contact => contacts::CreateContactRequest { contact: Some(contact(id)), allow_duplicates: false }.encode_to_vec(),
        Noun::Account => contacts::CreateAccountRequest { account: Some(account(id)) }.encode_to_vec(),
    };
    let answer = scene.send(method(noun, "Create"), request).await.unwrap_or_else(|status| panic!("an administrator creates a record: {status:?}"));
    Stored::decode(answer.as_slice()).expect("a record")
}

fn method(noun: Noun, verb: &str) -> &'static str {
    match (noun, verb) {
        (Noun::Contact, "Create") => "/rapport.contacts.v1.ContactService/CreateContact",
        (Noun::Contact, _) => "/rapport.contacts.v1.ContactService/DeleteContact",
        (Noun::Account, "Create") => "/rapport.contacts.v1.AccountService/CreateAccount",
        (Noun::Account, _) => "/rapport.contacts.v1.AccountService/DeleteAccount",
    }
}

fn fresh(scene: &Scene) -> String {
    format!("record {}", scene.number())
}

fn tags() -> Option<FieldMask> {
    Some(FieldMask { paths: vec!["tags".to_owned()] })
}

/// A contact of which everything is known that stands by itself.
fn contact(id: &str) -> contacts::Contact {
    let person = contacts::Person {
        given_name: "Zeynep".to_owned(),
        family_name: "Yıldız".to_owned(),
        additional_name: "Su".to_owned(),
        salutation: "Dr".to_owned(),
        language: "tr".to_owned(),
        birth_date: Some(Date { year: 1984, month: 2, day: 29 }),
        job_title: "Buyer".to_owned(),
        contact_points: vec![point()],
        addresses: vec![address()],
        notes: "Likes to be called before noon.".to_owned(),
    };
    contacts::Contact { person: Some(person), external_ids: vec![external_id(id)], tags: vec!["new".to_owned()], ..contacts::Contact::default() }
}

fn account(id: &str) -> contacts::Account {
    contacts::Account {
        display_name: format!("Account {id}"),
        relationships: vec![contacts::account::Relationship::Customer.into()],
        sector: "Steel".to_owned(),
        contact_points: vec![point()],
        addresses: vec![address()],
        external_ids: vec![external_id(id)],
        tags: vec!["new".to_owned()],
        ..contacts::Account::default()
    }
}

fn role(account: String) -> contacts::AccountRole {
    contacts::AccountRole { account, role: "buyer".to_owned(), primary: true, ..contacts::AccountRole::default() }
}

fn external_id(id: &str) -> pb::ExternalId {
    pb::ExternalId { system: "erp".to_owned(), id: id.to_owned() }
}

fn point() -> contacts::ContactPoint {
    contacts::ContactPoint {
        kind: contacts::contact_point::Kind::Email.into(),
        value: "zeynep@example.com".to_owned(),
        label: "work".to_owned(),
        ..contacts::ContactPoint::default()
    }
}

fn address() -> contacts::Address {
    let postal_address = PostalAddress { region_code: "FR".to_owned(), locality: "Lyon".to_owned(), ..PostalAddress::default() };
    contacts::Address { kind: contacts::address::Kind::Work.into(), postal_address: Some(postal_address), primary: true }
}
