//! Numbers that people read: where a legal entity asks for it, no number is left out and none is given twice.

use futures_util::future::join_all;
use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::legal_entity_service_client::LegalEntityServiceClient;
use rapport_kit::testing::eventually;
use rapport_proto::common::v1::ExternalId;
use tonic::Code;

use crate::bureau::legal_entity;
use crate::office::{Office, policy, with};

/// Writers at once, and accounts that each tries to make.
const WRITERS: usize = 64;
const ACCOUNTS: usize = 4;

async fn create(office: &Office, token: &str, legal_entity: &str, external_id: String) -> Result<contacts::Account, tonic::Status> {
    let account = contacts::Account {
        display_name: format!("Customer {external_id}"),
        kind: contacts::account::Kind::Organisation.into(),
        legal_entity: legal_entity.to_owned(),
        external_ids: vec![ExternalId { system: "erp".to_owned(), id: external_id }],
        ..contacts::Account::default()
    };
    let request = with(token, contacts::CreateAccountRequest { account: Some(account) });
    Ok(AccountServiceClient::new(office.contacts.clone()).create_account(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_leave_no_gap_and_no_double_in_a_gapless_series() {
    let office = Office::open().await;
    office.tenant("gapless", Some(policy())).await;
    let token = office.sign_in("gapless", "admin@example.com").await;
    let series = identity::NumberSeries { collection: "accounts".to_owned(), prefix: "K-".to_owned(), gapless: true, next: 0 };
    let entity = identity::LegalEntity { number_series: vec![series], ..legal_entity("Example SARL") };
    let request = with(&token, identity::CreateLegalEntityRequest { legal_entity: Some(entity) });
    let entity = LegalEntityServiceClient::new(office.identity.clone()).create_legal_entity(request).await.expect("a legal entity").into_inner().name;
    let first = eventually("the legal entity is known", || async { create(&office, &token, &entity, "first".to_owned()).await.ok() }).await;
    assert_eq!(first.number, "K-000001");

    // Half of the writers try an external id that is taken, after a number was taken for them.
    let (office, token, entity) = (&office, &token, &entity);
    let writers = (0..WRITERS).map(|writer| async move {
        let mut given = Vec::new();
        for account in 0..ACCOUNTS {
            let id = if writer % 2 == 0 { format!("{writer}-{account}") } else { "first".to_owned() };
            match create(office, token, entity, id).await {
                Ok(account) => given.push(account.number),
                Err(refused) => assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}"),
            }
        }
        given
    });
    let mut given: Vec<String> = join_all(writers).await.into_iter().flatten().collect();
    given.sort();
    let expected: Vec<String> = (2..2 + WRITERS / 2 * ACCOUNTS).map(|number| format!("K-{number:06}")).collect();
    assert_eq!(given, expected);
}
