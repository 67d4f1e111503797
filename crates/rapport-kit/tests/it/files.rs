//! Files: what was sent is what is stored and what comes out again, for those who may.

use rapport_kit::testing::{Subject, eventually};
use rapport_proto::common::v1::{self as pb, FileState, GrantLevel};
use tonic::{Code, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::jobs::desk::Desk;
use crate::support::{SERVICE, refusal, superuser};

const CHUNK: usize = 1024 * 1024;
const CRUMB: usize = 64 * 1024;
/// Downloads that a process serves at once.
const DOWNLOADS: usize = 32;

impl Desk {
    async fn create(&self, caller: &Subject, size: usize) -> Result<pb::File, Status> {
        let size_bytes = i64::try_from(size).expect("a size");
        let file = pb::File { display_name: "leads.csv".to_owned(), media_type: "text/csv".to_owned(), size_bytes, ..pb::File::default() };
        let request = pb::CreateFileRequest { parent: format!("services/{}", SERVICE.name), file: Some(file) };
        self.files().create_file(caller.request(request)).await.map(Response::into_inner)
    }

    /// Answers how much is stored.
    async fn upload(&self, caller: &Subject, name: &str, offset: usize, data: &[u8]) -> Result<i64, Status> {
        let request = pb::UploadChunkRequest { name: name.to_owned(), offset: i64::try_from(offset).expect("an offset"), data: data.to_vec() };
        Ok(self.files().upload_chunk(caller.request(request)).await?.into_inner().stored_bytes)
    }

    async fn complete(&self, caller: &Subject, name: &str, sha256: &str) -> Result<pb::File, Status> {
        let request = pb::CompleteUploadRequest { name: name.to_owned(), sha256: sha256.to_owned() };
        self.files().complete_upload(caller.request(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn file(&self, caller: &Subject, name: &str) -> Result<pb::File, Status> {
        self.files().get_file(caller.request(pb::GetFileRequest { name: name.to_owned() })).await.map(Response::into_inner)
    }

    async fn delete(&self, caller: &Subject, name: &str) -> Result<(), Status> {
        self.files().delete_file(caller.request(pb::DeleteFileRequest { name: name.to_owned() })).await.map(|_| ())
    }

    /// A complete file with these bytes.
    pub(crate) async fn stored(&self, caller: &Subject, bytes: &[u8]) -> pb::File {
        let file = self.create(caller, bytes.len()).await.expect("a file is begun");
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            self.upload(caller, &file.name, index * CHUNK, chunk).await.expect("a chunk is stored");
        }
        self.complete(caller, &file.name, &sha256(bytes)).await.expect("the file is complete")
    }

    async fn chunks(&self) -> i64 {
        sqlx::query_scalar("select count(*) from kit.file_chunk").fetch_one(&mut superuser(&self.logins).await).await.expect("a count")
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// Bytes in which no two places look alike.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index * 7919 % 251).expect("less than 251")).collect()
}

#[tokio::test]
async fn an_upload_goes_on_after_a_lost_answer_and_comes_out_as_it_went_in() {
    let desk = Desk::open(0).await;
    let caller = &desk.administrator;
    let sent = bytes(2 * CHUNK + 500);
    let file = desk.create(caller, sent.len()).await.expect("a file is begun");
    assert_eq!((file.state(), file.stored_bytes, file.owner.clone()), (FileState::Uploading, 0, caller.name()));
    let half = CHUNK / 2;
    for _ in 0..2 {
        // The first answer may have been lost.
        assert_eq!(desk.upload(caller, &file.name, 0, &sent[..CHUNK]).await.expect("a chunk"), 1024 * 1024);
    }
    let refused = desk.upload(caller, &file.name, CHUNK + 1, &sent[CHUNK + 1..CHUNK + 2]).await.expect_err("a byte is left out");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "CHUNK_OUT_OF_PLACE".to_owned()));
    let told = refused.get_details_error_info().expect("a reason").metadata;
    assert_eq!(told.get("stored_bytes").map(String::as_str), Some("1048576"));
    assert_eq!(desk.file(caller, &file.name).await.expect("the file is there").stored_bytes, 1024 * 1024);
    let incomplete = desk.complete(caller, &file.name, &sha256(&sent)).await.expect_err("bytes are missing");
    assert_eq!(refusal(&incomplete), (Code::FailedPrecondition, "UPLOAD_INCOMPLETE".to_owned()));
    for (from, to) in [(CHUNK, CHUNK + half), (CHUNK + half, 2 * CHUNK + half), (2 * CHUNK + half, sent.len())] {
        if from < sent.len() {
            desk.upload(caller, &file.name, from, &sent[from..to.min(sent.len())]).await.expect("a chunk");
        }
    }
    let refused = desk.download(caller, &file.name, 0).await.expect_err("it is not complete");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "UPLOAD_INCOMPLETE".to_owned()));
    let done = desk.complete(caller, &file.name, &sha256(&sent)).await.expect("the upload is complete");
    assert_eq!((done.state(), done.sha256.clone()), (FileState::Ready, sha256(&sent)));
    assert_eq!(desk.complete(caller, &file.name, &sha256(&sent)).await.expect("completing again changes nothing"), done);
    for offset in [0, 1, half, CHUNK, sent.len() - 1, sent.len()] {
        let read = desk.download(caller, &file.name, i64::try_from(offset).expect("an offset")).await.expect("a download");
        assert!(read == sent[offset..], "other bytes from {offset} on");
    }
    let refused = desk.upload(caller, &file.name, sent.len(), b"x").await.expect_err("it is complete");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "FILE_COMPLETE".to_owned()));
}

#[tokio::test]
async fn what_is_not_what_was_sent_never_becomes_a_file() {
    let desk = Desk::open(0).await;
    let caller = &desk.administrator;
    let file = desk.create(caller, 3).await.expect("a file is begun");
    let refused = desk.upload(caller, &file.name, 0, b"abcd").await.expect_err("too long");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "CHUNK_TOO_LONG".to_owned()));
    desk.upload(caller, &file.name, 0, b"abc").await.expect("a chunk");
    let refused = desk.complete(caller, &file.name, &sha256(b"abd")).await.expect_err("other bytes");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "CHECKSUM_MISMATCH".to_owned()));
    assert_eq!(desk.file(caller, &file.name).await.expect("the file is there").state(), FileState::Uploading);
    let refused = desk.upload(caller, &file.name, 3, &vec![0; CHUNK + 1]).await.expect_err("a chunk that is too large");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
}

#[tokio::test]
async fn a_file_is_not_sent_in_crumbs_save_for_its_end() {
    let desk = Desk::open(0).await;
    let caller = &desk.administrator;
    let sent = bytes(2 * CRUMB + 1);
    let file = desk.create(caller, sent.len()).await.expect("a file is begun");
    let refused = desk.upload(caller, &file.name, 0, &sent[..CRUMB - 1]).await.expect_err("a crumb");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "CHUNK_TOO_SMALL".to_owned()));
    for (from, to) in [(0, CRUMB), (CRUMB, 2 * CRUMB), (2 * CRUMB, sent.len())] {
        desk.upload(caller, &file.name, from, &sent[from..to]).await.expect("a chunk, the last of a byte");
    }
    desk.complete(caller, &file.name, &sha256(&sent)).await.expect("the upload is complete");
}

#[tokio::test]
async fn downloads_that_nobody_takes_keep_other_downloads_out_and_no_watch_of_health() {
    let desk = Desk::open(0).await;
    let file = desk.stored(&desk.administrator, &bytes(4 * CHUNK)).await.name;
    let download = async || {
        let request = pb::DownloadFileRequest { name: file.clone(), offset: 0 };
        desk.files().download_file(desk.administrator.request(request)).await.map(Response::into_inner)
    };
    let mut open = Vec::new();
    for _ in 0..DOWNLOADS {
        open.push(download().await.expect("a place is free"));
    }
    let refused = download().await.expect_err("all places are taken");
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    // Over another connection, for what nobody takes of this one leaves no room on it.
    let mut watch = HealthClient::new(desk.connect()).watch(HealthCheckRequest::default()).await.expect("a place is free").into_inner();
    assert!(watch.message().await.expect("a watch").is_some());
    drop(open);
    eventually("a place for a download", async || download().await.ok()).await;
}

#[tokio::test]
async fn a_download_that_nobody_takes_holds_no_leaving_process_up() {
    let desk = Desk::open(0).await;
    let file = desk.stored(&desk.administrator, &bytes(8 * CHUNK)).await.name;
    let request = pb::DownloadFileRequest { name: file, offset: 0 };
    let stream = desk.files().download_file(desk.administrator.request(request)).await.expect("a download");
    assert!(desk.stop().await, "a stream had to be cut with its connection");
    drop(stream);
}

#[tokio::test]
async fn files_are_as_large_as_the_installation_allows_and_no_larger() {
    let desk = Desk::configured(|config| (config.files.largest_mib, config.files.tenant_mib) = (2, 3)).await;
    let refused = desk.create(&desk.administrator, 2 * CHUNK + 1).await.expect_err("too large");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
    desk.create(&desk.administrator, 2 * CHUNK).await.expect("room for one");
    let refused = desk.create(&desk.administrator, CHUNK + 1).await.expect_err("the room is taken");
    assert_eq!(refusal(&refused), (Code::FailedPrecondition, "FILES_FULL".to_owned()));
    desk.create(&desk.administrator, CHUNK).await.expect("room for the rest");
    desk.create(&desk.foreigner, 2 * CHUNK).await.expect("another tenant has room of its own");
}

#[tokio::test]
async fn files_are_read_and_deleted_by_those_whose_roles_reach_them() {
    let desk = Desk::open(0).await;
    let tenant = desk.administrator.tenant;
    let role = desk.identity.role(tenant, &["files.*"], Vec::new());
    let colleague = desk.identity.user(tenant, None, role, GrantLevel::Own);
    let file = desk.stored(&desk.administrator, b"abc").await;
    let own = desk.stored(&colleague, b"def").await;
    assert_eq!(desk.download(&colleague, &own.name, 0).await.expect("it is their own"), b"def");
    for stranger in [&colleague, &desk.foreigner] {
        let refusals = [
            desk.file(stranger, &file.name).await.err(),
            desk.download(stranger, &file.name, 0).await.err(),
            desk.upload(stranger, &file.name, 0, b"abc").await.err(),
            desk.complete(stranger, &file.name, &sha256(b"abc")).await.err(),
            desk.delete(stranger, &file.name).await.err(),
        ];
        for refused in refusals {
            assert_eq!(refusal(&refused.expect("it is not theirs to see")), (Code::NotFound, "RECORD_NOT_FOUND".to_owned()));
        }
    }
    assert_eq!(desk.chunks().await, 2);
    desk.delete(&desk.administrator, &file.name).await.expect("it is the administrator's");
    assert_eq!(desk.chunks().await, 1);
    assert!(desk.file(&desk.administrator, &file.name).await.is_err());
}

#[tokio::test]
async fn files_go_when_their_time_is_over() {
    let desk = Desk::open(0).await;
    let (kept, old) = (desk.stored(&desk.administrator, b"abc").await, desk.stored(&desk.administrator, b"def").await);
    let expired = "update kit.file set expires_at = now() where display_name = 'leads.csv' and 'services/probe/files/' || id = $1";
    sqlx::query(expired).bind(&old.name).execute(&mut superuser(&desk.logins).await).await.expect("time passes");
    // Upkeep cleans at the start of a process.
    let again = crate::support::serve(&desk.logins, &desk.identity.address, |_| {}).await;
    eventually("the old file is gone", async || (desk.chunks().await == 1).then_some(())).await;
    assert!(desk.file(&desk.administrator, &kept.name).await.is_ok());
    assert!(again.stop().await);
}
