//! The same for identity's own records.

use prost::Message;
use rapport_identity_api::v1 as pb;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::GrantLevel;
use sqlx::Connection;

use super::{all_ended, multiply, owner, scans};
use crate::bureau::{ADMINISTRATOR, Bureau, PASSWORD, Stored, legal_entity, policy};
use crate::coverage::errors::told;
use crate::coverage::wire::{Caller, Wire};

/// Lists with their filters and orders; names in capitals stand for records.
const LISTS: [(&str, &[&str], &[&str]); 6] = [
    (
        "UserService/ListUsers",
        &[
            "display_name = \"n77\"",
            "display_name = \"n7*\"",
            "email = \"n77@example.com\"",
            "business_unit = \"UNIT\"",
            "state = ACTIVE",
            "state = DISABLED",
            "state = LOCKED",
            "grants.role = \"ROLE\"",
            "create_time > \"2026-01-01T00:00:00Z\"",
        ],
        &["display_name desc", "email", "create_time desc"],
    ),
    (
        "RoleService/ListRoles",
        &["display_name = \"n7*\"", "shipped = true", "permissions:\"identity.user.read\""],
        &["create_time", "display_name desc"],
    ),
    ("TeamService/ListTeams", &["display_name = \"n77\"", "members:\"USER\""], &["create_time desc", "display_name"]),
    (
        "BusinessUnitService/ListBusinessUnits",
        &["display_name = \"n77\"", "parent = \"UNIT\"", "legal_entity = \"ENTITY\""],
        &["create_time", "display_name desc"],
    ),
    (
        "LegalEntityService/ListLegalEntities",
        &["display_name = \"n77\"", "country = \"TR\"", "currency = \"TRY\""],
        &["create_time desc", "display_name"],
    ),
    (
        "ServiceAccountService/ListServiceAccounts",
        &["display_name = \"n77\"", "business_unit = \"UNIT\"", "grants.role = \"ROLE\""],
        &["create_time", "display_name desc"],
    ),
];
const TABLES: [&str; 12] = [
    "public.legal_entity",
    "public.business_unit",
    "public.team",
    "public.role",
    "public.users",
    "public.sign_in_failure",
    "public.session",
    "public.service_account",
    "public.api_key",
    "kit.policy_subject",
    "kit.team_member",
    "kit.unit_ancestor",
];

/// One record of each kind.
struct Records {
    tenant: String,
    entity: String,
    unit: String,
    role: String,
    user: Stored,
    team: String,
    account: String,
    key: String,
    session: String,
    refresh_token: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_and_no_look_up_of_identity_scans_a_whole_table() {
    let mut bureau = Bureau::open().await;
    let administrator = bureau.tenant("plans", Some(policy())).await;
    let records = make(&bureau, &administrator).await;
    let mut readers = vec![administrator.clone()];
    for (level, email) in [(GrantLevel::Own, "own"), (GrantLevel::Team, "team"), (GrantLevel::BusinessUnitSubtree, "subtree")] {
        let unit = rapport_kit::name::split(&records.unit).expect("a unit has a name").1;
        let reader = bureau.user(&administrator, &format!("{email}@example.com"), Some(unit), false).await;
        bureau.grant(&administrator, &reader.name, &records.role, level).await;
        let request = pb::AddTeamMemberRequest { name: records.team.clone(), user: reader.name.clone(), etag: String::new() };
        let _: pb::Team = bureau.ask(&Caller::of(&administrator), "TeamService/AddTeamMember", &request).await;
        readers.push(bureau.act_for(administrator.tenant, &reader.name).await);
    }
    // A small table is rightly scanned, so what was asked so far must not count.
    bureau.stop().await;
    let logins = bureau.logins.clone();
    all_ended(&logins, "identity").await;
    grow(&logins, &records).await;

    let before = scans(&logins, &TABLES).await;
    assert_eq!(before.len(), TABLES.len(), "{before:?}");
    bureau.start().await;
    for reader in &readers {
        lists(&bureau.wire, reader, &records).await;
        look_ups(&bureau.wire, reader, &records).await;
    }
    sign_in(&bureau.wire, &records).await;
    bureau.stop().await;
    all_ended(&logins, "identity").await;
    assert_eq!(scans(&logins, &TABLES).await, before, "tables that were scanned as a whole, and how often, against before");
}

async fn make(bureau: &Bureau, administrator: &Subject) -> Records {
    let caller = Caller::of(administrator);

    let request = pb::CreateLegalEntityRequest { legal_entity: Some(legal_entity("Entity")) };
    let entity: Stored = bureau.ask(&caller, "LegalEntityService/CreateLegalEntity", &request).await;
    let unit = pb::BusinessUnit { display_name: "Unit".to_owned(), legal_entity: entity.name.clone(), ..pb::BusinessUnit::default() };
    let request = pb::CreateBusinessUnitRequest { business_unit: Some(unit) };
    let unit: Stored = bureau.ask(&caller, "BusinessUnitService/CreateBusinessUnit", &request).await;
    let role = bureau.role(administrator, "Reader", &["identity.*"]).await;
    let user = bureau.user(administrator, "user@example.com", Some(unit.id()), true).await;
    let (_, opened) = bureau.sign_in(administrator.tenant, "user@example.com").await;
    let team = pb::Team { display_name: "Team".to_owned(), members: vec![user.name.clone()], ..pb::Team::default() };
    let team: Stored = bureau.ask(&caller, "TeamService/CreateTeam", &pb::CreateTeamRequest { team: Some(team) }).await;
    let account = pb::ServiceAccount { display_name: "Account".to_owned(), business_unit: unit.name.clone(), ..pb::ServiceAccount::default() };
    let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
    let account: Stored = bureau.ask(&caller, "ServiceAccountService/CreateServiceAccount", &request).await;
    let expire_time = Some(prost_types::Timestamp { seconds: rapport_kit::clock::now().timestamp() + 3600, nanos: 0 });
    let key = pb::ApiKey { display_name: "Key".to_owned(), expire_time, ..pb::ApiKey::default() };
    let request = pb::CreateApiKeyRequest { parent: account.name.clone(), api_key: Some(key) };
    let key: pb::CreateApiKeyResponse = bureau.ask(&caller, "ServiceAccountService/CreateApiKey", &request).await;
    bureau.try_sign_in(administrator.tenant, "stranger@example.com", PASSWORD).await.expect_err("a stranger");
    Records {
        tenant: format!("tenants/{}", administrator.tenant),
        entity: entity.name,
        unit: unit.name,
        role: role.name,
        user,
        team: team.name,
        account: account.name,
        key: key.api_key.expect("a key").name,
        session: opened.session.expect("a session").name,
        refresh_token: opened.refresh_token,
    }
}

/// Makes every table large, with a hundredth of the rows in the unit, the role and the team that are asked for.
async fn grow(logins: &rapport_kit::db::Logins, records: &Records) {
    let mut connection = owner(logins).await;
    let few = |name: &str, otherwise: &str| {
        let (_, id) = rapport_kit::name::split(name).expect("a record has a name");
        format!("case when g % 100 = 0 then '{id}'::uuid else {otherwise} end")
    };
    let (_, role) = rapport_kit::name::split(&records.role).expect("a role has a name");
    let grants = format!("case when g % 100 = 0 then jsonb_build_array(jsonb_build_object('role', '{role}', 'level', 'own')) else '[]'::jsonb end");
    let unit = few(&records.unit, "null");
    let tenth = "case when g % 100 = 0 then 'TR' else 'C' || (g % 10) end, 'currency', case when g % 100 = 0 then 'TRY' else 'D' || (g % 10) end";
    let changes = [
        ("legal_entity", &records.entity, format!("'name_folded', 'n' || g, 'country', {tenth}")),
        ("role", &records.role, "'name_folded', 'n' || g, 'permissions', '[]'::jsonb".to_owned()),
        (
            "business_unit",
            &records.unit,
            format!("'name_folded', 'n' || g, 'parent_id', {unit}, 'legal_entity_id', {}", few(&records.entity, "null")),
        ),
        (
            "users",
            &records.user.name,
            format!(
                "'name_folded', 'n' || g, 'email', 'n' || g, 'email_key', 'n' || g || '@example.com', 'email_folded', 'n' || g || '@example.com',
                 'unit_id', {unit}, 'grants', {grants}, 'disabled', g % 100 = 1"
            ),
        ),
        ("team", &records.team, "'name_folded', 'n' || g, 'members', '[]'::jsonb".to_owned()),
        ("service_account", &records.account, format!("'name_folded', 'n' || g, 'unit_id', {unit}, 'grants', {grants}")),
        (
            "api_key",
            &records.key,
            format!("'service_account_id', {}", few(&records.account, "(select id from service_account where name_folded = 'n1')")),
        ),
        ("session", &records.session, format!("'user_id', {}", few(&records.user.name, "gen_random_uuid()"))),
        ("kit.policy_subject", &records.user.name, format!("'unit_id', {unit}")),
    ];
    for (table, record, changes) in changes {
        multiply(&mut connection, table, record, &changes).await;
    }
    for more in [
        "insert into sign_in_failure select tenant_id, sha256(g::text::bytea), 1, 0, null, now() from tenant, generate_series(1, 20000) g",
        "insert into kit.team_member select tenant_id, gen_random_uuid(), gen_random_uuid() from tenant, generate_series(1, 20000) g",
        "insert into kit.unit_ancestor select tenant_id, gen_random_uuid(), gen_random_uuid() from tenant, generate_series(1, 20000) g",
        "analyze",
    ] {
        sqlx::query(more).execute(&mut connection).await.expect("more rows");
    }
    // What filling cost must not be counted as asking, so it is counted before this ends.
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut connection).await.expect("counters are written");
    connection.close().await.expect("the connection closes");
}

async fn lists(wire: &Wire, reader: &Subject, records: &Records) {
    for (path, filters, orders) in LISTS {
        for (filter, order_by) in filters.iter().map(|filter| (*filter, "")).chain(orders.iter().map(|order| ("", *order))) {
            let filter = filter.replace("UNIT", &records.unit).replace("ROLE", &records.role).replace("ENTITY", &records.entity);
            let filter = filter.replace("USER", &records.user.name);
            // Lists of all resources take messages of one shape.
            let request =
                pb::ListUsersRequest { page_size: 20, filter: filter.clone(), order_by: order_by.to_owned(), ..pb::ListUsersRequest::default() };
            let answer = wire.send(&format!("/rapport.identity.v1.{path}"), &Caller::of(reader), request.encode_to_vec()).await;
            answer.unwrap_or_else(|status| panic!("{path} {filter} {order_by}: {}", told(&status)));
        }
    }
}

/// Reads of one record, and lists of what hangs on one; those that the reader does not see are absent.
async fn look_ups(wire: &Wire, reader: &Subject, records: &Records) {
    let user = pb::ListSessionsRequest { user: records.user.name.clone(), page_size: 20, ..pb::ListSessionsRequest::default() };
    let keys = pb::ListApiKeysRequest { parent: records.account.clone(), page_size: 20, ..pb::ListApiKeysRequest::default() };
    // Reads of all resources take messages of one shape.
    let named = |name: &str| pb::GetUserRequest { name: name.to_owned() }.encode_to_vec();
    let asked = [
        ("TenantService/GetTenant", named(&records.tenant)),
        ("SecurityPolicyService/GetSecurityPolicy", named("securityPolicy")),
        ("LegalEntityService/GetLegalEntity", named(&records.entity)),
        ("BusinessUnitService/GetBusinessUnit", named(&records.unit)),
        ("RoleService/GetRole", named(&records.role)),
        ("UserService/GetUser", named(&records.user.name)),
        ("TeamService/GetTeam", named(&records.team)),
        ("ServiceAccountService/GetServiceAccount", named(&records.account)),
        ("SessionService/ListSessions", pb::ListSessionsRequest::default().encode_to_vec()),
        ("SessionService/ListSessions", user.encode_to_vec()),
        ("ServiceAccountService/ListApiKeys", keys.encode_to_vec()),
    ];
    for (path, request) in asked {
        let answer = wire.send(&format!("/rapport.identity.v1.{path}"), &Caller::of(reader), request).await;
        let absent = answer.as_ref().is_err_and(|status| status.code() == tonic::Code::NotFound);
        assert!(answer.is_ok() || absent, "{path}: {}", answer.err().map(|status| told(&status)).unwrap_or_default());
    }
}

/// What stands on the way of everybody who comes.
async fn sign_in(wire: &Wire, records: &Records) {
    let by_address =
        |email: &str| pb::SignInRequest { tenant: "plans".to_owned(), email: email.to_owned(), password: PASSWORD.to_owned() }.encode_to_vec();
    let refresh = pb::RefreshSessionRequest { refresh_token: records.refresh_token.clone() }.encode_to_vec();
    for (path, request) in [("SignIn", by_address(ADMINISTRATOR)), ("RefreshSession", refresh)] {
        let answer = wire.send(&format!("/rapport.identity.v1.SessionService/{path}"), &Caller::anonymous(), request).await;
        answer.unwrap_or_else(|status| panic!("{path}: {}", told(&status)));
    }
    let path = "/rapport.identity.v1.SessionService/SignIn";
    wire.send(path, &Caller::anonymous(), by_address("nobody@example.com")).await.expect_err("nobody has this address");
}
