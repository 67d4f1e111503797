//! Merges: what becomes of both records, how the old name and ids lead on, and how it is taken back.

mod accounts;
mod at_once;
mod hierarchy;
mod parted;
mod parted_accounts;
mod refusals;
mod refused_accounts;
mod roles;
mod survivors;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_point::Kind;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1 as common;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Desk, named, refusal};

fn client(desk: &Desk) -> MergeServiceClient<Channel> {
    MergeServiceClient::new(desk.service.channel.clone())
}

fn asked(survivor: &str, loser: &str) -> pb::MergeContactsRequest {
    pb::MergeContactsRequest { survivor: survivor.to_owned(), loser: loser.to_owned(), ..pb::MergeContactsRequest::default() }
}

async fn merge(desk: &Desk, who: &Subject, survivor: &str, loser: &str) -> Result<pb::Merge, Status> {
    Ok(client(desk).merge_contacts(who.request(asked(survivor, loser))).await?.into_inner())
}

async fn unmerge(desk: &Desk, who: &Subject, name: &str) -> Result<pb::Merge, Status> {
    let request = pb::UnmergeContactsRequest { name: name.to_owned(), etag: String::new() };
    Ok(client(desk).unmerge_contacts(who.request(request)).await?.into_inner())
}

async fn get(desk: &Desk, name: &str) -> pb::Contact {
    let request = pb::GetContactRequest { name: name.to_owned(), as_of: None };
    desk.contacts().get_contact(desk.clerk.request(request)).await.expect("a contact").into_inner()
}

async fn update(desk: &Desk, contact: pb::Contact, paths: &[&str]) -> Result<pb::Contact, Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = pb::UpdateContactRequest { contact: Some(contact), update_mask: Some(prost_types::FieldMask { paths }), ..Default::default() };
    Ok(desk.contacts().update_contact(desk.clerk.request(request)).await?.into_inner())
}

async fn look_up(desk: &Desk, system: &str, id: &str) -> Result<String, Status> {
    let request = pb::LookupContactRequest { system: system.to_owned(), id: id.to_owned() };
    Ok(desk.contacts().lookup_contact(desk.clerk.request(request)).await?.into_inner().name)
}

fn external_id(system: &str, id: &str) -> common::ExternalId {
    common::ExternalId { system: system.to_owned(), id: id.to_owned() }
}

fn email(value: &str) -> pb::ContactPoint {
    pb::ContactPoint { kind: Kind::Email.into(), value: value.to_owned(), ..pb::ContactPoint::default() }
}

/// A person with one of everything that lists hold.
fn person(family_name: &str, mailbox: &str, external_ids: &[(&str, &str)], tag: &str) -> pb::Contact {
    let mut contact = named(family_name);
    contact.person.get_or_insert_default().contact_points = vec![email(mailbox)];
    let external_ids = external_ids.iter().map(|(system, id)| external_id(system, id)).collect();
    pb::Contact { external_ids, tags: vec![tag.to_owned()], ..contact }
}

/// Ada, as sales knows her, and Ada, as the shop does.
async fn two(desk: &Desk) -> (pb::Contact, pb::Contact) {
    let one = desk.create(person("Lovelace", "ada@example.org", &[("erp", "1")], "vip")).await.expect("a contact");
    let mut other = person("Byron", "ada@shop.example", &[("erp", "2"), ("shop", "9")], "new");
    other.person.get_or_insert_default().job_title = "Countess".to_owned();
    (one, desk.create(other).await.expect("a contact"))
}

/// A contact as a merge and its end leave it: all but versions and times.
fn timeless(contact: pb::Contact) -> pb::Contact {
    pb::Contact { etag: String::new(), update_time: None, ..contact }
}

fn told_into(status: &Status) -> Option<String> {
    assert_eq!(refusal(status), (Code::FailedPrecondition, "RECORD_MERGED".to_owned()), "{status:?}");
    status.get_details_error_info().and_then(|info| info.metadata.get("merged_into").cloned())
}

/// Whether a caller is to send the same again, or to read again and decide anew.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::ResourceExhausted)
}

/// Facts of a record with their versions and ordinals, oldest first.
async fn facts(desk: &Desk, name: &str) -> Vec<(i64, i16, String)> {
    let (_, id) = rapport_kit::name::split(name).expect("a record has a name");
    sqlx::query_as("select version, ordinal, fact from kit.journal where record_id = $1 order by version, ordinal")
        .bind(id)
        .fetch_all(&mut desk.database().await)
        .await
        .expect("the journal")
}
