//! Brings accounts and people in through the public batch methods, twice.
//!
//! Guarantees: for each file, rows loaded + rows reported = rows present; a row that the service refuses is
//! reported with its reason, and what hangs on it is not sent. Every rule that decides something is stated.

mod send;

use std::time::Duration;

use rapport_sample::{Dataset, Expected, Prepared, Problem, link};

use super::Options;
use super::clients::{Servers, Trouble};
use super::organisation::{Organisation, REGIONS};
use super::rows;
use super::story::{Story, rate};
use send::Sender;

/// What was brought in.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) prepared: Prepared,
    /// Names of the loaded accounts, by index of the row; none where the service refused it.
    pub(crate) accounts: Vec<Option<String>>,
    /// Names of the loaded people, likewise.
    pub(crate) people: Vec<Option<String>>,
    /// Index of the representative who owns each account and each person.
    pub(crate) account_owners: Vec<usize>,
    pub(crate) person_owners: Vec<usize>,
}

/// The person whom the story follows.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    /// `contacts/{uuid}`.
    pub(crate) name: String,
    /// How people call the person.
    pub(crate) display_name: String,
    /// Index of the representative who owns the record, and of one of the other region.
    pub(crate) owner: usize,
    pub(crate) colleague: usize,
    /// Index of the region of the owner, and of the other.
    pub(crate) region: usize,
    pub(crate) other_region: usize,
    /// Whether a date of birth is known.
    pub(crate) born: bool,
}

/// What became of the rows of one file in one round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) created: usize,
    pub(crate) updated: usize,
    pub(crate) unchanged: usize,
    pub(crate) refused: Vec<Problem>,
    pub(crate) elapsed: Duration,
}

impl Round {
    fn loaded(&self) -> usize {
        self.created + self.updated + self.unchanged
    }
}

/// Says what the files hold, what is wrong in them, and which rules decide.
pub(crate) fn describe(story: &mut Story, options: &Options, data: &Dataset, prepared: &Prepared) {
    let source = match &options.data {
        Some(_) => "The customers come from the given folder.",
        None => "The customers are made up, and the same ones every time.",
    };
    story.chapter(
        "Customers come in from files",
        &format!(
            "{source} They stand in three files: companies, people, and telephone numbers. A row that cannot be right is reported with its reason and \
             not loaded. A misspelling that is known is mended, and the rule that did it is named.\n\n\
             What the files leave open is decided by three rules that always decide the same, whoever runs them and however often: by a \
             checksum of the row's own id. A person for whom no company is stated gets one of the companies; a person without a telephone \
             number gets one from the list; a company gets one of the four sales representatives as its owner, and so do its people."
        ),
    );
    let problems: Vec<Vec<String>> = prepared.problems.iter().map(row).collect();
    if !problems.is_empty() {
        story.table("Reported and not loaded", &["File", "Line", "Column", "Value", "Reason"], &problems);
    }
    let mended: Vec<Vec<String>> = prepared
        .mended
        .iter()
        .map(|cell| {
            vec![cell.file.clone(), cell.line.to_string(), cell.column.clone(), cell.before.clone(), cell.after.clone(), cell.rule.to_owned()]
        })
        .collect();
    if !mended.is_empty() {
        story.table("Mended before loading", &["File", "Line", "Column", "Before", "After", "Rule"], &mended);
        let mut words: Vec<String> = prepared.mended.iter().map(|cell| format!("{} → {}", cell.before, cell.after)).collect();
        words.sort_unstable();
        words.dedup();
        let sound = prepared.mended.iter().all(|cell| rapport_sample::mend(&cell.before).is_some_and(|(after, _)| after == cell.after));
        story.check("Every misspelling that was mended is listed with its line and its rule", sound, &words.join(", "));
    }
    check_truth(story, data, prepared);
    let accounts = prepared.accounts.rows.iter().filter_map(|row| rows::without_place(row.office_country.as_ref(), &[&row.office_city]));
    let people = prepared
        .people
        .rows
        .iter()
        .filter_map(|row| rows::without_place(row.country.as_ref(), &[&row.street, &row.city, &row.postcode, &row.region]));
    let mut unknown: Vec<Vec<String>> = accounts.chain(people).map(|country| vec![country.to_owned()]).collect();
    if !unknown.is_empty() {
        unknown.sort_unstable();
        unknown.dedup();
        story.table("Countries without a known code; these addresses are left out", &["Country"], &unknown);
    }
}

/// Where the files say what must become of a row, it must have become that.
fn check_truth(story: &mut Story, data: &Dataset, prepared: &Prepared) {
    let outcome = |file: &str, line: u64| {
        if let Some(problem) = prepared.problems.iter().find(|problem| problem.line == line && problem.file == file) {
            return Expected::Refuse(problem.column.clone());
        }
        let mended = prepared.mended.iter().find(|cell| cell.line == line && cell.file == file);
        mended.map_or(Expected::Load, |cell| Expected::Mend(cell.column.clone()))
    };
    let accounts = data.accounts.rows.iter().map(|row| (data.accounts.file.as_str(), row.line, row.expected.as_ref()));
    let people = data.people.rows.iter().map(|row| (data.people.file.as_str(), row.line, row.expected.as_ref()));
    let known: Vec<(&str, u64, &Expected)> = accounts.chain(people).filter_map(|(file, line, expected)| Some((file, line, expected?))).collect();
    if known.is_empty() {
        return;
    }
    let wrong: Vec<String> =
        known.iter().filter(|(file, line, expected)| outcome(file, *line) != **expected).map(|(file, line, _)| format!("{file}:{line}")).collect();
    let detail = if wrong.is_empty() { format!("{} rows", known.len()) } else { wrong.join(", ") };
    story.check("Each row of which it was known beforehand is loaded, mended or reported as it should be", wrong.is_empty(), &detail);
}

/// Loads everything, then once more.
pub(crate) async fn load(story: &mut Story, servers: &Servers, organisation: &mut Organisation, prepared: Prepared) -> Result<Loaded, Trouble> {
    let mut loaded = assign(prepared, organisation.representatives.len());
    let mut sender = Sender::new(servers, organisation);
    story.say("Loading, up to 500 rows a call, parent companies before their subsidiaries:");
    let accounts = sender.accounts(story, &mut loaded).await?;
    let people = sender.people(story, &mut loaded).await?;
    let refused: Vec<Vec<String>> = accounts.refused.iter().chain(&people.refused).map(row).collect();
    if !refused.is_empty() {
        story.table("Refused by contacts and not loaded", &["File", "Line", "Column", "Value", "Reason"], &refused);
    }
    check_counts(story, &loaded.prepared, &accounts, &people);
    let rates = [&accounts, &people].map(|round| rate(round.loaded(), round.elapsed));
    story.bars("How fast they came in, in rows a second", &[("Accounts".to_owned(), rates[0]), ("People".to_owned(), rates[1])]);

    story.say("The same files once more, as a nightly feed would send them:");
    let again = [sender.accounts(story, &mut loaded).await?, sender.people(story, &mut loaded).await?];
    for ((what, first), second) in [("accounts", &accounts), ("people", &people)].into_iter().zip(&again) {
        let same = second.created == 0 && second.updated == 0 && second.unchanged == first.loaded();
        let detail = format!("{} unchanged, {} created, {} updated", second.unchanged, second.created, second.updated);
        story.check(&format!("Sending the {what} again changes nothing"), same, &detail);
    }
    Ok(loaded)
}

fn check_counts(story: &mut Story, prepared: &Prepared, accounts: &Round, people: &Round) {
    let mut table = Vec::new();
    for count in prepared.counts() {
        // Phones are given to people, they are no records of their own.
        let (loaded, refused) = match &count.file {
            file if *file == prepared.accounts.file => (accounts.created, accounts.refused.len()),
            file if *file == prepared.people.file => (people.created, people.refused.len()),
            _ => (count.loaded, 0),
        };
        let reported = count.reported + refused;
        table.push(vec![count.file.clone(), count.present.to_string(), loaded.to_string(), reported.to_string()]);
        let statement = format!("No row of {} is lost: what was loaded and what was reported are all that it holds", count.file);
        story.check(&statement, loaded + reported == count.present, &format!("{loaded} + {reported} = {}", count.present));
    }
    story.table("What became of the rows", &["File", "Rows in it", "Loaded", "Reported"], &table);
}

/// Decides who owns what.
fn assign(prepared: Prepared, representatives: usize) -> Loaded {
    let owner = |id: &str| link(&format!("owner of {id}"), representatives).unwrap_or(0);
    let account_owners: Vec<usize> = prepared.accounts.rows.iter().map(|row| owner(&row.external_id)).collect();
    let people = prepared.people.rows.iter().zip(&prepared.account_of);
    let person_owners = people.map(|(row, account)| account.map_or_else(|| owner(&row.external_id), |account| account_owners[account])).collect();
    Loaded {
        accounts: vec![None; prepared.accounts.rows.len()],
        people: vec![None; prepared.people.rows.len()],
        account_owners,
        person_owners,
        prepared,
    }
}

impl Loaded {
    /// How many loaded people these representatives own.
    pub(crate) fn owned_by(&self, representatives: &[usize]) -> usize {
        let loaded = self.people.iter().zip(&self.person_owners).filter(|(name, _)| name.is_some());
        loaded.filter(|(_, owner)| representatives.contains(owner)).count()
    }

    /// The first person with name, company and date of birth; else the first one.
    pub(crate) fn choose(&self) -> Option<Chosen> {
        let rows = &self.prepared.people.rows;
        let loaded = || (0..rows.len()).filter(|index| self.people[*index].is_some());
        let complete = |index: &usize| {
            let row = &rows[*index];
            row.given_name.is_some() && row.family_name.is_some() && row.birth_date.is_some() && self.prepared.account_of[*index].is_some()
        };
        let index = loaded().find(complete).or_else(|| loaded().next())?;
        let owner = self.person_owners[index];
        // Two representatives a region, in the order of the regions.
        let (region, colleague) = (owner / 2, (owner + 2) % 4);
        let names = [&rows[index].given_name, &rows[index].family_name].into_iter().flatten().cloned();
        Some(Chosen {
            name: self.people[index].clone()?,
            display_name: names.collect::<Vec<String>>().join(" "),
            owner,
            colleague,
            region,
            other_region: (region + 1) % REGIONS.len(),
            born: rows[index].birth_date.is_some(),
        })
    }
}

fn row(problem: &Problem) -> Vec<String> {
    vec![problem.file.clone(), problem.line.to_string(), problem.column.clone(), shortened(&problem.value), problem.reason.clone()]
}

/// The beginning of a value that is too long to be read at a glance.
fn shortened(value: &str) -> String {
    const LONGEST: usize = 48;
    if value.chars().count() <= LONGEST {
        return value.to_owned();
    }
    let beginning: String = value.chars().take(LONGEST / 2).collect();
    format!("{beginning}…")
}
