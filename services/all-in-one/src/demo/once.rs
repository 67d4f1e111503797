//! One person once: finds the people who stand among the customers several times, merges two records and parts them again,
//! and takes in others once though the process dies meanwhile.

use std::collections::{BTreeSet, HashMap};

use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::duplicate_service_client::DuplicateServiceClient;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_contacts_api::v1::{
    Contact, DuplicatePair, DuplicateReason, ListDuplicatePairsRequest, LookupContactRequest, MergeContactsRequest, StartDuplicateSweepRequest,
    UnmergeContactsRequest, duplicate_comparison, duplicate_reason,
};
use rapport_sample::duplicate_pairs;

use super::change::{get, job_title, update};
use super::clients::{Caller, Servers, Trouble, answered};
use super::load::{Chosen, Loaded};
use super::organisation::Organisation;
use super::rows::SYSTEM;
use super::story::Story;
use super::{jobs, killed};
use crate::apart::Apart;

/// What is written into the merged record before it is parted again.
const LATER_JOB_TITLE: &str = "Regional buyer";
/// Pairs of the table.
const SHOWN: usize = 8;

/// Two rows of the file, the smaller first.
type Rows = (usize, usize);

pub(crate) async fn find(
    story: &mut Story,
    servers: &Servers,
    organisation: &mut Organisation,
    loaded: &Loaded,
    chosen: &Chosen,
    contacts: Option<&mut Apart>,
) -> Result<(), Trouble> {
    story.chapter(
        "One person once",
        "Customer lists name the same person more than once: with a slip in the name, after a move, with given and family name swapped. A rule \
         weighs what two records have in common and what sets them apart; those that are likely one person are listed with the reasons, for \
         somebody to decide. Nothing is merged by itself.\n\n\
         In the files of this story it is written down who is who, so that what the rule says can be counted against the truth.",
    );
    let administrator = &mut organisation.administrator;
    sweep(story, servers, administrator).await?;
    let pairs = pairs(servers, administrator).await?;
    let listed: Vec<Vec<String>> = pairs.iter().take(SHOWN).map(row).collect();
    story.table("The likeliest pairs, and why", &["Score", "Found by"], &listed);
    score(story, loaded, &pairs);
    if let Some(pair) = pairs.iter().find(|pair| pair.first_record != chosen.name && pair.second_record != chosen.name) {
        merge_and_part(story, servers, administrator, pair).await?;
    }
    match contacts {
        Some(contacts) => killed::survive(story, servers, organisation, contacts).await,
        None => {
            story.say("These services run elsewhere, and none of their processes is killed for this story.");
            Ok(())
        }
    }
}

async fn sweep(story: &mut Story, servers: &Servers, caller: &mut Caller) -> Result<(), Trouble> {
    let mut client = DuplicateServiceClient::new(servers.contacts.clone());
    let request = caller.request(StartDuplicateSweepRequest { collection: "contacts".to_owned() }).await?;
    let job = answered("starting the search for duplicates", client.start_duplicate_sweep(request).await)?;
    let job = jobs::ended(servers, caller, job).await?;
    story.check("All records are compared by a job, which says how far it is", jobs::succeeded(&job), &job.message);
    Ok(())
}

/// Every pair that the caller sees, the likeliest first.
async fn pairs(servers: &Servers, caller: &mut Caller) -> Result<Vec<DuplicatePair>, Trouble> {
    let mut client = DuplicateServiceClient::new(servers.contacts.clone());
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = ListDuplicatePairsRequest { page_size: 1000, page_token, collection: "contacts".to_owned(), ..Default::default() };
        let request = caller.request(list).await?;
        let page = answered("listing duplicates", client.list_duplicate_pairs(request).await)?;
        found.extend(page.duplicate_pairs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

fn row(pair: &DuplicatePair) -> Vec<String> {
    vec![pair.score.to_string(), pair.reasons.iter().map(words).collect::<Vec<String>>().join(", ")]
}

/// Such as `family name: slip`.
fn words(reason: &DuplicateReason) -> String {
    let plain = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase().replace('_', " ");
    let field = duplicate_comparison::Field::try_from(reason.field).unwrap_or_default();
    let closeness = duplicate_reason::Closeness::try_from(reason.closeness).unwrap_or_default();
    format!("{}: {}", plain(field.as_str_name(), "FIELD_"), plain(closeness.as_str_name(), "CLOSENESS_"))
}

/// Counts what was found against the truth that the files tell.
fn score(story: &mut Story, loaded: &Loaded, pairs: &[DuplicatePair]) {
    let rows: HashMap<&str, usize> = loaded.people.iter().enumerate().filter_map(|(row, name)| Some((name.as_deref()?, row))).collect();
    let of = |pair: &DuplicatePair| -> Option<Rows> {
        let (one, other) = (*rows.get(pair.first_record.as_str())?, *rows.get(pair.second_record.as_str())?);
        Some((one.min(other), one.max(other)))
    };
    let found: BTreeSet<Rows> = pairs.iter().filter_map(of).collect();
    let people = &loaded.prepared.people.rows;
    let is_loaded = |row: usize| loaded.people[row].is_some();
    let truth: BTreeSet<Rows> = duplicate_pairs(people).into_iter().filter(|(one, other)| is_loaded(*one) && is_loaded(*other)).collect();
    if truth.is_empty() {
        return story.say("The files do not tell who is who, so that nothing is counted here.");
    }
    let right = found.intersection(&truth).count();
    let table = vec![
        vec!["Records of people".to_owned(), rows.len().to_string()],
        vec!["People behind them, by the files".to_owned(), groups(rows.values(), &truth).to_string()],
        vec!["People behind them, by the pairs that were found".to_owned(), groups(rows.values(), &found).to_string()],
        vec!["Pairs of records of one person, by the files".to_owned(), truth.len().to_string()],
        vec!["Pairs that were found".to_owned(), found.len().to_string()],
        vec!["Of these, one person in truth (precision)".to_owned(), share(right, found.len())],
        vec!["Of the true pairs, found (recall)".to_owned(), share(right, truth.len())],
    ];
    story.table("What was found against the truth", &["What", "How many"], &table);
    story.bars("Pairs", &[("True".to_owned(), truth.len()), ("Found".to_owned(), found.len()), ("Found and true".to_owned(), right)]);
    story.check("Of ten pairs that are found, at least eight are one person", right * 10 >= found.len() * 8, &share(right, found.len()));
    story.check("Of ten pairs of one person, at least eight are found", right * 10 >= truth.len() * 8, &share(right, truth.len()));
}

/// How many groups there are if the rows of a pair belong together.
fn groups<'a>(rows: impl Iterator<Item = &'a usize>, pairs: &BTreeSet<Rows>) -> usize {
    let mut group_of: HashMap<usize, usize> = rows.map(|row| (*row, *row)).collect();
    let top = |group_of: &HashMap<usize, usize>, mut row: usize| {
        while let Some(above) = group_of.get(&row).filter(|above| **above != row) {
            row = *above;
        }
        row
    };
    for (one, other) in pairs {
        let (one, other) = (top(&group_of, *one), top(&group_of, *other));
        group_of.insert(one.max(other), one.min(other));
    }
    group_of.iter().filter(|(row, above)| row == above).count()
}

/// With one decimal place.
fn share(part: usize, whole: usize) -> String {
    let thousandths = part * 1000 / whole.max(1);
    format!("{part} of {whole}, {}.{} %", thousandths / 10, thousandths % 10)
}

async fn merge_and_part(story: &mut Story, servers: &Servers, caller: &mut Caller, pair: &DuplicatePair) -> Result<(), Trouble> {
    let mut merges = MergeServiceClient::new(servers.contacts.clone());
    let mut contacts = ContactServiceClient::new(servers.contacts.clone());
    let (survivor, loser) = (pair.first_record.as_str(), pair.second_record.as_str());
    let before = [get(servers, caller, survivor).await?, get(servers, caller, loser).await?];
    let request = MergeContactsRequest { survivor: survivor.to_owned(), loser: loser.to_owned(), ..Default::default() };
    let request = caller.request(request).await?;
    let merge = answered("merging two records of one person", merges.merge_contacts(request).await)?;

    let gone = get(servers, caller, loser).await?;
    let holds = gone.merged_into == survivor && gone.delete_time.is_some();
    story.check(
        "Two records of one person become one, and the name of the other says where it went",
        holds,
        &format!("merged into {}", gone.merged_into),
    );
    let id = before[1].external_ids.iter().find(|id| id.system == SYSTEM).map(|id| id.id.clone()).unwrap_or_default();
    let request = caller.request(LookupContactRequest { system: SYSTEM.to_owned(), id }).await?;
    let led = answered("looking the other record up by its number in the old system", contacts.lookup_contact(request).await)?;
    story.check("Its number in the old system leads to the one that goes on", led.name == survivor, &led.name);

    let request = caller.request(update(&led, LATER_JOB_TITLE)).await?;
    answered("changing the merged record", contacts.update_contact(request).await)?;
    let request = caller.request(UnmergeContactsRequest { name: merge.name, etag: String::new() }).await?;
    answered("taking the merge back", merges.unmerge_contacts(request).await)?;
    let [first, second] = [get(servers, caller, survivor).await?, get(servers, caller, loser).await?];
    let restored = is_as_before(&second, &before[1]) && second.merged_into.is_empty() && second.delete_time.is_none();
    story.check("The merge is taken back: the other record is again what it was", restored, &format!("deleted: {}", second.delete_time.is_some()));
    let kept = job_title(&first) == LATER_JOB_TITLE && first.external_ids == before[0].external_ids;
    story.check("What was written meanwhile stays with the record that went on", kept, job_title(&first));
    Ok(())
}

fn is_as_before(now: &Contact, before: &Contact) -> bool {
    now.person == before.person && now.accounts == before.accounts && now.external_ids == before.external_ids && now.owner == before.owner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_overlapping_pairs_are_one_person() {
        let rows = [0, 1, 2, 3, 4, 5];
        assert_eq!(groups(rows.iter(), &BTreeSet::from([(1, 2), (0, 2), (4, 5)])), 3);
        assert_eq!(groups(rows.iter(), &BTreeSet::new()), 6);
    }

    #[test]
    fn a_share_has_one_decimal_place() {
        assert_eq!(share(2, 3), "2 of 3, 66.6 %");
        assert_eq!(share(0, 0), "0 of 0, 0.0 %");
    }
}
