//! Who calls: an organisation with units, and somebody in the middle of it who sees the units below and from
//! whom one field is hidden. Made through identity's public interface.

use std::time::{Duration, Instant};

use rapport_contacts_api::v1::ListContactsRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1::business_unit_service_client::BusinessUnitServiceClient;
use rapport_identity_api::v1::legal_entity_service_client::LegalEntityServiceClient;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::tenant_service_client::TenantServiceClient;
use rapport_identity_api::v1::user_service_client::UserServiceClient;
use rapport_identity_api::v1::{
    Administrator, BusinessUnit, CreateBusinessUnitRequest, CreateLegalEntityRequest, CreateRoleRequest, CreateTenantRequest, CreateUserRequest,
    GrantRoleRequest, LegalEntity, Role, SecurityPolicy, SignInRequest, Tenant, User,
};
use rapport_kit::name;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::stage::{CREDENTIAL, Program, Stage};
use crate::{Outcome, trouble};

const TENANT: &str = "bench";
const ADMINISTRATOR: &str = "administrator@bench.example";
pub(crate) const CALLER: &str = "caller@bench.example";
pub(crate) const PASSWORD: &str = "a password that nobody guesses";
/// Owners of records; they stand in units below the caller's.
const OWNERS: usize = 20;
const UNITS: usize = 4;
/// What is needed to go on with the organisation, beside the programs.
const KEPT: &str = "world";
/// News of people reach a service within seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// An access token as it is sent.
pub(crate) type Token = MetadataValue<Ascii>;

/// The organisation.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) tenant: Uuid,
    pub(crate) caller: Uuid,
    /// The caller's unit.
    pub(crate) unit: Uuid,
    /// The caller's unit and those above it, which shares may name.
    pub(crate) groups: Vec<Uuid>,
    pub(crate) owners: Vec<Uuid>,
    identity: Channel,
}

impl World {
    pub(crate) async fn create(stage: &Stage) -> Outcome<Self> {
        let identity = stage.identity.channel().await?;
        let tenant = create_tenant(identity.clone()).await?;
        let administrator = sign_in(identity.clone(), ADMINISTRATOR).await?;
        let entity = create_entity(identity.clone(), &administrator).await?;
        let office = Office { identity: identity.clone(), token: administrator, entity };
        let top = office.unit("All", "").await?;
        let region = office.unit("North", &top).await?;
        let role = office.role().await?;
        let caller = office.user("caller", &region, PASSWORD).await?;
        let grant = GrantRoleRequest { name: caller.clone(), role, level: GrantLevel::BusinessUnitSubtree.into(), etag: String::new() };
        UserServiceClient::new(identity.clone()).grant_role(with(&office.token, grant)).await?;
        let mut owners = Vec::new();
        for unit in 0..UNITS {
            let unit = office.unit(&format!("Team {unit}"), &region).await?;
            for owner in 0..OWNERS / UNITS {
                owners.push(id(&office.user(&format!("owner{owner}.{}", owners.len()), &unit, "").await?)?);
            }
        }
        let groups = vec![id(&region)?, id(&top)?];
        let world = Self { tenant: id(&tenant)?, caller: id(&caller)?, unit: id(&region)?, groups, owners, identity };
        world.known_to(stage, &stage.contacts).await?;
        world.keep(stage)?;
        Ok(world)
    }

    /// The one that an earlier run made and left.
    pub(crate) async fn kept(stage: &Stage) -> Outcome<Self> {
        let text = std::fs::read_to_string(stage.folder.join(KEPT))?;
        let ids = text.lines().map(Uuid::parse_str).collect::<Result<Vec<_>, _>>()?;
        let [tenant, caller, unit, top, owners @ ..] = ids.as_slice() else { return Err(trouble(format!("{KEPT} is not whole"))) };
        let identity = stage.identity.channel().await?;
        Ok(Self { tenant: *tenant, caller: *caller, unit: *unit, groups: vec![*unit, *top], owners: owners.to_vec(), identity })
    }

    fn keep(&self, stage: &Stage) -> Outcome<()> {
        let ids = [self.tenant, self.caller].into_iter().chain(self.groups.iter().copied()).chain(self.owners.iter().copied());
        Ok(std::fs::write(stage.folder.join(KEPT), ids.map(|id| format!("{id}\n")).collect::<String>())?)
    }

    /// A token of the caller; it is good for five minutes.
    pub(crate) async fn token(&self) -> Outcome<Token> {
        sign_in(self.identity.clone(), CALLER).await
    }

    /// A token of somebody who may do everything.
    pub(crate) async fn administrator(&self) -> Outcome<Token> {
        sign_in(self.identity.clone(), ADMINISTRATOR).await
    }

    /// Waits until a process of contacts has heard of everybody.
    pub(crate) async fn known_to(&self, stage: &Stage, contacts: &Program) -> Outcome<()> {
        let mut database = stage.superuser(contacts).await?;
        let mut client = ContactServiceClient::new(contacts.channel().await?);
        let (token, begun) = (self.token().await?, Instant::now());
        loop {
            let known: i64 =
                sqlx::query_scalar("select count(*) from kit.policy_subject where id = any($1)").bind(&self.owners).fetch_one(&mut database).await?;
            let answer = client.list_contacts(with(&token, ListContactsRequest { page_size: 1, ..Default::default() })).await;
            match answer {
                Ok(_) if usize::try_from(known)? == self.owners.len() => return Ok(()),
                Err(refusal) if begun.elapsed() > PATIENCE => return Err(refusal.into()),
                _ if begun.elapsed() > PATIENCE => return Err(trouble("contacts has not heard of all owners")),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// The message with a token.
pub(crate) fn with<T>(token: &Token, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", token.clone());
    request
}

fn id(name: &str) -> Outcome<Uuid> {
    name::split(name).map(|(_, id)| id).ok_or_else(|| trouble(format!("{name} names no record")))
}

fn bearer(credential: &str) -> Outcome<Token> {
    Ok(format!("Bearer {credential}").parse()?)
}

pub(crate) fn sign_in_request(email: &str) -> SignInRequest {
    SignInRequest { tenant: TENANT.to_owned(), email: email.to_owned(), password: PASSWORD.to_owned() }
}

async fn sign_in(identity: Channel, email: &str) -> Outcome<Token> {
    let session = SessionServiceClient::new(identity).sign_in(sign_in_request(email)).await?;
    bearer(&session.get_ref().access_token)
}

async fn create_tenant(identity: Channel) -> Outcome<String> {
    let policy = SecurityPolicy {
        name: "securityPolicy".to_owned(),
        password_min_length: 8,
        lockout_attempts: 5,
        lockout_base_seconds: 30,
        session_idle_seconds: 3_600,
        session_absolute_seconds: 36_000,
        history_retention_days: 3_650,
        data_owner: "the bench".to_owned(),
        ..SecurityPolicy::default()
    };
    let administrator = Administrator { email: ADMINISTRATOR.to_owned(), display_name: "Administrator".to_owned(), password: PASSWORD.to_owned() };
    let request = CreateTenantRequest {
        tenant: Some(Tenant { display_name: "Bench".to_owned(), slug: TENANT.to_owned(), ..Tenant::default() }),
        administrator: Some(administrator),
        security_policy: Some(policy),
    };
    let created = TenantServiceClient::new(identity).create_tenant(with(&bearer(CREDENTIAL)?, request)).await?.into_inner();
    created.tenant.map(|tenant| tenant.name).ok_or_else(|| trouble("the answer has no tenant"))
}

async fn create_entity(identity: Channel, token: &Token) -> Outcome<String> {
    let entity = LegalEntity {
        display_name: "Bench Ltd".to_owned(),
        country: "GB".to_owned(),
        currency: "GBP".to_owned(),
        default_language: "en-GB".to_owned(),
        time_zone: "Europe/London".to_owned(),
        fiscal_year_start_month: 1,
        ..LegalEntity::default()
    };
    let request = with(token, CreateLegalEntityRequest { legal_entity: Some(entity) });
    Ok(LegalEntityServiceClient::new(identity).create_legal_entity(request).await?.into_inner().name)
}

/// What an administrator makes.
struct Office {
    identity: Channel,
    token: Token,
    entity: String,
}

impl Office {
    async fn unit(&self, display_name: &str, parent: &str) -> Outcome<String> {
        let unit = BusinessUnit {
            display_name: display_name.to_owned(),
            parent: parent.to_owned(),
            legal_entity: self.entity.clone(),
            ..BusinessUnit::default()
        };
        let request = with(&self.token, CreateBusinessUnitRequest { business_unit: Some(unit) });
        Ok(BusinessUnitServiceClient::new(self.identity.clone()).create_business_unit(request).await?.into_inner().name)
    }

    /// A role that works with records and does not see dates of birth.
    async fn role(&self) -> Outcome<String> {
        let hidden = FieldRule { resource: "contacts.contact".to_owned(), field: "person.birth_date".to_owned(), effect: FieldEffect::Hidden.into() };
        let permissions = [
            "contacts.contact.read",
            "contacts.contact.create",
            "contacts.contact.update",
            "contacts.account.read",
            "contacts.export.create",
            "contacts.import.*",
            "files.file.*",
            "jobs.job.read",
        ];
        let role = Role {
            display_name: "Sales".to_owned(),
            permissions: permissions.map(str::to_owned).to_vec(),
            field_rules: vec![hidden],
            ..Role::default()
        };
        let request = with(&self.token, CreateRoleRequest { role: Some(role) });
        Ok(RoleServiceClient::new(self.identity.clone()).create_role(request).await?.into_inner().name)
    }

    async fn user(&self, local: &str, unit: &str, password: &str) -> Outcome<String> {
        let user =
            User { display_name: local.to_owned(), email: format!("{local}@bench.example"), business_unit: unit.to_owned(), ..User::default() };
        let request = with(&self.token, CreateUserRequest { user: Some(user), initial_password: password.to_owned() });
        Ok(UserServiceClient::new(self.identity.clone()).create_user(request).await?.into_inner().name)
    }
}
