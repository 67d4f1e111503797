//! What other programs read in exports.

use std::io::{Cursor, Write as _};
use std::process::{Command, Stdio};

use calamine::{Data, Reader, Xlsx};
use calcard::vcard::{VCardProperty, VCardValue};
use calcard::{Entry, Parser};
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ExportFormat;

use super::{accounts, contacts, options, person, table};
use crate::support::Desk;

/// A contact that acts for an account, and another one.
async fn filled() -> Desk {
    let desk = Desk::open().await;
    let account = pb::Account { display_name: "Nordlicht, & Söhne".to_owned(), sector: "+Steel".to_owned(), ..pb::Account::default() };
    let request = pb::CreateAccountRequest { account: Some(account) };
    let account = desk.accounts().create_account(desk.clerk.request(request)).await.expect("an account").into_inner();
    let role = pb::AccountRole { account: account.name, role: "buyer".to_owned(), ..pb::AccountRole::default() };
    let tags = vec!["a, b".to_owned(), "vip".to_owned()];
    desk.create(pb::Contact { accounts: vec![role], tags, ..person("Şule", "Yılmaz; Koç", &["+90 212 000 00 00"]) }).await.expect("a contact");
    desk.create(person("עדה", "Two\nlines", &[])).await.expect("a contact");
    desk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_has_the_cells_of_the_table() {
    let desk = filled().await;
    for (workbook, sheet) in [
        (contacts(&desk, &desk.clerk, options(ExportFormat::Xlsx)).await, contacts(&desk, &desk.clerk, options(ExportFormat::Csv)).await),
        (accounts(&desk, &desk.clerk, options(ExportFormat::Xlsx)).await, accounts(&desk, &desk.clerk, options(ExportFormat::Csv)).await),
    ] {
        let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(workbook.unwrap())).expect("a workbook");
        let range = workbook.worksheet_range_at(0).expect("a sheet").expect("a range");
        let text = |cell: &Data| if let Data::String(text) = cell { text.clone() } else { String::new() };
        let rows: Vec<Vec<String>> = range.rows().map(|row| row.iter().map(text).collect()).collect();
        assert_eq!(rows, table(&sheet.unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_name_the_account_that_the_contact_acts_for() {
    let desk = filled().await;
    for format in [ExportFormat::Vcard3, ExportFormat::Vcard4] {
        let text = String::from_utf8(contacts(&desk, &desk.clerk, options(format)).await.unwrap()).unwrap();
        let mut parser = Parser::new(&text).strict();
        let mut organisations = Vec::new();
        let mut cards = 0;
        while let Entry::VCard(card) = parser.entry() {
            cards += 1;
            let named = card.property(&VCardProperty::Org).and_then(|entry| entry.values.first()).and_then(VCardValue::as_text);
            organisations.extend(named.map(str::to_owned));
        }
        assert_eq!((cards, organisations), (2, vec!["Nordlicht, & Söhne".to_owned()]), "{text}");
    }
}

/// What a program of Python's prints that reads `file`; none, said aloud, where its library is not installed.
#[expect(clippy::disallowed_methods, reason = "scripts/test tells by the environment which Python has the libraries")]
pub(crate) fn python(library: &str, program: &str, file: &[u8]) -> Option<String> {
    let python = std::env::var("RAPPORT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", &format!("import {library}")]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        eprintln!("skipped: {python} has no {library}; RAPPORT_PYTHON may name one that has");
        return None;
    }
    let mut child = Command::new(&python).args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("an input").write_all(file).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{library} does not read the file");
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_libraries_read_the_same_records() {
    let desk = filled().await;
    let vobject = "import sys, vobject\nfor card in vobject.readComponents(sys.stdin.buffer.read().decode()): print(ascii((card.n.value.family, card.n.value.given)))";
    // The library knows 3.0 alone.
    let cards = contacts(&desk, &desk.clerk, options(ExportFormat::Vcard3)).await.unwrap();
    if let Some(read) = python("vobject", vobject, &cards) {
        assert_eq!(read, "('Y\\u0131lmaz; Ko\\xe7', '\\u015eule')\n('Two\\nlines', '\\u05e2\\u05d3\\u05d4')\n");
    }
    let openpyxl = "import io, sys, openpyxl\nfor row in openpyxl.load_workbook(io.BytesIO(sys.stdin.buffer.read()), read_only=True).active.values: print(ascii(row[0]))";
    let workbook =
        contacts(&desk, &desk.clerk, pb::ExportOptions { columns: vec!["Family name".to_owned()], ..options(ExportFormat::Xlsx) }).await.unwrap();
    if let Some(read) = python("openpyxl", openpyxl, &workbook) {
        assert_eq!(read, "'Family name'\n'Y\\u0131lmaz; Ko\\xe7'\n'Two\\nlines'\n");
    }
}
