//! What jobs write in bulk waits behind what people change, to be found and to be compared.

use std::collections::BTreeSet;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::bulk_change::Change;
use sqlx::{Executor, PgConnection};

use crate::bulk::{contacts, make, tags, undo};
use crate::imports::desk::{self, counts, rules};
use crate::support::{Desk, named};

/// Where what people write waits, and what comes in bulk.
const OF_PEOPLE: [&str; 2] = ["duplicate_queue", "search_queue"];
const IN_BULK: [&str; 2] = ["duplicate_bulk", "search_bulk"];

/// Notes from now on where records are put to wait: tasks take them out at once.
async fn watch(database: &mut PgConnection) {
    let statements = "create table public.seen (queue text not null);
        create function public.see() returns trigger language plpgsql security definer as $$
        begin
          insert into public.seen values (tg_table_name);
          return null;
        end $$;";
    database.execute(statements).await.expect("a place to note it");
    for queue in OF_PEOPLE.into_iter().chain(IN_BULK) {
        let statement = format!("create trigger seen after insert on {queue} for each row execute function public.see()");
        database.execute(sqlx::AssertSqlSafe(statement)).await.expect("the queue is watched");
    }
}

/// Where something was put to wait, in order; what was seen is forgotten.
async fn seen(database: &mut PgConnection) -> Vec<String> {
    let rows: Vec<String> = sqlx::query_scalar("delete from public.seen returning queue").fetch_all(database).await.expect("an answer");
    rows.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_writes_and_takes_back_waits_behind_what_people_write() {
    let desk = desk::Desk::open().await;
    let mut database = desk.superuser().await;
    watch(&mut database).await;
    let request = pb::CreateContactRequest { contact: Some(named("Ada")), ..pb::CreateContactRequest::default() };
    desk.contacts().create_contact(desk.clerk.request(request)).await.expect("a contact");
    assert_eq!(seen(&mut database).await, OF_PEOPLE, "a person");

    let accounts = pb::ImportRules { collection: "accounts".to_owned(), ..rules(&["Name"]) };
    for (file, rules) in [("Family name\nKaya\n", rules(&["Family name"])), ("Name\nNordlicht\n", accounts)] {
        let (job, report) = desk.import(file.as_bytes(), rules).await;
        assert_eq!(counts(&report), [1, 0, 0, 0], "{report:?}");
        assert_eq!(seen(&mut database).await, IN_BULK, "{file}");
        desk.undo(&job.name).await;
        assert_eq!(seen(&mut database).await, IN_BULK, "the undoing of {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bulk_change_writes_waits_behind_what_people_write() {
    let desk = Desk::open().await;
    let mut database = desk.superuser().await;
    desk.create(named("Ada")).await.expect("a contact");
    watch(&mut database).await;
    let job = make(&desk, &desk.clerk, &contacts("create_time:*", Change::AddTags(tags(&["met"])))).await;
    assert_eq!(seen(&mut database).await, IN_BULK, "the change");
    undo(&desk, &job).await;
    assert_eq!(seen(&mut database).await, IN_BULK, "its undoing");
}
