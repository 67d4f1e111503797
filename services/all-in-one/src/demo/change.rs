//! Changes a record, and refuses a change of what is not current any more.

use prost_types::FieldMask;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{Contact, GetContactRequest, Person, UpdateContactRequest};
use tonic::Code;

use super::clients::{Caller, Servers, Trouble, answered};
use super::load::Chosen;
use super::organisation::Organisation;
use super::story::Story;

/// What the representative writes.
pub(crate) const JOB_TITLE: &str = "Head of purchasing";
/// What the manager wanted to write meanwhile.
const OTHER_JOB_TITLE: &str = "Purchasing assistant";

pub(crate) async fn change(story: &mut Story, servers: &Servers, organisation: &mut Organisation, chosen: &Chosen) -> Result<(), Trouble> {
    let (representative, manager) = (organisation.representatives[chosen.owner].display_name, organisation.managers[chosen.region].display_name);
    story.chapter(
        "Two people change one record",
        &format!(
            "{representative} and {manager} have opened {} at the same time. Both want to write down what the person does. Each version \
             of a record carries a mark, its etag, and a change says which version it was made from. Whoever comes second is told so, \
             instead of overwriting what the first one wrote.",
            chosen.display_name
        ),
    );
    let mut client = ContactServiceClient::new(servers.contacts.clone());
    let seen_by_manager = get(servers, &mut organisation.managers[chosen.region].caller, &chosen.name).await?;
    let owner = &mut organisation.representatives[chosen.owner].caller;
    let seen_by_owner = get(servers, owner, &chosen.name).await?;
    story.check("Both read the same version", seen_by_manager.etag == seen_by_owner.etag, &format!("etag {}", seen_by_owner.etag));

    let update = owner.request(update(&seen_by_owner, JOB_TITLE)).await?;
    let changed = answered("changing the job title", client.update_contact(update).await)?;
    let holds = job_title(&changed) == JOB_TITLE && changed.etag != seen_by_owner.etag;
    story.check(
        &format!("{representative}'s change is made; the record has a new etag"),
        holds,
        &format!("{}, etag {}", job_title(&changed), changed.etag),
    );

    let manager_caller = &mut organisation.managers[chosen.region].caller;
    let late = manager_caller.request(self::update(&seen_by_manager, OTHER_JOB_TITLE)).await?;
    let answer = client.update_contact(late).await;
    story.refused(&format!("{manager}'s change, made from the version before, is refused"), answer, Code::Aborted, "ETAG_MISMATCH");
    let now = get(servers, manager_caller, &chosen.name).await?;
    let holds = job_title(&now) == JOB_TITLE && now.etag == changed.etag;
    story.check("The first change stands", holds, &format!("{}, etag {}", job_title(&now), now.etag));
    Ok(())
}

/// The record as the caller sees it.
pub(crate) async fn get(servers: &Servers, caller: &mut Caller, name: &str) -> Result<Contact, Trouble> {
    let mut client = ContactServiceClient::new(servers.contacts.clone());
    let request = caller.request(GetContactRequest { name: name.to_owned(), as_of: None }).await?;
    answered(&format!("reading {name} as {}", caller.email), client.get_contact(request).await)
}

pub(crate) fn job_title(contact: &Contact) -> &str {
    contact.person.as_ref().map(|person| person.job_title.as_str()).unwrap_or_default()
}

/// A change of the job title alone, good for the version that was read.
pub(crate) fn update(seen: &Contact, job_title: &str) -> UpdateContactRequest {
    UpdateContactRequest {
        contact: Some(Contact {
            name: seen.name.clone(),
            etag: seen.etag.clone(),
            person: Some(Person { job_title: job_title.to_owned(), ..Default::default() }),
            ..Default::default()
        }),
        update_mask: Some(FieldMask { paths: vec!["person.job_title".to_owned()] }),
        allow_duplicates: false,
    }
}
