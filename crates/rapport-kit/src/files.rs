//! Files that jobs read and leave: imports, exports, lists of refused entries.
//!
//! Guarantees: a file's bytes stand in the service's own database, in chunks, so that every pod reads them, a restored
//! backup has the files that its rows speak of, and what a job writes commits together with the step that wrote it. A
//! complete file never changes, and its SHA-256 was computed from what is stored. What a job wrote is read by those who
//! may do what that job does, for as long as they may. Tenants are apart by row-level
//! security as everywhere. Files go with their retention, uploads that nobody completed after a day.
//!
//! The chunks are reached through `sql.rs` alone: appended, read from an offset on, gone with their file.

mod sql;

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, TimeDelta, Utc};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::file_service_server::FileServiceServer;
use sqlx::FromRow;
use uuid::Uuid;

pub(crate) use sql::{PIECE, append_at, complete, delete, find, insert, purge};

use crate::clock;
use crate::common;
use crate::config;
use crate::ctx::Ctx;
use crate::db::{Db, Tx};
use crate::fault::Fault;
use crate::journal::{self, Entry, Record};
use crate::name;
use crate::process::App;

pub(crate) const COLLECTION: &str = "files";
const READ: &str = "files.file.read";
/// Bytes of the largest chunk.
pub(crate) const CHUNK: usize = 1024 * 1024;
/// Bytes of the smallest chunk of an upload that is not its last: a file of crumbs could not be read or deleted in time.
pub(crate) const CRUMB: usize = 64 * 1024;
/// Files that a tenant may have in a service.
pub(crate) const MOST: i64 = 10_000;
/// An upload that is not complete after this time goes away.
const UPLOAD: TimeDelta = TimeDelta::days(1);
const MIB: i64 = 1024 * 1024;

/// A file.
#[derive(Debug, Clone, FromRow)]
pub struct File {
    /// Id.
    pub id: Uuid,
    /// What people call it.
    pub display_name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes; unknown while a job writes it.
    pub size: Option<i64>,
    pub(crate) tenant_id: Uuid,
    pub(crate) version: i64,
    pub(crate) state: i16,
    pub(crate) owner_id: Uuid,
    pub(crate) owner: String,
    pub(crate) stored: i64,
    pub(crate) sha256: Option<Vec<u8>>,
    /// What the job that wrote it asks for; none for an upload.
    pub(crate) permission: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Files of one service.
#[derive(Debug, Clone)]
pub struct Files {
    pub(crate) service: &'static str,
    pub(crate) db: Db,
    limits: config::Files,
    keep: TimeDelta,
}

/// Serves FileService; answers what reads and writes files inside the service.
pub fn serve(app: &mut App, service: &'static str) -> Files {
    let files = Files::new(service, app.db.clone(), &app.config);
    app.serve(FileServiceServer::new(common::FileDesk { files: files.clone() }));
    files
}

impl Files {
    /// Files in `db`.
    #[must_use]
    pub fn new(service: &'static str, db: Db, config: &config::Config) -> Self {
        Self { service, db, limits: config.files, keep: TimeDelta::days(i64::from(config.retention.file_days)) }
    }

    /// The complete file that a request names in `field`, if the caller may read it.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID); NOT_FOUND (RECORD_NOT_FOUND); FAILED_PRECONDITION (UPLOAD_INCOMPLETE);
    /// PERMISSION_DENIED (PERMISSION_MISSING) for what a job wrote that the caller could not have asked for.
    pub async fn ready(&self, ctx: &Ctx, name: &str, field: &str) -> Result<File, Fault> {
        let id = name::parse_own(self.service, COLLECTION, name, field)?;
        let file = find(&mut self.db.for_tenant(ctx).await?, ctx, &ctx.scope_of(READ), id).await?;
        let file = file.ok_or_else(|| Fault::not_found(name))?;
        if let Some(permission) = &file.permission {
            ctx.require(permission)?;
            // It shows what its owner may see; only who sees everything sees no less.
            let sees_all = ctx.scope_of(permission).is_everything() && !ctx.access().has_field_rules();
            if file.owner_id != ctx.subject() && !sees_all {
                return Err(Fault::not_found(name));
            }
        }
        if file.is_ready() { Ok(file) } else { Err(file.incomplete(self.service)) }
    }

    /// What the file has from `offset` on: at least a byte and at most `most` of them and 1 MiB, or nothing at its end. For
    /// work that was let at the file before ([`Files::ready`]).
    ///
    /// # Errors
    /// NOT_FOUND (RECORD_NOT_FOUND) if it was deleted meanwhile; what the database answers.
    pub async fn read_at(&self, ctx: &Ctx, id: Uuid, offset: i64, most: usize) -> Result<Vec<u8>, Fault> {
        let bytes = sql::read_at(&mut self.db.for_tenant(ctx).await?, ctx.tenant(), id, offset, most.clamp(1, CHUNK)).await?;
        bytes.ok_or_else(|| Fault::not_found(name::format_own(self.service, COLLECTION, id)))
    }

    /// Begins a file of whoever acts, for a job to write. A step that does so names it in its outputs, or a later step
    /// that makes it whole does; one that is never named goes with the uploads that nobody completes. It is complete when
    /// the job has ended, whatever its end was, and read by whoever asked for it, or sees all there is, while they may do
    /// what the job does.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn create(&self, tx: &mut Tx, ctx: &Ctx, display_name: &str, media_type: &str) -> Result<Uuid, Fault> {
        let permission = ctx.job().map(|_| ctx.permission().to_owned());
        let file = File { permission, expires_at: ctx.now() + self.keep, ..File::new(ctx, display_name, media_type, None) };
        let entry = file.entry(ctx, &pb::FileCreated { file: Some(file.told(self.service)) })?;
        // Room for what a job leaves is not refused: what it was to say would be lost.
        insert(tx.conn(), &file, None, entry).await?;
        Ok(file.id)
    }

    /// Appends to a file that a job writes. A step that goes past the largest file there may be fails with its job,
    /// which keeps what the steps before it wrote.
    ///
    /// # Errors
    /// NOT_FOUND (RECORD_NOT_FOUND) if it was deleted or is complete; FAILED_PRECONDITION (FILE_TOO_LARGE); what the
    /// database answers.
    pub async fn append(&self, tx: &mut Tx, ctx: &Ctx, id: Uuid, bytes: &[u8]) -> Result<(), Fault> {
        let most = self.largest();
        for chunk in bytes.chunks(CHUNK) {
            if sql::append(tx.conn(), ctx.tenant(), id, chunk, most).await? {
                continue;
            }
            let name = name::format_own(self.service, COLLECTION, id);
            return match sql::get(tx.conn(), ctx.tenant(), id).await? {
                Some(file) if !file.is_ready() => {
                    Err(Fault::precondition("FILE_TOO_LARGE", format!("Ask for less at once: a file may take at most {most} bytes."))
                        .with("name", name)
                        .with("most_bytes", most.to_string()))
                }
                _ => Err(Fault::not_found(name)),
            };
        }
        Ok(())
    }

    /// A file that a job wrote as it is when it is complete; none if it was deleted or is complete. It reads all of the
    /// file for its checksum: nothing may be locked meanwhile.
    pub(crate) async fn hashed(&self, ctx: &Ctx, id: Uuid) -> Result<Option<File>, Fault> {
        let file = sql::get(&mut self.db.for_tenant(ctx).await?, ctx.tenant(), id).await?;
        let Some(file) = file.filter(|file| !file.is_ready()) else { return Ok(None) };
        let (size, digest) = self.digest(ctx, id).await?;
        Ok(Some(file.completed(size, digest, ctx.now(), self.keep)))
    }

    /// Completes a file that a job wrote ([`Files::hashed`]), unless it was deleted meanwhile.
    pub(crate) async fn finish(&self, tx: &mut Tx, ctx: &Ctx, done: &File) -> Result<(), Fault> {
        let entry = done.entry(ctx, &pb::FileCompleted { file: Some(done.told(self.service)) })?;
        complete(tx.conn(), done, entry).await?;
        Ok(())
    }

    /// How many bytes of the file are stored, and their SHA-256. Between two chunks no connection is held.
    pub(crate) async fn digest(&self, ctx: &Ctx, id: Uuid) -> Result<(i64, Vec<u8>), Fault> {
        let (mut size, mut digest) = (0, Context::new(&SHA256));
        loop {
            let bytes = sql::read_at(&mut self.db.for_tenant(ctx).await?, ctx.tenant(), id, size, CHUNK).await?.unwrap_or_default();
            if bytes.is_empty() {
                return Ok((size, digest.finish().as_ref().to_vec()));
            }
            digest.update(&bytes);
            size += i64::try_from(bytes.len()).map_err(Fault::internal)?;
        }
    }

    /// An upload that the caller begins now.
    pub(crate) fn upload(&self, ctx: &Ctx, sent: &pb::File) -> Result<File, Fault> {
        let most = self.largest();
        let mut wrong = Vec::new();
        let mut require = |holds: bool, field: &str, text: String| {
            if !holds {
                wrong.push((format!("file.{field}"), text));
            }
        };
        let is_plain = !sent.display_name.chars().any(char::is_control);
        let is_named = (1..=255).contains(&sent.display_name.chars().count()) && is_plain;
        require(is_named, "display_name", "is required, with at most 255 characters and no control characters".to_owned());
        let is_type = sent.media_type.len() <= 127 && sent.media_type.contains('/') && sent.media_type.bytes().all(|byte| (32..127).contains(&byte));
        require(sent.media_type.is_empty() || is_type, "media_type", "must be a media type such as text/csv, with at most 127 characters".to_owned());
        require((1..=most).contains(&sent.size_bytes), "size_bytes", format!("is required, 1 to {most}"));
        if !wrong.is_empty() {
            return Err(Fault::invalid_fields(wrong));
        }
        let media_type = if sent.media_type.is_empty() { "application/octet-stream" } else { &sent.media_type };
        Ok(File::new(ctx, &sent.display_name, media_type, Some(sent.size_bytes)))
    }

    /// Bytes of the largest file.
    fn largest(&self) -> i64 {
        i64::from(self.limits.largest_mib) * MIB
    }

    /// Bytes that a tenant's files may take together.
    pub(crate) fn room(&self) -> i64 {
        i64::from(self.limits.tenant_mib) * MIB
    }

    /// How long a complete file is kept.
    pub(crate) fn keep(&self) -> TimeDelta {
        self.keep
    }
}

impl File {
    fn new(ctx: &Ctx, display_name: &str, media_type: &str, size: Option<i64>) -> Self {
        Self {
            id: clock::new_id(),
            display_name: display_name.to_owned(),
            media_type: media_type.to_owned(),
            size,
            tenant_id: ctx.tenant(),
            version: 1,
            state: number(pb::FileState::Uploading),
            owner_id: ctx.subject(),
            owner: ctx.actor().subject().to_owned(),
            stored: 0,
            sha256: None,
            permission: None,
            created_at: ctx.now(),
            completed_at: None,
            expires_at: ctx.now() + UPLOAD,
        }
    }

    /// The same as it is when everything is there.
    pub(crate) fn completed(&self, size: i64, sha256: Vec<u8>, now: DateTime<Utc>, keep: TimeDelta) -> Self {
        Self {
            version: self.version + 1,
            state: number(pb::FileState::Ready),
            size: Some(size),
            stored: size,
            sha256: Some(sha256),
            completed_at: Some(now),
            expires_at: now + keep,
            ..self.clone()
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == number(pb::FileState::Ready)
    }

    pub(crate) fn incomplete(&self, service: &str) -> Fault {
        Fault::precondition("UPLOAD_INCOMPLETE", "Upload the rest of the file and complete it first.")
            .with("name", self.name(service))
            .with("stored_bytes", self.stored.to_string())
    }

    pub(crate) fn name(&self, service: &str) -> String {
        name::format_own(service, COLLECTION, self.id)
    }

    pub(crate) fn record(&self) -> Record {
        Record { collection: COLLECTION, id: self.id, version: self.version }
    }

    pub(crate) fn told(&self, service: &str) -> pb::File {
        pb::File {
            name: self.name(service),
            display_name: self.display_name.clone(),
            media_type: self.media_type.clone(),
            size_bytes: self.size.unwrap_or_default(),
            stored_bytes: self.stored,
            state: i32::from(self.state),
            sha256: self.sha256.as_ref().map(hex::encode).unwrap_or_default(),
            owner: self.owner.clone(),
            create_time: Some(clock::timestamp(self.created_at)),
            complete_time: self.completed_at.map(clock::timestamp),
            expire_time: Some(clock::timestamp(self.expires_at)),
        }
    }

    /// The journal entry of what happened to the file, which has the version after it.
    pub(crate) fn entry(&self, ctx: &Ctx, event: &impl rapport_proto::Event) -> Result<Entry, Fault> {
        journal::entry(ctx, self.record(), event, Vec::new())
    }
}

/// The stored number of a state, which is the proto's.
fn number(state: pb::FileState) -> i16 {
    i16::try_from(i32::from(state)).unwrap_or_default()
}
