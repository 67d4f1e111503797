use rapport_identity_api::v1 as pb;
use rapport_kit::{config::{Config, Secrets}, db, process};
use rapport_proto::common::v1 as common;
use tonic::{Request, transport::{Channel, Endpoint}};
fn with<T>(m: T, t: &str) -> Request<T> { let mut r = Request::new(m); r.metadata_mut().insert("authorization", format!("Bearer {t}").parse().unwrap()); r }
fn keyed<T>(m: T, t: &str, k: &str) -> Request<T> { let mut r = with(m, t); r.metadata_mut().insert("idempotency-key", k.parse().unwrap()); r }
fn reason(s: &tonic::Status) -> String { use tonic_types::StatusExt; format!("{:?} {}", s.code(), s.get_details_error_info().map(|i| i.reason).unwrap_or_default()) }
#[tokio::test(flavor = "multi_thread")]
async fn smoke() {
    let admin = std::env::var("RAPPORT_PG_ADMIN_URL").unwrap().into();
    let logins = db::provision(&admin, "identity_smoke", "identity_smoke", None, &secrecy::SecretString::from("pw".to_owned())).await.unwrap();
    db::migrate(&logins.migrator, rapport_identity::SERVICE.migrations).await.unwrap();
    let config = Config { listen: "127.0.0.1:0".into(), secrets: "/nonexistent".into(), leave_seconds: 0, ..Config::default() };
    let secrets = Secrets { database_app: logins.app, database_system: logins.system, database_migrator: None, broker: None, credential: "cred".to_owned().into(), sealing: "seal".to_owned().into() };
    let running = process::start(&rapport_identity::SERVICE, config, secrets).await.unwrap();
    let ch: Channel = Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect().await.unwrap();
    let mut tenants = pb::tenant_service_client::TenantServiceClient::new(ch.clone());
    let slug = format!("t{}", uuid::Uuid::now_v7().simple());
    let create = |slug: &str| pb::CreateTenantRequest { tenant: Some(pb::Tenant { display_name: "T".into(), slug: slug.into(), ..Default::default() }), administrator: Some(pb::Administrator { email: "Ann@x.example".into(), display_name: "Ann".into(), password: "correct horse b".into() }), security_policy: None };
    let t = tenants.create_tenant(keyed(create(&slug), "cred", &slug)).await.unwrap().into_inner();
    let t2 = tenants.create_tenant(keyed(create(&slug), "cred", &slug)).await.unwrap().into_inner();
    assert_eq!(t, t2);
    println!("dup slug {}", reason(&tenants.create_tenant(with(create(&slug), "cred")).await.unwrap_err()));
    println!("bad cred {}", reason(&tenants.create_tenant(with(create("zz"), "nope")).await.unwrap_err()));
    let mut sessions = pb::session_service_client::SessionServiceClient::new(ch.clone());
    let sign = |email: &str, pw: &str| pb::SignInRequest { tenant: slug.clone(), email: email.into(), password: pw.into() };
    let s = sessions.sign_in(sign("ann@X.example", "correct horse b")).await.unwrap().into_inner();
    let mut users = pb::user_service_client::UserServiceClient::new(ch.clone());
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    let tok = s.access_token.clone();
    println!("before policy {}", reason(&users.list_users(with(pb::ListUsersRequest::default(), &tok)).await.unwrap_err()));
    let mut pol = pb::security_policy_service_client::SecurityPolicyServiceClient::new(ch.clone());
    println!("{:?}", pol.get_security_policy(with(pb::GetSecurityPolicyRequest { name: "securityPolicy".into() }, &tok)).await.unwrap().into_inner());
    let p = pol.update_security_policy(keyed(pb::UpdateSecurityPolicyRequest { security_policy: Some(pb::SecurityPolicy { data_owner: "Head".into(), lockout_attempts: 3, ..Default::default() }), update_mask: None }, &tok, "k1")).await.unwrap().into_inner();
    println!("{p:?}");
    let mut roles = pb::role_service_client::RoleServiceClient::new(ch.clone());
    let rl = roles.list_roles(with(pb::ListRolesRequest { page_size: 4, ..Default::default() }, &tok)).await.unwrap().into_inner();
    let rl2 = roles.list_roles(with(pb::ListRolesRequest { page_size: 4, page_token: rl.next_page_token.clone(), ..Default::default() }, &tok)).await.unwrap().into_inner();
    assert_eq!((rl.roles.len(), rl2.roles.len()), (4, 2));
    for f in ["shipped = true", "permissions:\"contacts.contact.read\"", "display_name = \"aud*\""] { println!("{f}: {}", roles.list_roles(with(pb::ListRolesRequest { filter: f.into(), ..Default::default() }, &tok)).await.unwrap().into_inner().roles.len()); }
    let role = roles.create_role(keyed(pb::CreateRoleRequest { role: Some(pb::Role { display_name: "R".into(), permissions: vec!["identity.user.*".into(), "contacts.contact.read".into()], field_rules: vec![common::FieldRule { resource: "contacts.contact".into(), field: "display_name".into(), effect: 1 }], ..Default::default() }) }, &tok, "k2")).await;
    let role = match role { Ok(r) => r.into_inner(), Err(e) => { println!("{e:?}"); roles.create_role(with(pb::CreateRoleRequest { role: Some(pb::Role { display_name: "R".into(), permissions: vec!["identity.user.*".into()], ..Default::default() }) }, &tok)).await.unwrap().into_inner() } };
    println!("dup {}", reason(&roles.create_role(with(pb::CreateRoleRequest { role: Some(pb::Role { display_name: "r".into(), ..Default::default() }) }, &tok)).await.unwrap_err()));
    let mut units = pb::business_unit_service_client::BusinessUnitServiceClient::new(ch.clone());
    let top = units.list_business_units(with(pb::ListBusinessUnitsRequest::default(), &tok)).await.unwrap().into_inner().business_units.remove(0);
    let u1 = units.create_business_unit(keyed(pb::CreateBusinessUnitRequest { business_unit: Some(pb::BusinessUnit { display_name: "A".into(), parent: top.name.clone(), ..Default::default() }) }, &tok, "k3")).await.unwrap().into_inner();
    println!("cycle {}", reason(&units.update_business_unit(with(pb::UpdateBusinessUnitRequest { business_unit: Some(pb::BusinessUnit { name: top.name.clone(), parent: u1.name.clone(), ..Default::default() }), update_mask: None }, &tok)).await.unwrap_err()));
    let mut les = pb::legal_entity_service_client::LegalEntityServiceClient::new(ch.clone());
    let le = les.create_legal_entity(keyed(pb::CreateLegalEntityRequest { legal_entity: Some(pb::LegalEntity { display_name: "Çelik A.Ş.".into(), country: "TR".into(), currency: "TRY".into(), default_language: "tr-TR".into(), time_zone: "Europe/Istanbul".into(), number_series: vec![pb::NumberSeries { collection: "quotes".into(), prefix: "Q-".into(), gapless: true, next: 0 }], tax_ids: vec![pb::TaxId { kind: "VAT".into(), value: "1".into() }], ..Default::default() }) }, &tok, "k4")).await.unwrap().into_inner();
    println!("{le:?}");
    les.list_legal_entities(with(pb::ListLegalEntitiesRequest { filter: "country = TR AND display_name = celik*".into(), order_by: "create_time desc".into(), ..Default::default() }, &tok)).await.unwrap();
    units.update_business_unit(with(pb::UpdateBusinessUnitRequest { business_unit: Some(pb::BusinessUnit { name: top.name.clone(), legal_entity: le.name.clone(), ..Default::default() }), update_mask: None }, &tok)).await.unwrap();
    let mk = |e: &str| pb::CreateUserRequest { user: Some(pb::User { display_name: "Bob".into(), email: e.into(), business_unit: u1.name.clone(), ..Default::default() }), initial_password: "another horse b".into() };
    let bob = users.create_user(keyed(mk("bob@x.example"), &tok, "k5")).await.unwrap().into_inner();
    let bob2 = users.create_user(keyed(mk("bob@x.example"), &tok, "k5")).await.unwrap().into_inner();
    assert_eq!(bob, bob2);
    println!("reuse {}", reason(&users.create_user(keyed(mk("bob3@x.example"), &tok, "k5")).await.unwrap_err()));
    println!("taken {}", reason(&users.create_user(with(mk("BOB@x.example"), &tok)).await.unwrap_err()));
    println!("in use {}", reason(&units.delete_business_unit(with(pb::DeleteBusinessUnitRequest { name: u1.name.clone(), etag: String::new() }, &tok)).await.unwrap_err()));
    let sb = sessions.sign_in(sign("bob@x.example", "another horse b")).await.unwrap().into_inner();
    println!("bob no perm {}", reason(&users.list_users(with(pb::ListUsersRequest::default(), &sb.access_token)).await.unwrap_err()));
    let g = users.grant_role(keyed(pb::GrantRoleRequest { name: bob.name.clone(), role: role.name.clone(), level: common::GrantLevel::Own.into(), etag: bob.etag.clone() }, &tok, "k6")).await.unwrap().into_inner();
    println!("{:?}", g.grants);
    println!("bob sees {}", users.list_users(with(pb::ListUsersRequest::default(), &sb.access_token)).await.unwrap().into_inner().users.len());
    for f in ["state = ACTIVE", &format!("grants.role:\"{}\"", role.name), &format!("business_unit = \"{}\"", u1.name), "email = bob@x.example"] { println!("{f}: {}", users.list_users(with(pb::ListUsersRequest { filter: f.into(), order_by: "email".into(), ..Default::default() }, &tok)).await.unwrap().into_inner().users.len()); }
    println!("exceed {}", reason(&users.grant_role(with(pb::GrantRoleRequest { name: bob.name.clone(), role: rl.roles[0].name.clone(), level: 5, etag: String::new() }, &sb.access_token)).await.unwrap_err()));
    println!("territory {}", reason(&users.grant_role(with(pb::GrantRoleRequest { name: bob.name.clone(), role: role.name.clone(), level: 4, etag: String::new() }, &tok)).await.unwrap_err()));
    println!("role in use {}", reason(&roles.delete_role(with(pb::DeleteRoleRequest { name: role.name.clone(), etag: String::new() }, &tok)).await.unwrap_err()));
    println!("last admin {}", reason(&users.disable_user(with(pb::DisableUserRequest { name: t.administrator.clone(), etag: String::new() }, &tok)).await.unwrap_err()));
    let mut all = Vec::new();
    for _ in 0..20 { let mut c = sessions.clone(); let r = sb.refresh_token.clone(); all.push(tokio::spawn(async move { c.refresh_session(pb::RefreshSessionRequest { refresh_token: r }).await.map(|r| r.into_inner().refresh_token) })); }
    let mut toks = Vec::new(); for h in all { toks.push(h.await.unwrap().map_err(|s| reason(&s))); }
    toks.sort(); toks.dedup(); println!("distinct refresh {}", toks.len());
    let r1 = toks[0].clone().unwrap();
    let r2 = sessions.refresh_session(pb::RefreshSessionRequest { refresh_token: r1.clone() }).await.unwrap().into_inner();
    println!("spent {}", reason(&sessions.refresh_session(pb::RefreshSessionRequest { refresh_token: sb.refresh_token.clone() }).await.unwrap_err()));
    println!("family {}", reason(&sessions.refresh_session(pb::RefreshSessionRequest { refresh_token: r2.refresh_token }).await.unwrap_err()));
    println!("access gone {}", reason(&users.get_user(with(pb::GetUserRequest { name: bob.name.clone() }, &sb.access_token)).await.unwrap_err()));
    for e in ["bob@x.example", "nobody@x.example"] { for _ in 0..4 { print!("{} ", reason(&sessions.sign_in(sign(e, "wrong")).await.unwrap_err())); } println!(); }
    let lb = users.get_user(with(pb::GetUserRequest { name: bob.name.clone() }, &tok)).await.unwrap().into_inner(); println!("{:?} {:?}", lb.state(), lb.lock_expire_time);
    println!("locked list {}", users.list_users(with(pb::ListUsersRequest { filter: "state = LOCKED".into(), ..Default::default() }, &tok)).await.unwrap().into_inner().users.len());
    users.unlock_user(keyed(pb::UnlockUserRequest { name: bob.name.clone(), etag: String::new() }, &tok, "k7")).await.unwrap();
    let sb = sessions.sign_in(sign("bob@x.example", "another horse b")).await.unwrap().into_inner();
    println!("wrong {}", reason(&users.change_password(with(pb::ChangePasswordRequest { current_password: "x".into(), new_password: "yet another horse".into() }, &sb.access_token)).await.unwrap_err()));
    users.change_password(keyed(pb::ChangePasswordRequest { current_password: "another horse b".into(), new_password: "yet another horse".into() }, &sb.access_token, "k8")).await.unwrap();
    users.change_password(keyed(pb::ChangePasswordRequest { current_password: "another horse b".into(), new_password: "yet another horse".into() }, &sb.access_token, "k8")).await.unwrap();
    let dis = users.disable_user(with(pb::DisableUserRequest { name: bob.name.clone(), etag: String::new() }, &tok)).await.unwrap().into_inner(); println!("{:?}", dis.state());
    println!("disabled {}", reason(&users.get_user(with(pb::GetUserRequest { name: bob.name.clone() }, &sb.access_token)).await.unwrap_err()));
    users.enable_user(with(pb::EnableUserRequest { name: bob.name.clone(), etag: String::new() }, &tok)).await.unwrap();
    let mut teams = pb::team_service_client::TeamServiceClient::new(ch.clone());
    let team = teams.create_team(keyed(pb::CreateTeamRequest { team: Some(pb::Team { display_name: "Tm".into(), members: vec![bob.name.clone()], ..Default::default() }) }, &tok, "k9")).await.unwrap().into_inner();
    teams.add_team_member(with(pb::AddTeamMemberRequest { name: team.name.clone(), user: t.administrator.clone(), etag: String::new() }, &tok)).await.unwrap();
    println!("teams {}", teams.list_teams(with(pb::ListTeamsRequest { filter: format!("members:\"{}\"", bob.name), ..Default::default() }, &tok)).await.unwrap().into_inner().teams.len());
    println!("etag {}", reason(&teams.delete_team(with(pb::DeleteTeamRequest { name: team.name.clone(), etag: team.etag }, &tok)).await.unwrap_err()));
    for _ in 0..2 { teams.delete_team(keyed(pb::DeleteTeamRequest { name: team.name.clone(), etag: String::new() }, &tok, "k10")).await.unwrap(); }
    let mut sas = pb::service_account_service_client::ServiceAccountServiceClient::new(ch.clone());
    let sa = sas.create_service_account(keyed(pb::CreateServiceAccountRequest { service_account: Some(pb::ServiceAccount { display_name: "bot".into(), business_unit: u1.name.clone(), ..Default::default() }) }, &tok, "k11")).await.unwrap().into_inner();
    let sa = sas.grant_service_account_role(with(pb::GrantServiceAccountRoleRequest { name: sa.name.clone(), role: role.name.clone(), level: 3, etag: sa.etag }, &tok)).await.unwrap().into_inner();
    let soon = prost_types::Timestamp { seconds: rapport_kit::clock::now().timestamp() + 1000, nanos: 0 };
    let key = sas.create_api_key(with(pb::CreateApiKeyRequest { parent: sa.name.clone(), api_key: Some(pb::ApiKey { display_name: "k".into(), scopes: vec!["identity.user.read".into()], expire_time: Some(soon), ..Default::default() }) }, &tok)).await.unwrap().into_inner();
    let kt = sas.exchange_api_key(pb::ExchangeApiKeyRequest { secret: key.secret.clone() }).await.unwrap().into_inner().access_token;
    println!("bot sees {}", users.list_users(with(pb::ListUsersRequest::default(), &kt)).await.unwrap().into_inner().users.len());
    println!("bot scope {}", reason(&users.disable_user(with(pb::DisableUserRequest { name: bob.name.clone(), etag: String::new() }, &kt)).await.unwrap_err()));
    let k = key.api_key.unwrap(); println!("{k:?}");
    sas.revoke_api_key(keyed(pb::RevokeApiKeyRequest { name: k.name.clone() }, &tok, "k12")).await.unwrap();
    println!("revoked {} {}", reason(&users.list_users(with(pb::ListUsersRequest::default(), &kt)).await.unwrap_err()), reason(&sas.exchange_api_key(pb::ExchangeApiKeyRequest { secret: key.secret }).await.unwrap_err()));
    println!("keys {}", sas.list_api_keys(with(pb::ListApiKeysRequest { parent: sa.name.clone(), ..Default::default() }, &tok)).await.unwrap().into_inner().api_keys.len());
    let mut tokens = pb::token_service_client::TokenServiceClient::new(ch.clone());
    let ex = tokens.exchange_token(pb::ExchangeTokenRequest { service: "services/sales".into(), secret: "cred".into(), tenant: t.tenant.as_ref().unwrap().name.clone(), actor: t.administrator.clone() }).await.unwrap().into_inner();
    users.get_user(with(pb::GetUserRequest { name: bob.name.clone() }, &ex.access_token)).await.unwrap();
    for _ in 0..2 { sas.delete_service_account(keyed(pb::DeleteServiceAccountRequest { name: sa.name.clone(), etag: String::new() }, &tok, "k13")).await.unwrap(); }
    println!("actor {}", reason(&tokens.exchange_token(pb::ExchangeTokenRequest { service: "services/sales".into(), secret: "cred".into(), tenant: t.tenant.as_ref().unwrap().name.clone(), actor: sa.name.clone() }).await.unwrap_err()));
    let mut sk = pb::signing_key_service_client::SigningKeyServiceClient::new(ch.clone());
    println!("young {}", reason(&sk.rotate_signing_keys(with(pb::RotateSigningKeysRequest { force: false }, "cred")).await.unwrap_err()));
    let a = sk.rotate_signing_keys(keyed(pb::RotateSigningKeysRequest { force: true }, "cred", &slug)).await.unwrap().into_inner();
    let b = sk.rotate_signing_keys(keyed(pb::RotateSigningKeysRequest { force: true }, "cred", &slug)).await.unwrap().into_inner();
    assert_eq!(a, b); println!("keys {}", a.keys.len());
    let r = sessions.refresh_session(pb::RefreshSessionRequest { refresh_token: s.refresh_token }).await.unwrap().into_inner();
    tokio::time::sleep(std::time::Duration::from_millis(5200)).await;
    println!("sessions {}", sessions.list_sessions(with(pb::ListSessionsRequest::default(), &r.access_token)).await.unwrap().into_inner().sessions.len());
    sessions.list_sessions(with(pb::ListSessionsRequest { user: bob.name.clone(), ..Default::default() }, &r.access_token)).await.unwrap();
    let mut feed = common::policy_service_client::PolicyServiceClient::new(ch.clone());
    let (mut since, mut n) = (String::new(), 0);
    loop { let p = feed.get_policy_changes(with(common::GetPolicyChangesRequest { since: since.clone(), page_size: 7 }, "cred")).await.unwrap().into_inner(); n += p.changes.len(); since = p.next_since; if !p.has_more { break } }
    println!("policy changes {n} {since}");
    sessions.sign_out(keyed(pb::SignOutRequest {}, &r.access_token, "k14")).await.unwrap();
    println!("out {}", reason(&users.list_users(with(pb::ListUsersRequest::default(), &r.access_token)).await.unwrap_err()));
    println!("stopped {}", running.stop().await);
}
