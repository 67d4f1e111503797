//! Sets the organisation up: tenant, security policy, companies, units, roles, people.

use rapport_contacts_api::v1::ListContactsRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1::business_unit_service_client::BusinessUnitServiceClient;
use rapport_identity_api::v1::legal_entity_service_client::LegalEntityServiceClient;
use rapport_identity_api::v1::role_service_client::RoleServiceClient;
use rapport_identity_api::v1::security_policy_service_client::SecurityPolicyServiceClient;
use rapport_identity_api::v1::tenant_service_client::TenantServiceClient;
use rapport_identity_api::v1::user_service_client::UserServiceClient;
use rapport_identity_api::v1::{
    Administrator, BusinessUnit, CreateBusinessUnitRequest, CreateLegalEntityRequest, CreateRoleRequest, CreateTenantRequest, CreateUserRequest,
    GetSecurityPolicyRequest, GrantRoleRequest, LegalEntity, NumberSeries, Role, SecurityPolicy, Tenant, UpdateSecurityPolicyRequest, User,
};
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::Code;

use super::Stack;
use super::clients::{Caller, Servers, Trouble, answered, with_bearer};
use super::story::Story;

pub(crate) const REGIONS: [&str; 2] = ["North", "South"];
pub(crate) const TENANT: &str = "aurora";
const ADMINISTRATOR: &str = "ada.sorel@aurora.example";
pub(crate) const ADMINISTRATOR_POSITION: &str = "Administrator: may do everything";
const ADMINISTRATOR_PASSWORD: &str = "correct horse battery staple 1";

/// The organisation and everybody who is signed in.
#[derive(Debug)]
pub(crate) struct Organisation {
    /// The companies of the two regions.
    pub(crate) entities: Vec<String>,
    pub(crate) administrator: Caller,
    /// Two of the north, then two of the south.
    pub(crate) representatives: Vec<Member>,
    /// Of the north and of the south.
    pub(crate) managers: Vec<Member>,
    pub(crate) analyst: Member,
    /// What representatives hold: `roles/{uuid}`.
    pub(crate) representative_role: String,
}

/// Somebody with a role.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) caller: Caller,
    pub(crate) display_name: &'static str,
    /// Role and reach, for people.
    pub(crate) position: String,
    /// Index into [`REGIONS`].
    pub(crate) region: Option<usize>,
}

/// A user to be.
struct Plan {
    display_name: &'static str,
    local: &'static str,
    password: &'static str,
    region: Option<usize>,
}

const REPRESENTATIVES: [Plan; 4] = [
    Plan { display_name: "Nils Berg", local: "nils.berg", password: "correct horse battery staple 2", region: Some(0) },
    Plan { display_name: "Noor Haddad", local: "noor.haddad", password: "correct horse battery staple 3", region: Some(0) },
    Plan { display_name: "Sofia Rossi", local: "sofia.rossi", password: "correct horse battery staple 4", region: Some(1) },
    Plan { display_name: "Selim Kaya", local: "selim.kaya", password: "correct horse battery staple 5", region: Some(1) },
];
const MANAGERS: [Plan; 2] = [
    Plan { display_name: "Nora Lind", local: "nora.lind", password: "correct horse battery staple 6", region: Some(0) },
    Plan { display_name: "Sami Öztürk", local: "sami.ozturk", password: "correct horse battery staple 7", region: Some(1) },
];
const ANALYST: Plan = Plan { display_name: "Anat Levi", local: "anat.levi", password: "correct horse battery staple 8", region: None };

pub(crate) async fn set_up(story: &mut Story, servers: &Servers, stack: &Stack) -> Result<Organisation, Trouble> {
    story.chapter(
        "An organisation moves in",
        "Aurora Instruments has two companies and two sales regions, North and South. Whoever operates Rapport makes a tenant for it: \
         a space of its own, from which nothing can be seen in any other. From then on everything is done by Aurora's own people, each \
         signed in as themselves.\n\n\
         The first thing they do is decide about security: how long passwords are, when sign-ins end, how long history is kept, and \
         who answers for the data. Until that is decided, the tenant takes and shows no customer.",
    );
    let mut administrator = create_tenant(servers, stack).await?;
    administrator.recognised_by_contacts(servers).await?;
    decide_security(story, servers, &mut administrator).await?;
    let entities = create_companies(servers, &mut administrator).await?;
    let units = create_units(servers, &mut administrator, &entities).await?;
    let roles = create_roles(servers, &mut administrator).await?;

    let mut representatives = Vec::new();
    for plan in &REPRESENTATIVES {
        representatives.push(hire(servers, &mut administrator, plan, &units, &roles[0]).await?);
    }
    let mut managers = Vec::new();
    for plan in &MANAGERS {
        managers.push(hire(servers, &mut administrator, plan, &units, &roles[1]).await?);
    }
    let analyst = hire(servers, &mut administrator, &ANALYST, &units, &roles[2]).await?;
    let representative_role = roles[0].name.clone();
    let organisation = Organisation { entities, administrator, representatives, managers, analyst, representative_role };
    story.table("Who works here, and whose customers they see", &["Person", "Region", "Role and reach"], &organisation.directory());
    story.check(
        "Each of them can sign in, and contacts lets them in",
        true,
        "seven people besides the administrator, each with a session of their own",
    );
    Ok(organisation)
}

impl Organisation {
    /// Everybody but the administrator.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.representatives.iter().chain(&self.managers).chain([&self.analyst])
    }

    fn directory(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec!["Ada Sorel".to_owned(), "all".to_owned(), ADMINISTRATOR_POSITION.to_owned()]];
        rows.extend(self.members().map(|member| vec![member.display_name.to_owned(), member.region_name().to_owned(), member.position.clone()]));
        rows
    }
}

impl Member {
    pub(crate) fn region_name(&self) -> &'static str {
        self.region.map_or("all", |region| REGIONS[region])
    }
}

async fn create_tenant(servers: &Servers, stack: &Stack) -> Result<Caller, Trouble> {
    let request = CreateTenantRequest {
        tenant: Some(Tenant { display_name: "Aurora Instruments".to_owned(), slug: TENANT.to_owned(), ..Default::default() }),
        administrator: Some(Administrator {
            email: ADMINISTRATOR.to_owned(),
            display_name: "Ada Sorel".to_owned(),
            password: ADMINISTRATOR_PASSWORD.to_owned(),
        }),
        security_policy: None,
    };
    let mut tenants = TenantServiceClient::new(servers.identity.clone());
    answered("creating the tenant", tenants.create_tenant(with_bearer(&stack.operator_credential, request)?).await)?;
    Caller::sign_in(servers, TENANT, ADMINISTRATOR, ADMINISTRATOR_PASSWORD).await
}

/// Shows that nothing is served before the security policy, then stores it.
async fn decide_security(story: &mut Story, servers: &Servers, administrator: &mut Caller) -> Result<(), Trouble> {
    const MISSING: &str = "SECURITY_POLICY_MISSING";
    let mut contacts = ContactServiceClient::new(servers.contacts.clone());
    let mut policies = SecurityPolicyServiceClient::new(servers.identity.clone());
    let mut units = BusinessUnitServiceClient::new(servers.identity.clone());

    let list = administrator.request(ListContactsRequest::default()).await?;
    story.refused(
        "Before the security policy is stored, contacts are not served",
        contacts.list_contacts(list).await,
        Code::FailedPrecondition,
        MISSING,
    );
    let unit = BusinessUnit { display_name: "Too early".to_owned(), ..Default::default() };
    let create = administrator.request(CreateBusinessUnitRequest { business_unit: Some(unit) }).await?;
    story.refused("Nor can a business unit be made", units.create_business_unit(create).await, Code::FailedPrecondition, MISSING);
    let get = administrator.request(GetSecurityPolicyRequest { name: "securityPolicy".to_owned() }).await?;
    let proposed = answered("reading the proposed security policy", policies.get_security_policy(get).await)?;
    story.check("A security policy is proposed; nobody is bound by it yet", !proposed.stored, &format!("stored: {}", proposed.stored));

    let decided = SecurityPolicy {
        name: "securityPolicy".to_owned(),
        data_owner: "Head of customer data, Aurora Instruments".to_owned(),
        session_idle_seconds: 3_600,
        ..Default::default()
    };
    let update = administrator.request(UpdateSecurityPolicyRequest { security_policy: Some(decided), update_mask: None }).await?;
    let stored = answered("storing the security policy", policies.update_security_policy(update).await)?;
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let rows = [
        row("Who answers for the data", stored.data_owner.clone()),
        row("A password has at least", format!("{} characters", stored.password_min_length)),
        row("Failed sign-ins in a row until one has to wait", stored.lockout_attempts.to_string()),
        row("One is signed out after not working for", time_span(i64::from(stored.session_idle_seconds))),
        row("One is signed out in any case after", time_span(i64::from(stored.session_absolute_seconds))),
        row("History is kept for", time_span(i64::from(stored.history_retention_days) * DAY)),
    ];
    story.table("The security policy that Aurora stores", &["Rule", "Value"], &rows);

    let list = administrator.request(ListContactsRequest::default()).await?;
    let served = answered("listing contacts once the policy is stored", contacts.list_contacts(list).await)?;
    story.check(
        "Once Aurora has stored its policy, contacts are served",
        stored.stored && served.contacts.is_empty(),
        &format!("{} contacts yet", served.contacts.len()),
    );
    Ok(())
}

const DAY: i64 = 24 * 60 * 60;

/// A number of seconds in the largest unit that divides it.
fn time_span(seconds: i64) -> String {
    let units = [(365 * DAY, "years"), (DAY, "days"), (60 * 60, "hours"), (60, "minutes"), (1, "seconds")];
    let (length, unit) = units.into_iter().find(|(length, _)| seconds >= *length && seconds % length == 0).unwrap_or((1, "seconds"));
    let count = seconds / length;
    if count == 1 { format!("1 {}", unit.trim_end_matches('s')) } else { format!("{count} {unit}") }
}

async fn create_companies(servers: &Servers, administrator: &mut Caller) -> Result<Vec<String>, Trouble> {
    let company = |name: &str, country: &str, currency: &str, language: &str, zone: &str, prefix: &str| LegalEntity {
        display_name: name.to_owned(),
        country: country.to_owned(),
        currency: currency.to_owned(),
        default_language: language.to_owned(),
        time_zone: zone.to_owned(),
        fiscal_year_start_month: 1,
        number_series: vec![NumberSeries { collection: "accounts".to_owned(), prefix: prefix.to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let companies = [
        company("Aurora Instruments Ltd", "GB", "GBP", "en-GB", "Europe/London", "N-"),
        company("Aurora Strumenti S.r.l.", "IT", "EUR", "it-IT", "Europe/Rome", "S-"),
    ];
    let mut client = LegalEntityServiceClient::new(servers.identity.clone());
    let mut names = Vec::new();
    for company in companies {
        let request = administrator.request(CreateLegalEntityRequest { legal_entity: Some(company) }).await?;
        names.push(answered("creating a company", client.create_legal_entity(request).await)?.name);
    }
    Ok(names)
}

/// Sales at the top, one unit for each region below it; answers the regions' units.
async fn create_units(servers: &Servers, administrator: &mut Caller, entities: &[String]) -> Result<Vec<String>, Trouble> {
    let mut client = BusinessUnitServiceClient::new(servers.identity.clone());
    let mut create = async |display_name: &str, parent: &str, legal_entity: &str| {
        let unit = BusinessUnit {
            display_name: display_name.to_owned(),
            parent: parent.to_owned(),
            legal_entity: legal_entity.to_owned(),
            ..Default::default()
        };
        let request = administrator.request(CreateBusinessUnitRequest { business_unit: Some(unit) }).await?;
        answered(&format!("creating the unit {display_name}"), client.create_business_unit(request).await).map(|unit| unit.name)
    };
    let sales = create("Sales", "", &entities[0]).await?;
    let mut units = Vec::new();
    for (region, entity) in REGIONS.iter().zip(entities) {
        units.push(create(region, &sales, entity).await?);
    }
    Ok(units)
}

/// A role to be.
struct RolePlan<'a> {
    display_name: &'a str,
    permissions: &'a [&'a str],
    field_rules: Vec<FieldRule>,
    level: GrantLevel,
    reach: &'a str,
}

/// A role as it was created, with the level at which it is given.
struct Position {
    name: String,
    level: GrantLevel,
    text: String,
}

async fn create_roles(servers: &Servers, administrator: &mut Caller) -> Result<Vec<Position>, Trouble> {
    const READS: [&str; 2] = ["contacts.account.read", "contacts.contact.read"];
    const WORKS_WITH: [&str; 6] = [
        "contacts.account.read",
        "contacts.account.create",
        "contacts.account.update",
        "contacts.contact.read",
        "contacts.contact.create",
        "contacts.contact.update",
    ];
    let hidden = FieldRule { resource: "contacts.contact".to_owned(), field: "person.birth_date".to_owned(), effect: FieldEffect::Hidden.into() };
    let plan = |display_name, permissions, field_rules, level, reach| RolePlan { display_name, permissions, field_rules, level, reach };
    let plans = [
        plan("Sales", WORKS_WITH.as_slice(), Vec::new(), GrantLevel::Own, "sees the customers that are their own"),
        plan("Regional manager", &WORKS_WITH, Vec::new(), GrantLevel::BusinessUnitSubtree, "sees those of everybody in the region"),
        plan("Analyst", &READS, vec![hidden], GrantLevel::All, "sees all of them, without dates of birth"),
    ];
    let mut client = RoleServiceClient::new(servers.identity.clone());
    let mut positions = Vec::new();
    for RolePlan { display_name, permissions, field_rules, level, reach } in plans {
        let role = Role {
            display_name: display_name.to_owned(),
            permissions: permissions.iter().map(|permission| (*permission).to_owned()).collect(),
            field_rules,
            ..Default::default()
        };
        let request = administrator.request(CreateRoleRequest { role: Some(role) }).await?;
        let role = answered(&format!("creating the role {display_name}"), client.create_role(request).await)?;
        positions.push(Position { name: role.name, level, text: format!("{display_name}: {reach}") });
    }
    Ok(positions)
}

async fn hire(servers: &Servers, administrator: &mut Caller, plan: &Plan, units: &[String], position: &Position) -> Result<Member, Trouble> {
    let mut users = UserServiceClient::new(servers.identity.clone());
    let email = format!("{}@aurora.example", plan.local);
    let user = User {
        display_name: plan.display_name.to_owned(),
        email: email.clone(),
        business_unit: plan.region.map(|region| units[region].clone()).unwrap_or_default(),
        ..Default::default()
    };
    let request = administrator.request(CreateUserRequest { user: Some(user), initial_password: plan.password.to_owned() }).await?;
    let user = answered(&format!("creating the user {email}"), users.create_user(request).await)?;
    let grant = GrantRoleRequest { name: user.name, role: position.name.clone(), level: position.level.into(), etag: String::new() };
    answered(&format!("giving {email} a role"), users.grant_role(administrator.request(grant).await?).await)?;
    let mut caller = Caller::sign_in(servers, TENANT, &email, plan.password).await?;
    caller.known_to_contacts(servers).await?;
    Ok(Member { caller, display_name: plan.display_name, position: position.text.clone(), region: plan.region })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_in_the_largest_unit_that_fits() {
        let told = [(3650 * DAY, "10 years"), (7 * DAY, "7 days"), (3600, "1 hour"), (5400, "90 minutes"), (0, "0 seconds")];
        for (seconds, text) in told {
            assert_eq!(time_span(seconds), text);
        }
    }
}
