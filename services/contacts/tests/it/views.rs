//! Saved views: who sees and changes them, and what they can hold.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::view::Visibility;
use rapport_contacts_api::v1::view_service_client::ViewServiceClient;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{Desk, named, refusal, violation};

fn client(desk: &Desk) -> ViewServiceClient<Channel> {
    ViewServiceClient::new(desk.service.channel.clone())
}

fn view(display_name: &str, visibility: Visibility) -> pb::View {
    pb::View {
        display_name: display_name.to_owned(),
        collection: "contacts".to_owned(),
        filter: "tags:vip".to_owned(),
        order_by: "person.family_name desc".to_owned(),
        columns: vec!["person.family_name".to_owned(), "update_time".to_owned()],
        visibility: visibility.into(),
        ..pb::View::default()
    }
}

async fn create(desk: &Desk, who: &Subject, view: pb::View) -> Result<pb::View, Status> {
    Ok(client(desk).create_view(who.request(pb::CreateViewRequest { view: Some(view) })).await?.into_inner())
}

async fn rename(desk: &Desk, who: &Subject, name: &str, display_name: &str) -> Result<pb::View, Status> {
    let view = pb::View { name: name.to_owned(), display_name: display_name.to_owned(), ..pb::View::default() };
    Ok(client(desk).update_view(who.request(pb::UpdateViewRequest { view: Some(view), update_mask: None })).await?.into_inner())
}

/// Names that people call the views that somebody sees.
async fn seen(desk: &Desk, who: &Subject) -> Vec<String> {
    let listed = client(desk).list_views(who.request(pb::ListViewsRequest::default())).await.expect("a list").into_inner().views;
    for view in &listed {
        let read = client(desk).get_view(who.request(pb::GetViewRequest { name: view.name.clone() })).await.expect("what is listed can be read");
        assert_eq!(read.into_inner(), *view);
    }
    listed.into_iter().map(|view| view.display_name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_seen_by_its_owner_its_team_or_everybody() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.view.*"], Vec::new());
    let [owner, member, other] = [(); 3].map(|()| identity.user(desk.tenant, None, role, GrantLevel::Own));
    let team = format!("teams/{}", identity.team(desk.tenant, &[owner.id, member.id]));
    let stranger = identity.administrator(identity.tenant());
    create(&desk, &owner, view("Mine", Visibility::Private)).await.unwrap();
    create(&desk, &owner, pb::View { team: team.clone(), ..view("Ours", Visibility::Team) }).await.unwrap();
    create(&desk, &owner, view("Whose", Visibility::All)).await.unwrap();
    for (who, expected) in [
        (&owner, vec!["Mine", "Ours", "Whose"]),
        (&member, vec!["Ours", "Whose"]),
        (&other, vec!["Whose"]),
        // Nor does an administrator look into what somebody keeps for themselves.
        (&desk.clerk, vec!["Whose"]),
        (&stranger, vec![]),
    ] {
        assert_eq!(seen(&desk, who).await, expected);
    }
    let (field, problem) = violation(&create(&desk, &other, pb::View { team, ..view("Theirs", Visibility::Team) }).await.expect_err("no member"));
    assert_eq!(field, "view.team");
    assert!(problem.contains("member"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_changed_by_its_owner_and_by_who_holds_the_permission_over_it() {
    let desk = Desk::open().await;
    let identity = &desk.service.identity;
    let role = identity.role(desk.tenant, &["contacts.view.*"], Vec::new());
    let [owner, other] = [(); 2].map(|()| identity.user(desk.tenant, None, role, GrantLevel::Own));
    let made = create(&desk, &owner, view("Hers", Visibility::All)).await.unwrap();
    assert_eq!(made.owner, owner.name());
    assert_eq!(rename(&desk, &owner, &made.name, "Best").await.unwrap().display_name, "Best");
    let status = rename(&desk, &other, &made.name, "Worst").await.expect_err("somebody else's");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "RECORD_READ_ONLY".to_owned()));
    let renamed = rename(&desk, &desk.clerk, &made.name, "Better").await.unwrap();
    assert_eq!((renamed.display_name.as_str(), renamed.filter.as_str()), ("Better", "tags:vip"));
    let delete = pb::DeleteViewRequest { name: made.name.clone(), etag: made.etag };
    let status = client(&desk).delete_view(owner.request(delete)).await.expect_err("it was renamed since");
    assert_eq!(refusal(&status), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    client(&desk).delete_view(owner.request(pb::DeleteViewRequest { name: made.name.clone(), etag: renamed.etag })).await.unwrap();
    let status = client(&desk).get_view(owner.request(pb::GetViewRequest { name: made.name })).await.expect_err("gone");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_lists_what_its_filter_and_order_say() {
    let desk = Desk::open().await;
    for (family_name, tag) in [("Celik", "vip"), ("Demir", "vip"), ("Kaya", "new")] {
        desk.create(pb::Contact { tags: vec![tag.to_owned()], ..named(family_name) }).await.unwrap();
    }
    let made = create(&desk, &desk.clerk, view("The best", Visibility::Private)).await.unwrap();
    let request = pb::ListContactsRequest { filter: made.filter, order_by: made.order_by, ..pb::ListContactsRequest::default() };
    let listed = desk.contacts().list_contacts(desk.clerk.request(request)).await.unwrap().into_inner().contacts;
    let names: Vec<String> = listed.into_iter().filter_map(|contact| Some(contact.person?.family_name)).collect();
    assert_eq!(names, ["Demir", "Celik"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_list_would_not_take_is_no_view() {
    let desk = Desk::open().await;
    let private = || view("Mine", Visibility::Private);
    for (spoilt, expected) in [
        (pb::View { filter: "surname = x".to_owned(), ..private() }, "FILTER_INVALID"),
        (pb::View { order_by: "surname".to_owned(), ..private() }, "ORDER_INVALID"),
        // A field of contacts, in a view of accounts.
        (pb::View { collection: "accounts".to_owned(), columns: Vec::new(), ..private() }, "ORDER_INVALID"),
    ] {
        let status = create(&desk, &desk.clerk, spoilt).await.expect_err(expected);
        assert_eq!(refusal(&status), (Code::InvalidArgument, expected.to_owned()));
    }
    for (spoilt, field) in [
        (pb::View { collection: "orders".to_owned(), ..private() }, "view.collection"),
        (pb::View { columns: vec!["surname".to_owned()], ..private() }, "view.columns[0]"),
        (pb::View { columns: vec!["tags".to_owned(), "tags".to_owned()], ..private() }, "view.columns[1]"),
        (view("Ours", Visibility::Team), "view.team"),
        (pb::View { team: format!("teams/{}", desk.tenant), ..private() }, "view.team"),
    ] {
        assert_eq!(violation(&create(&desk, &desk.clerk, spoilt).await.expect_err(field)).0, field);
    }
    let rule = FieldRule { resource: "contacts.contact".to_owned(), field: "tags".to_owned(), effect: FieldEffect::Hidden.into() };
    let identity = &desk.service.identity;
    let bound = identity.user(desk.tenant, None, identity.role(desk.tenant, &["*"], vec![rule]), GrantLevel::All);
    let status = create(&desk, &bound, private()).await.expect_err("a filter by what is hidden");
    assert_eq!(refusal(&status), (Code::PermissionDenied, "FIELD_HIDDEN".to_owned()));
    // What somebody else set is theirs: its name can be changed.
    let shared = create(&desk, &desk.clerk, view("Ours", Visibility::All)).await.unwrap();
    assert_eq!(rename(&desk, &bound, &shared.name, "Yours").await.unwrap().filter, "tags:vip");
}
