//! Who can own a record, and how records are found by their owner.

use rapport_contacts_api::v1 as pb;
use rapport_kit::clock;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::GrantLevel;
use rapport_proto::common::v1::policy_change::State;

use crate::support::{Desk, named, violation};

fn owned_by(owner: &str) -> pb::Contact {
    pb::Contact { owner: owner.to_owned(), ..named("Yıldız") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_belongs_to_a_user_or_team_that_identity_knows() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let colleague = identity.user_with(desk.tenant, None, &[]);
    let team = format!("teams/{}", identity.team(desk.tenant, &[colleague.id]));
    for owner in [colleague.name(), team.clone(), desk.clerk.name()] {
        assert_eq!(desk.create(owned_by(&owner)).await.unwrap().owner, owner);
    }
    let foreigner = identity.user_with(identity.tenant(), None, &[]);
    let strangers = [
        format!("users/{}", clock::new_id()),
        format!("teams/{}", clock::new_id()),
        foreigner.name(),
        // Known, as something else.
        team.replace("teams", "users"),
        colleague.name().replace("users", "teams"),
        colleague.name().replace("users", "serviceAccounts"),
    ];
    for owner in strangers {
        let (field, problem) = violation(&desk.create(owned_by(&owner)).await.expect_err(&owner));
        assert_eq!(field, "contact.owner", "{owner}");
        assert!(problem.contains("user or a team") || problem.contains(&owner), "{owner}: {problem}");
    }
    // Accounts are held to the same.
    let account = pb::Account { display_name: "Steel".to_owned(), owner: format!("users/{}", clock::new_id()), ..pb::Account::default() };
    let request = desk.clerk.request(pb::CreateAccountRequest { account: Some(account) });
    assert_eq!(violation(&desk.accounts().create_account(request).await.expect_err("an unknown owner")).0, "account.owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_was_hired_this_moment_can_own_a_record() {
    let desk = Desk::open().await;
    // The service is up to date: whoever comes now is news.
    desk.create(named("Celik")).await.unwrap();
    let identity = &desk.service.identity;
    let newcomer = identity.user_with(desk.tenant, None, &[]);
    assert_eq!(desk.create(owned_by(&newcomer.name())).await.unwrap().owner, newcomer.name());
    let team = format!("teams/{}", identity.team(desk.tenant, &[newcomer.id]));
    let known = desk.create(named("Demir")).await.unwrap();
    let contact = pb::Contact { name: known.name, owner: team.clone(), ..pb::Contact::default() };
    let request = desk.clerk.request(pb::UpdateContactRequest { contact: Some(contact), update_mask: None, allow_duplicates: false });
    assert_eq!(desk.contacts().update_contact(request).await.unwrap().into_inner().owner, team);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_given_to_nobody_who_is_disabled_and_stays_with_who_has_it() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let leaver = identity.user_with(desk.tenant, None, &[]);
    let theirs = desk.create(owned_by(&leaver.name())).await.unwrap();
    let state = common::PolicySubject { business_unit: String::new(), active: false, grants: Vec::new() };
    identity.tell(desk.tenant, leaver.name(), 2, Some(State::Subject(state)));
    // Whoever is told of later is known later: with this one the service has read what stands before.
    let after = identity.user_with(desk.tenant, None, &[]);
    desk.create(owned_by(&after.name())).await.unwrap();

    let (field, problem) = violation(&desk.create(owned_by(&leaver.name())).await.expect_err("a disabled owner"));
    assert_eq!(field, "contact.owner");
    assert!(problem.contains("disabled") && problem.contains(&leaver.name()), "{problem}");
    assert_eq!(desk.tag(&theirs.name, "kept", None).await.unwrap().owner, leaver.name());

    let results = upsert(&desk, vec![owned_with_id(&leaver.name(), "1"), owned_with_id(&after.name(), "2")]).await;
    assert_eq!(results, [pb::upsert_contact_result::Outcome::Failed, pb::upsert_contact_result::Outcome::Created]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_makes_for_somebody_belongs_to_them() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["*"], Vec::new());
    let person = identity.user(desk.tenant, None, role, GrantLevel::All);
    let account = clock::new_id();
    let grants = vec![common::PolicyGrant { role: format!("roles/{role}"), level: GrantLevel::All.into() }];
    let state = common::PolicySubject { business_unit: String::new(), active: true, grants };
    let machine = format!("serviceAccounts/{account}");
    identity.tell(desk.tenant, machine.clone(), 1, Some(State::Subject(state)));
    for (subject, id) in [(person.name(), person.id), (machine, account)] {
        let mut claims = identity.claims(desk.tenant, &subject);
        claims.act = Some("services/marketing".to_owned());
        let acting = Subject { tenant: desk.tenant, id, token: identity.token(&claims) };
        let request = acting.request(pb::CreateContactRequest { contact: Some(named("Kaya")), allow_duplicates: false });
        assert_eq!(desk.contacts().create_contact(request).await.unwrap().into_inner().owner, subject);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_team_are_found_by_it() {
    let desk = Desk::open().await;
    let team = format!("teams/{}", desk.service.identity.team(desk.tenant, &[]));
    let theirs = desk.create(owned_by(&team)).await.unwrap();
    let own = desk.create(named("Demir")).await.unwrap();
    for (owner, expected) in [(team, theirs.name), (desk.clerk.name(), own.name)] {
        let request = pb::ListContactsRequest { filter: format!("owner = {owner}"), ..pb::ListContactsRequest::default() };
        let found = desk.contacts().list_contacts(desk.clerk.request(request)).await.unwrap().into_inner().contacts;
        assert_eq!(found.iter().map(|contact| contact.name.as_str()).collect::<Vec<_>>(), [expected]);
    }
}

fn owned_with_id(owner: &str, id: &str) -> pb::Contact {
    let external_ids = vec![common::ExternalId { system: "erp".to_owned(), id: id.to_owned() }];
    pb::Contact { external_ids, ..owned_by(owner) }
}

async fn upsert(desk: &Desk, contacts: Vec<pb::Contact>) -> Vec<pb::upsert_contact_result::Outcome> {
    let request = desk.clerk.request(pb::BatchUpsertContactsRequest { contacts, atomic: false, allow_duplicates: false });
    let results = desk.contacts().batch_upsert_contacts(request).await.expect("the batch is carried out").into_inner().results;
    results.iter().map(pb::UpsertContactResult::outcome).collect()
}
