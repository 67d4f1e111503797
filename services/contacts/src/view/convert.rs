//! Views as they are sent and shown: parsing, merging of updates.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::view::Visibility as Sent;
use rapport_kit::{Ctx, Fault, clock, command, name};

use super::{Details, View, Visibility};
use crate::violations::Violations;
use crate::{account, contact, limits};

/// What an update can write.
pub const PATHS: &[&str] = &["display_name", "filter", "order_by", "columns", "visibility", "team"];
/// What every list shows besides the fields that its records' updates can write.
const SHOWN: &[&str] = &["name", "create_time", "update_time"];
const ORDER_BY: usize = 200;

/// A view as it is shown and published.
#[must_use]
pub fn to_proto(view: &View) -> pb::View {
    let details = &view.details;
    let visibility = match details.visibility {
        Visibility::Private => Sent::Private,
        Visibility::Team(_) => Sent::Team,
        Visibility::All => Sent::All,
    };
    pb::View {
        name: view.name(),
        display_name: details.display_name.clone(),
        collection: details.collection.clone(),
        filter: details.filter.clone(),
        order_by: details.order_by.clone(),
        columns: details.columns.clone(),
        visibility: visibility.into(),
        team: details.visibility.team().map(|team| name::format("teams", team)).unwrap_or_default(),
        owner: view.owner.name(),
        etag: command::etag(view.version),
        create_time: Some(clock::timestamp(view.created_at)),
        update_time: Some(clock::timestamp(view.updated_at)),
    }
}

/// Whether `sent` fills in one of [`PATHS`].
#[must_use]
pub fn is_populated(sent: &pb::View, path: &str) -> bool {
    match path {
        "display_name" => !sent.display_name.is_empty(),
        "filter" => !sent.filter.is_empty(),
        "order_by" => !sent.order_by.is_empty(),
        "columns" => !sent.columns.is_empty(),
        "visibility" => sent.visibility() != Sent::Unspecified,
        "team" => !sent.team.is_empty(),
        _ => false,
    }
}

/// The view as it is, with `paths` taken from `sent`.
#[must_use]
pub fn merge(view: &View, sent: &pb::View, paths: &[&str]) -> pb::View {
    let mut merged = to_proto(view);
    let sent = sent.clone();
    for path in paths {
        match *path {
            "display_name" => merged.display_name.clone_from(&sent.display_name),
            "filter" => merged.filter.clone_from(&sent.filter),
            "order_by" => merged.order_by.clone_from(&sent.order_by),
            "columns" => merged.columns.clone_from(&sent.columns),
            "visibility" => merged.visibility = sent.visibility,
            "team" => merged.team.clone_from(&sent.team),
            _ => {}
        }
    }
    merged
}

/// The details in `sent`, of a view that is stored as `known` if it is.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) with every field at fault, (FILTER_INVALID, ORDER_INVALID); PERMISSION_DENIED
/// (FIELD_HIDDEN).
pub fn parse(ctx: &Ctx, sent: pb::View, known: Option<&Details>) -> Result<Details, Fault> {
    let mut found = Violations::default();
    let details = Details {
        display_name: found.required("view.display_name", sent.display_name.clone(), limits::NAME),
        collection: sent.collection.clone(),
        filter: sent.filter.clone(),
        order_by: found.text("view.order_by", sent.order_by.clone(), ORDER_BY),
        columns: columns(&mut found, &sent.collection, sent.columns.clone()),
        visibility: visibility(ctx, &mut found, &sent, known),
    };
    if !matches!(details.collection.as_str(), account::COLLECTION | contact::COLLECTION) {
        found.add("view.collection", "is required: accounts or contacts");
    }
    found.finish()?;
    // What stays was taken when it was set; its fields may be hidden from whoever changes the name.
    if known.is_none_or(|known| (&known.filter, &known.order_by) != (&details.filter, &details.order_by)) {
        match details.collection.as_str() {
            account::COLLECTION => account::list::check(ctx, &details.filter, &details.order_by)?,
            _ => contact::list::check(ctx, &details.filter, &details.order_by)?,
        }
    }
    Ok(details)
}

fn columns(found: &mut Violations, collection: &str, sent: Vec<String>) -> Vec<String> {
    let paths = if collection == account::COLLECTION { account::convert::PATHS } else { contact::convert::PATHS };
    let columns = found.at_most("view.columns", sent, limits::COLUMNS);
    for (index, column) in columns.iter().enumerate() {
        let field = || format!("view.columns[{index}]");
        let is_shown = paths.iter().chain(SHOWN).any(|path| path == column) || collection == account::COLLECTION && column == "number";
        if !is_shown {
            found.add(field(), format!("must be one of {}, {}", paths.join(", "), SHOWN.join(", ")));
        } else if columns.iter().take(index).any(|before| before == column) {
            found.add(field(), "stands in it already");
        }
    }
    columns
}

fn visibility(ctx: &Ctx, found: &mut Violations, sent: &pb::View, known: Option<&Details>) -> Visibility {
    let team = found.reference("view.team", "teams", &sent.team);
    match (sent.visibility(), team) {
        (Sent::Private | Sent::Unspecified, None) => Visibility::Private,
        (Sent::All, None) => Visibility::All,
        (Sent::Team, Some(team)) => {
            let visibility = Visibility::Team(team);
            if known.is_none_or(|known| known.visibility != visibility) && !ctx.access().groups.contains(&team) {
                found.add("view.team", "must be a team that you are a member of");
            }
            visibility
        }
        (Sent::Team, None) => {
            if sent.team.is_empty() {
                found.add("view.team", "is required for VISIBILITY_TEAM");
            }
            Visibility::Private
        }
        (Sent::Private | Sent::Unspecified | Sent::All, Some(_)) => {
            found.add("view.team", "must be empty, unless the visibility is VISIBILITY_TEAM");
            Visibility::Private
        }
    }
}
