//! A tenant of the load's own, and the token that its calls show.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rapport_contacts_api::v1::ListContactsRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1::session_service_client::SessionServiceClient;
use rapport_identity_api::v1::tenant_service_client::TenantServiceClient;
use rapport_identity_api::v1::{Administrator, CreateTenantRequest, SecurityPolicy, SignInRequest, Tenant};
use rapport_kit::clock;
use rapport_kit::rpc::Client;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

use crate::Outcome;

const EMAIL: &str = "load@load.example";
const PASSWORD: &str = "correct horse battery staple";
/// A new tenant is known everywhere within seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many calls in a row have met every pod.
const IN_A_ROW: usize = 50;

/// The tenant.
pub(crate) struct Organisation {
    slug: String,
    token: Mutex<MetadataValue<Ascii>>,
}

impl Organisation {
    /// Makes one, as the operator, and waits until contacts serves it.
    pub(crate) async fn create(identity: &Client, contacts: &Client, credential: &str) -> Outcome<Self> {
        let slug = format!("load-{}", clock::new_id().simple());
        let policy = SecurityPolicy { name: "securityPolicy".to_owned(), data_owner: "the load".to_owned(), ..SecurityPolicy::default() };
        let request = CreateTenantRequest {
            tenant: Some(Tenant { display_name: "Load".to_owned(), slug: slug.clone(), ..Tenant::default() }),
            administrator: Some(Administrator { email: EMAIL.to_owned(), display_name: "Load".to_owned(), password: PASSWORD.to_owned() }),
            security_policy: Some(policy),
        };
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", format!("Bearer {credential}").parse()?);
        TenantServiceClient::new(identity.alone()).create_tenant(request).await?;
        let organisation = Self { token: Mutex::new(sign_in(identity, &slug).await?), slug };
        let (begun, mut served) = (Instant::now(), 0);
        while served < IN_A_ROW {
            let list = organisation.request(ListContactsRequest { page_size: 1, ..ListContactsRequest::default() });
            match ContactServiceClient::new(contacts.alone()).list_contacts(list).await {
                Ok(_) => served += 1,
                Err(status) if begun.elapsed() > PATIENCE => return Err(status.into()),
                Err(_) => {
                    served = 0;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        Ok(organisation)
    }

    /// The message with the token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        request.metadata_mut().insert("authorization", token);
        request
    }

    /// Takes a new token; keeps the old one, which is good for a while yet, if there is none to be had.
    pub(crate) async fn renew(&self, identity: &Client) {
        if let Ok(token) = sign_in(identity, &self.slug).await {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        }
    }
}

async fn sign_in(identity: &Client, slug: &str) -> Outcome<MetadataValue<Ascii>> {
    let request = SignInRequest { tenant: slug.to_owned(), email: EMAIL.to_owned(), password: PASSWORD.to_owned() };
    let session = SessionServiceClient::new(identity.alone()).sign_in(request).await?.into_inner();
    Ok(format!("Bearer {}", session.access_token).parse()?)
}
