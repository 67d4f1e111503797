//! No list, look-up or read scans a whole table, whoever asks: under row-level security a condition that is not
//! leakproof would, and nobody would notice before the table is large.

mod identity;

use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::account_service_client::AccountServiceClient;
use rapport_contacts_api::v1::contact_service_client::ContactServiceClient;
use rapport_contacts_api::v1::duplicate_service_client::DuplicateServiceClient;
use rapport_contacts_api::v1::export_service_client::ExportServiceClient;
use rapport_contacts_api::v1::merge_service_client::MergeServiceClient;
use rapport_contacts_api::v1::search_service_client::SearchServiceClient;
use rapport_kit::db::Logins;
use rapport_kit::testing::{self, Infra, Prefix, Subject, TestService, eventually};
use rapport_proto::common::v1::{ExternalId, GrantLevel};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use tonic::transport::Channel;

/// Large enough that the planner takes an index wherever it can.
const ROWS: i32 = 20_000;

const CONTACT_FILTERS: [&str; 12] = [
    "person.given_name = \"ada\"",
    "person.family_name = \"n77\"",
    "person.family_name = \"n7*\"",
    "person.language = \"tr\"",
    "person.contact_points.normalized = \"ada@example.com\"",
    "accounts.account = \"ACCOUNT\"",
    "owner = \"OWNER\"",
    "tags:vip",
    "external_ids.system = \"erp\"",
    "create_time > \"2026-01-01T00:00:00Z\"",
    "update_time < \"2026-01-01T00:00:00Z\"",
    "n77",
];
const CONTACT_ORDERS: [&str; 4] = ["person.family_name", "person.given_name desc", "create_time", "update_time desc"];
const ACCOUNT_FILTERS: [&str; 9] = [
    "display_name = \"n77\"",
    "number = \"1\"",
    "sector = \"medical\"",
    "parent = \"ACCOUNT\"",
    "owner = \"OWNER\"",
    "tags:vip",
    "contact_points.normalized = \"office@example.com\"",
    "external_ids.system = \"erp\"",
    "n77",
];
const SEARCHES: [&str; 6] = ["ada example", "Adda Exampel", "ada@exam", "020 7183", "exam", "nobody"];
const ACCOUNT_ORDERS: [&str; 4] = ["display_name", "number desc", "create_time", "update_time desc"];

#[tokio::test(flavor = "multi_thread")]
async fn no_list_and_no_look_up_scans_a_whole_table() {
    let mut service = TestService::start(&rapport_contacts::SERVICE).await;
    let tenant = service.identity.tenant();
    let top = service.identity.unit(tenant, None);
    let administrator = service.identity.administrator(tenant);
    let reads = ["contacts.contact.read", "contacts.account.read", "contacts.merge.read", "contacts.export.create"];
    let reads = service.identity.role(tenant, &reads, Vec::new());
    let levels = [GrantLevel::Own, GrantLevel::Team, GrantLevel::BusinessUnitSubtree];
    let readers: Vec<Subject> = levels.iter().map(|level| service.identity.user(tenant, Some(top), reads, *level)).collect();
    let (account, contact) = create(&service, &administrator).await;
    let merge = merge(&service, &administrator, &contact).await;
    merge_accounts(&service, &administrator, &account).await;
    eventually("the search index has taken both in", || async {
        let waiting: i64 = sqlx::query_scalar("select (select count(*) from search_queue) + (select count(*) from search_bulk)")
            .fetch_one(&mut owner(&service.logins).await)
            .await
            .expect("an answer");
        (waiting == 0).then_some(())
    })
    .await;
    // A small table is rightly scanned, so what was asked so far must not count: counters of a connection are
    // certain once it has ended.
    service.stop().await;
    all_ended(&service.logins, "contacts").await;
    let mut connection = owner(&service.logins).await;
    for (table, record, sort_key) in [("accounts", &account, "name_folded"), ("contacts", &contact, "family_folded")] {
        let reader = readers.first().expect("a reader").id;
        let owner = format!("case when g % 100 = 0 then '{reader}'::uuid else gen_random_uuid() end");
        multiply(&mut connection, table, record, &format!("'{sort_key}', 'n' || g, 'owner_id', {owner}")).await;
    }
    multiply(&mut connection, "merges", &merge, "'survivor_id', gen_random_uuid(), 'created_at', now() - g * interval '1 minute'").await;
    // Each copy has keys of its own, as other names would.
    let (_, id) = rapport_kit::name::split(&contact).expect("a record has a name");
    sqlx::query(
        "insert into search_doc select d.tenant_id, gen_random_uuid(), d.kind, d.version, d.owner_id, d.updated_at, array(select 100 * g + n from generate_series(1, 60) n)
         from search_doc d, generate_series(1, $2::bigint) g where d.record_id = $1",
    )
    .bind(id)
    .bind(i64::from(ROWS))
    .execute(&mut connection)
    .await
    .expect("copies of a row of the index");
    pair(&mut connection).await;
    sqlx::query("analyze").execute(&mut connection).await.expect("statistics");
    connection.close().await.expect("the connection closes");

    let tables = ["public.accounts", "public.contacts", "public.duplicate_keys", "public.duplicate_pairs", "public.merges", "public.search_doc"];
    let before = scans(&service.logins, &tables).await;
    let infra = Infra::from_environment();
    let names = Prefix::new(&infra, &["contacts"]);
    let running = testing::run(&rapport_contacts::SERVICE, &infra, &service.logins, &service.identity.address, names.text()).await;
    for caller in readers.iter().chain([&administrator]) {
        ask(&testing::channel(&running), caller, &account, &contact).await;
    }
    bring_back(&testing::channel(&running), &administrator, &contact).await;
    running.stop().await;
    all_ended(&service.logins, "contacts").await;
    assert_eq!(scans(&service.logins, &tables).await, before, "tables that were scanned as a whole, and how often, against before");
}

/// Waits for the end of the connections of `service`: only then are their counters certain.
async fn all_ended(logins: &Logins, service: &str) {
    eventually("the service's connections have ended", || async {
        let query = "select count(*) from pg_stat_activity where datname = current_database() and usename like $1 || '%'";
        let open: i64 = sqlx::query_scalar(query).bind(service).fetch_one(&mut owner(logins).await).await.expect("an answer");
        (open == 0).then_some(())
    })
    .await;
}

async fn create(service: &TestService, who: &Subject) -> (String, String) {
    let external_ids = |id: &str| vec![ExternalId { system: "erp".to_owned(), id: id.to_owned() }];
    let account = contacts::Account {
        display_name: "Example".to_owned(),
        kind: contacts::account::Kind::Organisation.into(),
        external_ids: external_ids("A1"),
        tags: vec!["vip".to_owned()],
        ..contacts::Account::default()
    };
    let request = contacts::CreateAccountRequest { account: Some(account) };
    let account = AccountServiceClient::new(service.channel.clone()).create_account(who.request(request)).await.expect("an account").into_inner();
    let email = contacts::ContactPoint {
        kind: contacts::contact_point::Kind::Email.into(),
        value: "ada@example.com".to_owned(),
        ..contacts::ContactPoint::default()
    };
    let person = contacts::Person {
        given_name: "Ada".to_owned(),
        family_name: "Example".to_owned(),
        contact_points: vec![email],
        ..contacts::Person::default()
    };
    let contact = contacts::Contact {
        person: Some(person),
        accounts: vec![contacts::AccountRole { account: account.name.clone(), ..contacts::AccountRole::default() }],
        external_ids: external_ids("C1"),
        tags: vec!["vip".to_owned()],
        ..contacts::Contact::default()
    };
    let request = contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false };
    let contact = ContactServiceClient::new(service.channel.clone()).create_contact(who.request(request)).await.expect("a contact").into_inner();
    (account.name, contact.name)
}

/// Merges another contact of the same name into `survivor`, which has an id of the same system.
async fn merge(service: &TestService, who: &Subject, survivor: &str) -> String {
    let person = contacts::Person { family_name: "Example".to_owned(), ..contacts::Person::default() };
    let external_ids = vec![ExternalId { system: "erp".to_owned(), id: "C2".to_owned() }];
    let contact = contacts::Contact { person: Some(person), external_ids, ..contacts::Contact::default() };
    let request = contacts::CreateContactRequest { contact: Some(contact), ..Default::default() };
    let loser = ContactServiceClient::new(service.channel.clone()).create_contact(who.request(request)).await.expect("a contact").into_inner().name;
    let request = contacts::MergeContactsRequest { survivor: survivor.to_owned(), loser, ..contacts::MergeContactsRequest::default() };
    MergeServiceClient::new(service.channel.clone()).merge_contacts(who.request(request)).await.expect("a merge").into_inner().name
}

/// The same for accounts.
async fn merge_accounts(service: &TestService, who: &Subject, survivor: &str) {
    let external_ids = vec![ExternalId { system: "erp".to_owned(), id: "A2".to_owned() }];
    let account = contacts::Account { display_name: "Example".to_owned(), external_ids, ..contacts::Account::default() };
    let request = contacts::CreateAccountRequest { account: Some(account) };
    let loser = AccountServiceClient::new(service.channel.clone()).create_account(who.request(request)).await.expect("an account").into_inner().name;
    let request = contacts::MergeAccountsRequest { survivor: survivor.to_owned(), loser, ..contacts::MergeAccountsRequest::default() };
    MergeServiceClient::new(service.channel.clone()).merge_accounts(who.request(request)).await.expect("a merge");
}

/// Looks for merges of its accounts that were taken back while the contact lay in the bin.
async fn bring_back(channel: &Channel, who: &Subject, contact: &str) {
    let mut people = ContactServiceClient::new(channel.clone());
    let request = contacts::DeleteContactRequest { name: contact.to_owned(), etag: String::new() };
    people.delete_contact(who.request(request)).await.expect("in the bin");
    let request = contacts::UndeleteContactRequest { name: contact.to_owned(), etag: String::new() };
    people.undelete_contact(who.request(request)).await.expect("back from the bin");
}

/// Every kind of reading, with every filter and order.
async fn ask(channel: &Channel, who: &Subject, account: &str, contact: &str) {
    let spelled = |filter: &str| filter.replace("ACCOUNT", account).replace("OWNER", &who.name());
    let mut people = ContactServiceClient::new(channel.clone());
    for (filter, order) in CONTACT_FILTERS.iter().map(|filter| (*filter, "")).chain(CONTACT_ORDERS.iter().map(|order| ("", *order))) {
        let request = contacts::ListContactsRequest { page_size: 20, filter: spelled(filter), order_by: order.to_owned(), ..Default::default() };
        people.list_contacts(who.request(request)).await.unwrap_or_else(|status| panic!("{filter} {order}: {status:?}"));
    }
    let _ = people.get_contact(who.request(contacts::GetContactRequest { name: contact.to_owned(), as_of: None })).await;
    let names = vec![contact.to_owned()];
    people.batch_get_contacts(who.request(contacts::BatchGetContactsRequest { names })).await.expect("a batch");
    let _ = people.lookup_contact(who.request(contacts::LookupContactRequest { system: "erp".to_owned(), id: "C1".to_owned() })).await;
    // An id that leads from a merged account to the one that goes on, and from a merged contact.
    let mut firms = AccountServiceClient::new(channel.clone());
    let _ = firms.lookup_account(who.request(contacts::LookupAccountRequest { system: "erp".to_owned(), id: "A2".to_owned() })).await;
    let _ = people.lookup_contact(who.request(contacts::LookupContactRequest { system: "erp".to_owned(), id: "C2".to_owned() })).await;
    let mut merges = MergeServiceClient::new(channel.clone());
    for (filter, order) in [(format!("survivor = \"{contact}\""), ""), (format!("loser = \"{contact}\""), ""), (String::new(), "create_time")] {
        let request = contacts::ListMergesRequest { page_size: 20, filter, order_by: order.to_owned(), ..contacts::ListMergesRequest::default() };
        merges.list_merges(who.request(request)).await.expect("a list of merges");
    }
    let mut search = SearchServiceClient::new(channel.clone());
    for query in SEARCHES {
        let request = contacts::SearchRecordsRequest { query: query.to_owned(), ..contacts::SearchRecordsRequest::default() };
        search.search_records(who.request(request)).await.unwrap_or_else(|status| panic!("{query}: {status:?}"));
    }
    let mut duplicates = DuplicateServiceClient::new(channel.clone());
    let person = contacts::Person { given_name: "Ada".to_owned(), family_name: "Example".to_owned(), ..contacts::Person::default() };
    let record = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
    let request = contacts::FindDuplicatesRequest { record: Some(contacts::find_duplicates_request::Record::Contact(record)) };
    duplicates.find_duplicates(who.request(request)).await.expect("nothing or something");
    for record in ["", contact] {
        let request =
            contacts::ListDuplicatePairsRequest { page_size: 20, record: record.to_owned(), ..contacts::ListDuplicatePairsRequest::default() };
        duplicates.list_duplicate_pairs(who.request(request)).await.unwrap_or_else(|status| panic!("pairs of {record:?}: {status:?}"));
    }
    let mut companies = AccountServiceClient::new(channel.clone());
    for (filter, order) in ACCOUNT_FILTERS.iter().map(|filter| (*filter, "")).chain(ACCOUNT_ORDERS.iter().map(|order| ("", *order))) {
        let request = contacts::ListAccountsRequest { page_size: 20, filter: spelled(filter), order_by: order.to_owned(), ..Default::default() };
        companies.list_accounts(who.request(request)).await.unwrap_or_else(|status| panic!("{filter} {order}: {status:?}"));
    }
    let mut exports = ExportServiceClient::new(channel.clone());
    let columns = vec!["Record".to_owned()];
    let options = contacts::ExportOptions { format: contacts::ExportFormat::Csv.into(), columns, ..contacts::ExportOptions::default() };
    let request = contacts::ExportContactsRequest { options: Some(options.clone()) };
    let mut stream = exports.export_contacts(who.request(request)).await.expect("an export").into_inner();
    while stream.message().await.expect("a piece").is_some() {}
    let mut stream =
        exports.export_accounts(who.request(contacts::ExportAccountsRequest { options: Some(options) })).await.expect("an export").into_inner();
    while stream.message().await.expect("a piece").is_some() {}
    let _ = companies.get_account(who.request(contacts::GetAccountRequest { name: account.to_owned(), as_of: None })).await;
    let _ = companies.lookup_account(who.request(contacts::LookupAccountRequest { system: "erp".to_owned(), id: "A1".to_owned() })).await;
}

/// Many copies of one row, each with another id and with `changes`: names and values, of which `g` is the number.
async fn multiply(connection: &mut PgConnection, table: &str, record: &str, changes: &str) {
    let (_, id) = rapport_kit::name::split(record).expect("a record has a name");
    let statement = format!(
        "insert into {table} select (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), {changes}))).*
         from {table} r, generate_series(1, $2) g where r.id = $1"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement)).bind(id).bind(ROWS).execute(connection).await.expect("copies of a row");
}

/// Each contact makes a pair with the next one, and has keys of its own. What was copied is not compared.
async fn pair(connection: &mut PgConnection) {
    for statement in [
        "truncate duplicate_queue, duplicate_bulk",
        "insert into duplicate_keys select tenant_id, hashtextextended(id::text || n, 0), id from contacts, generate_series(1, 8) n",
        "insert into duplicate_pairs (tenant_id, id, version, kind, first_id, second_id, score, reasons, state, gone, created_at)
           select one.tenant_id, gen_random_uuid(), 0, 2, one.id, other.id, 48 + one.n % 50, '[]', 1, false, now()
           from (select tenant_id, id, row_number() over (order by id) n from contacts) one
             join (select id, row_number() over (order by id) n from contacts) other on other.n = one.n + 1",
    ] {
        sqlx::query(statement).execute(&mut *connection).await.expect("pairs of copies");
    }
}

async fn owner(logins: &Logins) -> PgConnection {
    let admin = Infra::from_environment().postgres;
    let (base, _) = admin.expose_secret().rsplit_once('/').expect("an address names a database");
    let database = logins.app.expose_secret().rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("an address names a database");
    PgConnection::connect(&format!("{base}/{database}")).await.expect("the servers' owner may connect")
}

/// How often each of the large tables was scanned as a whole.
async fn scans(logins: &Logins, tables: &[&str]) -> Vec<(String, i64)> {
    let query = "select schemaname || '.' || relname, seq_scan from pg_stat_user_tables where schemaname || '.' || relname = any($1) order by 1";
    sqlx::query_as(query).bind(tables).fetch_all(&mut owner(logins).await).await.expect("counters")
}
