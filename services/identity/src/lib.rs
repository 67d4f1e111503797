//! Identity: who exists in a tenant, who may do what, and the tokens that say so.
//!
//! Guarantees: the only holder of private signing keys; passwords, tokens and keys never leave it in events,
//! logs or debug texts. Whatever matters to access is published as a policy change by the statement that
//! changes it.

mod api_key;
mod business_unit;
mod catalogue;
mod config;
mod events;
mod jobs;
mod legal_entity;
mod list;
mod parse;
mod password;
mod policy_feed;
mod role;
mod secret;
mod security_policy;
mod service_account;
mod session;
mod signing_key;
mod team;
mod tenant;
mod throttle;
mod token;
mod user;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rapport_identity_api::v1 as pb;
use rapport_kit::db::Migrations;
use rapport_kit::journal::Entry;
use rapport_kit::page::Sealer;
use rapport_kit::policy::Policy;
use rapport_kit::{App, Db, Fault, Service, SystemDb};
use rapport_proto::common::v1 as common;

use crate::password::Passwords;
use crate::signing_key::Signer;
use crate::token::Trusted;

static MIGRATIONS: Migrations = sqlx::migrate!();

/// The service, for the process that runs it.
pub static SERVICE: Service = Service {
    name: "identity",
    migrations: &MIGRATIONS,
    methods: &[rapport_identity_api::METHODS, rapport_proto::METHODS],
    descriptors: &[rapport_identity_api::DESCRIPTORS, rapport_proto::DESCRIPTORS],
    start,
};

/// What the methods of all resources stand on.
pub(crate) struct Identity {
    pub(crate) db: Db,
    pub(crate) system: SystemDb,
    pub(crate) policy: Policy,
    pub(crate) sealer: Sealer,
    pub(crate) signer: Signer,
    pub(crate) passwords: Passwords,
    pub(crate) trusted: Trusted,
}

impl Identity {
    /// Applies what was just committed to this process's own copy of the policy, so that a caller who goes on
    /// here finds it in force. A failure is made good by the next poll.
    pub(crate) async fn heed(&self, entries: &[Entry]) {
        let changes = events::policy_changes(entries);
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.policy.apply(&changes).await {
            tracing::warn!(%error, "a policy change is not in force here yet; the next poll brings it");
        }
    }
}

fn start(app: &mut App) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + '_>> {
    Box::pin(wire(app))
}

async fn wire(app: &mut App) -> Result<(), Fault> {
    let config = config::Config::read(&app.config.service)?;
    let trusted = Trusted::load(&app.config.secrets, app.secrets.credential.clone())?;
    for credential in trusted.all() {
        app.trust(credential);
    }
    let identity = Arc::new(Identity {
        db: app.db.clone(),
        system: app.system.clone(),
        policy: app.policy.clone(),
        sealer: app.sealer.clone(),
        signer: Signer::open(&app.system, &app.secrets.sealing).await?,
        passwords: Passwords::new(config.password_threads, config.password_queue),
        trusted,
    });
    jobs::run(&identity, config.rotate_days, &app.tasks);

    app.serve(pb::signing_key_service_server::SigningKeyServiceServer::new(signing_key::Rpc(Arc::clone(&identity))));
    app.serve(common::policy_service_server::PolicyServiceServer::new(policy_feed::Rpc(Arc::clone(&identity))));
    app.serve(pb::tenant_service_server::TenantServiceServer::new(tenant::Rpc(Arc::clone(&identity))));
    app.serve(pb::security_policy_service_server::SecurityPolicyServiceServer::new(security_policy::Rpc(Arc::clone(&identity))));
    app.serve(pb::session_service_server::SessionServiceServer::new(session::Rpc(Arc::clone(&identity))));
    app.serve(pb::user_service_server::UserServiceServer::new(user::Rpc(Arc::clone(&identity))));
    app.serve(pb::role_service_server::RoleServiceServer::new(role::Rpc(Arc::clone(&identity))));
    app.serve(pb::team_service_server::TeamServiceServer::new(team::Rpc(Arc::clone(&identity))));
    app.serve(pb::business_unit_service_server::BusinessUnitServiceServer::new(business_unit::Rpc(Arc::clone(&identity))));
    app.serve(pb::legal_entity_service_server::LegalEntityServiceServer::new(legal_entity::Rpc(Arc::clone(&identity))));
    app.serve(pb::service_account_service_server::ServiceAccountServiceServer::new(service_account::Rpc(Arc::clone(&identity))));
    app.serve(pb::token_service_server::TokenServiceServer::new(token::Rpc(identity)));
    Ok(())
}
