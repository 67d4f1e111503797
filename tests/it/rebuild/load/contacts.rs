//! What happens in contacts.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::duplicate_rule_service_client::DuplicateRuleServiceClient;
use rapport_contacts_api::v1::import_mapping_service_client::ImportMappingServiceClient;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_contacts_api::v1::view_service_client::ViewServiceClient;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::access_service_client::AccessServiceClient;
use rapport_proto::common::v1::{AccessLevel, ExternalId, ShareRecordRequest, UnshareRecordRequest};
use rapport_proto::google_type::{Date, Money, PostalAddress};

use super::Organisation;
use crate::office::{Office, with};

pub(super) async fn run(office: &Office, organisation: &Organisation) {
    let private = accounts(office, organisation).await;
    contacts(office, organisation, &private).await;
    merges(office, organisation).await;
    merges_of_accounts(office, organisation).await;
    views(office, organisation).await;
    mappings(office, organisation).await;
    duplicate_rules(office, organisation).await;
    let second = office.sign_in("second", "admin@example.com").await;
    eventually("the second tenant is served", async || office.create_contact(&second, "Elsewhere").await.ok()).await;
}

/// Answers accounts of private customers.
async fn accounts(office: &Office, organisation: &Organisation) -> Vec<String> {
    let (admin, mut client) = (&organisation.admin, AccountServiceClient::new(office.contacts.clone()));
    let mut names = Vec::new();
    for (number, legal_entity) in [(0, ""), (1, &organisation.numbered), (2, &organisation.numbered), (3, &organisation.plain)] {
        let sent = pb::Account { legal_entity: legal_entity.to_owned(), parent: names.first().cloned().unwrap_or_default(), ..account(number) };
        // The legal entity may be known here a moment later.
        let made = eventually("an account", async || {
            let request = pb::CreateAccountRequest { account: Some(sent.clone()) };
            AccountServiceClient::new(office.contacts.clone()).create_account(with(admin, request)).await.ok()
        });
        names.push(made.await.into_inner().name);
    }
    let changed = pb::Account {
        name: names[1].clone(),
        owner: organisation.team.clone(),
        tags: vec!["ö".to_owned(), "a".to_owned()],
        ..pb::Account::default()
    };
    client.update_account(with(admin, pb::UpdateAccountRequest { account: Some(changed), update_mask: None })).await.expect("a changed account");
    let renamed = pb::Account { external_ids: account(2).external_ids, display_name: "İstanbul A.Ş.".to_owned(), ..pb::Account::default() };
    let private = ["Private one", "Private two", "Household"].map(|display_name| {
        let kind = if display_name == "Household" { pb::account::Kind::Household } else { pb::account::Kind::Person };
        let external_ids = vec![ExternalId { system: "shop".to_owned(), id: display_name.to_owned() }];
        pb::Account { display_name: display_name.to_owned(), kind: kind.into(), external_ids, ..pb::Account::default() }
    });
    let request = pb::BatchUpsertAccountsRequest { accounts: private.into_iter().chain([renamed]).collect(), atomic: true };
    let results = client.batch_upsert_accounts(with(admin, request)).await.expect("a batch").into_inner().results;
    let private = results.into_iter().take(2).map(|result| match result.result {
        Some(pb::upsert_account_result::Result::Account(account)) => account.name,
        other => panic!("not stored: {other:?}"),
    });
    let private = private.collect();
    for (name, returns) in [(&names[2], true), (&names[3], false)] {
        client.delete_account(with(admin, pb::DeleteAccountRequest { name: name.clone(), etag: String::new() })).await.expect("in the bin");
        if returns {
            client.undelete_account(with(admin, pb::UndeleteAccountRequest { name: name.clone(), etag: String::new() })).await.expect("back");
        }
    }
    private
}

async fn contacts(office: &Office, organisation: &Organisation, private: &[String]) {
    let (admin, mut client) = (&organisation.admin, ContactServiceClient::new(office.contacts.clone()));
    let mut names = Vec::new();
    for number in 0..6 {
        let accounts = private.get(number).map(|account| role(account, "customer")).into_iter().collect();
        let sent = pb::Contact { accounts, ..contact(number) };
        let request = pb::CreateContactRequest { contact: Some(sent), allow_duplicates: false };
        names.push(client.create_contact(with(admin, request)).await.expect("a contact").into_inner().name);
    }
    let owned = pb::Contact { name: names[2].clone(), owner: organisation.ada.clone(), ..pb::Contact::default() };
    client
        .update_contact(with(admin, pb::UpdateContactRequest { contact: Some(owned), update_mask: None, allow_duplicates: false }))
        .await
        .expect("a moved contact");
    let known = pb::Contact { tags: vec!["batch".to_owned()], external_ids: contact(3).external_ids, ..pb::Contact::default() };
    let request = pb::BatchUpsertContactsRequest { contacts: vec![known, contact(7)], atomic: false, allow_duplicates: false };
    client.batch_upsert_contacts(with(admin, request)).await.expect("a batch");
    share(office, organisation, &names).await;
    // The one contact of a private customer goes after it.
    let request = pb::DeleteAccountRequest { name: private[0].clone(), etag: String::new() };
    AccountServiceClient::new(office.contacts.clone()).delete_account(with(admin, request)).await.expect("in the bin");
    // Deleted, with shares; deleted and brought back; deleted, brought back and deleted again.
    for (name, times) in [(&names[0], 1), (&names[4], 2), (&names[5], 3)] {
        for turn in 0..times {
            if turn % 2 == 0 {
                client.delete_contact(with(admin, pb::DeleteContactRequest { name: name.clone(), etag: String::new() })).await.expect("in the bin");
            } else {
                client.undelete_contact(with(admin, pb::UndeleteContactRequest { name: name.clone(), etag: String::new() })).await.expect("back");
            }
        }
    }
    // A share of what lies in the bin is a change after the deletion.
    unshare(office, organisation, &names[0], &organisation.ben).await;
}

/// One that holds, upon one that holds, and one that is taken back; with shares that they give and take.
async fn merges(office: &Office, organisation: &Organisation) {
    let (admin, mut client) = (&organisation.admin, MergeServiceClient::new(office.contacts.clone()));
    let mut names = Vec::new();
    for number in 20..24 {
        let request = pb::CreateContactRequest { contact: Some(contact(number)), ..Default::default() };
        let made = ContactServiceClient::new(office.contacts.clone()).create_contact(with(admin, request)).await;
        names.push(made.expect("a contact").into_inner().name);
    }
    share(office, organisation, &names[1..]).await;
    for (survivor, loser, holds) in [(0, 1, true), (2, 0, true), (2, 3, false)] {
        let from_loser = Some(prost_types::FieldMask { paths: vec!["owner".to_owned(), "person.notes".to_owned()] });
        let (survivor, loser) = (names[survivor].clone(), names[loser].clone());
        let request = pb::MergeContactsRequest { survivor, loser, from_loser, ..pb::MergeContactsRequest::default() };
        let made = client.merge_contacts(with(admin, request)).await.expect("a merge").into_inner();
        if !holds {
            let request = pb::UnmergeContactsRequest { name: made.name, etag: made.etag };
            client.unmerge_contacts(with(admin, request)).await.expect("a merge less");
        }
    }
}

/// One that holds and one that is taken back, each with an account below the loser and a contact that acts for it.
async fn merges_of_accounts(office: &Office, organisation: &Organisation) {
    let (admin, mut client) = (&organisation.admin, MergeServiceClient::new(office.contacts.clone()));
    let make = async |number: i32, parent: &str| {
        let account = pb::Account { kind: pb::account::Kind::Organisation.into(), parent: parent.to_owned(), ..account(number) };
        let request = pb::CreateAccountRequest { account: Some(account) };
        let made = AccountServiceClient::new(office.contacts.clone()).create_account(with(admin, request)).await;
        made.expect("an account").into_inner().name
    };
    for (number, holds) in [(30, true), (40, false)] {
        let (survivor, loser) = (make(number, "").await, make(number + 1, "").await);
        make(number + 2, &loser).await;
        let seller = pb::AccountRole { primary: false, ..role(&survivor, "seller") };
        let person = contact(usize::try_from(number).expect("small"));
        let sent = pb::Contact { accounts: vec![role(&loser, "buyer"), seller], ..person };
        let request = pb::CreateContactRequest { contact: Some(sent), ..Default::default() };
        ContactServiceClient::new(office.contacts.clone()).create_contact(with(admin, request)).await.expect("a contact");
        let request = pb::MergeAccountsRequest { survivor, loser, ..pb::MergeAccountsRequest::default() };
        let made = client.merge_accounts(with(admin, request)).await.expect("a merge").into_inner();
        if !holds {
            let request = pb::UnmergeAccountsRequest { name: made.name, etag: made.etag };
            client.unmerge_accounts(with(admin, request)).await.expect("a merge less");
        }
    }
}

/// One that stays as it was made, one that is changed, and one that is deleted.
async fn views(office: &Office, organisation: &Organisation) {
    let (admin, mut client) = (&organisation.admin, ViewServiceClient::new(office.contacts.clone()));
    let mut names = Vec::new();
    for (display_name, visibility) in
        [("Für mich", pb::view::Visibility::Private), ("Changed", pb::view::Visibility::Private), ("Gone", pb::view::Visibility::All)]
    {
        let view = pb::View {
            display_name: display_name.to_owned(),
            collection: "accounts".to_owned(),
            filter: "sector = medical".to_owned(),
            order_by: "display_name".to_owned(),
            columns: vec!["number".to_owned(), "display_name".to_owned()],
            visibility: visibility.into(),
            ..pb::View::default()
        };
        let made = client.create_view(with(admin, pb::CreateViewRequest { view: Some(view) })).await.expect("a view");
        names.push(made.into_inner().name);
    }
    let changed = pb::View { name: names[1].clone(), visibility: pb::view::Visibility::All.into(), ..pb::View::default() };
    client.update_view(with(admin, pb::UpdateViewRequest { view: Some(changed), update_mask: None })).await.expect("a changed view");
    client.delete_view(with(admin, pb::DeleteViewRequest { name: names[2].clone(), etag: String::new() })).await.expect("a view less");
}

/// The same of saved mappings.
async fn mappings(office: &Office, organisation: &Organisation) {
    let (admin, mut client) = (&organisation.admin, ImportMappingServiceClient::new(office.contacts.clone()));
    let mut names = Vec::new();
    for display_name in ["Für mich", "Changed", "Gone"] {
        let column = pb::ImportColumn { target: "Name".to_owned(), header: "Firma".to_owned(), ..pb::ImportColumn::default() };
        let mapping = pb::ImportMapping {
            display_name: display_name.to_owned(),
            header: vec!["Firma".to_owned(), "Ort".to_owned()],
            rules: Some(pb::ImportRules { collection: "accounts".to_owned(), columns: vec![column], ..pb::ImportRules::default() }),
            ..pb::ImportMapping::default()
        };
        let request = pb::CreateImportMappingRequest { import_mapping: Some(mapping) };
        names.push(client.create_import_mapping(with(admin, request)).await.expect("a mapping").into_inner().name);
    }
    let visibility = pb::import_mapping::Visibility::All.into();
    let changed = pb::ImportMapping { name: names[1].clone(), visibility, ..pb::ImportMapping::default() };
    let request = pb::UpdateImportMappingRequest { import_mapping: Some(changed), update_mask: None };
    client.update_import_mapping(with(admin, request)).await.expect("a changed mapping");
    let request = pb::DeleteImportMappingRequest { name: names[2].clone(), etag: String::new() };
    client.delete_import_mapping(with(admin, request)).await.expect("a mapping less");
}

/// The same of rules about duplicates, with everything that a comparison can say.
async fn duplicate_rules(office: &Office, organisation: &Organisation) {
    use pb::duplicate_comparison::{Field, Method};
    let (admin, mut client) = (&organisation.admin, DuplicateRuleServiceClient::new(office.contacts.clone()));
    let id =
        pb::DuplicateComparison { field: Field::ExternalId.into(), method: Method::Digits.into(), weight: 60, penalty: 5, system: "soc".to_owned() };
    let name =
        pb::DuplicateComparison { field: Field::DisplayName.into(), method: Method::Slip.into(), weight: 40, ..pb::DuplicateComparison::default() };
    let mut names = Vec::new();
    for display_name in ["Überall gleich", "Changed", "Gone"] {
        let rule = pb::DuplicateRule {
            display_name: display_name.to_owned(),
            collection: "accounts".to_owned(),
            comparisons: vec![id.clone(), name.clone()],
            threshold: 60,
            ..pb::DuplicateRule::default()
        };
        let request = pb::CreateDuplicateRuleRequest { duplicate_rule: Some(rule) };
        names.push(client.create_duplicate_rule(with(admin, request)).await.expect("a rule").into_inner().name);
    }
    let changed = pb::DuplicateRule { name: names[1].clone(), disabled: true, ..pb::DuplicateRule::default() };
    let request = pb::UpdateDuplicateRuleRequest { duplicate_rule: Some(changed), update_mask: None };
    client.update_duplicate_rule(with(admin, request)).await.expect("a changed rule");
    let request = pb::DeleteDuplicateRuleRequest { name: names[2].clone(), etag: String::new() };
    client.delete_duplicate_rule(with(admin, request)).await.expect("a rule less");
}

async fn share(office: &Office, organisation: &Organisation, names: &[String]) {
    let mut client = AccessServiceClient::new(office.contacts.clone());
    for name in names.iter().take(2) {
        for (subject, level) in [
            (&organisation.ada, AccessLevel::Read),
            (&organisation.ben, AccessLevel::Write),
            (&organisation.team, AccessLevel::Read),
            (&organisation.ada, AccessLevel::Write),
        ] {
            let request =
                ShareRecordRequest { name: name.clone(), subject: subject.clone(), access_level: level.into(), role: "technical sales".to_owned() };
            client.share_record(with(&organisation.admin, request)).await.expect("a share");
        }
        unshare(office, organisation, name, &organisation.team).await;
    }
}

async fn unshare(office: &Office, organisation: &Organisation, name: &str, subject: &str) {
    let request = UnshareRecordRequest { name: name.to_owned(), subject: subject.to_owned() };
    AccessServiceClient::new(office.contacts.clone()).unshare_record(with(&organisation.admin, request)).await.expect("a share less");
}

fn account(number: i32) -> pb::Account {
    use pb::account::{Kind, Relationship};
    pb::Account {
        display_name: format!("Şirket {number}"),
        kind: Kind::Organisation.into(),
        relationships: vec![Relationship::Customer.into(), Relationship::Partner.into()],
        sector: "medical".to_owned(),
        website: "Example.org/Path".to_owned(),
        employee_count: (number > 0).then_some(number * 10),
        annual_revenue: Some(Money { currency_code: "EUR".to_owned(), units: 1_000, nanos: 250_000_000 }),
        founded_year: Some(1971),
        contact_points: points(usize::try_from(number).expect("small")),
        addresses: addresses(),
        external_ids: vec![ExternalId { system: "erp".to_owned(), id: format!("A {number}") }],
        tags: vec!["vip".to_owned(), "new".to_owned()],
        ..pb::Account::default()
    }
}

fn contact(number: usize) -> pb::Contact {
    let birth_date =
        [Some(Date { year: 0, month: 2, day: 29 }), Some(Date { year: 1980, month: 12, day: 1 }), None].into_iter().cycle().nth(number).flatten();
    let person = pb::Person {
        given_name: "Işıl".to_owned(),
        family_name: format!("Öztürk {number}"),
        additional_name: "Ada".to_owned(),
        salutation: "Dr".to_owned(),
        language: "tr".to_owned(),
        birth_date,
        job_title: "Engineer".to_owned(),
        contact_points: points(number),
        addresses: addresses(),
        notes: "Line one\nline two".to_owned(),
    };
    let external_ids =
        vec![ExternalId { system: "erp".to_owned(), id: format!("C {number}") }, ExternalId { system: "crm".to_owned(), id: format!("{number}") }];
    pb::Contact { person: Some(person), external_ids, tags: vec!["b".to_owned(), "a".to_owned()], ..pb::Contact::default() }
}

fn role(account: &str, role: &str) -> pb::AccountRole {
    let date = |year| Some(Date { year, month: 3, day: 4 });
    pb::AccountRole { account: account.to_owned(), role: role.to_owned(), primary: true, start_date: date(2020), end_date: date(2030) }
}

/// A point of each kind, one of them in every status, and one that cannot be read.
fn points(number: usize) -> Vec<pb::ContactPoint> {
    use pb::contact_point::{Kind, Status};
    let statuses = [Status::Unverified, Status::Valid, Status::Bouncing, Status::Invalid, Status::Complained, Status::OptedOut];
    let status = statuses[number % statuses.len()];
    let point = |kind: Kind, value: &str| pb::ContactPoint {
        kind: kind.into(),
        value: value.to_owned(),
        label: "work".to_owned(),
        ..pb::ContactPoint::default()
    };
    vec![
        pb::ContactPoint { status: status.into(), ..point(Kind::Email, &format!("Person{number}@Example.com")) },
        pb::ContactPoint { region: "GB".to_owned(), primary: true, ..point(Kind::Phone, "020 7183 8750") },
        point(Kind::Phone, "ask Anna"),
        point(Kind::Chat, "@Işıl"),
        point(Kind::Web, "example.org"),
    ]
}

fn addresses() -> Vec<pb::Address> {
    use pb::address::Kind;
    let postal = PostalAddress {
        region_code: "FR".to_owned(),
        language_code: "fr".to_owned(),
        postal_code: "75001".to_owned(),
        sorting_code: "CEDEX".to_owned(),
        administrative_area: "IdF".to_owned(),
        locality: "Paris".to_owned(),
        sublocality: "1er".to_owned(),
        address_lines: vec!["1 rue A".to_owned(), "bis".to_owned()],
        recipients: vec!["Accueil".to_owned()],
        organization: "Mairie".to_owned(),
        ..PostalAddress::default()
    };
    let kinds = [Kind::Billing, Kind::Shipping, Kind::Work, Kind::Home, Kind::Other];
    kinds.into_iter().map(|kind| pb::Address { kind: kind.into(), postal_address: Some(postal.clone()), primary: kind == Kind::Work }).collect()
}
