//! Fills tables with copies of one account and one contact that were made through the public interface.
//!
//! Guarantees: copies stand in every table in which the service wrote something for the original, look-up
//! tables included, so that a new table needs nothing here. Each has an id, a number and an owner of its own. The
//! search index is left out: the service makes it of the copies when a search is measured.
//! A change of journal and outbox is not made up: loading is no command.

use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::{
    Account, AccountRole, Address, Contact, ContactPoint, CreateAccountRequest, CreateContactRequest, Person, address, contact_point,
};
use rapport_kit::name;
use rapport_proto::common::v1::ExternalId;
use rapport_proto::google_type::{Date, PostalAddress};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use uuid::Uuid;

use crate::report::note;
use crate::stage::{Program, Stage};
use crate::world::{World, with};
use crate::{Outcome, trouble};

/// Stands in the originals wherever copies carry their number.
const MARK: &str = "5550005550";

/// Makes `contacts` contacts of `accounts` accounts.
pub(crate) async fn fill(stage: &Stage, world: &World, program: &Program, contacts: u64, accounts: u64) -> Outcome<()> {
    note(&format!("loading {contacts} contacts and {accounts} accounts into {}", program.database));
    let (account, contact) = originals(world, program).await?;
    let mut database = stage.superuser(program).await?;
    database.execute("set synchronous_commit = off").await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name from information_schema.columns join information_schema.tables using (table_schema, table_name)
         where table_schema = 'public' and column_name = 'tenant_id' and table_type = 'BASE TABLE' and table_name not like 'search%'
           and table_name not like 'duplicate%' order by 1",
    )
    .fetch_all(&mut database)
    .await?;
    let own = |id: Uuid| format!("%{id}%");
    for table in &tables {
        let of_account = Copies { table, like: own(account), unlike: own(contact), rows: accounts, accounts, contacts };
        of_account.make(&mut database, world, account, contact).await?;
    }
    for table in &tables {
        let of_contact = Copies { table, like: own(contact), unlike: String::new(), rows: contacts, accounts, contacts };
        of_contact.make(&mut database, world, account, contact).await?;
    }
    // Nobody measures a service that compares a million copies of one record with each other.
    database.execute("truncate duplicate_queue, duplicate_bulk").await?;
    for table in &tables {
        database.execute(AssertSqlSafe(format!("vacuum analyze {table}"))).await?;
    }
    database.execute("checkpoint").await?;
    Ok(())
}

/// Copies of the rows of one original in one table.
struct Copies<'a> {
    table: &'a str,
    /// Rows to copy mention this and not that.
    like: String,
    unlike: String,
    rows: u64,
    accounts: u64,
    contacts: u64,
}

impl Copies<'_> {
    /// A row goes through its JSON, in which ids and the mark are exchanged. 7919 spreads numbers, and with
    /// them the order of names, over the order in which the rows are written.
    async fn make(&self, database: &mut PgConnection, world: &World, account: Uuid, contact: Uuid) -> Outcome<()> {
        let table = self.table;
        let statement = format!(
            "insert into {table}
             select copy.* from (select to_jsonb(t)::text as original from {table} t) t cross join generate_series(1::bigint, $1) g
             cross join lateral jsonb_populate_record(null::{table}, replace(replace(replace(replace(t.original,
               $4, '0190a000-0000-7000-8000-' || lpad(to_hex(g), 12, '0')),
               $5, '0190a000-0000-7000-9000-' || lpad(to_hex(case when $10 then g else 1 + g % $7 end), 12, '0')),
               '{MARK}', lpad((g * 7919 % $6)::text, 10, '0')),
               $8, ($9::text[])[1 + g % cardinality($9::text[])])::jsonb) copy
             where t.original like $2 and t.original not like $3"
        );
        let owners: Vec<String> = world.owners.iter().map(Uuid::to_string).collect();
        let is_account = !self.unlike.is_empty();
        sqlx::query(AssertSqlSafe(statement))
            .bind(i64::try_from(self.rows)?)
            .bind(&self.like)
            .bind(&self.unlike)
            .bind(contact.to_string())
            .bind(account.to_string())
            .bind(i64::try_from(if is_account { self.accounts } else { self.contacts })?)
            .bind(i64::try_from(self.accounts)?)
            .bind(owners.first().cloned().unwrap_or_default())
            .bind(owners)
            .bind(is_account)
            .execute(database)
            .await?;
        Ok(())
    }
}

/// An account and a contact of it, made by an administrator and owned by the first owner.
async fn originals(world: &World, program: &Program) -> Outcome<(Uuid, Uuid)> {
    let channel = program.channel().await?;
    let token = world.administrator().await?;
    let owner = world.owners.first().map(|owner| format!("users/{owner}")).unwrap_or_default();
    let account = Account {
        display_name: format!("N{MARK} Trading"),
        sector: "wholesale".to_owned(),
        owner: owner.clone(),
        external_ids: vec![ExternalId { system: "erp".to_owned(), id: format!("a{MARK}") }],
        ..Account::default()
    };
    let request = CreateAccountRequest { account: Some(account) };
    let account = AccountServiceClient::new(channel.clone()).create_account(with(&token, request)).await?.into_inner().name;
    let contact = Contact {
        person: Some(person()),
        accounts: vec![AccountRole { account: account.clone(), role: "buyer".to_owned(), primary: true, ..AccountRole::default() }],
        owner,
        external_ids: vec![ExternalId { system: "erp".to_owned(), id: format!("c{MARK}") }],
        tags: vec!["newsletter".to_owned(), "trade fair".to_owned()],
        ..Contact::default()
    };
    let request = CreateContactRequest { contact: Some(contact), allow_duplicates: false };
    let contact = ContactServiceClient::new(channel).create_contact(with(&token, request)).await?.into_inner().name;
    let id = |name: &str| name::split(name).map(|(_, id)| id).ok_or_else(|| trouble(format!("{name} names no record")));
    Ok((id(&account)?, id(&contact)?))
}

fn person() -> Person {
    let point = |kind: contact_point::Kind, value: String| ContactPoint { kind: kind.into(), value, label: "work".to_owned(), ..Default::default() };
    let postal_address = PostalAddress {
        region_code: "GB".to_owned(),
        postal_code: "LS1 4AP".to_owned(),
        locality: "Leeds".to_owned(),
        address_lines: vec![format!("{MARK} Wellington Street")],
        ..PostalAddress::default()
    };
    Person {
        given_name: "Hana".to_owned(),
        family_name: format!("N{MARK}"),
        language: "en-GB".to_owned(),
        birth_date: Some(Date { year: 1987, month: 5, day: 14 }),
        job_title: "Head of purchasing".to_owned(),
        contact_points: vec![
            point(contact_point::Kind::Email, format!("p{MARK}@bench.example")),
            point(contact_point::Kind::Phone, "+442071838750".to_owned()),
        ],
        addresses: vec![Address { kind: address::Kind::Work.into(), postal_address: Some(postal_address), primary: true }],
        ..Person::default()
    }
}
