//! Lists: walked page by page, and filtered.

use std::collections::{BTreeMap, HashMap, HashSet};

use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{Account, Contact, ListAccountsRequest, ListContactsRequest, LookupAccountRequest, contact_point};
use rapport_sample::{country_code, phone_for};

use super::clients::{Caller, Servers, Trouble, answered};
use super::load::Loaded;
use super::organisation::Organisation;
use super::rows::SYSTEM;
use super::story::Story;

/// The most that one page holds.
const LARGE_PAGE: i32 = 1000;
/// Divides nothing evenly, so that pages end in the middle of everything.
const SMALL_PAGE: i32 = 137;

pub(crate) async fn look(story: &mut Story, servers: &Servers, organisation: &mut Organisation, loaded: &Loaded) -> Result<(), Trouble> {
    story.chapter(
        "Everything is there, once",
        "Long lists come in pages. Walked to the last page, they hold everything that came in, and nothing twice. Filters find what the \
         files say.",
    );
    let administrator = &mut organisation.administrator;
    let people = contacts(servers, administrator, "", LARGE_PAGE).await?;
    let small = contacts(servers, administrator, "", SMALL_PAGE).await?;
    let accounts = accounts(servers, administrator, "").await?;
    check_walks(story, loaded, &people, &small, &accounts);
    check_people(story, loaded, &people);
    check_accounts(story, servers, administrator, loaded, &accounts).await?;

    let owners: Vec<String> = organisation.representatives.iter().map(|member| member.caller.name.clone()).collect();
    let administrator = &mut organisation.administrator;
    let mut rows = Vec::new();
    let mut all = true;
    for (index, owner) in owners.iter().enumerate() {
        let found = contacts(servers, administrator, &format!("owner = \"{owner}\""), LARGE_PAGE).await?.len();
        let expected = loaded.owned_by(&[index]);
        all &= found == expected;
        rows.push(vec![organisation.representatives[index].display_name.to_owned(), found.to_string(), expected.to_string()]);
    }
    story.table("People by the representative who owns them", &["Owner", "Found", "Expected"], &rows);
    story.check("Filtered by owner, the list holds exactly that representative's people", all, &format!("{} owners", rows.len()));
    filter_by_company(story, servers, administrator, loaded).await?;
    filter_by_sector(story, servers, administrator, loaded).await?;
    filter_by_phone(story, servers, administrator, &people).await
}

/// Every contact that the caller sees under the filter, walked to the last page.
pub(crate) async fn contacts(servers: &Servers, caller: &mut Caller, filter: &str, page_size: i32) -> Result<Vec<Contact>, Trouble> {
    let mut client = ContactServiceClient::new(servers.contacts.clone());
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = ListContactsRequest { page_size, page_token, filter: filter.to_owned(), ..Default::default() };
        let request = caller.request(list).await?;
        let page = answered(&format!("listing contacts with the filter [{filter}]"), client.list_contacts(request).await)?;
        found.extend(page.contacts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// Every account that the caller sees under the filter.
pub(crate) async fn accounts(servers: &Servers, caller: &mut Caller, filter: &str) -> Result<Vec<Account>, Trouble> {
    let mut client = AccountServiceClient::new(servers.contacts.clone());
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = ListAccountsRequest { page_size: LARGE_PAGE, page_token, filter: filter.to_owned(), ..Default::default() };
        let request = caller.request(list).await?;
        let page = answered(&format!("listing accounts with the filter [{filter}]"), client.list_accounts(request).await)?;
        found.extend(page.accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

fn check_walks(story: &mut Story, loaded: &Loaded, people: &[Contact], small: &[Contact], accounts: &[Account]) {
    fn names<Record>(records: &[Record], name: impl Fn(&Record) -> &str) -> HashSet<&str> {
        records.iter().map(name).collect()
    }
    let once = |found: HashSet<&str>, listed: usize, loaded: &[Option<String>]| {
        let loaded: HashSet<&str> = loaded.iter().flatten().map(String::as_str).collect();
        (found == loaded && listed == loaded.len(), format!("{listed} listed, {} loaded", loaded.len()))
    };
    let (holds, detail) = once(names(people, |contact| contact.name.as_str()), people.len(), &loaded.people);
    story.check("Walked to the last page, the list of people holds each loaded person once", holds, &detail);
    let (holds, detail) = once(names(accounts, |account| account.name.as_str()), accounts.len(), &loaded.accounts);
    story.check("So does the list of accounts with each loaded company", holds, &detail);
    let same = people.iter().map(|contact| &contact.name).eq(small.iter().map(|contact| &contact.name));
    story.check(
        "Small pages give the same people in the same order as large ones",
        same,
        &format!("pages of {SMALL_PAGE} against pages of {LARGE_PAGE}"),
    );
}

/// Companies and telephone numbers as the rules say.
fn check_people(story: &mut Story, loaded: &Loaded, people: &[Contact]) {
    let by_name: HashMap<&str, &Contact> = people.iter().map(|contact| (contact.name.as_str(), contact)).collect();
    let (mut linked, mut unlinked, mut listed, mut wrong) = (0, 0, 0, 0);
    for (index, name) in loaded.people.iter().enumerate() {
        let Some(contact) = name.as_deref().and_then(|name| by_name.get(name)) else { continue };
        let stated = loaded.prepared.account_of[index].and_then(|account| loaded.accounts[account].as_deref());
        let found: Vec<&str> = contact.accounts.iter().map(|role| role.account.as_str()).collect();
        if found == stated.into_iter().collect::<Vec<&str>>() {
            linked += 1;
        } else {
            unlinked += 1;
        }
        let row = &loaded.prepared.people.rows[index];
        let given = phone_for(row, &loaded.prepared.phones.rows).filter(|_| row.phone.is_none());
        if let Some(given) = given {
            if phone(contact) == Some(given) {
                listed += 1;
            } else {
                wrong += 1;
            }
        }
    }
    story.check("Each person belongs to the company that the file or the rule says", unlinked == 0, &format!("{linked} right, {unlinked} wrong"));
    if listed + wrong > 0 {
        let statement = "Each person without a number got the one of the phones list that the rule says";
        story.check(statement, wrong == 0, &format!("{listed} right, {wrong} wrong"));
    }
    let numbers = people.iter().filter(|contact| phone(contact).is_some()).count();
    story.say(&format!("{numbers} people can be called: their numbers were read and are kept in international form."));
}

/// The person's number in international form.
fn phone(contact: &Contact) -> Option<&str> {
    let points = &contact.person.as_ref()?.contact_points;
    let phone = points.iter().find(|point| point.kind() == contact_point::Kind::Phone)?;
    Some(phone.normalized.as_str()).filter(|number| !number.is_empty())
}

/// Hierarchy, numbers, and mended countries.
async fn check_accounts(story: &mut Story, servers: &Servers, caller: &mut Caller, loaded: &Loaded, accounts: &[Account]) -> Result<(), Trouble> {
    let by_name: HashMap<&str, &Account> = accounts.iter().map(|account| (account.name.as_str(), account)).collect();
    let (mut subsidiaries, mut wrong) = (0, 0);
    for (name, parent) in loaded.accounts.iter().zip(&loaded.prepared.parents) {
        let Some(account) = name.as_deref().and_then(|name| by_name.get(name)) else { continue };
        let parent = parent.and_then(|parent| loaded.accounts[parent].as_deref()).unwrap_or_default();
        subsidiaries += usize::from(!parent.is_empty());
        wrong += usize::from(account.parent != parent);
    }
    story.check(
        "Each subsidiary hangs below the parent company that the file says",
        wrong == 0,
        &format!("{subsidiaries} subsidiaries, {wrong} wrong parents"),
    );
    let numbers: HashSet<&str> = accounts.iter().map(|account| account.number.as_str()).filter(|number| !number.is_empty()).collect();
    story.equal("Each account has an account number of its own", &numbers.len(), &accounts.len());

    let file = &loaded.prepared.accounts.file;
    let countries = loaded.prepared.mended.iter().filter(|cell| cell.file == *file && cell.column == "office_country");
    let mut client = AccountServiceClient::new(servers.contacts.clone());
    for cell in countries {
        let Some(row) = loaded.prepared.accounts.rows.iter().find(|row| row.line == cell.line) else { continue };
        let request = caller.request(LookupAccountRequest { system: SYSTEM.to_owned(), id: row.external_id.clone() }).await?;
        let account = answered(&format!("looking up {}", row.external_id), client.lookup_account(request).await)?;
        let office = account.addresses.first().and_then(|address| address.postal_address.as_ref()).map(|address| address.region_code.as_str());
        let detail = format!("{}: office in {}", account.display_name, office.unwrap_or("no country"));
        story.check(
            &format!("The company whose file says {} is found by its id there, with its office in {}", cell.before, cell.after),
            office == country_code(&cell.after),
            &detail,
        );
    }
    Ok(())
}

async fn filter_by_company(story: &mut Story, servers: &Servers, caller: &mut Caller, loaded: &Loaded) -> Result<(), Trouble> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for (name, account) in loaded.people.iter().zip(&loaded.prepared.account_of) {
        if let (Some(_), Some(account)) = (name, account) {
            *sizes.entry(*account).or_default() += 1;
        }
    }
    let Some((account, expected)) = sizes.into_iter().max_by_key(|(_, size)| *size) else { return Ok(()) };
    let Some(name) = loaded.accounts[account].as_deref() else { return Ok(()) };
    let found = contacts(servers, caller, &format!("accounts.account = \"{name}\""), LARGE_PAGE).await?;
    let company = &loaded.prepared.accounts.rows[account].name;
    story.equal(&format!("Filtered by company, the list holds everybody of {company}"), &found.len(), &expected);
    Ok(())
}

/// Mended sectors are found under the right word and under the wrong one no more.
async fn filter_by_sector(story: &mut Story, servers: &Servers, caller: &mut Caller, loaded: &Loaded) -> Result<(), Trouble> {
    let mut words: Vec<(&str, &str)> =
        loaded.prepared.mended.iter().filter(|cell| cell.column == "sector").map(|cell| (cell.before.as_str(), cell.after.as_str())).collect();
    words.sort_unstable();
    words.dedup();
    for (before, after) in words {
        let rows = loaded.prepared.accounts.rows.iter().zip(&loaded.accounts);
        let expected = rows.filter(|(row, name)| name.is_some() && row.sector.as_deref() == Some(after)).count();
        let right = accounts(servers, caller, &format!("sector = \"{after}\"")).await?.len();
        let wrong = accounts(servers, caller, &format!("sector = \"{before}\"")).await?.len();
        let statement = format!("Nobody has to search for the misspelt sector {before}: all of its companies are in {after}");
        story.check(&statement, wrong == 0 && right == expected, &format!("{right} found, {expected} expected, {wrong} under the wrong word"));
    }
    Ok(())
}

async fn filter_by_phone(story: &mut Story, servers: &Servers, caller: &mut Caller, people: &[Contact]) -> Result<(), Trouble> {
    let Some((contact, number)) = people.iter().find_map(|contact| Some((contact, phone(contact)?))) else { return Ok(()) };
    let found = contacts(servers, caller, &format!("person.contact_points.normalized = \"{number}\""), LARGE_PAGE).await?;
    let expected: HashSet<&str> = people.iter().filter(|other| phone(other) == Some(number)).map(|other| other.name.as_str()).collect();
    let holds = expected.contains(contact.name.as_str()) && found.iter().map(|contact| contact.name.as_str()).collect::<HashSet<&str>>() == expected;
    story.check(
        "When the telephone rings, the number finds who is calling",
        holds,
        &format!("{number}: {} of {} people", found.len(), expected.len()),
    );
    Ok(())
}
