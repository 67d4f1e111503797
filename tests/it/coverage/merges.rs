//! A valid request for each method about merges.

use prost::Message;
use prost_types::FieldMask;
use rapport_contacts_api::v1 as contacts;

use super::contacts::{Noun, Stored, make};
use super::scene::{Scene, Valid};

pub(super) const MERGE_CONTACTS: &str = "/rapport.contacts.v1.MergeService/MergeContacts";
pub(super) const MERGE_ACCOUNTS: &str = "/rapport.contacts.v1.MergeService/MergeAccounts";

/// Two contacts of the administrator's, one of which is to become part of the other.
async fn pair(scene: &Scene) -> contacts::MergeContactsRequest {
    let (survivor, loser) = (make(scene, Noun::Contact).await, make(scene, Noun::Contact).await);
    contacts::MergeContactsRequest {
        survivor: survivor.name,
        loser: loser.name,
        survivor_etag: survivor.etag,
        loser_etag: loser.etag,
        from_loser: Some(FieldMask { paths: vec!["person.notes".to_owned()] }),
    }
}

async fn make_merge(scene: &Scene) -> Stored {
    let answer = scene.send(MERGE_CONTACTS, pair(scene).await.encode_to_vec()).await.expect("an administrator merges two contacts");
    Stored::decode(answer.as_slice()).expect("a merge")
}

/// The survivor, the loser and the merge each have a row.
pub(super) async fn merge_contacts(scene: &Scene) -> Valid {
    Valid::change(&pair(scene).await, 3).about_a_record()
}

pub(super) async fn preview_contacts(scene: &Scene) -> Valid {
    Valid::read(&contacts::PreviewMergeContactsRequest { merge: Some(pair(scene).await) }).about_a_record()
}

pub(super) async fn unmerge_contacts(scene: &Scene) -> Valid {
    let Stored { name, etag } = make_merge(scene).await;
    Valid::change(&contacts::UnmergeContactsRequest { name, etag }, 3).about_a_record()
}

/// Two accounts of the administrator's, one of which is to become part of the other.
async fn pair_of_accounts(scene: &Scene) -> contacts::MergeAccountsRequest {
    let (survivor, loser) = (make(scene, Noun::Account).await, make(scene, Noun::Account).await);
    contacts::MergeAccountsRequest {
        survivor: survivor.name,
        loser: loser.name,
        survivor_etag: survivor.etag,
        loser_etag: loser.etag,
        from_loser: Some(FieldMask { paths: vec!["sector".to_owned()] }),
    }
}

pub(super) async fn merge_accounts(scene: &Scene) -> Valid {
    Valid::change(&pair_of_accounts(scene).await, 3).about_a_record()
}

pub(super) async fn preview_accounts(scene: &Scene) -> Valid {
    Valid::read(&contacts::PreviewMergeAccountsRequest { merge: Some(pair_of_accounts(scene).await) }).about_a_record()
}

pub(super) async fn unmerge_accounts(scene: &Scene) -> Valid {
    let answer = scene.send(MERGE_ACCOUNTS, pair_of_accounts(scene).await.encode_to_vec()).await.expect("an administrator merges two accounts");
    let Stored { name, etag } = Stored::decode(answer.as_slice()).expect("a merge");
    Valid::change(&contacts::UnmergeAccountsRequest { name, etag }, 3).about_a_record()
}

pub(super) async fn get(scene: &Scene) -> Valid {
    Valid::read(&contacts::GetMergeRequest { name: make_merge(scene).await.name }).about_a_record()
}

pub(super) async fn list(scene: &Scene) -> Valid {
    for _ in 0..3 {
        make_merge(scene).await;
    }
    Valid::read(&contacts::ListMergesRequest::default())
}
