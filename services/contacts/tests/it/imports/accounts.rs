//! Accounts and their tree out of a file, and contacts that act for them.

use std::collections::BTreeMap;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_proto::common::v1::GrantLevel;

use super::desk::{Desk, column, counts, refusals, rules};

/// Children stand above their parents; two parents are of nobody.
const TREE: &str = "Name,Parent,Sector,Founded,Employees\nChild,Parent,tools,1996,12\nParent,Uppermost,tools,,\nUppermost,,tools,,\n\
    Orphan,Nobody,,,\nOwn,Own,,,\n,Parent,,,\n";

fn by_name(mode: ImportMode) -> pb::ImportRules {
    let by = || Some(pb::ImportMatch { by: By::DisplayName.into(), system: String::new() });
    let columns = ["Name", "Parent", "Sector", "Founded", "Employees"].map(|name| column(name, name)).to_vec();
    let collection = "accounts".to_owned();
    pb::ImportRules { collection, columns, mode: mode.into(), r#match: by(), account_match: by(), ..pb::ImportRules::default() }
}

async fn live(desk: &Desk) -> BTreeMap<String, pb::Account> {
    desk.live_accounts().await
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_put_below_parents_that_stand_later_in_the_file() {
    let desk = Desk::open().await;
    let (_, dry) = desk.import_file(&desk.upload("accounts.csv", TREE.as_bytes()).await, by_name(ImportMode::CreateOrUpdate), true).await;
    assert!(live(&desk).await.is_empty());
    let (job, report) = desk.import(TREE.as_bytes(), by_name(ImportMode::CreateOrUpdate)).await;
    assert_eq!((counts(&report), refusals(&report), report.unlinked_count), ([5, 0, 0, 1], vec![("FIELD_INVALID", 1)], 2));
    assert_eq!((counts(&dry), refusals(&dry), dry.unlinked_count), (counts(&report), refusals(&report), 2));
    assert_eq!(desk.download(&dry.refused_file).await, desk.download(&report.refused_file).await);
    let accounts = live(&desk).await;
    assert_eq!(accounts["Child"].parent, accounts["Parent"].name);
    assert_eq!(accounts["Parent"].parent, accounts["Uppermost"].name);
    assert_eq!((accounts["Orphan"].parent.as_str(), accounts["Own"].parent.as_str()), ("", ""));
    assert_eq!((accounts["Child"].founded_year, accounts["Child"].employee_count), (Some(1996), Some(12)));
    let numbers: Vec<&str> = accounts.values().map(|account| account.number.as_str()).collect();
    assert!(numbers.iter().all(|number| !number.is_empty()), "{numbers:?}");
    let refused = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
    for told in ["\"7\",\"FIELD_INVALID\"", "\"5\",\"ACCOUNT_UNKNOWN\"", "\"6\",\"HIERARCHY_CYCLE\""] {
        assert!(refused.contains(told), "{told} in {refused}");
    }
    let (_, again) = desk.import(TREE.as_bytes(), by_name(ImportMode::CreateOrUpdate)).await;
    assert_eq!((counts(&again), live(&desk).await), ([0, 0, 5, 1], accounts));
    let undo = desk.undo(&job.name).await;
    assert_eq!((undo.done_count, undo.refused_count), (5, 0));
    assert!(live(&desk).await.is_empty());
    assert_eq!((desk.count("import_keys").await, desk.count("import_links").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_an_import_of_accounts_brings_back_what_they_had() {
    let desk = Desk::open().await;
    desk.import(b"Name,Parent,Sector,Founded,Employees\nUpper,,tools,1900,5\nLower,Upper,tools,1950,\n", by_name(ImportMode::Create)).await;
    let before = live(&desk).await;
    let moved = b"Name,Parent,Sector,Founded,Employees\nUpper,,paper,,6\nLower,New,,,\nNew,Upper,,,\n";
    let (job, report) = desk.import(moved, by_name(ImportMode::CreateOrUpdate)).await;
    assert_eq!((counts(&report), report.unlinked_count), ([1, 2, 0, 0], 0));
    assert_ne!(live(&desk).await, before);
    let undo = desk.undo(&job.name).await;
    assert_eq!((undo.done_count, undo.refused_count), (3, 0));
    assert_eq!(live(&desk).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_act_for_accounts_that_the_file_names() {
    let desk = Desk::open().await;
    let twins = b"Name,Parent,Sector,Founded,Employees\nTwin,,,,\nTwin,,,,\nAcme,,,,\n";
    let plain = pb::ImportRules { r#match: None, ..by_name(ImportMode::Create) };
    assert_eq!(counts(&desk.import(twins, plain).await.1), [3, 0, 0, 0]);
    let acme = live(&desk).await["Acme"].name.clone();
    let people = format!("Family name,Account 1,Account 1 - Role\nKaya,ACME,buyer\nDemir,{acme},\nÖz,Twin,\nEr,Nobody,\nAk,,\n");
    let account_match = Some(pb::ImportMatch { by: By::DisplayName.into(), system: String::new() });
    let rules = pb::ImportRules { account_match, ..rules(&["Family name", "Account 1", "Account 1 - Role"]) };
    let (_, report) = desk.import(people.as_bytes(), rules).await;
    assert_eq!((counts(&report), refusals(&report)), ([3, 0, 0, 2], vec![("ACCOUNT_UNKNOWN", 1), ("MATCH_AMBIGUOUS", 1)]));
    let of_acme: Vec<pb::AccountRole> = desk.live().await.into_iter().flat_map(|contact| contact.accounts).collect();
    assert_eq!(of_acme.iter().map(|role| role.account.as_str()).collect::<Vec<_>>(), [acme.as_str(), acme.as_str()]);
    assert!(of_acme.iter().any(|role| role.role == "buyer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_knows_of_no_merge_reaches_the_account_that_goes_on() {
    let desk = Desk::open().await;
    let by = |by: By, system: &str| Some(pb::ImportMatch { by: by.into(), system: system.to_owned() });
    let rules = |columns: &[&str], mode: ImportMode, by: Option<pb::ImportMatch>| {
        let columns = columns.iter().map(|name| column(name, name)).collect();
        pb::ImportRules { collection: "accounts".to_owned(), columns, mode: mode.into(), r#match: by, ..pb::ImportRules::default() }
    };
    let columns = ["Name", "Sector", "External id - erp"];
    let feed = "Name,Sector,External id - erp\nAcme,,1\nACME Ltd,,2\n";
    desk.import(feed.as_bytes(), rules(&columns, ImportMode::Create, by(By::ExternalId, "erp"))).await;
    let accounts = live(&desk).await;
    let (first, second) = (accounts["Acme"].clone(), accounts["ACME Ltd"].clone());
    let request = pb::MergeAccountsRequest { survivor: first.name.clone(), loser: second.name.clone(), ..pb::MergeAccountsRequest::default() };
    desk.merges().merge_accounts(desk.clerk.request(request)).await.expect("two accounts are one");

    let update = "Name,Sector,External id - erp\nAcme,tools,2\n";
    let (_, report) = desk.import(update.as_bytes(), rules(&columns, ImportMode::CreateOrUpdate, by(By::ExternalId, "erp"))).await;
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    let accounts = live(&desk).await;
    assert_eq!((accounts.len(), accounts["Acme"].sector.as_str(), &accounts["Acme"].external_ids), (1, "tools", &first.external_ids));
    // So does its number, which nobody else is given.
    let update = format!("Number,Sector\n{},steel\n", second.number);
    let (_, report) = desk.import(update.as_bytes(), rules(&["Number", "Sector"], ImportMode::Update, by(By::Number, ""))).await;
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    assert_eq!(live(&desk).await["Acme"].sector, "steel");

    // Whoever does not see that account makes no second one with an id of it.
    let own = desk.identity.role(desk.tenant, &["contacts.account.*", "contacts.import.*", "files.*", "jobs.*"], Vec::new());
    let blind = desk.identity.user(desk.tenant, None, own, GrantLevel::Own);
    let rules = rules(&columns, ImportMode::CreateOrUpdate, by(By::ExternalId, "erp"));
    for id in [1, 2] {
        let file = desk.upload_as(&blind, "accounts.csv", format!("Name,Sector,External id - erp\nAcme again,,{id}\n").as_bytes()).await;
        let request = pb::StartImportRequest { file, rules: Some(rules.clone()), ..pb::StartImportRequest::default() };
        let job = desk.imports().start_import(blind.request(request)).await.expect("the import is started").into_inner().name;
        desk.succeeded(&job).await;
        let report = desk.report(&job).await;
        assert_eq!((counts(&report), refusals(&report)), ([0, 0, 0, 1], vec![("EXTERNAL_ID_TAKEN", 1)]), "{id}");
    }
    assert_eq!(live(&desk).await.len(), 1);
}
