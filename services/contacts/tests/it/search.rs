//! Search: what finds a record, what does not, and who finds it.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::contact_point::Kind;
use rapport_contacts_api::v1::search_result::Record;
use rapport_contacts_api::v1::search_service_client::SearchServiceClient;
use rapport_kit::testing::{Subject, eventually};
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::{Code, Status};

use crate::support::{Desk, reading, refusal, violation};

fn person(given_name: &str, family_name: &str, points: Vec<pb::ContactPoint>) -> pb::Contact {
    let person =
        pb::Person { given_name: given_name.to_owned(), family_name: family_name.to_owned(), contact_points: points, ..pb::Person::default() };
    pb::Contact { person: Some(person), ..pb::Contact::default() }
}

fn point(kind: Kind, value: &str) -> pb::ContactPoint {
    pb::ContactPoint { kind: kind.into(), value: value.to_owned(), ..pb::ContactPoint::default() }
}

async fn account(desk: &Desk, account: pb::Account) -> pb::Account {
    let request = pb::CreateAccountRequest { account: Some(account) };
    desk.accounts().create_account(desk.clerk.request(request)).await.expect("an account").into_inner()
}

async fn ask(desk: &Desk, who: &Subject, request: pb::SearchRecordsRequest) -> Result<pb::SearchRecordsResponse, Status> {
    let mut client = SearchServiceClient::new(desk.service.channel.clone());
    Ok(client.search_records(who.request(request)).await?.into_inner())
}

/// Names of what somebody finds, in order.
async fn found(desk: &Desk, who: &Subject, query: &str) -> Vec<String> {
    let request = pb::SearchRecordsRequest { query: query.to_owned(), ..pb::SearchRecordsRequest::default() };
    let results = ask(desk, who, request).await.unwrap_or_else(|status| panic!("{query}: {status:?}")).results;
    let name = |result: pb::SearchResult| match result.record {
        Some(Record::Account(account)) => account.name,
        Some(Record::Contact(contact)) => contact.name,
        None => panic!("{query}: a result without a record"),
    };
    results.into_iter().map(name).collect()
}

/// Waits until everything that was written is in the index.
async fn indexed(desk: &Desk) {
    eventually("nothing waits for the index", async || {
        let waiting: i64 = sqlx::query_scalar("select (select count(*) from search_queue) + (select count(*) from search_bulk)")
            .fetch_one(&mut desk.superuser().await)
            .await
            .expect("an answer");
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_case_accents_and_points_do_not_keep_a_person_from_being_found() {
    let desk = Desk::open().await;
    let mut names = Vec::new();
    for (given, family) in [("John", "Smith"), ("Işıl", "İstanbullu"), ("Jürgen", "Müller-Lüdenscheidt"), ("שָׁלוֹם", "כהן"), ("太郎", "山田")]
    {
        names.push(desk.create(person(given, family, Vec::new())).await.unwrap().name);
    }
    indexed(&desk).await;
    for (query, index) in [
        ("Jonh Smiht", 0),
        ("jon smith", 0),
        ("smith, JOHN", 0),
        ("joh smi", 0),
        ("ISTANBULLU", 1),
        ("ıstanbullu", 1),
        ("İSTANBULLU", 1),
        ("isil istan", 1),
        ("Mueller", 2),
        ("muller ludenscheidt", 2),
        ("mullerludenscheidt", 2),
        ("jurgen MÜL", 2),
        ("שלום", 3),
        ("שָׁלוֹם כהן", 3),
        ("כהנ", 3),
        ("山田太郎", 4),
    ] {
        assert_eq!(found(&desk, &desk.clerk, query).await, [names[index].clone()], "{query}");
    }
    for query in ["Mary", "John Miller", "Smith Jane", "דוד"] {
        assert!(found(&desk, &desk.clerk, query).await.is_empty(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_number_is_found_however_it_is_written() {
    let desk = Desk::open().await;
    let phone = |value: &str, region: &str| pb::ContactPoint { region: region.to_owned(), ..point(Kind::Phone, value) };
    let berlin = desk.create(person("Ada", "", vec![phone("+49 30 1234567", "")])).await.unwrap().name;
    let mobile = desk.create(person("Ben", "", vec![phone("0171 2345678", "DE")])).await.unwrap().name;
    indexed(&desk).await;
    for query in ["+49 (30) 1234-567", "0049 30 1234567", "49301234567", "030/1234567", "+49 (0)30 1234567", "030 12", "+4930", "4567", "301234567"] {
        assert_eq!(found(&desk, &desk.clerk, query).await, std::slice::from_ref(&berlin), "{query}");
    }
    for query in ["0049 171 23", "0171", "+49 171 2345678", "5678"] {
        assert_eq!(found(&desk, &desk.clerk, query).await, std::slice::from_ref(&mobile), "{query}");
    }
    assert_eq!(found(&desk, &desk.clerk, "1234567").await, [mobile, berlin], "digits in a row of both");
    for query in ["030 1234568", "+44 30 1234567", "0172"] {
        assert!(found(&desk, &desk.clerk, query).await.is_empty(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_address_on_the_net_is_enough() {
    let desk = Desk::open().await;
    let points = vec![
        point(Kind::Email, "jsmith.lovelace@Analytical.example"),
        point(Kind::Email, "kd20160498x@customers.example"),
        point(Kind::Chat, "@Countess"),
        point(Kind::Web, "https://engine.example/ada"),
    ];
    let name = desk.create(person("Ada", "", points)).await.unwrap().name;
    indexed(&desk).await;
    for query in [
        "jsmith.lovelace@analytical.example",
        "smith",
        "LOVELACE@ana",
        "@analytical.example",
        "vela",
        "countess",
        "untes",
        "engine.example",
        "engine/ada",
        "lytical",
        "kd2016",
        "160",
        "1604",
        "20160498",
        "160498",
        "0498x",
    ] {
        assert_eq!(found(&desk, &desk.clerk, query).await, std::slice::from_ref(&name), "{query}");
    }
    for query in ["smythe@analytical.example", "analyticals", "jsmitt", "160489", "201604981", "2016049812", "0020160498"] {
        assert!(found(&desk, &desk.clerk, query).await.is_empty(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_people_are_found_at_once_the_closest_first_and_the_latest_of_equals() {
    let desk = Desk::open().await;
    let earlier = desk.create(person("Anna", "Meyer", Vec::new())).await.unwrap().name;
    let longer = desk.create(person("Ben", "Meyerhoff", Vec::new())).await.unwrap().name;
    let slip = desk.create(person("Cem", "Meier", Vec::new())).await.unwrap().name;
    let company = account(&desk, pb::Account { display_name: "Meyer Werft".to_owned(), ..pb::Account::default() }).await;
    let later = desk.create(person("Dan", "Meyer", Vec::new())).await.unwrap().name;
    indexed(&desk).await;
    let all = [later.clone(), company.name.clone(), earlier.clone(), longer, slip];
    assert_eq!(found(&desk, &desk.clerk, "meyer").await, all);
    assert_eq!(found(&desk, &desk.clerk, &company.number).await, std::slice::from_ref(&company.name));
    // A change makes a record the latest.
    desk.tag(&earlier, "vip", None).await.unwrap();
    indexed(&desk).await;
    assert_eq!(found(&desk, &desk.clerk, "meyer").await.first(), Some(&earlier));
    for (collections, expected) in [(vec!["accounts"], 1), (vec!["contacts"], 4), (vec!["accounts", "contacts"], 5)] {
        let collections: Vec<String> = collections.into_iter().map(str::to_owned).collect();
        let request = pb::SearchRecordsRequest { query: "meyer".to_owned(), collections, ..pb::SearchRecordsRequest::default() };
        assert_eq!(ask(&desk, &desk.clerk, request).await.unwrap().results.len(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_renamed_deleted_or_brought_back_is_found_as_it_is_now() {
    let desk = Desk::open().await;
    let contact = desk.create(person("Ada", "Byron", Vec::new())).await.unwrap();
    let finds = async |query: &str, expected: bool| {
        eventually(&format!("{query} is found: {expected}"), async || (found(&desk, &desk.clerk, query).await.is_empty() != expected).then_some(()))
            .await;
    };
    finds("byron", true).await;
    let renamed = pb::Contact { name: contact.name.clone(), ..person("", "Lovelace", Vec::new()) };
    let request = pb::UpdateContactRequest { contact: Some(renamed), update_mask: None, allow_duplicates: false };
    desk.contacts().update_contact(desk.clerk.request(request)).await.unwrap();
    finds("lovelace", true).await;
    assert!(found(&desk, &desk.clerk, "byron").await.is_empty());
    let request = pb::DeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    desk.contacts().delete_contact(desk.clerk.request(request)).await.unwrap();
    assert!(found(&desk, &desk.clerk, "lovelace").await.is_empty(), "what is in the bin is not shown, though the index may lag behind");
    indexed(&desk).await;
    assert!(found(&desk, &desk.clerk, "lovelace").await.is_empty());
    let request = pb::UndeleteContactRequest { name: contact.name.clone(), etag: String::new() };
    desk.contacts().undelete_contact(desk.clerk.request(request)).await.unwrap();
    finds("lovelace", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_by_a_field_that_the_caller_does_not_see() {
    let desk = Desk::open().await;
    let name = desk.create(person("Ada", "Lovelace", vec![point(Kind::Email, "countess@engine.example"), point(Kind::Phone, "+442071838750")])).await;
    let name = name.unwrap().name;
    indexed(&desk).await;
    let identity = &desk.service.identity;
    let bound = |path: &str, effect: FieldEffect| {
        let rule = FieldRule { resource: "contacts.contact".to_owned(), field: path.to_owned(), effect: effect.into() };
        identity.user(desk.tenant, None, identity.role(desk.tenant, &["*"], vec![rule]), GrantLevel::All)
    };
    for (path, effect, closed, open) in [
        ("person.family_name", FieldEffect::Hidden, vec!["lovelace", "l", "lovelaec", "ada lovelace"], vec!["ada", "countess"]),
        ("person.given_name", FieldEffect::Masked, vec!["ada", "a", "ad"], vec!["lovelace"]),
        ("person.contact_points.value", FieldEffect::Masked, vec!["countess", "unte", "engine", "020 7183", "8750"], vec!["ada"]),
        ("person.contact_points.normalized", FieldEffect::Hidden, vec!["countess", "+442071838750"], vec!["ada"]),
        ("person.contact_points", FieldEffect::Hidden, vec!["countess", "+442071838750"], vec!["ada"]),
        ("person", FieldEffect::Hidden, vec!["ada", "lovelace", "countess"], vec![]),
        ("person.family_name", FieldEffect::ReadOnly, vec![], vec!["lovelace"]),
    ] {
        let who = bound(path, effect);
        for query in closed {
            assert!(found(&desk, &who, query).await.is_empty(), "{query} under a rule on {path}");
        }
        for query in open {
            assert_eq!(found(&desk, &who, query).await, std::slice::from_ref(&name), "{query} under a rule on {path}");
        }
    }
    // What is found by one field shows no other that is hidden.
    let who = bound("person.family_name", FieldEffect::Hidden);
    let request = pb::SearchRecordsRequest { query: "ada".to_owned(), ..pb::SearchRecordsRequest::default() };
    let results = ask(&desk, &who, request).await.unwrap().results;
    let [pb::SearchResult { record: Some(Record::Contact(shown)) }] = results.as_slice() else { panic!("one contact: {results:?}") };
    assert_eq!(shown.person.as_ref().map(|person| person.family_name.as_str()), Some(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_finds_what_they_may_read_and_nothing_else() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.contact.read"], Vec::new());
    let owner = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let other = identity.user(desk.tenant, None, role, GrantLevel::Own);
    let stranger = identity.administrator(identity.tenant());
    let own = pb::Contact { owner: owner.name(), ..person("Ada", "Lovelace", Vec::new()) };
    let name = desk.create(own).await.unwrap().name;
    account(&desk, pb::Account { display_name: "Lovelace Ltd".to_owned(), owner: owner.name(), ..pb::Account::default() }).await;
    indexed(&desk).await;
    assert_eq!(found(&desk, &desk.clerk, "lovelace").await.len(), 2);
    assert_eq!(found(&desk, &owner, "lovelace").await, std::slice::from_ref(&name), "accounts need a permission of their own");
    assert!(found(&desk, &other, "lovelace").await.is_empty());
    assert!(found(&desk, &stranger, "lovelace").await.is_empty());
    desk.share(reading(&name, &other.name()), None).await.unwrap();
    assert_eq!(found(&desk, &other, "lovelace").await, [name], "a share is in force at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_searched_for_is_refused_with_its_field() {
    let desk = Desk::open().await;
    for query in ["", " - ", &"word ".repeat(9), &"a".repeat(201)] {
        let request = pb::SearchRecordsRequest { query: query.to_owned(), ..pb::SearchRecordsRequest::default() };
        assert_eq!(violation(&ask(&desk, &desk.clerk, request).await.expect_err(query)).0, "query");
    }
    let request = pb::SearchRecordsRequest { query: "ada".to_owned(), collections: vec!["orders".to_owned()], ..pb::SearchRecordsRequest::default() };
    assert_eq!(violation(&ask(&desk, &desk.clerk, request).await.expect_err("another collection")).0, "collections[0]");
    let nobody = desk.service.identity.user_with(desk.tenant, None, &[]);
    let request = pb::SearchRecordsRequest { query: "ada".to_owned(), ..pb::SearchRecordsRequest::default() };
    let status = ask(&desk, &nobody, request).await.expect_err("no role");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_lost_is_made_again_from_the_queue() {
    let desk = Desk::open().await;
    let name = desk.create(person("Ada", "Lovelace", Vec::new())).await.unwrap().name;
    indexed(&desk).await;
    let mut database = desk.superuser().await;
    sqlx::query("delete from search_doc").execute(&mut database).await.unwrap();
    assert!(found(&desk, &desk.clerk, "lovelace").await.is_empty());
    let queue = "insert into search_queue (tenant_id, collection, record_id) select tenant_id, 'contacts', id from contacts";
    sqlx::query(queue).execute(&mut database).await.unwrap();
    indexed(&desk).await;
    assert_eq!(found(&desk, &desk.clerk, "lovelace").await, [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_made_another_way_are_made_again() {
    let desk = Desk::open().await;
    let mut names = Vec::new();
    for number in 0..3 {
        names.push(desk.create(person("Ada", &format!("Lovelace {number}"), Vec::new())).await.unwrap().name);
    }
    indexed(&desk).await;
    let mut database = desk.superuser().await;
    sqlx::query("update search_doc set keys = '{1,2,3}'").execute(&mut database).await.unwrap();
    assert!(found(&desk, &desk.clerk, "lovelace").await.is_empty());
    sqlx::query("insert into search_again (tenant_id) select distinct tenant_id from search_doc").execute(&mut database).await.unwrap();
    eventually("every record has its keys again", async || (found(&desk, &desk.clerk, "lovelace").await.len() == names.len()).then_some(())).await;
    eventually("no tenant waits", async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from search_again").fetch_one(&mut desk.superuser().await).await.expect("an answer");
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_process_of_the_release_before_made_meanwhile_are_found_in_a_second_round() {
    let desk = Desk::open().await;
    let name = desk.create(person("Ada", "Lovelace", Vec::new())).await.unwrap().name;
    indexed(&desk).await;
    let mut database = desk.superuser().await;
    let begin = "insert into search_again (tenant_id, rounds) select distinct tenant_id, 2 from search_doc";
    sqlx::query(begin).execute(&mut database).await.unwrap();
    let waits = "select count(*) from search_again where rounds = 1 and not_before > now()";
    eventually("the second round waits", async || {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut desk.superuser().await).await.expect("an answer");
        (waiting == 1).then_some(())
    })
    .await;
    sqlx::query("update search_doc set keys = '{1,2,3}'").execute(&mut database).await.unwrap();
    sqlx::query("update search_again set not_before = now()").execute(&mut database).await.unwrap();
    eventually("the record has its keys again", async || (found(&desk, &desk.clerk, "lovelace").await == [name.clone()]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_does_not_keep_others_out_of_the_index() {
    let desk = Desk::open().await;
    let broken = desk.create(person("Ada", "Byron", Vec::new())).await.unwrap();
    indexed(&desk).await;
    let mut database = desk.superuser().await;
    let id = uuid::Uuid::parse_str(broken.name.rsplit('/').next().unwrap()).unwrap();
    let breaks = "with broken as (update contacts set person = '[]' where id = $1 returning tenant_id, id)
                  insert into search_queue (tenant_id, collection, record_id) select tenant_id, 'contacts', id from broken";
    sqlx::query(breaks).bind(id).execute(&mut database).await.unwrap();
    let name = desk.create(person("Grace", "Hopper", Vec::new())).await.unwrap().name;
    indexed(&desk).await;
    assert_eq!(found(&desk, &desk.clerk, "hopper").await, [name]);
}
