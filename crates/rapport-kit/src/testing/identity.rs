//! A stand-in for identity that speaks its contract: publishes a key, signs tokens, tells policy.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::policy_change::State;
use rapport_proto::common::v1::policy_service_server::{PolicyService, PolicyServiceServer};
use tokio::net::TcpListener;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::auth::{AUDIENCE, Claims, ISSUER, TYPE};
use crate::clock;

/// Makes tenants, units, roles and subjects, and signs their tokens.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its gRPC address.
    pub address: String,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    key: EncodingKey,
    published: pb::Jwk,
    changes: Mutex<Vec<pb::PolicyChange>>,
}

/// Somebody who can call.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Tenant id.
    pub tenant: Uuid,
    /// User id.
    pub id: Uuid,
    /// Access token.
    pub token: String,
}

impl Subject {
    /// The request with this subject's token.
    ///
    /// # Panics
    /// Never for tokens made here.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer: MetadataValue<_> = format!("Bearer {}", self.token).parse().expect("a token is ASCII");
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    /// The same under an idempotency key.
    ///
    /// # Panics
    /// If the key is not ASCII.
    pub fn keyed<T>(&self, message: T, key: &str) -> Request<T> {
        let mut request = self.request(message);
        request.metadata_mut().insert("idempotency-key", key.parse().expect("a key is ASCII"));
        request
    }

    /// The subject's name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("users/{}", self.id)
    }
}

impl Identity {
    /// Starts it on a free port; it ends with the process.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let pkcs8 = pair.to_pkcs8().expect("a key can be written");
        let published = pb::Jwk {
            kid: "test".to_owned(),
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
            y: String::new(),
            alg: "EdDSA".to_owned(),
            r#use: "sig".to_owned(),
            state: pb::KeyState::Current.into(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Inner { key: EncodingKey::from_ed_der(pkcs8.as_ref()), published, changes: Mutex::default() });
        let identity = Self { address, inner };
        let serving = tonic::transport::Server::builder()
            .add_service(PolicyServiceServer::new(identity.clone()))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        #[expect(clippy::disallowed_methods, reason = "ends with the test")]
        tokio::spawn(serving);
        identity
    }

    /// Tells a change of policy.
    pub fn tell(&self, tenant: Uuid, name: String, version: i64, state: Option<State>) {
        let change = pb::PolicyChange { tenant: format!("tenants/{tenant}"), name, version, deleted: state.is_none(), state };
        self.inner.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }

    /// A new tenant that has a security policy.
    #[must_use]
    pub fn tenant(&self) -> Uuid {
        let tenant = clock::new_id();
        self.tell(tenant, format!("tenants/{tenant}"), 1, Some(State::TenantState(pb::PolicyTenant { ready: true })));
        tenant
    }

    /// A new business unit below `parent`.
    #[must_use]
    pub fn unit(&self, tenant: Uuid, parent: Option<Uuid>) -> Uuid {
        let unit = clock::new_id();
        let parent = parent.map(|parent| format!("businessUnits/{parent}")).unwrap_or_default();
        self.tell(tenant, format!("businessUnits/{unit}"), 1, Some(State::Unit(pb::PolicyUnit { parent })));
        unit
    }

    /// A new team.
    #[must_use]
    pub fn team(&self, tenant: Uuid, members: &[Uuid]) -> Uuid {
        let team = clock::new_id();
        let members = members.iter().map(|member| format!("users/{member}")).collect();
        self.tell(tenant, format!("teams/{team}"), 1, Some(State::Team(pb::PolicyTeam { members })));
        team
    }

    /// A new role.
    #[must_use]
    pub fn role(&self, tenant: Uuid, permissions: &[&str], field_rules: Vec<pb::FieldRule>) -> Uuid {
        let role = clock::new_id();
        let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
        let state = pb::PolicyRole { display_name: format!("role {role}"), permissions, field_rules };
        self.tell(tenant, format!("roles/{role}"), 1, Some(State::Role(state)));
        role
    }

    /// A new user with one role.
    #[must_use]
    pub fn user(&self, tenant: Uuid, unit: Option<Uuid>, role: Uuid, level: pb::GrantLevel) -> Subject {
        self.user_with(tenant, unit, &[(role, level)])
    }

    /// A new user with these roles.
    #[must_use]
    pub fn user_with(&self, tenant: Uuid, unit: Option<Uuid>, grants: &[(Uuid, pb::GrantLevel)]) -> Subject {
        let id = clock::new_id();
        self.grant(tenant, id, 1, unit, grants);
        Subject { tenant, id, token: self.token(&self.claims(tenant, &format!("users/{id}"))) }
    }

    /// Sets what a user is and may do.
    pub fn grant(&self, tenant: Uuid, user: Uuid, version: i64, unit: Option<Uuid>, grants: &[(Uuid, pb::GrantLevel)]) {
        let grants = grants.iter().map(|(role, level)| pb::PolicyGrant { role: format!("roles/{role}"), level: (*level).into() }).collect();
        let business_unit = unit.map(|unit| format!("businessUnits/{unit}")).unwrap_or_default();
        self.tell(tenant, format!("users/{user}"), version, Some(State::Subject(pb::PolicySubject { business_unit, active: true, grants })));
    }

    /// A tenant's administrator, who may do everything.
    #[must_use]
    pub fn administrator(&self, tenant: Uuid) -> Subject {
        let role = self.role(tenant, &["*"], Vec::new());
        self.user(tenant, None, role, pb::GrantLevel::All)
    }

    /// Good claims, to be spoilt by tests of refusal.
    #[must_use]
    pub fn claims(&self, tenant: Uuid, subject: &str) -> Claims {
        let now = u64::try_from(clock::now().timestamp()).unwrap_or_default();
        Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: subject.to_owned(),
            tid: tenant,
            sid: None,
            act: None,
            scope: None,
            jti: clock::new_id(),
            iat: now,
            nbf: now,
            exp: now + 300,
        }
    }

    /// Signs claims as identity would.
    ///
    /// # Panics
    /// Never for claims that can be written.
    #[must_use]
    pub fn token(&self, claims: &Claims) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some("test".to_owned());
        self.sign(&header, claims)
    }

    /// Signs anything with the real key.
    ///
    /// # Panics
    /// If the claims cannot be written.
    #[must_use]
    pub fn sign(&self, header: &Header, claims: &impl serde::Serialize) -> String {
        jsonwebtoken::encode(header, claims, &self.inner.key).expect("a token can be signed")
    }

    /// The published key.
    #[must_use]
    pub fn published(&self) -> &pb::Jwk {
        &self.inner.published
    }
}

#[tonic::async_trait]
impl PolicyService for Identity {
    async fn get_policy_changes(&self, request: Request<pb::GetPolicyChangesRequest>) -> Result<Response<pb::GetPolicyChangesResponse>, Status> {
        let since: usize = request.into_inner().since.parse().unwrap_or(0);
        let changes = self.inner.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let page: Vec<pb::PolicyChange> = changes.iter().skip(since).take(500).cloned().collect();
        let next = since + page.len();
        Ok(Response::new(pb::GetPolicyChangesResponse { next_since: next.to_string(), has_more: next < changes.len(), changes: page }))
    }

    async fn get_signing_keys(&self, _: Request<pb::GetSigningKeysRequest>) -> Result<Response<pb::GetSigningKeysResponse>, Status> {
        Ok(Response::new(pb::GetSigningKeysResponse { keys: vec![self.inner.published.clone()] }))
    }
}
