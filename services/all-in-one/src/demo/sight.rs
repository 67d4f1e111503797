//! Who sees what, and why.

use rapport_contacts_api::v1::GetContactRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1::tenant_service_client::TenantServiceClient;
use rapport_identity_api::v1::{Administrator, CreateTenantRequest, SecurityPolicy, Tenant};
use rapport_proto::common::v1::access_service_client::AccessServiceClient;
use rapport_proto::common::v1::{AccessAction, ExplainAccessRequest, ExplainAccessResponse, reason};
use tonic::{Code, Status};

use super::Stack;
use super::change::{get, update};
use super::clients::{self, Caller, Servers, Trouble, answered, with_bearer};
use super::load::{Chosen, Loaded};
use super::look::contacts;
use super::organisation::{Organisation, REGIONS};
use super::story::Story;

/// A name that no record has.
const NOBODY: &str = "contacts/00000000-0000-7000-8000-000000000000";
const PAGE: i32 = 1000;

pub(crate) async fn sight(
    story: &mut Story,
    servers: &Servers,
    stack: &Stack,
    organisation: &mut Organisation,
    loaded: &Loaded,
    chosen: &Chosen,
) -> Result<(), Trouble> {
    story.chapter(
        "Who sees what, and why",
        "Every list and every read answers what the caller may see and no more. What is hidden looks the same as what does not exist, so \
         that nobody learns by asking that it is there.\n\n\
         A role says what one may do, and a level says with whose records: OWN with one's own, BUSINESS_UNIT_SUBTREE with those of the \
         own business unit and of the units below it (here: the region), ALL with all. A role can also hide single fields.",
    );
    count(story, servers, organisation, loaded).await?;
    colleague(story, servers, organisation, chosen).await?;
    analyst(story, servers, organisation, chosen).await?;
    stranger(story, servers, stack, chosen).await?;
    why(story, servers, organisation, chosen).await
}

/// Everybody's list holds exactly what the rules of their role say.
async fn count(story: &mut Story, servers: &Servers, organisation: &mut Organisation, loaded: &Loaded) -> Result<(), Trouble> {
    let everything = loaded.owned_by(&[0, 1, 2, 3]);
    let mut counts = Vec::new();
    for (index, member) in organisation.representatives.iter_mut().enumerate() {
        counts.push((member.display_name, contacts(servers, &mut member.caller, "", PAGE).await?.len(), loaded.owned_by(&[index])));
    }
    for (region, member) in organisation.managers.iter_mut().enumerate() {
        let own = loaded.owned_by(&[2 * region, 2 * region + 1]);
        counts.push((member.display_name, contacts(servers, &mut member.caller, "", PAGE).await?.len(), own));
    }
    let analyst = &mut organisation.analyst;
    counts.push((analyst.display_name, contacts(servers, &mut analyst.caller, "", PAGE).await?.len(), everything));

    let members = organisation.members().map(|member| (member.region_name(), member.position.clone()));
    let rows: Vec<Vec<String>> = counts
        .iter()
        .zip(members)
        .map(|((name, found, expected), (region, position))| {
            vec![(*name).to_owned(), region.to_owned(), position, found.to_string(), expected.to_string()]
        })
        .collect();
    story.table("How many of the people in the files each one sees", &["Person", "Region", "Role and reach", "Sees", "Expected"], &rows);
    story.bars(
        "How many of the people in the files each one sees",
        &counts.iter().map(|(name, found, _)| ((*name).to_owned(), *found)).collect::<Vec<(String, usize)>>(),
    );
    let wrong: Vec<&str> = counts.iter().filter(|(_, found, expected)| found != expected).map(|(name, _, _)| *name).collect();
    let detail = if wrong.is_empty() { format!("{} people", counts.len()) } else { format!("not so for {}", wrong.join(", ")) };
    story.check("Everybody sees exactly the people that their role and level allow", wrong.is_empty(), &detail);
    Ok(())
}

/// The other region: hidden and absent cannot be told apart.
async fn colleague(story: &mut Story, servers: &Servers, organisation: &mut Organisation, chosen: &Chosen) -> Result<(), Trouble> {
    let colleague = &mut organisation.representatives[chosen.colleague];
    let (who, person) = (colleague.display_name, &chosen.display_name);
    let hidden = read(servers, &mut colleague.caller, &chosen.name).await?;
    let absent = read(servers, &mut colleague.caller, NOBODY).await?;
    let same = refusal(&hidden).is_some() && refusal(&hidden) == refusal(&absent);
    story.refused(&format!("For {who} of the {}, {person} does not exist", REGIONS[chosen.other_region]), hidden, Code::NotFound, "RECORD_NOT_FOUND");
    story.check("The answer is the same as for a record that never was", same, "code and reason are equal");
    let manager = &mut organisation.managers[chosen.other_region];
    let hidden = read(servers, &mut manager.caller, &chosen.name).await?;
    story.refused(
        &format!("Nor does {person} exist for {}, who manages the {}", manager.display_name, REGIONS[chosen.other_region]),
        hidden,
        Code::NotFound,
        "RECORD_NOT_FOUND",
    );
    Ok(())
}

/// The role with a hidden field.
async fn analyst(story: &mut Story, servers: &Servers, organisation: &mut Organisation, chosen: &Chosen) -> Result<(), Trouble> {
    let by_owner = get(servers, &mut organisation.representatives[chosen.owner].caller, &chosen.name).await?;
    let analyst = &mut organisation.analyst;
    let seen = get(servers, &mut analyst.caller, &chosen.name).await?;
    let names =
        |contact: &rapport_contacts_api::v1::Contact| contact.person.as_ref().map(|person| (person.given_name.clone(), person.family_name.clone()));
    story.check(&format!("{}, the analyst, may read the same person", analyst.display_name), names(&seen) == names(&by_owner), &chosen.display_name);
    let born = |contact: &rapport_contacts_api::v1::Contact| contact.person.as_ref().is_some_and(|person| person.birth_date.is_some());
    if chosen.born {
        let holds = born(&by_owner) && !born(&seen);
        let detail = format!("shown to the owner: {}, to the analyst: {}", born(&by_owner), born(&seen));
        story.check("The owner sees the date of birth, the analyst does not", holds, &detail);
    }
    let all = contacts(servers, &mut analyst.caller, "", PAGE).await?;
    story.equal("In the analyst's whole list no date of birth is shown", &all.iter().filter(|contact| born(contact)).count(), &0);
    let request = analyst.caller.request(update(&seen, "Anything")).await?;
    let mut client = ContactServiceClient::new(servers.contacts.clone());
    story.refused(
        "A role that only reads cannot change anything",
        client.update_contact(request).await,
        Code::PermissionDenied,
        "PERMISSION_MISSING",
    );
    Ok(())
}

/// Another tenant on the same servers.
async fn stranger(story: &mut Story, servers: &Servers, stack: &Stack, chosen: &Chosen) -> Result<(), Trouble> {
    const PASSWORD: &str = "correct horse battery staple 9";
    let email = "maya.stern@borealis.example";
    let request = CreateTenantRequest {
        tenant: Some(Tenant { display_name: "Borealis".to_owned(), slug: "borealis".to_owned(), ..Default::default() }),
        administrator: Some(Administrator { email: email.to_owned(), display_name: "Maya Stern".to_owned(), password: PASSWORD.to_owned() }),
        security_policy: Some(SecurityPolicy { name: "securityPolicy".to_owned(), data_owner: "Borealis".to_owned(), ..Default::default() }),
    };
    let mut tenants = TenantServiceClient::new(servers.identity.clone());
    answered("creating the second tenant", tenants.create_tenant(with_bearer(&stack.operator_credential, request)?).await)?;
    let mut stranger = Caller::sign_in(servers, "borealis", email, PASSWORD).await?;
    stranger.known_to_contacts(servers).await?;
    story.equal(
        "Borealis, another organisation on the same servers, sees nobody of Aurora, not even as administrator",
        &contacts(servers, &mut stranger, "", PAGE).await?.len(),
        &0,
    );
    let hidden = read(servers, &mut stranger, &chosen.name).await?;
    story.refused("Asked for by name, the person does not exist for Borealis either", hidden, Code::NotFound, "RECORD_NOT_FOUND");
    Ok(())
}

/// Asks contacts why.
async fn why(story: &mut Story, servers: &Servers, organisation: &mut Organisation, chosen: &Chosen) -> Result<(), Trouble> {
    let subjects: Vec<(&'static str, String)> = [
        &organisation.representatives[chosen.owner],
        &organisation.managers[chosen.region],
        &organisation.representatives[chosen.colleague],
        &organisation.analyst,
    ]
    .map(|member| (member.display_name, member.caller.name.clone()))
    .into();
    let mut rows = Vec::new();
    let mut answers = Vec::new();
    for (who, subject) in &subjects {
        let answer = explain(servers, &mut organisation.administrator, &chosen.name, subject).await?;
        for reason in &answer.reasons {
            let verdict = if answer.allowed { "may read" } else { "may not read" };
            rows.push(vec![(*who).to_owned(), verdict.to_owned(), kind(reason.kind()).to_owned(), reason.text.clone()]);
        }
        answers.push(answer);
    }
    let caption = format!("May they read {}, and why? The answers of contacts", chosen.display_name);
    story.table(&caption, &["Who", "Answer", "Because of", "Reason"], &rows);
    let allowed: Vec<bool> = answers.iter().map(|answer| answer.allowed).collect();
    let explained = answers.iter().all(|answer| !answer.reasons.is_empty());
    let detail = subjects.iter().zip(&allowed).map(|((who, _), allowed)| format!("{who}: {}", if *allowed { "yes" } else { "no" }));
    let detail = detail.collect::<Vec<String>>().join(", ");
    story.check(
        "Asked why, contacts names what decides, for those who may and those who may not",
        allowed == [true, true, false, true] && explained,
        &detail,
    );
    let rule = answers.last().is_some_and(|answer| answer.reasons.iter().any(|reason| reason.kind() == reason::Kind::FieldRule));
    story.check(
        "For the analyst it names the rule that hides the date of birth",
        rule,
        if rule { "a field rule is among the reasons" } else { "no field rule is" },
    );
    Ok(())
}

/// Why the subject may read the record or not.
pub(crate) async fn explain(servers: &Servers, caller: &mut Caller, record: &str, subject: &str) -> Result<ExplainAccessResponse, Trouble> {
    let request = ExplainAccessRequest { name: record.to_owned(), subject: subject.to_owned(), action: AccessAction::Read.into() };
    let mut client = AccessServiceClient::new(servers.contacts.clone());
    answered(&format!("asking why for {subject}"), client.explain_access(caller.request(request).await?).await)
}

fn kind(kind: reason::Kind) -> &'static str {
    match kind {
        reason::Kind::Unspecified => "something else",
        reason::Kind::Role => "role",
        reason::Kind::Scope => "level",
        reason::Kind::Share => "share",
        reason::Kind::FieldRule => "field rule",
        reason::Kind::Policy => "policy",
    }
}

/// The answer to reading the record, refusal or not.
type Answer = Result<(), Box<Status>>;

async fn read(servers: &Servers, caller: &mut Caller, name: &str) -> Result<Answer, Trouble> {
    let mut client = ContactServiceClient::new(servers.contacts.clone());
    let request = caller.request(GetContactRequest { name: name.to_owned(), as_of: None }).await?;
    Ok(client.get_contact(request).await.map(|_| ()).map_err(Box::new))
}

fn refusal(answer: &Answer) -> Option<(Code, Option<String>)> {
    answer.as_ref().err().map(|status| (status.code(), clients::reason(status)))
}
