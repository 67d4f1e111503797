//! Every published file, as its publishers left it: each row is loaded or reported.

use std::path::{Path, PathBuf};

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_match::By;

use super::desk::{Desk, column, counts, refusals};

/// The folder with the published files, or a word that the test did not run.
pub(super) fn shared(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RAPPORT_SHARED").map(|folder| PathBuf::from(folder).join("data"));
    if folder.is_none() {
        eprintln!("SKIPPED: {test}: RAPPORT_SHARED does not name the folder of the published files");
    }
    folder
}

/// A mapping of one column by its position.
fn at(target: &str, position: i32) -> pb::ImportColumn {
    pb::ImportColumn { target: target.to_owned(), position, ..pb::ImportColumn::default() }
}

fn contacts(columns: Vec<pb::ImportColumn>) -> pb::ImportRules {
    pb::ImportRules { collection: "contacts".to_owned(), columns, ..pb::ImportRules::default() }
}

/// Imports a file; answers created, updated, unchanged and refused rows.
async fn import(desk: &Desk, path: &Path, rules: pb::ImportRules) -> pb::ImportReport {
    let bytes = std::fs::read(path).expect("a published file can be read");
    desk.import(&bytes, rules).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_published_tables_is_loaded_or_reported() {
    let Some(folder) = shared("every_row_of_the_published_tables_is_loaded_or_reported") else { return };
    let desk = Desk::open().await;
    for (file, rows, refused) in [
        ("bank_campaign_A", 7_500, vec![]),
        ("hillstrom_email_A", 20_000, vec![]),
        ("leads_x_education_A", 4_668, vec![("ROW_UNEVEN", 171)]),
        ("online_retail_sample", 30_000, vec![]),
        ("telco_churn", 7_043, vec![]),
    ] {
        let report = import(&desk, &folder.join(format!("crm/{file}.csv")), contacts(vec![at("Family name", 1)])).await;
        let count: i64 = refused.iter().map(|(_, count)| count).sum();
        assert_eq!((counts(&report), refusals(&report)), ([rows - count, 0, 0, count], refused), "{file}");
        if count > 0 {
            let told = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
            let lines: Vec<&str> = told.lines().skip(1).collect();
            let is_told = |line: &&str| line.contains(",\"ROW_UNEVEN\",") && line.starts_with('"');
            assert_eq!(lines.iter().copied().filter(|line| is_told(line)).count(), 171, "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_accounts_are_loaded_with_their_tree() {
    let Some(folder) = shared("the_published_accounts_are_loaded_with_their_tree") else { return };
    let desk = Desk::open().await;
    let file = desk.upload("accounts.csv", &std::fs::read(folder.join("crm/maventech/accounts.csv")).expect("a published file can be read")).await;
    let request = pb::InspectImportRequest { file: file.clone(), collection: "accounts".to_owned(), ..pb::InspectImportRequest::default() };
    let told = desk.imports().inspect_import(desk.clerk.request(request)).await.expect("it is told").into_inner();
    let targets: Vec<&str> = told.columns.iter().map(|column| column.target.as_str()).collect();
    assert_eq!(targets, ["Name", "Sector", "Founded", "Employees", "Parent"]);
    let account_match = Some(pb::ImportMatch { by: By::DisplayName.into(), system: String::new() });
    let rules = pb::ImportRules { collection: "accounts".to_owned(), columns: told.columns, account_match, ..pb::ImportRules::default() };
    let (_, report) = desk.import_file(&file, rules, false).await;
    assert_eq!((counts(&report), report.unlinked_count), ([85, 0, 0, 0], 0));
    let request = pb::ListAccountsRequest { page_size: 1000, ..pb::ListAccountsRequest::default() };
    let accounts = desk.accounts().list_accounts(desk.clerk.request(request)).await.expect("a list").into_inner().accounts;
    assert_eq!(accounts.iter().filter(|account| !account.parent.is_empty()).count(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_published_address_books_and_samples_is_loaded_or_reported() {
    let Some(folder) = shared("every_row_of_the_published_address_books_and_samples_is_loaded_or_reported") else { return };
    let desk = Desk::open().await;
    for (file, layout, expected) in [
        // The last two rows leave empty cells at the end out; the first has an address in no country.
        ("contacts/csv/outlook_header_sample.csv", pb::ImportLayout::Outlook, [2, 0, 0, 1]),
        // Both have an address at a host without a domain.
        ("contacts/csv/thunderbird_export.csv", pb::ImportLayout::Thunderbird, [0, 0, 0, 2]),
    ] {
        let name = desk.upload(file.rsplit('/').next().unwrap_or_default(), &std::fs::read(folder.join(file)).expect("it can be read")).await;
        let told = desk.inspect(&name).await.expect("it is told");
        assert_eq!(told.layout(), layout, "{file}");
        let mut columns = told.columns;
        if layout == pb::ImportLayout::Outlook {
            columns.push(column("Family name", "Name"));
        }
        let (_, report) = desk.import_file(&name, contacts(columns), false).await;
        assert_eq!(counts(&report), expected, "{file}: {report:?}");
    }
    let mut files = 0;
    for entry in std::fs::read_dir(folder.join("csv/csv-spectrum")).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "csv") {
            continue;
        }
        files += 1;
        let expected: Vec<serde_json::Value> =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).expect("it has its answer")).expect("rows");
        let report = import(&desk, &path, contacts(vec![at("Family name", 1)])).await;
        let rows = i64::try_from(expected.len()).expect("a count");
        assert_eq!(counts(&report), [rows, 0, 0, 0], "{}: {:?}", path.display(), refusals(&report));
    }
    assert_eq!(files, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_published_card_is_loaded_or_reported() {
    let Some(folder) = shared("every_published_card_is_loaded_or_reported") else { return };
    let desk = Desk::open().await;
    let (mut cards, mut loaded) = (0, 0);
    for folder in ["contacts/calcard-vcard", "contacts/ez-vcard", "contacts/csv"].map(|name| folder.join(name)) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "vcf") {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a published file can be read");
            let begins = |line: &&[u8]| line.trim_ascii_end().eq_ignore_ascii_case(b"BEGIN:VCARD");
            let present = i64::try_from(bytes.split(|byte| *byte == b'\n').filter(begins).count()).expect("a count");
            let report = import_cards(&desk, &bytes).await;
            let [created, updated, unchanged, refused] = counts(&report);
            assert_eq!((created + refused, updated + unchanged), (present, 0), "{}: {report:?}", path.display());
            if refused > 0 {
                let told = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
                let reasons = told.lines().filter(|line| line.starts_with("X-RAPPORT-REASON:")).count();
                assert_eq!(i64::try_from(reasons).expect("a count"), refused, "{}: {told}", path.display());
            }
            (cards, loaded) = (cards + present, loaded + created);
        }
    }
    assert_eq!(cards, 83);
    assert!(loaded >= 40, "only {loaded} of {cards} cards were loaded");
}

/// Imports cards whose addresses lie in the United States where they do not say.
async fn import_cards(desk: &Desk, bytes: &[u8]) -> pb::ImportReport {
    let country =
        |number: i32| pb::ImportColumn { target: format!("Address {number} - Country"), constant: "US".to_owned(), ..pb::ImportColumn::default() };
    let request = pb::StartImportRequest {
        file: desk.upload("cards.vcf", bytes).await,
        source: Some(pb::ImportSource { format: pb::ImportFormat::Vcard.into(), ..pb::ImportSource::default() }),
        rules: Some(contacts((1..=3).map(country).collect())),
        ..pb::StartImportRequest::default()
    };
    let job = desk.start(request).await.expect("the import is started").name;
    desk.succeeded(&job).await;
    desk.report(&job).await
}
