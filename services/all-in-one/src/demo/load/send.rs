//! The calls that load: batch by batch, each entry with an outcome of its own.

use std::time::Instant;

use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::upsert_account_result::{Outcome as AccountOutcome, Result as AccountResult};
use rapport_contacts_api::v1::upsert_contact_result::{Outcome as ContactOutcome, Result as ContactResult};
use rapport_contacts_api::v1::{BatchUpsertAccountsRequest, BatchUpsertContactsRequest, UpsertAccountResult, UpsertContactResult};
use rapport_proto::google_rpc;
use rapport_sample::{Problem, phone_for};
use tonic::transport::Channel;

use super::{Loaded, Round};
use crate::demo::clients::{Caller, Servers, Trouble, answered, described, entry_refusal};
use crate::demo::organisation::Organisation;
use crate::demo::rows;
use crate::demo::story::Story;

/// Entries of one call.
const BATCH: usize = 500;

/// Sends rows as the administrator.
pub(super) struct Sender<'a> {
    accounts: AccountServiceClient<Channel>,
    contacts: ContactServiceClient<Channel>,
    administrator: &'a mut Caller,
    entities: &'a [String],
    /// Representatives as `users/{uuid}`, with the index of their region.
    owners: Vec<(String, usize)>,
}

/// What became of one entry: the record's name and what was done, or why nothing was.
type Done = Result<(String, What), String>;

#[derive(Debug, Clone, Copy)]
enum What {
    Created,
    Updated,
    Unchanged,
}

impl<'a> Sender<'a> {
    pub(super) fn new(servers: &Servers, organisation: &'a mut Organisation) -> Self {
        let owner = |member: &crate::demo::organisation::Member| (member.caller.name.clone(), member.region.unwrap_or(0));
        Self {
            accounts: AccountServiceClient::new(servers.contacts.clone()),
            contacts: ContactServiceClient::new(servers.contacts.clone()),
            owners: organisation.representatives.iter().map(owner).collect(),
            administrator: &mut organisation.administrator,
            entities: &organisation.entities,
        }
    }

    /// Sends every account once, parents first.
    pub(super) async fn accounts(&mut self, story: &Story, loaded: &mut Loaded) -> Result<Round, Trouble> {
        let order = loaded.prepared.parents_first();
        let file = loaded.prepared.accounts.file.clone();
        let mut round = Round::default();
        let mut settled = vec![false; order.len()];
        let begun = Instant::now();
        let mut next = 0;
        while next < order.len() {
            let mut batch = Vec::new();
            while next < order.len() && batch.len() < BATCH {
                let index = order[next];
                match loaded.prepared.parents[index] {
                    // The parent is in this very batch; its name is known after the call.
                    Some(parent) if !settled[parent] => break,
                    Some(parent) if loaded.accounts[parent].is_none() => {
                        round.refused.push(refusal(
                            &file,
                            loaded.prepared.accounts.rows[index].line,
                            "its owner was refused by the service".to_owned(),
                        ));
                        settled[index] = true;
                    }
                    _ => batch.push(index),
                }
                next += 1;
            }
            let done = self.send_accounts(loaded, &batch).await?;
            for (index, done) in batch.into_iter().zip(done) {
                settled[index] = true;
                loaded.accounts[index] = round.note(&file, loaded.prepared.accounts.rows[index].line, done);
            }
            story.progress("accounts", next, order.len(), begun.elapsed());
        }
        round.elapsed = begun.elapsed();
        Ok(round)
    }

    /// Sends every person once.
    pub(super) async fn people(&mut self, story: &Story, loaded: &mut Loaded) -> Result<Round, Trouble> {
        let file = loaded.prepared.people.file.clone();
        let total = loaded.prepared.people.rows.len();
        let mut round = Round::default();
        let begun = Instant::now();
        for start in (0..total).step_by(BATCH) {
            let end = (start + BATCH).min(total);
            let homeless = |index: &usize| loaded.prepared.account_of[*index].is_some_and(|account| loaded.accounts[account].is_none());
            let (refused, batch): (Vec<usize>, Vec<usize>) = (start..end).partition(homeless);
            for index in refused {
                round.refused.push(refusal(&file, loaded.prepared.people.rows[index].line, "the account was refused by the service".to_owned()));
            }
            let done = self.send_people(loaded, &batch).await?;
            for (index, done) in batch.into_iter().zip(done) {
                loaded.people[index] = round.note(&file, loaded.prepared.people.rows[index].line, done);
            }
            story.progress("people", end, total, begun.elapsed());
        }
        round.elapsed = begun.elapsed();
        Ok(round)
    }

    async fn send_accounts(&mut self, loaded: &Loaded, batch: &[usize]) -> Result<Vec<Done>, Trouble> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let entry = |index: &usize| {
            let (owner, region) = &self.owners[loaded.account_owners[*index]];
            let parent = loaded.prepared.parents[*index].and_then(|parent| loaded.accounts[parent].as_deref());
            rows::account(&loaded.prepared.accounts.rows[*index], owner, &self.entities[*region], parent.unwrap_or_default())
        };
        let request = BatchUpsertAccountsRequest { accounts: batch.iter().map(entry).collect(), atomic: false };
        let request = self.administrator.request(request).await?;
        let results = answered("loading accounts", self.accounts.batch_upsert_accounts(request).await)?.results;
        complete("loading accounts", results.into_iter().map(account_done).collect(), batch)
    }

    async fn send_people(&mut self, loaded: &Loaded, batch: &[usize]) -> Result<Vec<Done>, Trouble> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let entry = |index: &usize| {
            let row = &loaded.prepared.people.rows[*index];
            let (owner, _) = &self.owners[loaded.person_owners[*index]];
            let account = loaded.prepared.account_of[*index].and_then(|account| loaded.accounts[account].as_deref());
            rows::contact(row, phone_for(row, &loaded.prepared.phones.rows), owner, account)
        };
        let request = BatchUpsertContactsRequest { contacts: batch.iter().map(entry).collect(), atomic: false, allow_duplicates: false };
        let request = self.administrator.request(request).await?;
        let results = answered("loading people", self.contacts.batch_upsert_contacts(request).await)?.results;
        complete("loading people", results.into_iter().map(contact_done).collect(), batch)
    }
}

impl Round {
    /// Counts what became of a row; answers the record's name.
    fn note(&mut self, file: &str, line: u64, done: Done) -> Option<String> {
        match done {
            Ok((name, what)) => {
                match what {
                    What::Created => self.created += 1,
                    What::Updated => self.updated += 1,
                    What::Unchanged => self.unchanged += 1,
                }
                Some(name)
            }
            Err(reason) => {
                self.refused.push(refusal(file, line, reason));
                None
            }
        }
    }
}

/// Results are matched by their place, so there must be one for each entry.
fn complete(doing: &str, done: Vec<Done>, batch: &[usize]) -> Result<Vec<Done>, Trouble> {
    if done.len() != batch.len() {
        return Err(Trouble::new(doing, format!("{} results for {} entries", done.len(), batch.len())));
    }
    Ok(done)
}

fn account_done(result: UpsertAccountResult) -> Done {
    let what = match result.outcome() {
        AccountOutcome::Created => Some(What::Created),
        AccountOutcome::Updated => Some(What::Updated),
        AccountOutcome::Unchanged => Some(What::Unchanged),
        AccountOutcome::Failed | AccountOutcome::Unspecified => None,
    };
    match result.result {
        Some(AccountResult::Account(account)) => what.map(|what| (account.name, what)).ok_or_else(|| "a record without an outcome".to_owned()),
        Some(AccountResult::Error(error)) => Err(why(&error)),
        None => Err("no result".to_owned()),
    }
}

fn contact_done(result: UpsertContactResult) -> Done {
    let what = match result.outcome() {
        ContactOutcome::Created => Some(What::Created),
        ContactOutcome::Updated => Some(What::Updated),
        ContactOutcome::Unchanged => Some(What::Unchanged),
        ContactOutcome::Failed | ContactOutcome::Unspecified => None,
    };
    match result.result {
        Some(ContactResult::Contact(contact)) => what.map(|what| (contact.name, what)).ok_or_else(|| "a record without an outcome".to_owned()),
        Some(ContactResult::Error(error)) => Err(why(&error)),
        None => Err("no result".to_owned()),
    }
}

fn why(error: &google_rpc::Status) -> String {
    described(&entry_refusal(error))
}

fn refusal(file: &str, line: u64, reason: String) -> Problem {
    Problem { file: file.to_owned(), line, column: String::new(), value: String::new(), reason }
}
