//! Files as callers see them: uploaded chunk by chunk, completed, downloaded, deleted. What they are is in `files`.

use std::time::Instant;

use futures_util::stream::{self, BoxStream};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::file_service_server::FileService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::command::{self, ATTEMPTS, Done};
use crate::ctx::Ctx;
use crate::fault::Fault;
use crate::files::{self, CHUNK, COLLECTION, CRUMB, File, Files, MOST};
use crate::name;

/// The files of one service.
#[derive(Debug, Clone)]
pub(crate) struct FileDesk {
    pub(crate) files: Files,
}

#[tonic::async_trait]
impl FileService for FileDesk {
    async fn create_file(&self, request: Request<pb::CreateFileRequest>) -> Result<Response<pb::File>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.create(&ctx, request.into_inner()).await;
        Ok(Response::new(command::answer(&self.files.db, &ctx, outcome).await?))
    }

    async fn upload_chunk(&self, request: Request<pb::UploadChunkRequest>) -> Result<Response<pb::UploadChunkResponse>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let stored_bytes = self.append(&ctx, self.id(&request.name)?, &request).await?;
        Ok(Response::new(pb::UploadChunkResponse { stored_bytes }))
    }

    async fn complete_upload(&self, request: Request<pb::CompleteUploadRequest>) -> Result<Response<pb::File>, Status> {
        let ctx = Ctx::of(&request)?;
        let outcome = self.complete(&ctx, request.get_ref()).await;
        Ok(Response::new(command::answer(&self.files.db, &ctx, outcome).await?))
    }

    async fn get_file(&self, request: Request<pb::GetFileRequest>) -> Result<Response<pb::File>, Status> {
        let ctx = Ctx::of(&request)?;
        let file = self.find(&ctx, self.id(&request.get_ref().name)?).await?;
        Ok(Response::new(file.told(self.files.service)))
    }

    type DownloadFileStream = BoxStream<'static, Result<pb::DownloadFileResponse, Status>>;

    async fn download_file(&self, request: Request<pb::DownloadFileRequest>) -> Result<Response<Self::DownloadFileStream>, Status> {
        let ctx = Ctx::of(&request)?;
        let request = request.into_inner();
        let file = self.files.ready(&ctx, &request.name, "name").await?;
        if !(0..=file.stored).contains(&request.offset) {
            return Err(Fault::invalid("offset", format!("must be 0 to {}", file.stored)).into());
        }
        ctx.log_read(std::slice::from_ref(&request.name));
        Ok(Response::new(self.download(ctx, file, request.offset)))
    }

    async fn delete_file(&self, request: Request<pb::DeleteFileRequest>) -> Result<Response<()>, Status> {
        let ctx = Ctx::of(&request)?;
        let id = self.id(&request.get_ref().name)?;
        let outcome = self.delete(&ctx, id).await;
        command::answer_empty(&self.files.db, &ctx, outcome).await?;
        Ok(Response::new(()))
    }
}

impl FileDesk {
    fn id(&self, name: &str) -> Result<Uuid, Fault> {
        name::parse_own(self.files.service, COLLECTION, name, "name")
    }

    /// The file, if the method's permission reaches it.
    async fn find(&self, ctx: &Ctx, id: Uuid) -> Result<File, Fault> {
        let file = files::find(&mut self.files.db.for_tenant(ctx).await?, ctx, &ctx.scope(), id).await?;
        file.ok_or_else(|| Fault::not_found(name::format_own(self.files.service, COLLECTION, id)))
    }

    async fn create(&self, ctx: &Ctx, request: pb::CreateFileRequest) -> Result<Done<pb::File>, Fault> {
        name::require_parent(self.files.service, &request.parent)?;
        let sent = request.file.ok_or_else(|| Fault::invalid("file", "is required"))?;
        let file = self.files.upload(ctx, &sent)?;
        let told = file.told(self.files.service);
        let entry = file.entry(ctx, &pb::FileCreated { file: Some(told.clone()) })?;
        if files::insert(&mut self.files.db.for_tenant(ctx).await?, &file, Some(self.files.room()), entry).await? {
            return Ok(Done::Written(told));
        }
        Err(Fault::precondition("FILES_FULL", "Delete files that are not needed any more: your organisation's files take all the room they have.")
            .with("most_bytes", self.files.room().to_string())
            .with("most_files", MOST.to_string()))
    }

    /// Answers how much is stored afterwards.
    async fn append(&self, ctx: &Ctx, id: Uuid, request: &pb::UploadChunkRequest) -> Result<i64, Fault> {
        if !(1..=CHUNK).contains(&request.data.len()) {
            return Err(Fault::invalid("data", format!("is required, with at most {CHUNK} bytes")));
        }
        if request.offset < 0 {
            return Err(Fault::invalid("offset", "must not be negative"));
        }
        let end = request.offset.saturating_add(i64::try_from(request.data.len()).map_err(Fault::internal)?);
        for _ in 0..ATTEMPTS {
            let file = self.find(ctx, id).await?;
            if end <= file.stored {
                return Ok(file.stored);
            }
            self.require_place(&file, request.offset, end)?;
            if files::append_at(&mut self.files.db.for_tenant(ctx).await?, &file, request.offset, &request.data).await? {
                return Ok(end);
            }
        }
        Err(Fault::contended())
    }

    fn require_place(&self, file: &File, offset: i64, end: i64) -> Result<(), Fault> {
        let name = file.name(self.files.service);
        if file.is_ready() {
            return Err(Fault::precondition("FILE_COMPLETE", "Begin another upload: the file is complete.").with("name", name));
        }
        if end > file.size.unwrap_or_default() {
            return Err(Fault::precondition("CHUNK_TOO_LONG", "Send no more than the size that the file was created with.")
                .with("name", name)
                .with("size_bytes", file.size.unwrap_or_default().to_string()));
        }
        if offset != file.stored {
            return Err(Fault::precondition("CHUNK_OUT_OF_PLACE", format!("Go on at offset {}: so much is stored.", file.stored))
                .with("name", name)
                .with("stored_bytes", file.stored.to_string()));
        }
        if Some(end) != file.size && end - offset < i64::try_from(CRUMB).map_err(Fault::internal)? {
            return Err(Fault::precondition("CHUNK_TOO_SMALL", format!("Send at least {CRUMB} bytes at once, save at the end of the file."))
                .with("name", name)
                .with("least_bytes", CRUMB.to_string()));
        }
        Ok(())
    }

    async fn complete(&self, ctx: &Ctx, request: &pb::CompleteUploadRequest) -> Result<Done<pb::File>, Fault> {
        let id = self.id(&request.name)?;
        let sent = hex::decode(&request.sha256).ok().filter(|digest| digest.len() == 32);
        let sent = sent.ok_or_else(|| Fault::invalid("sha256", "is required, with 64 hexadecimal digits"))?;
        let file = self.find(ctx, id).await?;
        let name = file.name(self.files.service);
        let mismatch = || Fault::precondition("CHECKSUM_MISMATCH", "Delete the file and upload it again: what is stored is not what was sent.");
        if file.is_ready() {
            let told = file.told(self.files.service);
            return if file.sha256.as_ref() == Some(&sent) { Ok(Done::Unchanged(told, file.record())) } else { Err(mismatch().with("name", name)) };
        }
        if file.size != Some(file.stored) {
            return Err(file.incomplete(self.files.service));
        }
        let (size, digest) = self.files.digest(ctx, id).await?;
        if size != file.stored || digest != sent {
            return Err(mismatch().with("name", name));
        }
        let done = file.completed(size, digest, ctx.now(), self.files.keep());
        let told = done.told(self.files.service);
        let entry = done.entry(ctx, &pb::FileCompleted { file: Some(told.clone()) })?;
        if files::complete(&mut self.files.db.for_tenant(ctx).await?, &done, entry).await? {
            Ok(Done::Written(told))
        } else {
            Err(Fault::contended())
        }
    }

    /// Chunk by chunk as the caller takes them; between them nothing is held.
    fn download(&self, ctx: Ctx, file: File, offset: i64) -> BoxStream<'static, Result<pb::DownloadFileResponse, Status>> {
        let files = self.files.clone();
        let chunks = stream::try_unfold(offset, move |offset| {
            let (files, ctx, file) = (files.clone(), ctx.clone(), file.clone());
            async move {
                if offset == file.stored {
                    return Ok(None);
                }
                if Instant::now() >= ctx.call().deadline {
                    return Err(Fault::deadline().into());
                }
                let data = files.read_at(&ctx, file.id, offset, CHUNK).await?;
                if data.is_empty() {
                    // Deleted meanwhile: what came so far must not look like all of it.
                    return Err(Fault::not_found(file.name(files.service)).into());
                }
                let next = offset + i64::try_from(data.len()).map_err(Fault::internal)?;
                Ok(Some((pb::DownloadFileResponse { offset, data }, next)))
            }
        });
        Box::pin(chunks)
    }

    async fn delete(&self, ctx: &Ctx, id: Uuid) -> Result<(), Fault> {
        for _ in 0..ATTEMPTS {
            let file = self.find(ctx, id).await?;
            let last = File { version: file.version + 1, ..file.clone() };
            let entry = last.entry(ctx, &pb::FileDeleted { name: file.name(self.files.service) })?;
            if files::delete(&mut self.files.db.for_tenant(ctx).await?, &file, entry).await? {
                return Ok(());
            }
        }
        Err(Fault::contended())
    }
}
