//! Looks back: a record's changes, and its state at an earlier time.

use prost_types::Timestamp;
use rapport_contacts_api::v1::GetContactRequest;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_proto::common::v1::audit_service_client::AuditServiceClient;
use rapport_proto::common::v1::{Change, ListChangesRequest};

use super::change::{JOB_TITLE, job_title};
use super::clients::{Caller, Servers, Trouble, answered};
use super::load::Chosen;
use super::organisation::Organisation;
use super::story::Story;

const CHANGED: &str = "person.job_title";
const HIDDEN: &str = "person.birth_date";

pub(crate) async fn look_back(story: &mut Story, servers: &Servers, organisation: &mut Organisation, chosen: &Chosen) -> Result<(), Trouble> {
    story.chapter(
        "What became of the record",
        "Whoever sees a record sees its history: who changed what and when, before and after. The record can also be read as it was at \
         any earlier time. Both follow the rules of today: what is hidden from somebody now is hidden in the past too.",
    );
    let people: Vec<(String, String)> = [(organisation.administrator.name.clone(), "Ada Sorel".to_owned())]
        .into_iter()
        .chain(organisation.members().map(|member| (member.caller.name.clone(), member.display_name.to_owned())))
        .collect();
    let display_name =
        |actor: &str| people.iter().find(|(name, _)| name == actor).map_or_else(|| actor.to_owned(), |(_, display_name)| display_name.clone());

    let owner = &mut organisation.representatives[chosen.owner];
    let changes = changes(servers, &mut owner.caller, &chosen.name).await?;
    let rows: Vec<Vec<String>> = changes.iter().flat_map(|change| rows(change, &display_name(&change.actor))).collect();
    story.table(
        &format!("What became of {}, newest first", chosen.display_name),
        &["Version", "When (UTC)", "Who", "What", "Field", "Before", "After"],
        &rows,
    );

    let [last, first] = changes.as_slice() else {
        story.check("The history holds the loading and the one change", false, &format!("{} changes", changes.len()));
        return Ok(());
    };
    let in_order = first.version == 1 && last.version == 2;
    let actors = first.actor == organisation.administrator.name && last.actor == owner.caller.name;
    let detail = format!("version 1 by {}, version 2 by {}", display_name(&first.actor), display_name(&last.actor));
    story.check(
        "The history holds the loading and the one change, with who did them; the second loading and the refused change left no trace",
        in_order && actors,
        &detail,
    );
    let exact = matches!(last.field_changes.as_slice(), [field] if field.path == CHANGED && field.before.is_empty() && field.after == format!("\"{JOB_TITLE}\""));
    let detail =
        last.field_changes.iter().map(|field| format!("{}: {} → {}", field.path, shown(&field.before), field.after)).collect::<Vec<String>>();
    story.check("The change names the field with its value before and after, and nothing else", exact, &detail.join(", "));

    let before = last.record_time.ok_or_else(|| Trouble::new("reading the history", "a change without a time"))?;
    let earlier = as_of(servers, &mut owner.caller, &chosen.name, millisecond_before(before)).await?;
    let statement = "Read as of just before that change, the record is as it was then";
    story.check(statement, job_title(&earlier).is_empty() && earlier.person.is_some(), &format!("job title: {}", shown(job_title(&earlier))));

    if chosen.born {
        let seen = self::changes(servers, &mut organisation.analyst.caller, &chosen.name).await?;
        let shows = |changes: &[Change]| changes.iter().flat_map(|change| &change.field_changes).any(|field| field.path.starts_with(HIDDEN));
        let holds = shows(&changes) && !shows(&seen);
        let detail = format!("in the owner's history: {}, in the analyst's: {}", shows(&changes), shows(&seen));
        story.check("In the history that the analyst sees there is no date of birth", holds, &detail);
        let earlier = as_of(servers, &mut organisation.analyst.caller, &chosen.name, millisecond_before(before)).await?;
        let hidden = earlier.person.as_ref().is_some_and(|person| person.birth_date.is_none());
        story.check("Nor is there one when the analyst reads the record as it was", hidden, &format!("hidden: {hidden}"));
    }
    Ok(())
}

async fn changes(servers: &Servers, caller: &mut Caller, name: &str) -> Result<Vec<Change>, Trouble> {
    let mut client = AuditServiceClient::new(servers.contacts.clone());
    let request = caller.request(ListChangesRequest { name: name.to_owned(), page_size: 100, page_token: String::new() }).await?;
    answered(&format!("reading the history of {name} as {}", caller.email), client.list_changes(request).await).map(|page| page.changes)
}

async fn as_of(servers: &Servers, caller: &mut Caller, name: &str, time: Timestamp) -> Result<rapport_contacts_api::v1::Contact, Trouble> {
    let mut client = ContactServiceClient::new(servers.contacts.clone());
    let request = caller.request(GetContactRequest { name: name.to_owned(), as_of: Some(time) }).await?;
    answered(&format!("reading {name} as of {time}"), client.get_contact(request).await)
}

/// One row for each field that was changed; a new record is one row with the number of its fields.
fn rows(change: &Change, who: &str) -> Vec<Vec<String>> {
    // `2026-01-31T12:00:00.123456Z`: the story takes seconds, so the time of day is enough.
    let when = change.record_time.map(|time| time.to_string()).unwrap_or_default();
    let when = when.split(['T', '.', 'Z']).nth(1).unwrap_or_default();
    // `contacts.contact.updated.v1`
    let what = change.fact.split('.').nth(2).unwrap_or(&change.fact);
    let row =
        |field: &str, before: &str, after: &str| [&change.version.to_string(), when, who, what, field, before, after].map(str::to_owned).to_vec();
    if change.version == 1 {
        return vec![row("(all of it)", shown(""), &format!("{} fields", change.field_changes.len()))];
    }
    change.field_changes.iter().map(|field| row(&field.path, shown(&field.before), &field.after)).collect()
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "(not set)" } else { value }
}

fn millisecond_before(time: Timestamp) -> Timestamp {
    const MILLISECOND: i32 = 1_000_000;
    const SECOND: i32 = 1_000_000_000;
    if time.nanos >= MILLISECOND {
        Timestamp { nanos: time.nanos - MILLISECOND, ..time }
    } else {
        Timestamp { seconds: time.seconds - 1, nanos: time.nanos - MILLISECOND + SECOND }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_millisecond_is_borrowed_from_the_second() {
        let before = |seconds, nanos| millisecond_before(Timestamp { seconds, nanos });
        assert_eq!(before(10, 1_500_000), Timestamp { seconds: 10, nanos: 500_000 });
        assert_eq!(before(10, 0), Timestamp { seconds: 9, nanos: 999_000_000 });
    }
}
