//! Takes a role back, and leaves what is needed to look around.

use std::time::{Duration, Instant};

use rapport_contacts_api::v1::ListContactsRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_identity_api::v1::RevokeRoleRequest;
use rapport_identity_api::v1::user_service_client::UserServiceClient;
use tonic::Code;

use super::change::get;
use super::clients::{Servers, Trouble, answered};
use super::load::Chosen;
use super::organisation::{ADMINISTRATOR_POSITION, Organisation, TENANT};
use super::sight::explain;
use super::story::Story;
use super::{After, Stack};

/// A cut has to be felt within this time.
const PROMISED: Duration = Duration::from_secs(2);
/// Past this the cut is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn lock_out(story: &mut Story, servers: &Servers, organisation: &mut Organisation, chosen: &Chosen) -> Result<(), Trouble> {
    let who = organisation.representatives[chosen.colleague].display_name;
    story.chapter(
        "Somebody is locked out",
        &format!(
            "{who} leaves sales. The administrator takes the role back while {who} is signed in and working. Nobody signs {who} out, and \
             no token has to end first: every service hears of it and refuses from then on."
        ),
    );
    let mut contacts = ContactServiceClient::new(servers.contacts.clone());
    let mut users = UserServiceClient::new(servers.identity.clone());
    let leaver = &mut organisation.representatives[chosen.colleague].caller;
    let list = || ListContactsRequest { page_size: 1, ..Default::default() };
    answered("listing contacts before the cut", contacts.list_contacts(leaver.request(list()).await?).await)?;

    let revoke = RevokeRoleRequest { name: leaver.name.clone(), role: organisation.representative_role.clone(), etag: String::new() };
    let request = organisation.administrator.request(revoke).await?;
    let user = answered("taking the role back", users.revoke_role(request).await)?;
    let cut = Instant::now();
    let answer = loop {
        let answer = contacts.list_contacts(leaver.request(list()).await?).await;
        if answer.is_err() || cut.elapsed() > PATIENCE {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let elapsed = cut.elapsed();
    story.refused(&format!("Without the role {who} is refused"), answer, Code::PermissionDenied, "PERMISSION_MISSING");
    let millis = elapsed.as_millis();
    story.check("That is so within 2 seconds of taking the role back", elapsed <= PROMISED, &format!("{millis} ms after the role was taken back"));
    story.say(&format!("Measured: {millis} ms."));
    story.check(&format!("{who} is still a user here, without any role"), user.grants.is_empty(), &format!("{} roles", user.grants.len()));

    let (subject, administrator) = (leaver.name.clone(), &mut organisation.administrator);
    let answer = explain(servers, administrator, &chosen.name, &subject).await?;
    let reasons: Vec<&str> = answer.reasons.iter().map(|reason| reason.text.as_str()).collect();
    story.check("Asked why, contacts says what is missing", !answer.allowed && !reasons.is_empty(), &reasons.join(" "));
    let owner = &mut organisation.representatives[chosen.owner];
    let seen = get(servers, &mut owner.caller, &chosen.name).await?;
    story.check(&format!("{} works on as before", owner.display_name), seen.name == chosen.name, &chosen.display_name);
    Ok(())
}

/// Says how to go on from here by hand.
pub(crate) fn leave(story: &mut Story, stack: &Stack, after: After, organisation: &Organisation, chosen: &Chosen) {
    let (how, addresses) = match after {
        After::Stay => ("The services stay up until you press Ctrl-C, and everything above can be called by hand.", "Addresses, until Ctrl-C"),
        After::Elsewhere => ("The services go on without this story, and everything above can be called by hand.", "Addresses"),
        After::End => (
            "The services of this story end with it, and their addresses lead nowhere afterwards. To look around by hand, tell the story \
             with scripts/demo --keep: it then keeps them up, and prints lines like these to copy.",
            "Addresses of this story, which ended with it (scripts/demo --keep keeps them)",
        ),
    };
    story.chapter("Look around yourself", &format!("{how} The passwords are made up and good for this story alone."));
    let services = [vec!["identity".to_owned(), stack.identity.clone()], vec!["contacts".to_owned(), stack.contacts.clone()]];
    story.table(addresses, &["Service", "Address"], &services);
    let leaver = organisation.representatives[chosen.colleague].caller.name.as_str();
    let administrator = &organisation.administrator;
    let mut people = vec![vec![administrator.email.clone(), administrator.password.clone(), ADMINISTRATOR_POSITION.to_owned()]];
    people.extend(organisation.members().map(|member| {
        let position = if member.caller.name == leaver { "the role was taken back".to_owned() } else { member.position.clone() };
        vec![member.caller.email.clone(), member.caller.password.clone(), position]
    }));
    story.table(&format!("Who can sign in to the tenant {TENANT}"), &["E-mail", "Password", "Role and reach"], &people);

    let (identity, contacts) = (host(&stack.identity), host(&stack.contacts));
    let (email, password) = (&administrator.email, &administrator.password);
    let lines = [
        format!(
            "TOKEN=$(grpcurl -plaintext -d '{{\"tenant\": \"{TENANT}\", \"email\": \"{email}\", \"password\": \"{password}\"}}' \
             {identity} rapport.identity.v1.SessionService/SignIn | sed -n 's/.*\"accessToken\": \"\\([^\"]*\\)\".*/\\1/p')"
        ),
        format!(
            "grpcurl -plaintext -H \"authorization: Bearer $TOKEN\" -d '{{\"pageSize\": 3}}' \
             {contacts} rapport.contacts.v1.ContactService/ListContacts"
        ),
    ];
    story.verbatim("With grpcurl: sign in, then list three people (a token is good for five minutes)", &lines);
}

/// Address without scheme, as `grpcurl` wants it.
fn host(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, host)| host)
}
