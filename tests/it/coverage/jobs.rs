//! Valid requests about jobs and files, for a service that has them.

use prost::Message;
use rapport_kit::clock;
use rapport_proto::common::v1 as pb;

use super::scene::{Scene, Valid};

const BYTES: &[u8] = b"abc";
/// SHA-256 of [`BYTES`], the first example of FIPS 180-2.
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

pub(super) async fn get_job(scene: &Scene) -> Valid {
    let name = job(scene, pb::JobState::Running).await;
    Valid::read(&pb::GetJobRequest { name }).about_a_record()
}

pub(super) async fn list_jobs(scene: &Scene) -> Valid {
    for _ in 0..3 {
        job(scene, pb::JobState::Succeeded).await;
    }
    Valid::read(&pb::ListJobsRequest { parent: scene.service().to_owned(), ..pb::ListJobsRequest::default() })
}

pub(super) async fn cancel_job(scene: &Scene) -> Valid {
    let name = job(scene, pb::JobState::Pending).await;
    Valid::change(&pb::CancelJobRequest { name }, 1).about_a_record()
}

pub(super) async fn undo_job(scene: &Scene) -> Valid {
    let name = job(scene, pb::JobState::Succeeded).await;
    Valid::change(&pb::UndoJobRequest { name }, 1).about_a_record()
}

pub(super) async fn create_file(scene: &Scene) -> Valid {
    Valid::change(&new_file(scene), 1)
}

pub(super) async fn upload_chunk(scene: &Scene) -> Valid {
    let name = begun(scene).await;
    Valid::read(&pb::UploadChunkRequest { name, offset: 0, data: BYTES.to_vec() }).about_a_record()
}

pub(super) async fn complete_upload(scene: &Scene) -> Valid {
    let name = uploaded(scene).await;
    Valid::change(&pb::CompleteUploadRequest { name, sha256: SHA256.to_owned() }, 1).about_a_record()
}

pub(super) async fn get_file(scene: &Scene) -> Valid {
    let name = begun(scene).await;
    Valid::read(&pb::GetFileRequest { name }).about_a_record()
}

pub(super) async fn download_file(scene: &Scene) -> Valid {
    let name = complete(scene).await;
    Valid::read(&pb::DownloadFileRequest { name, offset: 1 }).about_a_record()
}

pub(super) async fn delete_file(scene: &Scene) -> Valid {
    let name = complete(scene).await;
    Valid::change(&pb::DeleteFileRequest { name }, 1).about_a_record()
}

/// The name of an administrator's job that stands so, of a kind that nobody works on.
async fn job(scene: &Scene, state: pb::JobState) -> String {
    let id = clock::new_id();
    sqlx::query(
        "insert into kit.job (tenant_id, id, kind, permission, undoable, state, owner_id, actor, request, input_ids, created_at, updated_at, ended_at)
         values ($1, $2, 'contacts.nothing', 'contacts.contact.read', true, $3, $4, $5, '', '{}', now(), now(), case when $3 > 2 then now() end)",
    )
    .bind(scene.administrator.tenant)
    .bind(id)
    .bind(i16::try_from(i32::from(state)).expect("a small number"))
    .bind(scene.administrator.id)
    .bind(scene.administrator.name())
    .execute(&mut scene.database().await)
    .await
    .expect("a job is stored");
    format!("{}/jobs/{id}", scene.service())
}

fn new_file(scene: &Scene) -> pb::CreateFileRequest {
    let size_bytes = i64::try_from(BYTES.len()).expect("a size");
    let file = pb::File { display_name: format!("{}.csv", scene.number()), size_bytes, ..pb::File::default() };
    pb::CreateFileRequest { parent: scene.service().to_owned(), file: Some(file) }
}

/// The name of a file without a byte.
async fn begun(scene: &Scene) -> String {
    let answer = ask(scene, "CreateFile", &new_file(scene)).await;
    pb::File::decode(answer.as_slice()).expect("a file").name
}

/// The name of a file that is to be completed.
async fn uploaded(scene: &Scene) -> String {
    let name = begun(scene).await;
    ask(scene, "UploadChunk", &pb::UploadChunkRequest { name: name.clone(), offset: 0, data: BYTES.to_vec() }).await;
    name
}

/// The name of a file with one line, `abc`.
pub(super) async fn complete(scene: &Scene) -> String {
    let name = uploaded(scene).await;
    ask(scene, "CompleteUpload", &pb::CompleteUploadRequest { name: name.clone(), sha256: SHA256.to_owned() }).await;
    name
}

async fn ask(scene: &Scene, method: &str, request: &impl Message) -> Vec<u8> {
    let path = format!("/rapport.common.v1.FileService/{method}");
    scene.send(&path, request.encode_to_vec()).await.expect("an administrator may")
}
