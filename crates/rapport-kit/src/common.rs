//! The services that every process serves for its own: history and seal, shares and explanations of its records,
//! its jobs and files, and the dead letters of its consumers.
//!
//! A service lists its record types once; visibility, field rules and names follow from that table.

mod access;
mod audit;
mod dead_letter;
mod explain;
mod file;
mod job;

use std::sync::{Arc, OnceLock};

use prost_reflect::DescriptorPool;
use rapport_proto::MethodRule;
use rapport_proto::common::v1::access_service_server::AccessServiceServer;
use rapport_proto::common::v1::audit_service_server::AuditServiceServer;
use rapport_proto::common::v1::dead_letter_service_server::DeadLetterServiceServer;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

pub(crate) use file::FileDesk;
pub(crate) use job::JobDesk;

use crate::access::{Scope, Table};
use crate::ctx::Ctx;
use crate::db::{Conn, Db, SystemDb};
use crate::fault::Fault;
use crate::name;
use crate::process::App;

/// A kind of record that a service owns.
#[derive(Debug, Clone, Copy)]
pub struct RecordType {
    /// Collection in names, such as `contacts`.
    pub collection: &'static str,
    /// Resource in permissions and field rules, such as `contacts.contact`.
    pub resource: &'static str,
    /// Full name of the message that is the snapshot.
    pub message: &'static str,
    /// Table, such as `contacts`; it has `tenant_id`, `id`, `version` and the owner's column.
    pub table: &'static str,
    /// Column of the owner.
    pub owner: &'static str,
}

/// The common services of one process.
#[derive(Debug, Clone)]
struct Common {
    service: &'static str,
    types: &'static [RecordType],
    db: Db,
    system: SystemDb,
    policy: crate::policy::Policy,
    /// What the records look like, in the form that protos are compiled to.
    encoded: &'static [u8],
    /// The same, read when somebody asks for a history first: it takes some MiB.
    descriptors: Arc<OnceLock<DescriptorPool>>,
}

/// Serves history and shares for records of `types`, described by `descriptors`.
pub fn serve(app: &mut App, service: &'static str, types: &'static [RecordType], descriptors: &'static [u8]) {
    let common = Common {
        service,
        types,
        db: app.db.clone(),
        system: app.system.clone(),
        policy: app.policy.clone(),
        encoded: descriptors,
        descriptors: Arc::default(),
    };
    app.serve(AuditServiceServer::new(common.clone()));
    app.serve(AccessServiceServer::new(common));
}

/// Serves the dead letters of `service`, which needs to know nothing of them.
pub(crate) fn serve_dead_letters(app: &mut App, service: &'static str) {
    app.serve(DeadLetterServiceServer::new(dead_letter::DeadLetters { service, db: app.db.clone() }));
}

/// Rules of what is served in every process, whether or not its service lists them.
pub(crate) fn own_rules() -> impl Iterator<Item = &'static MethodRule> {
    rapport_proto::METHODS.iter().filter(|rule| rule.path.starts_with("/rapport.common.v1.DeadLetterService/"))
}

impl Common {
    fn descriptors(&self) -> Result<&DescriptorPool, Fault> {
        if let Some(descriptors) = self.descriptors.get() {
            return Ok(descriptors);
        }
        let descriptors = DescriptorPool::decode(self.encoded).map_err(Fault::internal)?;
        Ok(self.descriptors.get_or_init(|| descriptors))
    }

    /// The type and id that `name` names; NOT_FOUND for names of other services.
    fn find(&self, name: &str) -> Result<(RecordType, Uuid), Fault> {
        let (collection, id) = name::split(name).ok_or_else(|| Fault::invalid("name", "must look like contacts/{uuid}"))?;
        let kind = self.types.iter().find(|kind| kind.collection == collection).ok_or_else(|| Fault::not_found(name))?;
        Ok((*kind, id))
    }

    /// The same for a record that the caller may read.
    async fn readable(&self, ctx: &Ctx, name: &str) -> Result<(RecordType, Uuid), Fault> {
        let (kind, id) = self.find(name)?;
        let scope = ctx.scope_of(&format!("{}.read", kind.resource));
        let mut conn = self.db.for_tenant(ctx).await?;
        if within(&mut conn, ctx.tenant(), kind, id, &scope).await? { Ok((kind, id)) } else { Err(Fault::not_found(name)) }
    }
}

/// Whether the record exists within the scope.
async fn within(conn: &mut Conn, tenant: Uuid, kind: RecordType, id: Uuid, scope: &Scope) -> Result<bool, Fault> {
    if !scope.permits_anything() {
        return Ok(false);
    }
    let mut query = QueryBuilder::<Postgres>::new(format!("select exists (select from {} r where r.tenant_id = ", kind.table));
    query.push_bind(tenant).push(" and r.id = ").push_bind(id);
    scope.push(&mut query, Table { tenant: "r.tenant_id", id: "r.id", owner: kind.owner });
    query.push(")");
    Ok(query.build_query_scalar().fetch_one(conn).await?)
}
