//! What goes wrong at the edges of steps, of trees and of jobs.

use std::time::Duration;

use rapport_contacts::import::remembered;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::tasks::Window;
use rapport_kit::{clock, name};
use rapport_proto::common::v1 as common;
use rapport_proto::common::v1::GrantLevel;

use super::desk::{Desk, column, counts, refusals, rules};
use super::{by_id, many};

/// Accounts and their parents, by name.
fn tree() -> pb::ImportRules {
    let by = || Some(pb::ImportMatch { by: By::DisplayName.into(), system: String::new() });
    let columns = ["Name", "Parent"].map(|name| column(name, name)).to_vec();
    let (collection, mode) = ("accounts".to_owned(), ImportMode::CreateOrUpdate.into());
    pb::ImportRules { collection, columns, mode, r#match: by(), account_match: by(), ..pb::ImportRules::default() }
}

async fn edit(desk: &Desk, account: &pb::Account) {
    let account = pb::Account { name: account.name.clone(), sector: "edited".to_owned(), ..pb::Account::default() };
    let request = pb::UpdateAccountRequest { account: Some(account), ..pb::UpdateAccountRequest::default() };
    desk.accounts().update_account(desk.clerk.request(request)).await.expect("it is edited");
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_an_import_leaves_no_account_below_a_deleted_one() {
    let desk = Desk::open().await;
    // Children stand above their parents, so that they are linked first and would be taken back last.
    let (job, _) = desk.import(b"Name,Parent\nLeaf,Branch\nEdited,Branch\nBranch,Root\nOther,Root\nRoot,\n", tree()).await;
    let live = desk.live_accounts().await;
    edit(&desk, &live["Edited"]).await;
    let undo = desk.undo(&job.name).await;
    assert_eq!((undo.done_count, undo.refused_count), (5, 3));
    let [file] = undo.output_files.as_slice() else { panic!("one file: {undo:?}") };
    let left = String::from_utf8(desk.download(file).await).expect("text");
    for (account, reason) in [("Edited", "EDITED_SINCE"), ("Branch", "ACCOUNT_HAS_CHILDREN"), ("Root", "ACCOUNT_HAS_CHILDREN")] {
        assert_eq!(left.matches(&format!("{},{reason}\r\n", live[account].name)).count(), 1, "{account} in {left}");
    }
    let after = desk.live_accounts().await;
    assert_eq!(after.keys().map(String::as_str).collect::<Vec<_>>(), ["Branch", "Edited", "Root"]);
    assert_eq!((&after["Edited"].parent, &after["Branch"].parent), (&live["Branch"].name, &live["Root"].name));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_edited_while_its_import_is_undone_is_named() {
    let desk = Desk::with_jobs(0).await;
    let begun = async |text: &[u8]| {
        let file = desk.upload("accounts.csv", text).await;
        let request = pb::StartImportRequest { file, rules: Some(tree()), ..pb::StartImportRequest::default() };
        desk.start(request).await.expect("the import is started").name
    };
    let job = begun(b"Name,Parent\nLeaf,Branch\nBranch,Root\nRoot,\n").await;
    let worker = desk.worker();
    desk.succeeded(&job).await;
    assert!(worker.stop(Duration::from_secs(5)).await);
    let live = desk.live_accounts().await;
    let request = common::UndoJobRequest { name: job };
    let undo = desk.jobs().undo_job(desk.clerk.request(request)).await.expect("it can be undone").into_inner().name;
    // The first pass takes the leaf back; both others wait.
    while desk.live_accounts().await.contains_key("Leaf") {
        desk.die_at(Window::AfterStepCommit).await;
        desk.end_leases().await;
    }
    assert_eq!(desk.live_accounts().await.keys().map(String::as_str).collect::<Vec<_>>(), ["Branch", "Root"]);
    edit(&desk, &live["Root"]).await;
    let _survivor = desk.worker();
    let undo = desk.succeeded(&undo).await;
    assert_eq!((undo.done_count, undo.refused_count), (3, 1));
    let [file] = undo.output_files.as_slice() else { panic!("one file: {undo:?}") };
    let left = String::from_utf8(desk.download(file).await).expect("text");
    assert_eq!(left, format!("Name,Reason\r\n{},EDITED_SINCE\r\n", live["Root"].name));
    assert_eq!(desk.live_accounts().await.keys().map(String::as_str).collect::<Vec<_>>(), ["Root"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_only_create_accounts_imports_their_tree_as_well() {
    let desk = Desk::open().await;
    let permissions = ["contacts.import.*", "contacts.account.create", "contacts.account.read", "files.*", "jobs.*"];
    let creator = desk.identity.role(desk.tenant, &permissions, Vec::new());
    let creator = desk.identity.user(desk.tenant, None, creator, GrantLevel::All);
    desk.import(b"Name,Parent\nKnown,\n", tree()).await;
    let file = desk.upload("accounts.csv", b"Name,Parent\nChild,Parent\nParent,Known\nKnown,Parent\n").await;
    for dry_run in [true, false] {
        let request = pb::StartImportRequest { file: file.clone(), rules: Some(tree()), dry_run, ..pb::StartImportRequest::default() };
        let job = desk.imports().start_import(creator.request(request)).await.expect("it is started").into_inner().name;
        desk.succeeded(&job).await;
        let report = desk.report(&job).await;
        assert_eq!((counts(&report), refusals(&report), report.unlinked_count), ([2, 0, 0, 1], vec![("RECORD_READ_ONLY", 1)], 0), "{dry_run}");
    }
    let live = desk.live_accounts().await;
    assert_eq!((&live["Child"].parent, &live["Parent"].parent), (&live["Parent"].name, &live["Known"].name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_foresees_circles_and_trees_that_are_too_deep() {
    let desk = Desk::open().await;
    desk.import(b"Name,Parent\nOld,\nBelow Old,Old\n", tree()).await;
    let chain: String = (1..40).map(|level| format!("Level {level},Level {}\n", level - 1)).collect();
    let text = format!("Name,Parent\nA,B\nB,C\nC,A\nOld,New\nNew,Below Old\n{chain}Level 0,\n");
    let file = desk.upload("accounts.csv", text.as_bytes()).await;
    let (_, dry) = desk.import_file(&file, tree(), true).await;
    let (_, real) = desk.import_file(&file, tree(), false).await;
    assert_eq!((counts(&dry), dry.unlinked_count), (counts(&real), real.unlinked_count));
    let told = String::from_utf8(desk.download(&dry.refused_file).await).expect("text");
    assert_eq!(told.as_bytes(), desk.download(&real.refused_file).await);
    assert_eq!((told.matches("HIERARCHY_CYCLE").count(), told.matches("HIERARCHY_TOO_DEEP").count()), (2, 1), "{told}");
    assert_eq!(desk.count("import_links").await, 0, "what was foreseen is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_on_one_private_customer_are_told_apart_however_far_they_stand() {
    let desk = Desk::open().await;
    let customer = pb::Account { display_name: "Ada King".to_owned(), kind: pb::account::Kind::Person.into(), ..pb::Account::default() };
    let request = pb::CreateAccountRequest { account: Some(customer) };
    let customer = desk.accounts().create_account(desk.clerk.request(request)).await.expect("a customer").into_inner().name;
    let between: String = (0..600).map(|number| format!("Family {number},\n")).collect();
    let text = format!("Family name,Account 1\nKing,{customer}\n{between}Lovelace,{customer}\n");
    let file = desk.upload("people.csv", text.as_bytes()).await;
    for dry_run in [true, false] {
        let (_, report) = desk.import_file(&file, rules(&["Family name", "Account 1"]), dry_run).await;
        assert_eq!((counts(&report), refusals(&report)), ([601, 0, 0, 1], vec![("PERSON_ACCOUNT_HAS_CONTACT", 1)]), "{dry_run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_import_remembered_is_cleared_and_what_a_running_one_does_is_not() {
    let desk = Desk::with_jobs(0).await;
    let begin = async |text: String| {
        let file = desk.upload("people.csv", text.as_bytes()).await;
        let request = pb::StartImportRequest { file, rules: Some(by_id(ImportMode::Create)), ..pb::StartImportRequest::default() };
        let job = desk.start(request).await.expect("the import is started").name;
        desk.die_at(Window::AfterStepCommit).await;
        job
    };
    let cancelled = begin(many(1200)).await;
    let of_one = desk.count("import_keys").await;
    assert!(of_one > 0);
    let request = common::CancelJobRequest { name: cancelled.clone() };
    desk.jobs().cancel_job(desk.clerk.request(request)).await.expect("it is cancelled");
    desk.end_leases().await;
    let worker = desk.worker();
    assert_eq!(desk.ended(&cancelled).await.state(), common::JobState::Cancelled);
    worker.stop(std::time::Duration::from_secs(5)).await;
    let others: Vec<String> = many(2200).lines().enumerate().filter(|(at, _)| *at == 0 || *at > 1200).map(|(_, line)| format!("{line}\n")).collect();
    let running = begin(others.concat()).await;
    // The reports of jobs stay as long as these.
    sqlx::query(
        "insert into import_reports select tenant_id, gen_random_uuid(), owner_id, dry_run, 0, 0, 0, 0, refusals from import_reports limit 1",
    )
    .execute(&mut desk.superuser().await)
    .await
    .expect("the report of a job that is gone");
    remembered::clear(&desk.system()).await.expect("it is cleared");
    assert_eq!(desk.count("import_keys").await, of_one, "what the running one remembers stays");
    assert_eq!(desk.count("import_reports").await, 2);
    desk.end_leases().await;
    let _worker = desk.worker();
    desk.succeeded(&running).await;
    assert_eq!(counts(&desk.report(&running).await), [1000, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_told_by_telephone_in_the_country_of_the_legal_entity_that_the_row_names() {
    let desk = Desk::open().await;
    let (first, own) = (clock::new_id(), clock::new_id());
    for (entity, country, created) in [(first, "US", "2020-01-01"), (own, "FR", "2021-01-01")] {
        let statement = "insert into legal_entities (tenant_id, id, version, country, created_at) values ($1, $2, 1, $3, $4::timestamptz)";
        let inserted = sqlx::query(statement).bind(desk.tenant).bind(entity).bind(country).bind(created);
        inserted.execute(&mut desk.superuser().await).await.expect("a legal entity");
    }
    let entity = pb::ImportColumn { target: "Legal entity".to_owned(), constant: name::format("legalEntities", own), ..pb::ImportColumn::default() };
    let columns = vec![column("Name", "Name"), column("Phone 1", "Phone"), entity];
    let r#match = Some(pb::ImportMatch { by: By::Phone.into(), system: String::new() });
    let rules = pb::ImportRules { columns, r#match, ..tree() };
    let text = "Name,Phone\nAcme,01 23 45 67 89\n".as_bytes();
    assert_eq!(counts(&desk.import(text, rules.clone()).await.1), [1, 0, 0, 0]);
    assert_eq!(counts(&desk.import(text, rules).await.1), [0, 0, 1, 0], "it is found again, and keeps one number");
    let live = desk.live_accounts().await;
    let numbers: Vec<&str> = live["Acme"].contact_points.iter().map(|point| point.normalized.as_str()).collect();
    assert_eq!(numbers, ["+33123456789"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_told_from_one_of_the_step_before_by_an_address_that_nothing_keeps_single() {
    let desk = Desk::open().await;
    let text: String =
        (0..2000).fold("Family name,E-mail 1\n".to_owned(), |text, row| format!("{text}Kaya,{}@example.org\n", row / 1000 * 1000 + row % 500));
    let by = Some(pb::ImportMatch { by: By::Email.into(), system: String::new() });
    let rules = pb::ImportRules { mode: ImportMode::CreateOrUpdate.into(), r#match: by, ..rules(&["Family name", "E-mail 1"]) };
    let (_, report) = desk.import(text.as_bytes(), rules).await;
    assert_eq!((counts(&report), refusals(&report)), ([1000, 0, 0, 1000], vec![("ROW_REPEATED", 1000)]));
    assert_eq!(desk.live().await.len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_row_takes_from_a_record_is_no_other_rows_in_any_step() {
    let desk = Desk::open().await;
    let headers = ["Family name", "E-mail 1", "E-mail 2", "External id - erp"];
    let by = Some(pb::ImportMatch { by: By::Email.into(), system: String::new() });
    let rules = || pb::ImportRules { mode: ImportMode::CreateOrUpdate.into(), r#match: by.clone(), clear_empty: true, ..rules(&headers) };
    let header = headers.join(",");
    let file = desk.upload("first.csv", format!("{header}\nKaya,a@example.org,b@example.org,5\n").as_bytes()).await;
    desk.import_file(&file, rules(), false).await;
    // The first row takes an address and an id, which rows behind it bring: one of the same step, two of later ones.
    let other = |from: usize| (from..from + 600).fold(String::new(), |rows, row| format!("{rows}Other,{row}@example.org,,\n"));
    let (second, third) = ("New,c@example.org,,5\n", "New,b@example.org,,\n");
    let text = [&header, "\nKaya,a@example.org,,6\n", third, &other(0), second, &other(600), third].concat();
    let file = desk.upload("second.csv", text.as_bytes()).await;
    let (_, dry) = desk.import_file(&file, rules(), true).await;
    let (_, real) = desk.import_file(&file, rules(), false).await;
    for report in [&dry, &real] {
        assert_eq!((counts(report), refusals(report)), ([1200, 1, 0, 3], vec![("ROW_REPEATED", 3)]));
    }
}
