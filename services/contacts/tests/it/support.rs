//! A running service with somebody who may do everything, and what tests ask of both.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_kit::config::Config;
use rapport_kit::testing::{Infra, Subject, TestService};
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::access_service_client::AccessServiceClient;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// The service and the people of one tenant.
pub(crate) struct Desk {
    pub(crate) service: TestService,
    pub(crate) tenant: Uuid,
    /// May do everything.
    pub(crate) clerk: Subject,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        Self::configured(|_| {}).await
    }

    /// The same with `change` to the service's settings.
    pub(crate) async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let service = TestService::configured(&rapport_contacts::SERVICE, change).await;
        let tenant = service.identity.tenant();
        let clerk = service.identity.administrator(tenant);
        Self { service, tenant, clerk }
    }

    pub(crate) fn contacts(&self) -> ContactServiceClient<Channel> {
        ContactServiceClient::new(self.service.channel.clone())
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.service.channel.clone())
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.service.channel.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.service.channel.clone())
    }

    /// The clerk creates a contact.
    pub(crate) async fn create(&self, contact: pb::Contact) -> Result<pb::Contact, Status> {
        let request = pb::CreateContactRequest { contact: Some(contact), allow_duplicates: false };
        Ok(self.contacts().create_contact(self.clerk.request(request)).await?.into_inner())
    }

    /// The clerk sets a contact's tags, under a key if one is given.
    pub(crate) async fn tag(&self, name: &str, tag: &str, key: Option<&str>) -> Result<pb::Contact, Status> {
        let contact = pb::Contact { name: name.to_owned(), tags: vec![tag.to_owned()], ..pb::Contact::default() };
        let request = pb::UpdateContactRequest { contact: Some(contact), update_mask: None, allow_duplicates: false };
        let request = match key {
            Some(key) => self.clerk.keyed(request, key),
            None => self.clerk.request(request),
        };
        Ok(self.contacts().update_contact(request).await?.into_inner())
    }

    /// The clerk shares a record for reading, under a key if one is given.
    pub(crate) async fn share(&self, request: common::ShareRecordRequest, key: Option<&str>) -> Result<common::Share, Status> {
        let request = match key {
            Some(key) => self.clerk.keyed(request, key),
            None => self.clerk.request(request),
        };
        Ok(self.access().share_record(request).await?.into_inner())
    }

    /// The service's database as the role that sees every tenant.
    pub(crate) async fn database(&self) -> PgConnection {
        let options: PgConnectOptions = self.service.logins.system.expose_secret().parse().expect("an address");
        options.connect().await.expect("the database answers")
    }

    /// The same as the superuser.
    pub(crate) async fn superuser(&self) -> PgConnection {
        let own: PgConnectOptions = self.service.logins.system.expose_secret().parse().expect("an address");
        let admin: PgConnectOptions = Infra::from_environment().postgres.expose_secret().parse().expect("an address");
        admin.database(own.get_database().expect("the address names a database")).connect().await.expect("the superuser may connect")
    }
}

/// A contact of this name.
pub(crate) fn named(family_name: &str) -> pb::Contact {
    let person = pb::Person { family_name: family_name.to_owned(), ..pb::Person::default() };
    pb::Contact { person: Some(person), ..pb::Contact::default() }
}

/// A share of a record for reading.
pub(crate) fn reading(record: &str, subject: &str) -> common::ShareRecordRequest {
    common::ShareRecordRequest {
        name: record.to_owned(),
        subject: subject.to_owned(),
        access_level: common::AccessLevel::Read.into(),
        role: String::new(),
    }
}

/// Code and reason of a refusal.
pub(crate) fn refusal(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// The fields that a refusal names.
pub(crate) fn violations(status: &Status) -> Vec<String> {
    assert_eq!(refusal(status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()), "{status:?}");
    status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

/// The one field that a refusal names, with what is wrong.
pub(crate) fn violation(status: &Status) -> (String, String) {
    assert_eq!(refusal(status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()), "{status:?}");
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let [violation] = violations.as_slice() else { panic!("{} violations instead of one: {status:?}", violations.len()) };
    (violation.field.clone(), violation.description.clone())
}
