//! Saved mappings of imports: who sees and changes them, which files they fit, and that an import goes by them.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::import_mapping::Visibility;
use rapport_contacts_api::v1::import_mapping_service_client::ImportMappingServiceClient;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::imports::desk::{Desk, column, counts};
use crate::support::{refusal, violation};

const TABLE: &[u8] = b"Surname,Mail,Id\nKaya,kaya@x.org,7\n";

fn client(desk: &Desk) -> ImportMappingServiceClient<Channel> {
    ImportMappingServiceClient::new(desk.channel.clone())
}

fn mapping(display_name: &str, visibility: Visibility) -> pb::ImportMapping {
    let columns = vec![column("Family name", "Surname"), column("E-mail 1", "Mail")];
    pb::ImportMapping {
        display_name: display_name.to_owned(),
        header: ["Surname", "Mail", "Id"].map(str::to_owned).to_vec(),
        rules: Some(pb::ImportRules { collection: "contacts".to_owned(), columns, ..pb::ImportRules::default() }),
        visibility: visibility.into(),
        ..pb::ImportMapping::default()
    }
}

async fn create(desk: &Desk, who: &Subject, mapping: pb::ImportMapping) -> Result<pb::ImportMapping, Status> {
    Ok(client(desk).create_import_mapping(who.request(pb::CreateImportMappingRequest { import_mapping: Some(mapping) })).await?.into_inner())
}

async fn rename(desk: &Desk, who: &Subject, name: &str, display_name: &str) -> Result<pb::ImportMapping, Status> {
    let mapping = pb::ImportMapping { name: name.to_owned(), display_name: display_name.to_owned(), ..pb::ImportMapping::default() };
    let request = pb::UpdateImportMappingRequest { import_mapping: Some(mapping), update_mask: None };
    Ok(client(desk).update_import_mapping(who.request(request)).await?.into_inner())
}

/// Names that people call the mappings that somebody sees.
async fn seen(desk: &Desk, who: &Subject) -> Vec<String> {
    let request = who.request(pb::ListImportMappingsRequest::default());
    let listed = client(desk).list_import_mappings(request).await.expect("a list").into_inner().import_mappings;
    for mapping in &listed {
        let request = who.request(pb::GetImportMappingRequest { name: mapping.name.clone() });
        let read = client(desk).get_import_mapping(request).await.expect("what is listed can be read");
        assert_eq!(read.into_inner(), *mapping);
    }
    listed.into_iter().map(|mapping| mapping.display_name).collect()
}

/// Names that people call the mappings that are offered to somebody for a file.
async fn offered(desk: &Desk, who: &Subject, file: &str) -> Vec<String> {
    let request = who.request(pb::InspectImportRequest { file: file.to_owned(), ..pb::InspectImportRequest::default() });
    let told = desk.imports().inspect_import(request).await.expect("it is told").into_inner();
    told.mappings.into_iter().map(|mapping| mapping.display_name).collect()
}

fn somebody(desk: &Desk, permissions: &[&str], level: GrantLevel) -> Subject {
    desk.identity.user(desk.tenant, None, desk.identity.role(desk.tenant, permissions, Vec::new()), level)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_seen_by_its_owner_or_everybody_and_changed_by_who_may() {
    let desk = Desk::with_jobs(0).await;
    let [owner, other] = [(); 2].map(|()| somebody(&desk, &["contacts.import_mapping.*"], GrantLevel::Own));
    let stranger = desk.elsewhere();
    let mine = create(&desk, &owner, mapping("Mine", Visibility::Private)).await.unwrap();
    let ours = create(&desk, &owner, mapping("Ours", Visibility::All)).await.unwrap();
    assert_eq!((ours.owner.clone(), ours.format()), (owner.name(), pb::ImportFormat::Csv));
    for (who, expected) in [(&owner, vec!["Mine", "Ours"]), (&other, vec!["Ours"]), (&desk.clerk, vec!["Ours"]), (&stranger.clerk, vec![])] {
        assert_eq!(seen(&desk, who).await, expected);
    }
    let status = rename(&desk, &other, &ours.name, "Worst").await.expect_err("somebody else's");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "RECORD_READ_ONLY".to_owned()));
    let status = rename(&desk, &desk.clerk, &mine.name, "Worst").await.expect_err("nobody sees it");
    assert_eq!(status.code(), Code::NotFound);
    let renamed = rename(&desk, &desk.clerk, &ours.name, "Better").await.unwrap();
    assert_eq!((renamed.display_name.as_str(), &renamed.rules), ("Better", &ours.rules));
    let delete = |etag: String| owner.request(pb::DeleteImportMappingRequest { name: ours.name.clone(), etag });
    let status = client(&desk).delete_import_mapping(delete(ours.etag.clone())).await.expect_err("it was renamed since");
    assert_eq!(refusal(&status), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    client(&desk).delete_import_mapping(delete(renamed.etag)).await.unwrap();
    assert_eq!(seen(&desk, &owner).await, ["Mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mappings_that_fit_a_file_are_offered_and_one_takes_the_place_of_rules() {
    let desk = Desk::open().await;
    let file = desk.upload("people.csv", TABLE).await;
    let name_only = pb::ImportRules { columns: vec![column("Family name", "Surname")], collection: "contacts".to_owned(), ..Default::default() };
    let of_accounts = pb::ImportRules { columns: vec![column("Name", "Surname")], collection: "accounts".to_owned(), ..Default::default() };
    let at = pb::ImportColumn { target: "Family name".to_owned(), position: 1, ..pb::ImportColumn::default() };
    let other = vec!["Name".to_owned(), "Mail".to_owned()];
    let by_place = pb::ImportRules { columns: vec![at], ..name_only.clone() };
    let both = create(&desk, &desk.clerk, mapping("Both", Visibility::All)).await.unwrap();
    for saved in [
        pb::ImportMapping { rules: Some(name_only.clone()), format: pb::ImportFormat::Xlsx.into(), ..mapping("Name", Visibility::Private) },
        pb::ImportMapping { rules: Some(of_accounts), ..mapping("Accounts", Visibility::All) },
        pb::ImportMapping { rules: Some(by_place), header: other, ..mapping("Another header", Visibility::All) },
        pb::ImportMapping { rules: Some(name_only), header: vec!["Surname".to_owned()], ..mapping("Kept", Visibility::Private) },
    ] {
        create(&desk, &desk.clerk, saved).await.unwrap();
    }
    assert_eq!(offered(&desk, &desk.clerk, &file).await, ["Both", "Kept", "Name"]);
    let colleague = somebody(&desk, &["contacts.import.*", "contacts.import_mapping.read", "files.*"], GrantLevel::All);
    assert_eq!(offered(&desk, &colleague, &file).await, ["Both"]);
    let blind = somebody(&desk, &["contacts.import.*", "files.*"], GrantLevel::All);
    assert!(offered(&desk, &blind, &file).await.is_empty());

    let by = |mapping: &str| pb::StartImportRequest { file: file.clone(), mapping: mapping.to_owned(), ..pb::StartImportRequest::default() };
    let status = desk.imports().start_import(blind.request(by(&both.name))).await.expect_err("not to be read");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    let request = pb::StartImportRequest { rules: both.rules.clone(), ..by(&both.name) };
    assert_eq!(violation(&desk.start(request).await.expect_err("two of them")).0, "mapping");
    assert_eq!(violation(&desk.start(by("")).await.expect_err("none of them")).0, "rules");
    let status = desk.start(by(&format!("importMappings/{}", desk.tenant))).await.expect_err("there is none");
    assert_eq!(status.code(), Code::NotFound);
    let job = desk.start(by(&both.name)).await.expect("the import is started").name;
    // What becomes of the mapping is nothing to an import that has begun.
    let request = pb::DeleteImportMappingRequest { name: both.name, etag: String::new() };
    client(&desk).delete_import_mapping(desk.clerk.request(request)).await.unwrap();
    desk.succeeded(&job).await;
    assert_eq!(counts(&desk.report(&job).await), [1, 0, 0, 0]);
    let person = desk.live().await.remove(0).person.expect("a person");
    assert_eq!((person.family_name.as_str(), person.contact_points[0].value.as_str()), ("Kaya", "kaya@x.org"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_import_would_take_is_no_mapping() {
    let desk = Desk::with_jobs(0).await;
    let private = || mapping("Mine", Visibility::Private);
    let rules = |change: &dyn Fn(&mut pb::ImportRules)| {
        let mut rules = private().rules.expect("rules");
        change(&mut rules);
        pb::ImportMapping { rules: Some(rules), ..private() }
    };
    let owner = |source: &str, owner: &str| pb::ImportOwner { source: source.to_owned(), owner: owner.to_owned() };
    for (spoilt, field) in [
        (pb::ImportMapping { display_name: String::new(), ..private() }, "import_mapping.display_name"),
        (pb::ImportMapping { header: Vec::new(), ..private() }, "import_mapping.header"),
        (pb::ImportMapping { header: vec!["x".repeat(256)], ..private() }, "import_mapping.header[0]"),
        (pb::ImportMapping { format: pb::ImportFormat::Vcard.into(), ..private() }, "import_mapping.header"),
        (pb::ImportMapping { format: 9, ..private() }, "import_mapping.format"),
        (pb::ImportMapping { visibility: 9, ..private() }, "import_mapping.visibility"),
        (pb::ImportMapping { rules: None, ..private() }, "import_mapping.rules"),
        (rules(&|rules| rules.collection = "orders".to_owned()), "import_mapping.rules.collection"),
        (rules(&|rules| rules.columns[1].target = "Shoe size".to_owned()), "import_mapping.rules.columns[1].target"),
        (rules(&|rules| rules.columns[0].header = "Name".to_owned()), "import_mapping.rules.columns[0].header"),
        (rules(&|rules| rules.mode = pb::ImportMode::Update.into()), "import_mapping.rules.match"),
        (rules(&|rules| rules.owners = vec![owner("", &desk.clerk.name())]), "import_mapping.rules.owners[0].source"),
        (rules(&|rules| rules.owners = vec![owner("005A", &desk.clerk.name()), owner("005B", "Ada")]), "import_mapping.rules.owners[1].owner"),
        (rules(&|rules| rules.owners = vec![owner("005A", &desk.clerk.name()); 2]), "import_mapping.rules.owners[1].source"),
    ] {
        assert_eq!(violation(&create(&desk, &desk.clerk, spoilt).await.expect_err(field)).0, field);
    }
    let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "person.family_name".to_owned(), effect: FieldEffect::ReadOnly.into() };
    let bound = desk.identity.user(desk.tenant, None, desk.identity.role(desk.tenant, &["*"], vec![rule]), GrantLevel::All);
    let status = create(&desk, &bound, private()).await.expect_err("a field that is not theirs to write");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "FIELD_READ_ONLY".to_owned()));
    // What somebody else set is theirs: its name can be changed.
    let shared = create(&desk, &desk.clerk, mapping("Ours", Visibility::All)).await.unwrap();
    assert_eq!(rename(&desk, &bound, &shared.name, "Yours").await.unwrap().rules, shared.rules);
}
