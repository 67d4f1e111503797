//! A bulk change, parsed from a request: what is done to which records.

use prost_types::FieldMask;
use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::bulk_change::Change as Sent;
use rapport_kit::mask::Mask;
use rapport_kit::{Ctx, Fault, name};
use uuid::Uuid;

use crate::layout::Resource;
use crate::violations::Violations;
use crate::{account, contact, limits, tag};

/// A change that can be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// Whose records.
    pub(super) resource: Resource,
    /// As in the collection's list.
    pub(super) filter: String,
    /// Of these records only; none means of all.
    pub(super) ids: Option<Vec<Uuid>>,
    pub(super) work: Work,
}

/// What is done to each record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    SetAccount { sent: Box<pb::Account>, paths: Vec<&'static str> },
    SetContact { sent: Box<pb::Contact>, paths: Vec<&'static str> },
    Assign(String),
    AddTags(Vec<String>),
    RemoveTags(Vec<String>),
    Delete,
}

/// The change that a request asks for.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID, BATCH_TOO_LARGE).
pub(super) fn parse(sent: Option<pb::BulkChange>) -> Result<Change, Fault> {
    let sent = sent.ok_or_else(|| Fault::invalid("change", "is required"))?;
    let resource = Resource::of(&sent.collection).ok_or_else(|| Fault::invalid("change.collection", "must be accounts or contacts"))?;
    if sent.filter.trim().is_empty() && sent.names.is_empty() {
        return Err(Fault::invalid("change.filter", "is required where no names are given; create_time:* is true of every record"));
    }
    let ids = if sent.names.is_empty() { None } else { Some(name::parse_all(resource.collection(), &sent.names, limits::BATCH_GET)?) };
    let work = match (sent.change, resource) {
        (Some(Sent::SetAccountFields(set)), Resource::Account) => set_account(set)?,
        (Some(Sent::SetContactFields(set)), Resource::Contact) => set_contact(set)?,
        (Some(Sent::SetAccountFields(_) | Sent::SetContactFields(_)), _) => {
            return Err(Fault::invalid("change.collection", "must be that of the fields to set"));
        }
        (Some(Sent::AssignOwner(owner)), _) if !owner.is_empty() => Work::Assign(owner),
        (Some(Sent::AssignOwner(_)), _) => return Err(Fault::invalid("change.assign_owner", "must look like users/{uuid} or teams/{uuid}")),
        (Some(Sent::AddTags(list)), _) => Work::AddTags(tags("change.add_tags.tags", list)?),
        (Some(Sent::RemoveTags(list)), _) => Work::RemoveTags(tags("change.remove_tags.tags", list)?),
        (Some(Sent::Delete(true)), _) => Work::Delete,
        (Some(Sent::Delete(false)), _) => return Err(Fault::invalid("change.delete", "must be true")),
        (None, _) => return Err(Fault::invalid("change", "must say what is done to the records")),
    };
    Ok(Change { resource, filter: sent.filter, ids, work })
}

fn set_account(set: pb::SetAccountFields) -> Result<Work, Fault> {
    let sent = set.account.ok_or_else(|| Fault::invalid("change.set_account_fields.account", "is required"))?;
    let paths = paths("change.set_account_fields.update_mask", set.update_mask, account::convert::PATHS)?;
    Ok(Work::SetAccount { sent: Box::new(sent), paths })
}

fn set_contact(set: pb::SetContactFields) -> Result<Work, Fault> {
    let sent = set.contact.ok_or_else(|| Fault::invalid("change.set_contact_fields.contact", "is required"))?;
    let paths = paths("change.set_contact_fields.update_mask", set.update_mask, contact::convert::PATHS)?;
    Ok(Work::SetContact { sent: Box::new(sent), paths })
}

/// The paths of a mask that names its fields: nobody empties what they did not think of.
fn paths(field: &str, mask: Option<FieldMask>, known: &'static [&'static str]) -> Result<Vec<&'static str>, Fault> {
    let mask = mask.filter(|mask| !mask.paths.is_empty()).ok_or_else(|| Fault::invalid(field, "is required"))?;
    if mask.paths.iter().any(|path| path == "*") {
        return Err(Fault::invalid(field, "must name the fields"));
    }
    let mask = Mask::parse(Some(mask), |_| false, known)?;
    if mask.has("external_ids") {
        return Err(Fault::invalid(field, "must not name external_ids: each belongs to one record"));
    }
    Ok(mask.paths().to_vec())
}

fn tags(field: &str, list: pb::TagList) -> Result<Vec<String>, Fault> {
    if list.tags.is_empty() {
        return Err(Fault::invalid(field, "is required"));
    }
    let mut found = Violations::default();
    let tags = tag::parse(&mut found, field, list.tags);
    found.finish().map(|()| tags)
}

impl Change {
    /// What each single change asks for.
    pub(super) fn permission(&self) -> &'static str {
        match (self.resource, &self.work) {
            (Resource::Contact, Work::Delete) => "contacts.contact.delete",
            (Resource::Contact, _) => "contacts.contact.update",
            (Resource::Account, Work::Delete) => "contacts.account.delete",
            (Resource::Account, _) => "contacts.account.update",
        }
    }

    /// Refuses what the caller may do to no record, and a filter that the list would not take.
    ///
    /// # Errors
    /// PERMISSION_DENIED (PERMISSION_MISSING, FIELD_READ_ONLY, FIELD_HIDDEN); INVALID_ARGUMENT (FILTER_INVALID).
    pub(super) fn check(&self, ctx: &Ctx) -> Result<(), Fault> {
        for permission in [self.resource.read_permission(), self.permission()] {
            if !ctx.scope_of(permission).permits_anything() {
                let text = format!("Ask an administrator for a role with {permission}.");
                return Err(Fault::denied("PERMISSION_MISSING", text).with("permission", permission));
            }
        }
        let (paths, resource): (&[&str], &str) = match &self.work {
            Work::SetAccount { paths, .. } => (paths, account::RESOURCE),
            Work::SetContact { paths, .. } => (paths, contact::RESOURCE),
            Work::Assign(_) => (&["owner"], self.resource.ruled()),
            Work::AddTags(_) | Work::RemoveTags(_) => (&["tags"], self.resource.ruled()),
            Work::Delete => (&[], self.resource.ruled()),
        };
        paths.iter().try_for_each(|path| ctx.fields(resource).require_writable(path))?;
        match self.resource {
            Resource::Contact => contact::list::check(ctx, &self.filter, ""),
            Resource::Account => account::list::check(ctx, &self.filter, ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(change: Sent) -> pb::BulkChange {
        pb::BulkChange { collection: "contacts".to_owned(), filter: "tags:vip".to_owned(), names: Vec::new(), change: Some(change) }
    }

    fn set(paths: &[&str]) -> Sent {
        let update_mask = Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
        Sent::SetContactFields(pb::SetContactFields { contact: Some(pb::Contact::default()), update_mask })
    }

    #[test]
    fn fields_to_set_are_named() {
        let parsed = parse(Some(change(set(&["person.language", "tags"])))).unwrap();
        assert!(matches!(parsed.work, Work::SetContact { paths, .. } if paths == ["person.language", "tags"]));
    }

    #[test]
    fn what_is_no_change_of_certain_records_is_refused() {
        let tags = |tags: &[&str]| pb::TagList { tags: tags.iter().map(|tag| (*tag).to_owned()).collect() };
        for spoilt in [
            None,
            Some(pb::BulkChange { change: None, ..change(Sent::Delete(true)) }),
            Some(pb::BulkChange { filter: " ".to_owned(), ..change(Sent::Delete(true)) }),
            Some(pb::BulkChange { collection: "orders".to_owned(), ..change(Sent::Delete(true)) }),
            Some(pb::BulkChange { collection: "accounts".to_owned(), ..change(set(&["tags"])) }),
            Some(change(Sent::Delete(false))),
            Some(change(Sent::AssignOwner(String::new()))),
            Some(change(Sent::AddTags(tags(&[])))),
            Some(change(Sent::RemoveTags(tags(&[""])))),
            Some(change(set(&[]))),
            Some(change(set(&["*"]))),
            Some(change(set(&["surname"]))),
            Some(change(set(&["external_ids"]))),
        ] {
            assert_eq!(parse(spoilt.clone()).unwrap_err().reason(), "FIELD_INVALID", "{spoilt:?}");
        }
    }
}
