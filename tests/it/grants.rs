//! Who can be given what and by which name, and what a business unit is of.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_identity_api::v1 as pb;
use rapport_kit::clock;
use rapport_kit::testing::{Subject, TestService};
use rapport_proto::common::v1::policy_change::State;
use rapport_proto::common::v1::{self as common, GrantLevel};
use tonic::{Code, Status};

use crate::bureau::{Bureau, Stored, policy};
use crate::coverage::errors::{reason, told};
use crate::coverage::wire::{Answer, Caller, Wire};

async fn unit(bureau: &Bureau, administrator: &Subject, display_name: &str, parent: &str) -> Stored {
    let unit = pb::BusinessUnit { display_name: display_name.to_owned(), parent: parent.to_owned(), ..pb::BusinessUnit::default() };
    let request = pb::CreateBusinessUnitRequest { business_unit: Some(unit) };
    bureau.ask(&Caller::of(administrator), "BusinessUnitService/CreateBusinessUnit", &request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_holds_in_a_business_unit_they_give_inside_it_alone() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("units", Some(policy())).await;
    let top: pb::ListBusinessUnitsResponse =
        bureau.ask(&Caller::of(&administrator), "BusinessUnitService/ListBusinessUnits", &pb::ListBusinessUnitsRequest::default()).await;
    let top = top.business_units.first().expect("a tenant has a unit").name.clone();
    let north = unit(&bureau, &administrator, "North", &top).await;
    let below = unit(&bureau, &administrator, "Far north", &north.name).await;
    let south = unit(&bureau, &administrator, "South", &top).await;

    // Gives roles to everybody, and reads contacts in the own unit alone.
    let gives = bureau.role(&administrator, "Gives", &["identity.user.grant", "identity.service_account.*", "identity.api_key.create"]).await;
    let reads = bureau.role(&administrator, "Reads", &["contacts.contact.read"]).await;
    let giver = bureau.user(&administrator, "giver@example.com", Some(north.id()), false).await;
    bureau.grant(&administrator, &giver.name, &gives.name, GrantLevel::All).await;
    bureau.grant(&administrator, &giver.name, &reads.name, GrantLevel::BusinessUnitSubtree).await;
    let giver = Caller::of(&bureau.act_for(administrator.tenant, &giver.name).await);

    for (place, unit, inside) in
        [("north", Some(north.id()), true), ("below", Some(below.id()), true), ("south", Some(south.id()), false), ("no", None, false)]
    {
        let user = bureau.user(&administrator, &format!("{place}@example.com"), unit, false).await;
        for level in [GrantLevel::Own, GrantLevel::BusinessUnitSubtree] {
            let request = pb::GrantRoleRequest { name: user.name.clone(), role: reads.name.clone(), level: level.into(), etag: String::new() };
            let given: Result<pb::User, Status> = bureau.try_ask(&giver, "UserService/GrantRole", &request).await;
            expect(inside, given.err(), &format!("{level:?} in {place} unit"));
        }
        let business_unit = unit.map(|unit| format!("businessUnits/{unit}")).unwrap_or_default();
        let account = pb::ServiceAccount { display_name: place.to_owned(), business_unit, ..pb::ServiceAccount::default() };
        let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
        let account: Stored = bureau.ask(&Caller::of(&administrator), "ServiceAccountService/CreateServiceAccount", &request).await;
        let request = pb::GrantServiceAccountRoleRequest {
            name: account.name.clone(),
            role: reads.name.clone(),
            level: GrantLevel::BusinessUnitSubtree.into(),
            etag: String::new(),
        };
        let given: Result<pb::ServiceAccount, Status> = bureau.try_ask(&giver, "ServiceAccountService/GrantServiceAccountRole", &request).await;
        expect(inside, given.err(), &format!("to a service account in {place} unit"));

        // Given by somebody else, it still makes the account's keys worth more than the giver has.
        let _: pb::ServiceAccount = bureau.ask(&Caller::of(&administrator), "ServiceAccountService/GrantServiceAccountRole", &request).await;
        let expire_time = Some(prost_types::Timestamp { seconds: clock::now().timestamp() + 3600, nanos: 0 });
        let key = pb::ApiKey { display_name: "Key".to_owned(), expire_time, ..pb::ApiKey::default() };
        let request = pb::CreateApiKeyRequest { parent: account.name, api_key: Some(key) };
        let made: Result<pb::CreateApiKeyResponse, Status> = bureau.try_ask(&giver, "ServiceAccountService/CreateApiKey", &request).await;
        expect(inside, made.err(), &format!("a key of a service account in {place} unit"));
    }
}

fn expect(allowed: bool, refused: Option<Status>, what: &str) {
    match refused {
        None => assert!(allowed, "{what}: given"),
        Some(status) => {
            assert!(!allowed, "{what}: {}", told(&status));
            assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "GRANT_EXCEEDS_CALLER"), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_at_the_top_is_of_a_company_whether_it_is_made_or_moved_there() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("tops", Some(policy())).await;
    let caller = Caller::of(&administrator);
    let top: pb::ListBusinessUnitsResponse =
        bureau.ask(&caller, "BusinessUnitService/ListBusinessUnits", &pb::ListBusinessUnitsRequest::default()).await;
    let top = top.business_units.into_iter().next().expect("a tenant has a unit");
    let north = unit(&bureau, &administrator, "North", &top.name).await;
    let update = |unit: pb::BusinessUnit, paths: &[&str]| pb::UpdateBusinessUnitRequest {
        business_unit: Some(unit),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
    };
    let moved = update(pb::BusinessUnit { name: north.name, ..pb::BusinessUnit::default() }, &["parent", "legal_entity"]);
    let refused: Result<pb::BusinessUnit, Status> = bureau.try_ask(&caller, "BusinessUnitService/UpdateBusinessUnit", &moved).await;
    let refused = refused.expect_err("it is of no company");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{}", told(&refused));
    // The unit that a tenant begins with has none yet, and can be renamed all the same.
    let renamed = update(pb::BusinessUnit { display_name: "Example".to_owned(), ..top }, &["display_name"]);
    let _: pb::BusinessUnit = bureau.ask(&caller, "BusinessUnitService/UpdateBusinessUnit", &renamed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_is_no_user_whatever_it_is_called() {
    let service = TestService::start(&rapport_contacts::SERVICE).await;
    let tenant = service.identity.tenant();
    let account = clock::new_id();
    let state = State::Subject(common::PolicySubject { active: true, ..common::PolicySubject::default() });
    service.identity.tell(tenant, format!("serviceAccounts/{account}"), 1, Some(state));
    let administrator = service.identity.administrator(tenant);
    let wire = Wire::new(service.channel.clone());
    let person = contacts::Person { family_name: "Shared".to_owned(), ..contacts::Person::default() };
    let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
    let request = contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false }.encode_to_vec();
    let made = wire.send("/rapport.contacts.v1.ContactService/CreateContact", &Caller::of(&administrator), request).await.expect("a contact");
    let name = Stored::decode(made.as_slice()).expect("a contact").name;

    let (wrong, right) = (format!("users/{account}"), format!("serviceAccounts/{account}"));
    let call = |method: &'static str, request: Vec<u8>| {
        let (wire, caller) = (&wire, Caller::of(&administrator));
        async move { wire.send(&format!("/rapport.common.v1.AccessService/{method}"), &caller, request).await }
    };
    let share = |subject: &str| {
        let access_level = common::AccessLevel::Read.into();
        common::ShareRecordRequest { name: name.clone(), subject: subject.to_owned(), access_level, role: String::new() }.encode_to_vec()
    };
    let explain = |subject: &str| {
        let action = common::AccessAction::Read.into();
        common::ExplainAccessRequest { name: name.clone(), subject: subject.to_owned(), action }.encode_to_vec()
    };
    let unshare = |subject: &str| common::UnshareRecordRequest { name: name.clone(), subject: subject.to_owned() }.encode_to_vec();

    unknown(call("ShareRecord", share(&wrong)).await);
    call("ShareRecord", share(&right)).await.expect("a service account by its name");
    unknown(call("ExplainAccess", explain(&wrong)).await);
    call("ExplainAccess", explain(&right)).await.expect("a service account by its name");
    call("UnshareRecord", unshare(&wrong)).await.expect("nothing is shared with a user");
    let shares = common::ListSharesRequest { name: name.clone(), ..common::ListSharesRequest::default() }.encode_to_vec();
    let listed = call("ListShares", shares).await.expect("shares");
    let listed = common::ListSharesResponse::decode(listed.as_slice()).expect("shares");
    assert_eq!(listed.shares.into_iter().map(|share| share.subject).collect::<Vec<_>>(), [right]);
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_grants_nothing_to_a_service_account_under_a_users_name() {
    let bureau = Bureau::open().await;
    let administrator = bureau.tenant("named", Some(policy())).await;
    let caller = Caller::of(&administrator);
    let account = pb::ServiceAccount { display_name: "Robot".to_owned(), ..pb::ServiceAccount::default() };
    let request = pb::CreateServiceAccountRequest { service_account: Some(account) };
    let account: Stored = bureau.ask(&caller, "ServiceAccountService/CreateServiceAccount", &request).await;
    let (wrong, role) = (format!("users/{}", account.id()), bureau.role(&administrator, "Reads", &["contacts.contact.read"]).await.name);
    let request = pb::GrantRoleRequest { name: wrong.clone(), role, level: GrantLevel::Own.into(), etag: String::new() };
    let refused: Result<pb::User, Status> = bureau.try_ask(&caller, "UserService/GrantRole", &request).await;
    assert_eq!(refused.expect_err("no such user").code(), Code::NotFound);
    let team = pb::Team { display_name: "Team".to_owned(), members: vec![wrong], ..pb::Team::default() };
    let answer = bureau.send(&caller, "TeamService/CreateTeam", pb::CreateTeamRequest { team: Some(team) }.encode_to_vec()).await;
    unknown(answer);
}

fn unknown(answer: Answer) {
    let status = answer.expect_err("there is no such user");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "FIELD_INVALID"), "{}", told(&status));
}
