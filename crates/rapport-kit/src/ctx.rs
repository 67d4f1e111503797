//! Who calls, for which tenant, until when: the first argument of everything that touches data.
//!
//! Guarantees: a `Ctx` exists only for a request that the auth layer has admitted, or for a step of a job that such a
//! request asked for, so holding one means that the method's permission was checked. What it carries never changes during the call.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use chrono::{DateTime, Utc};
use tonic::{Code, Request};
use uuid::Uuid;

use crate::access::{Access, FieldRules, Levels, Scope, within};
use crate::access_log::{self, AccessLog};
use crate::clock;
use crate::db::Conn;
use crate::fault::Fault;
use crate::page::Sealer;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Name of who acts, such as `users/{id}` or `services/marketing`.
    pub name: String,
    /// For a service: the user it acts for.
    pub on_behalf_of: Option<String>,
}

impl Actor {
    /// Name of the user or service account whose rights apply: for whom a service acts, else who acts.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.on_behalf_of.as_deref().unwrap_or(&self.name)
    }
}

/// An idempotency key and the hash of the request it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key as sent, at most 128 visible characters.
    pub key: String,
    /// Keyed hash over method and request.
    pub hash: Vec<u8>,
}

/// What is known about a call before anyone is admitted.
#[derive(Debug, Clone)]
pub struct Call {
    /// `/package.Service/Method`.
    pub method: &'static str,
    /// From `x-request-id`, or made here; echoed to the caller.
    pub request_id: String,
    /// W3C trace id of the call, 32 hexadecimal digits, if it is traced.
    pub trace_id: Option<String>,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// When the call arrived.
    pub now: DateTime<Utc>,
    /// `idempotency-key` of the call.
    pub key: Option<String>,
    /// Seals page tokens and keys request hashes; the same in all pods of a service.
    pub sealer: Sealer,
    log: AccessLog,
    /// Tenant and subject of the token, for the logs of a refusal; what may be seen is decided by [`Ctx`] alone.
    shown: OnceLock<(Uuid, String)>,
}

/// The context of an admitted call.
#[derive(Debug, Clone)]
pub struct Ctx {
    call: Arc<Call>,
    tenant: Uuid,
    actor: Actor,
    subject: Uuid,
    access: Arc<Access>,
    permission: &'static str,
    /// Permissions that the credential is limited to.
    limits: Option<Vec<String>>,
    key: Option<Key>,
    /// The job whose step this is.
    job: Option<Uuid>,
}

/// What the auth layer leaves for [`Ctx::of`].
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) call: Arc<Call>,
    pub(crate) tenant: Uuid,
    pub(crate) actor: Actor,
    pub(crate) subject: Uuid,
    pub(crate) session: Option<Uuid>,
    pub(crate) access: Arc<Access>,
    pub(crate) permission: &'static str,
    pub(crate) limits: Option<Vec<String>>,
}

impl Ctx {
    /// The context of a request that passed the auth layer.
    ///
    /// # Errors
    /// INTERNAL if the layer did not run, which is a mistake in the wiring.
    pub fn of<T: prost::Message>(request: &Request<T>) -> Result<Self, Fault> {
        let admitted = request.extensions().get::<Admitted>().ok_or_else(|| Fault::internal("a handler was called without the auth layer"))?;
        let key = key(&admitted.call, request.get_ref());
        Ok(Self {
            call: Arc::clone(&admitted.call),
            tenant: admitted.tenant,
            actor: admitted.actor.clone(),
            subject: admitted.subject,
            access: Arc::clone(&admitted.access),
            permission: admitted.permission,
            limits: admitted.limits.clone(),
            key,
            job: None,
        })
    }

    /// A context for work inside the service that no request asks for (consumers, jobs, set-up of a tenant).
    #[must_use]
    pub fn system(tenant: Uuid, actor: &str, call: Call) -> Self {
        Self {
            call: Arc::new(call),
            tenant,
            actor: Actor { name: actor.to_owned(), on_behalf_of: None },
            subject: Uuid::nil(),
            access: Arc::new(Access::everything()),
            permission: "",
            limits: None,
            key: None,
            job: None,
        }
    }

    /// The context of a step of `job`, for whoever asked for it.
    pub(crate) fn of_job(admitted: Admitted, job: Uuid) -> Self {
        let Admitted { call, tenant, actor, subject, access, permission, limits, .. } = admitted;
        Self { call, tenant, actor, subject, access, permission, limits, key: None, job: Some(job) }
    }

    /// A system context for the tenant that a public or operator's call creates or names, under that call's
    /// ids and idempotency key.
    ///
    /// # Errors
    /// As [`Ctx::of`].
    pub fn acting<T: prost::Message>(request: &Request<T>, tenant: Uuid, actor: &str) -> Result<Self, Fault> {
        let call = Call::of(request)?;
        let mut ctx = Self::system(tenant, actor, call.as_ref().clone());
        ctx.key = key(&call, request.get_ref());
        Ok(ctx)
    }

    /// The tenant, the boundary of everything.
    #[must_use]
    pub fn tenant(&self) -> Uuid {
        self.tenant
    }

    /// Who acts.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Id of the user or service account whose rights apply.
    #[must_use]
    pub fn subject(&self) -> Uuid {
        self.subject
    }

    /// When the call arrived; the time that everything written by it carries.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.call.now
    }

    /// Request id, trace id and deadline.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The caller's idempotency key, if one was sent.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The job that this is a step of, if it is one.
    #[must_use]
    pub fn job(&self) -> Option<Uuid> {
        self.job
    }

    /// Permissions that the caller's credential is limited to; none if it is not limited.
    #[must_use]
    pub fn limits(&self) -> Option<&[String]> {
        self.limits.as_deref()
    }

    /// Everything the caller may do and is bound by.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The same, to be held.
    pub(crate) fn shared_access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Notes in the access log that the caller reads these records, whose reading is sensitive.
    pub fn log_read(&self, names: &[String]) {
        self.call.log.read(self.tenant, self.actor.subject(), self.call.method, names, &self.call.request_id);
    }

    /// Notes in the access log that the caller exports these records, or records of these collections, of which nothing
    /// may leave before: the row is stored when this returns, or with the transaction that `conn` is in.
    ///
    /// # Errors
    /// What the database answers; nothing may leave then.
    pub async fn log_export(&self, conn: &mut Conn, names: &[String]) -> Result<(), Fault> {
        access_log::exported(conn, self, names).await
    }

    /// Notes in the access log that the caller was denied a part of what was asked for, if that is why it was refused;
    /// a call that is denied as a whole is noted without this.
    pub fn log_refused(&self, part: &Fault) {
        if part.code() == Code::PermissionDenied {
            self.call.log.denied(self.tenant, self.actor.subject(), self.call.method, part.reason(), &self.call.request_id);
        }
    }

    /// The method's own permission; empty where its door asks for none.
    #[must_use]
    pub fn permission(&self) -> &'static str {
        self.permission
    }

    /// Records on which the method's own permission holds.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope_of(self.permission)
    }

    /// Records on which `permission` holds; none if the caller's credential is limited to others.
    #[must_use]
    pub fn scope_of(&self, permission: &str) -> Scope {
        let scope = self.access.scope(permission);
        match &self.limits {
            Some(limits) if !within(limits, permission) => Scope { levels: Levels::default(), ..scope },
            _ => scope,
        }
    }

    /// Refuses whoever has `permission` on nothing.
    pub(crate) fn require(&self, permission: &str) -> Result<(), Fault> {
        if self.scope_of(permission).permits_anything() {
            return Ok(());
        }
        Err(Fault::denied("PERMISSION_MISSING", format!("Ask an administrator for a role with {permission}.")).with("permission", permission))
    }

    /// Field rules of `<service>.<resource>` for this caller.
    #[must_use]
    pub fn fields(&self, resource: &str) -> &FieldRules {
        self.access.fields(resource)
    }
}

impl Call {
    /// What is known about any call that came through the layer stack, admitted or public.
    ///
    /// # Errors
    /// INTERNAL if the layer did not run, which is a mistake in the wiring.
    pub fn of<T>(request: &Request<T>) -> Result<Arc<Self>, Fault> {
        request.extensions().get::<Arc<Self>>().cloned().ok_or_else(|| Fault::internal("a handler was called without the layer stack"))
    }

    /// `traceparent` for calls that belong to this one, each with a span id of its own; none if it is not traced.
    #[must_use]
    pub(crate) fn traceparent(&self) -> Option<String> {
        let trace = self.trace_id.as_ref()?;
        let (_, span) = clock::new_id().as_u64_pair();
        Some(format!("00-{trace}-{span:016x}-01"))
    }

    /// A call that arrives now, for the layer stack and for work without a request.
    #[must_use]
    pub(crate) fn new(method: &'static str, request_id: String, deadline: Instant, sealer: Sealer, log: AccessLog) -> Self {
        Self { method, request_id, trace_id: None, deadline, now: clock::now(), key: None, sealer, log, shown: OnceLock::new() }
    }

    /// Notes whose token the call showed.
    pub(crate) fn shows(&self, tenant: Uuid, subject: &str) {
        let _ = self.shown.set((tenant, subject.to_owned()));
    }

    /// Tenant and subject of the valid token that the call showed; none for anonymous and operators' calls.
    pub(crate) fn shown(&self) -> Option<(Uuid, &str)> {
        self.shown.get().map(|(tenant, subject)| (*tenant, subject.as_str()))
    }
}

/// The session of an admitted call, for methods about the caller's own sessions.
///
/// # Errors
/// As [`Ctx::of`].
pub fn session<T>(request: &Request<T>) -> Result<Option<Uuid>, Fault> {
    let admitted = request.extensions().get::<Admitted>().ok_or_else(|| Fault::internal("a handler was called without the auth layer"))?;
    Ok(admitted.session)
}

/// The key with a keyed hash of the request: requests may hold passwords, which a plain hash would give away.
fn key(call: &Call, request: &impl prost::Message) -> Option<Key> {
    let key = call.key.clone()?;
    let hash = call.sealer.mac(&[call.method.as_bytes(), &request.encode_to_vec()]);
    Some(Key { key, hash })
}
