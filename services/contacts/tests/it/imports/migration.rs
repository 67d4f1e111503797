//! What other programs exported, loaded by their crosswalks and compared with what is there then.

use std::collections::BTreeMap;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_match::By;
use rapport_contacts_api::v1::{ImportLayout, ImportMode};
use rapport_kit::tasks::Window;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::GrantLevel;
use tonic::Code;

use super::desk::{Desk, column, counts, refusals};
use super::published::shared;
use crate::support::{refusal, violations};

/// Children above parents, an account that was deleted, parents that stand nowhere.
pub(super) const ACCOUNTS: &str = "Id,IsDeleted,Name,ParentId,BillingStreet,BillingCity,BillingCountry,Phone,NumberOfEmployees,Description,OwnerId\n\
    001A,0,Acme,001B,1 Main St,Springfield,United States,+12025550123,10,left out,005A\n\
    001B,0,Acme Holding,,,,,,20,,005B\n\
    001C,1,Gone,,,,,,5,,005A\n\
    001D,0,Orphan,001Z,,,,,7,,005A\n\
    001E,0,Below Gone,001C,,,,,,,005A\n";
pub(super) const CONTACTS: &str = "Id,IsDeleted,AccountId,LastName,FirstName,Email,MobilePhone,MailingCity,MailingCountry,OwnerId\n\
    003A,0,001A,Kaya,Ayşe,ayse@example.org,+905321234567,Paris,France,005A\n\
    003B,0,001Z,Nowhere,Nil,,,,,005A\n\
    003C,0,001C,Former,Ann,,,,,005A\n\
    003D,1,001A,Deleted,Guy,,,,,005A\n\
    003E,0,,Free,Fay,fay@example.org,,,,005A\n";

/// A file of a migration as it was looked at, with the rules that its layout suggests.
pub(super) struct Exported {
    pub(super) file: String,
    pub(super) rules: pb::ImportRules,
}

impl Exported {
    pub(super) async fn look(desk: &Desk, collection: &str, text: &str, layout: ImportLayout) -> Self {
        let file = desk.upload("export.csv", text.as_bytes()).await;
        let told = desk.inspect_as(collection, &file).await.expect("it is told");
        assert_eq!(told.layout(), layout);
        let rules = pb::ImportRules {
            collection: collection.to_owned(),
            columns: told.columns,
            mode: ImportMode::CreateOrUpdate.into(),
            r#match: told.r#match,
            account_match: told.account_match,
            ..pb::ImportRules::default()
        };
        Self { file, rules }
    }

    pub(super) fn owned(mut self, owners: &[(&str, &str)]) -> Self {
        let owner = |(source, owner): &(&str, &str)| pb::ImportOwner { source: (*source).to_owned(), owner: (*owner).to_owned() };
        self.rules.owners = owners.iter().map(owner).collect();
        self
    }

    /// With one more column.
    fn with(mut self, column: pb::ImportColumn) -> Self {
        self.rules.columns.push(column);
        self
    }

    /// Loads it after a dry run that has to tell the same.
    pub(super) async fn load(&self, desk: &Desk) -> pb::ImportReport {
        let (_, dry) = desk.import_file(&self.file, self.rules.clone(), true).await;
        let (_, real) = desk.import_file(&self.file, self.rules.clone(), false).await;
        let told = |report: &pb::ImportReport| {
            let refusals: Vec<(String, i64)> = report.refusals.iter().map(|refusal| (refusal.reason.clone(), refusal.count)).collect();
            (counts(report), refusals, report.unlinked_count, report.deleted_count, report.unknown_owner_count)
        };
        assert_eq!(told(&dry), told(&real), "the dry run tells what the real run does");
        real
    }
}

async fn started(desk: &Desk, files: &[&Exported]) -> String {
    started_by(desk, &desk.clerk, files).await
}

pub(super) async fn started_by(desk: &Desk, who: &Subject, files: &[&Exported]) -> String {
    let source = |exported: &&Exported| pb::ReconciliationSource { file: exported.file.clone(), source: None, rules: Some(exported.rules.clone()) };
    let request = pb::StartReconciliationRequest { files: files.iter().map(source).collect() };
    desk.reconciliations().start_reconciliation(who.request(request)).await.expect("it is started").into_inner().name
}

pub(super) async fn told(desk: &Desk, job: &str) -> Vec<pb::ReconciledFile> {
    let request = pb::GetReconciliationRequest { job: job.to_owned() };
    let files = desk.reconciliations().get_reconciliation(desk.clerk.request(request)).await.expect("a report").into_inner().files;
    for file in &files {
        assert_eq!(file.row_count, file.found_count + file.missing_count + file.deleted_count + file.uncompared_count, "{file:?}");
    }
    files
}

async fn compare(desk: &Desk, files: &[&Exported]) -> Vec<pb::ReconciledFile> {
    let job = started(desk, files).await;
    desk.succeeded(&job).await;
    assert_eq!(desk.count("import_keys").await, 0, "what was remembered of rows is forgotten");
    told(desk, &job).await
}

/// Found, differing, missing, deleted, not compared, called something that is not loaded, called something that is nowhere.
pub(super) fn figures(file: &pb::ReconciledFile) -> [i64; 7] {
    [
        file.found_count,
        file.differing_count,
        file.missing_count,
        file.deleted_count,
        file.uncompared_count,
        file.unloaded_reference_count,
        file.broken_reference_count,
    ]
}

/// The sum of a field in the file and here.
fn sum<'a>(file: &'a pb::ReconciledFile, field: &str) -> (&'a str, &'a str) {
    file.sums.iter().find(|sum| sum.field == field).map(|sum| (sum.source.as_str(), sum.here.as_str())).expect("a sum")
}

/// The contact with this family name.
async fn called(desk: &Desk, family_name: &str) -> pb::Contact {
    let is_called = |contact: &pb::Contact| contact.person.as_ref().is_some_and(|person| person.family_name == family_name);
    desk.live().await.into_iter().find(is_called).expect("the contact is there")
}

async fn journal(desk: &Desk) -> i64 {
    desk.count("kit.journal j where exists (select from accounts where id = j.record_id) or exists (select from contacts where id = j.record_id)")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_salesforce_is_loaded_and_what_it_lacks_is_told() {
    let desk = Desk::open().await;
    let ada = desk.identity.administrator(desk.tenant);
    let accounts = Exported::look(&desk, "accounts", ACCOUNTS, ImportLayout::Salesforce).await.owned(&[("005A", &ada.name())]);
    let contacts = Exported::look(&desk, "contacts", CONTACTS, ImportLayout::Salesforce).await.owned(&[("005A", &ada.name())]);
    let before = compare(&desk, &[&accounts, &contacts]).await;
    assert_eq!((figures(&before[0]), figures(&before[1])), ([0, 0, 4, 1, 0, 0, 0], [0, 0, 4, 1, 0, 1, 2]));

    let report = accounts.load(&desk).await;
    assert_eq!((counts(&report), report.deleted_count, report.unlinked_count, report.unknown_owner_count), ([4, 0, 0, 0], 1, 2, 1));
    let report = contacts.load(&desk).await;
    assert_eq!((counts(&report), report.deleted_count, refusals(&report)), ([2, 0, 0, 2], 1, vec![("ACCOUNT_UNKNOWN", 2)]));
    let live = desk.live_accounts().await;
    assert_eq!((&live["Acme"].parent, &live["Acme"].owner), (&live["Acme Holding"].name, &ada.name()));
    assert_eq!(live["Acme Holding"].owner, desk.clerk.name(), "nobody knows 005B");
    let address = live["Acme"].addresses.first().expect("an address");
    assert_eq!(address.kind(), pb::address::Kind::Billing);
    let kaya = called(&desk, "Kaya").await;
    assert_eq!(kaya.accounts.iter().map(|role| (&role.account, role.primary)).collect::<Vec<_>>(), [(&live["Acme"].name, true)]);

    let after = compare(&desk, &[&accounts, &contacts]).await;
    assert_eq!((figures(&after[0]), figures(&after[1])), ([4, 0, 0, 1, 0, 0, 2], [2, 0, 2, 1, 0, 0, 2]));
    assert_eq!(sum(&after[0], "employee_count"), ("37", "37"));
    let references: Vec<(i64, &str)> = after[1].references.iter().map(|row| (row.line, row.reference.as_str())).collect();
    assert_eq!(references, [(3, "001Z"), (4, "001C")]);
    assert_eq!(after[1].missing.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4]);

    let written = journal(&desk).await;
    assert_eq!(counts(&accounts.load(&desk).await), [0, 0, 4, 0]);
    assert_eq!(counts(&contacts.load(&desk).await), [0, 0, 2, 2]);
    assert_eq!(journal(&desk).await, written, "a second run writes nothing");
    assert_eq!(compare(&desk, &[&accounts, &contacts]).await.iter().map(figures).collect::<Vec<_>>(), [figures(&after[0]), figures(&after[1])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_or_deleted_since_the_load_is_told_by_field() {
    let desk = Desk::open().await;
    let accounts = Exported::look(&desk, "accounts", ACCOUNTS, ImportLayout::Salesforce).await;
    let contacts = Exported::look(&desk, "contacts", CONTACTS, ImportLayout::Salesforce).await;
    accounts.load(&desk).await;
    contacts.load(&desk).await;
    let live = desk.live_accounts().await;
    let delete = pb::DeleteAccountRequest { name: live["Orphan"].name.clone(), ..pb::DeleteAccountRequest::default() };
    desk.accounts().delete_account(desk.clerk.request(delete)).await.expect("it is deleted");
    let moved =
        pb::Account { name: live["Acme"].name.clone(), parent: live["Below Gone"].name.clone(), employee_count: Some(11), ..Default::default() };
    desk.accounts()
        .update_account(desk.clerk.request(pb::UpdateAccountRequest { account: Some(moved), ..Default::default() }))
        .await
        .expect("it moves");
    let person = pb::Person { family_name: "Öz".to_owned(), ..pb::Person::default() };
    let renamed = pb::Contact { name: called(&desk, "Kaya").await.name, person: Some(person), ..pb::Contact::default() };
    desk.contacts()
        .update_contact(desk.clerk.request(pb::UpdateContactRequest { contact: Some(renamed), ..Default::default() }))
        .await
        .expect("changed");

    let after = compare(&desk, &[&accounts, &contacts]).await;
    assert_eq!((figures(&after[0]), figures(&after[1])), ([3, 1, 1, 1, 0, 0, 1], [2, 1, 2, 1, 0, 0, 2]));
    let fields = |file: &pb::ReconciledFile| -> Vec<(String, i64, i64)> {
        file.fields.iter().map(|field| (field.field.clone(), field.count, field.samples[0].line)).collect()
    };
    assert_eq!(fields(&after[0]), [("employee_count".to_owned(), 1, 2), ("parent".to_owned(), 1, 2)]);
    assert_eq!(fields(&after[1]), [("person.family_name".to_owned(), 1, 2)]);
    assert_eq!(after[0].fields[0].samples[0].record, live["Acme"].name);
    assert_eq!(sum(&after[0], "employee_count"), ("37", "31"));
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_of_dynamics_are_loaded_by_id_and_by_the_names_of_its_screens() {
    let desk = Desk::open().await;
    let accounts = "accountid,name,_parentaccountid_value,address1_line1,address1_line2,address1_city,address1_country,telephone1,_ownerid_value\n\
        a1,Acme,a2,1 Main St,Suite 5,Springfield,USA,+12025550123,u1\na2,Holding,,,,,,,u1\n";
    let accounts = Exported::look(&desk, "accounts", accounts, ImportLayout::Dynamics).await;
    assert_eq!(counts(&accounts.load(&desk).await), [2, 0, 0, 0]);
    let live = desk.live_accounts().await;
    assert_eq!(live["Acme"].parent, live["Holding"].name);
    let lines = &live["Acme"].addresses[0].postal_address.as_ref().expect("an address").address_lines;
    assert_eq!(lines.as_slice(), ["1 Main St", "Suite 5"]);

    let screens = "(Do Not Modify) Contact,(Do Not Modify) Row Checksum,First Name,Last Name,Company Name,Email,Business Phone\n\
        c1,xx,Ayşe,Kaya,ACME,ayse@example.org,+905321234567\nc2,xx,Ali,Şahin,Nobody,,\n";
    let contacts = Exported::look(&desk, "contacts", screens, ImportLayout::Dynamics).await;
    assert_eq!(contacts.rules.account_match.as_ref().map(pb::ImportMatch::by), Some(By::DisplayName));
    let report = contacts.load(&desk).await;
    assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 1], vec![("ACCOUNT_UNKNOWN", 1)]));
    let people = desk.live().await;
    assert_eq!((people[0].accounts[0].account.as_str(), people[0].external_ids[0].system.as_str()), (live["Acme"].name.as_str(), "dynamics"));
    let found = compare(&desk, &[&accounts, &contacts]).await;
    assert_eq!((figures(&found[0]), figures(&found[1])), ([2, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 1]));
}

/// The published accounts as a program would export them.
fn exported(published: &str, header: &str, row: impl Fn(&[&str], &BTreeMap<&str, usize>, usize) -> String) -> String {
    let rows: Vec<Vec<&str>> = published.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let numbers: BTreeMap<&str, usize> = rows.iter().enumerate().map(|(number, row)| (row[0], number)).collect();
    let lines: Vec<String> = rows.iter().enumerate().map(|(number, cells)| row(cells, &numbers, number)).collect();
    format!("{header}\r\n{}\r\n", lines.join("\r\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_accounts_and_agents_are_migrated_from_either_program() {
    let Some(folder) = shared("the_published_accounts_and_agents_are_migrated_from_either_program") else { return };
    let read = |file: &str| std::fs::read_to_string(folder.join(format!("crm/maventech/{file}.csv"))).expect("a published file can be read");
    let (accounts, teams) = (read("accounts"), read("sales_teams"));
    // Two countries are called what no country is called.
    let refused: Vec<&str> = accounts.lines().filter(|line| line.contains(",Philipines,") || line.contains(",Korea,")).collect();
    let number = |line: &str, index: usize| line.split(',').nth(index).and_then(|cell| cell.parse::<f64>().ok()).expect("a number");
    let employees: f64 = accounts.lines().skip(1).map(|line| number(line, 4)).sum();
    let refused_employees: f64 = refused.iter().map(|line| number(line, 4)).sum();
    let parent =
        |cells: &[&str], numbers: &BTreeMap<&str, usize>, id: fn(usize) -> String| numbers.get(cells[6]).map(|at| id(*at)).unwrap_or_default();
    let salesforce_id = |number: usize| format!("001{number:015}");
    let dynamics_id = |number: usize| format!("00000000-0000-4000-8000-{number:012}");
    let people = |header: &str, of: fn(usize) -> String| {
        let row = |(number, line): (usize, &str)| {
            let (given, family) = line.split(',').next().and_then(|agent| agent.split_once(' ')).expect("a name");
            format!("{number},{},{given},{family}\r\n", of(number))
        };
        format!("{header}\r\n{}", teams.lines().skip(1).enumerate().map(row).collect::<String>())
    };
    for (layout, accounts, people) in [
        (
            ImportLayout::Salesforce,
            exported(
                &accounts,
                "Id,IsDeleted,Name,ParentId,BillingCountry,Industry,AnnualRevenue,NumberOfEmployees,YearStarted",
                |cells, numbers, at| {
                    format!(
                        "{},0,{},{},{},{},{},{},{}",
                        salesforce_id(at),
                        cells[0],
                        parent(cells, numbers, salesforce_id),
                        cells[5],
                        cells[1],
                        cells[3],
                        cells[4],
                        cells[2]
                    )
                },
            ),
            people("Id,AccountId,FirstName,LastName", salesforce_id),
        ),
        (
            ImportLayout::Dynamics,
            exported(
                &accounts,
                "accountid,name,parentaccountid,address1_country,industrycodename,revenue,numberofemployees",
                |cells, numbers, at| {
                    format!(
                        "{},{},{},{},{},{},{}",
                        dynamics_id(at),
                        cells[0],
                        parent(cells, numbers, dynamics_id),
                        cells[5],
                        cells[1],
                        cells[3],
                        cells[4]
                    )
                },
            ),
            people("contactid,parentcustomerid,firstname,lastname", dynamics_id),
        ),
    ] {
        let desk = Desk::open().await;
        let currency = pb::ImportColumn { target: "Annual revenue - Currency".to_owned(), constant: "USD".to_owned(), ..Default::default() };
        let accounts = Exported::look(&desk, "accounts", &accounts, layout).await.with(currency);
        let contacts = Exported::look(&desk, "contacts", &people, layout).await;
        let report = accounts.load(&desk).await;
        assert_eq!((counts(&report), refusals(&report)), ([83, 0, 0, 2], vec![("FIELD_INVALID", 2)]), "{layout:?}");
        let agents = contacts.load(&desk).await;
        assert_eq!(counts(&agents)[0] + counts(&agents)[3], 35);
        let found = compare(&desk, &[&accounts, &contacts]).await;
        assert_eq!((found[0].row_count, found[0].found_count, found[0].differing_count, found[0].missing_count), (85, 83, 0, 2), "{layout:?}");
        let here = (employees - refused_employees).to_string();
        assert_eq!(sum(&found[0], "employee_count"), (employees.to_string().as_str(), here.as_str()));
        assert_eq!((found[1].found_count, found[1].differing_count), (counts(&agents)[0], 0));
        assert_eq!(found[1].missing_count, found[1].unloaded_reference_count + found[1].broken_reference_count);
        let written = journal(&desk).await;
        assert_eq!(counts(&accounts.load(&desk).await), [0, 0, 83, 2]);
        assert_eq!(counts(&contacts.load(&desk).await)[..3], [0, 0, counts(&agents)[0]]);
        assert_eq!(journal(&desk).await, written, "a second run writes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_whose_process_dies_anywhere_comes_to_the_same_end() {
    let desk = Desk::with_jobs(0).await;
    let row = |number: usize| format!("001{number},0,Account {number},,{number}\n");
    let text = format!("Id,IsDeleted,Name,ParentId,NumberOfEmployees\n{}", (1..=1200).map(row).collect::<String>());
    let accounts = Exported::look(&desk, "accounts", &text, ImportLayout::Salesforce).await;
    let job = started(&desk, &[&accounts]).await;
    for window in [Window::AfterStepCommit, Window::BeforeStepCommit, Window::AfterStepCommit, Window::BeforeStepCommit] {
        desk.die_at(window).await;
        desk.end_leases().await;
    }
    let _survivor = desk.worker();
    desk.succeeded(&job).await;
    let found = told(&desk, &job).await;
    assert_eq!((figures(&found[0]), sum(&found[0], "employee_count")), ([0, 0, 1200, 0, 0, 0, 0], ("720600", "0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_is_of_tables_that_the_caller_may_import_and_is_told_as_nothing_else() {
    let desk = Desk::open().await;
    let contacts = Exported::look(&desk, "contacts", CONTACTS, ImportLayout::Salesforce).await;
    let source = pb::ReconciliationSource { file: contacts.file.clone(), source: None, rules: Some(contacts.rules.clone()) };
    let unmatched = pb::ReconciliationSource { rules: Some(pb::ImportRules { r#match: None, ..contacts.rules.clone() }), ..source.clone() };
    for files in [Vec::new(), vec![source.clone(); 11], vec![unmatched]] {
        let request = desk.clerk.request(pb::StartReconciliationRequest { files });
        let refused = desk.reconciliations().start_reconciliation(request).await.expect_err("it makes no sense");
        assert_eq!(refusal(&refused), (Code::InvalidArgument, "FIELD_INVALID".to_owned()));
    }
    let other = desk.upload("people.vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Kaya\r\nEND:VCARD\r\n").await;
    let rules = |change: &dyn Fn(&mut pb::ImportRules)| {
        let mut rules = contacts.rules.clone();
        change(&mut rules);
        pb::ReconciliationSource { rules: Some(rules), ..source.clone() }
    };
    let in_utf_9 = Some(pb::ImportSource { encoding: "utf-9".to_owned(), ..pb::ImportSource::default() });
    for (second, field) in [
        (pb::ReconciliationSource { file: "nobody".to_owned(), ..source.clone() }, "files[1].file"),
        (pb::ReconciliationSource { file: other, ..rules(&|rules| rules.columns.clear()) }, "files[1].file"),
        (pb::ReconciliationSource { source: in_utf_9, ..source.clone() }, "files[1].source.encoding"),
        (pb::ReconciliationSource { rules: None, ..source.clone() }, "files[1].rules"),
        (rules(&|rules| rules.r#match = None), "files[1].rules.match"),
        (rules(&|rules| rules.columns[1].header = "Shoe size".to_owned()), "files[1].rules.columns[1].header"),
        (rules(&|rules| rules.owners = vec![pb::ImportOwner::default()]), "files[1].rules.owners[0].source"),
    ] {
        let files = vec![source.clone(), second];
        let request = desk.clerk.request(pb::StartReconciliationRequest { files });
        let refused = desk.reconciliations().start_reconciliation(request).await.expect_err(field);
        assert_eq!(violations(&refused).first().map(String::as_str), Some(field));
    }
    let reader = desk.identity.role(desk.tenant, &["contacts.contact.*", "files.*", "jobs.*", "contacts.import.read"], Vec::new());
    let reader = desk.identity.user(desk.tenant, None, reader, GrantLevel::All);
    let refused = desk.reconciliations().start_reconciliation(reader.request(pb::StartReconciliationRequest { files: vec![source] })).await;
    assert_eq!(refusal(&refused.expect_err("it may not")), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    let (import, _) = desk.import_file(&contacts.file, contacts.rules.clone(), true).await;
    let request = desk.clerk.request(pb::GetReconciliationRequest { job: import.name });
    let refused = desk.reconciliations().get_reconciliation(request).await.expect_err("that is an import");
    assert_eq!(refusal(&refused).1, "RECORD_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_deleted_by_a_word_or_a_time_and_by_nothing_else() {
    let desk = Desk::open().await;
    let rules = pb::ImportRules { columns: vec![column("Family name", "Name"), column("Deleted", "Deleted")], ..super::rules(&["Family name"]) };
    let text = b"Name,Deleted\nA,yes\nB,2024-01-31T10:00:00Z\nC,no\nD,\nE,maybe\n";
    let (_, report) = desk.import(text, rules).await;
    assert_eq!((counts(&report), report.deleted_count, refusals(&report)), ([2, 0, 0, 1], 2, vec![("FIELD_INVALID", 1)]));
}
