//! Cards: what they fill, and what they cannot do to the service.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_match::By;

use super::desk::{Desk, counts, refusals};

fn rules(mode: pb::ImportMode) -> pb::ImportRules {
    let by = pb::ImportMatch { by: By::ExternalId.into(), system: "vcard".to_owned() };
    pb::ImportRules { collection: "contacts".to_owned(), mode: mode.into(), r#match: Some(by), ..pb::ImportRules::default() }
}

/// A card with these lines.
fn card(lines: &str) -> String {
    format!("BEGIN:VCARD\r\nVERSION:3.0\r\n{lines}\r\nEND:VCARD\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_becomes_a_contact_and_changes_it_when_it_comes_again() {
    let desk = Desk::open().await;
    let cards = card("N:Kaya;Ayşe;;;\r\nUID:1\r\nEMAIL;TYPE=WORK:ayse@example.org") + &card("N:Er;;;;\r\nEMAIL:nobody");
    let file = desk.upload("cards.vcf", cards.as_bytes()).await;
    let told = desk.inspect(&file).await.expect("it is told");
    assert_eq!(told.source.map(|source| source.format()), Some(pb::ImportFormat::Vcard));
    assert_eq!(told.header, ["Given name", "Family name", "E-mail 1", "E-mail 1 - Label", "External id - vcard"]);
    let (_, report) = desk.import_file(&file, rules(pb::ImportMode::CreateOrUpdate), false).await;
    assert_eq!((counts(&report), refusals(&report)), ([1, 0, 0, 1], vec![("FIELD_INVALID", 1)]));
    let refused = String::from_utf8(desk.download(&report.refused_file).await).expect("text");
    let body = "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Er;;;;\r\nEMAIL:nobody\r\nX-RAPPORT-LINE:7\r\nX-RAPPORT-REASON:FIELD_INVALID\r\n";
    assert!(refused.starts_with(body) && refused.ends_with("END:VCARD\r\n"), "{refused}");
    let before = desk.live().await;
    let (_, report) = desk.import_file(&file, rules(pb::ImportMode::CreateOrUpdate), false).await;
    assert_eq!((counts(&report), desk.live().await), ([0, 0, 1, 1], before));
    let changed = card("N:Demir;Ayşe;;;\r\nUID:1\r\nTEL:+905321234567");
    let (job, report) = desk.import(changed.as_bytes(), rules(pb::ImportMode::Update)).await;
    assert_eq!(counts(&report), [0, 1, 0, 0]);
    let person = desk.live().await.remove(0).person.expect("a person");
    assert_eq!((person.family_name.as_str(), person.contact_points.len()), ("Demir", 2));
    desk.undo(&job.name).await;
    assert_eq!(desk.live().await.remove(0).person.expect("a person").family_name, "Kaya");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_picture_is_passed_over_and_a_card_without_end_is_reported() {
    let desk = Desk::open().await;
    let picture = "A".repeat(20 * 1024 * 1024);
    let cards = card(&format!("N:Kaya;;;;\r\nPHOTO;ENCODING=b:{picture}")) + &card("N:Er;;;;") + "BEGIN:VCARD\r\nN:Open;;;;\r\n";
    let by_card = pb::ImportRules { r#match: None, ..rules(pb::ImportMode::Create) };
    let (_, report) = desk.import(cards.as_bytes(), by_card).await;
    assert_eq!((counts(&report), refusals(&report)), ([2, 0, 0, 1], vec![("CARD_UNFINISHED", 1)]));
}
