//! Every user against every record: what the service does, beside what the model says.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use prost::Message;
use prost_types::{FieldMask, Timestamp};
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1 as pb;
use tonic::Code;
use uuid::Uuid;

use super::model::{Action, Effect, Verdict};
use super::world::{ACCOUNT, CONTACT, DEAD_LETTER, FIELDS, SYSTEM, Tenant};
use crate::bureau::Stored;
use crate::coverage::errors;
use crate::coverage::wire::{Caller, Wire, bytes, contains, ids};

/// Calls at a time.
const AT_ONCE: usize = 8;
const ACTIONS: [(Action, pb::AccessAction); 3] =
    [(Action::Read, pb::AccessAction::Read), (Action::Update, pb::AccessAction::Update), (Action::Delete, pb::AccessAction::Delete)];

/// One comparison of everything with everything.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) wire: &'a Wire,
    /// When in the story this is, for messages and as a tag on records.
    pub(super) when: &'static str,
    /// A time at which all records existed.
    pub(super) as_of: Timestamp,
    /// Paths of all methods that were compared.
    pub(super) called: Mutex<BTreeSet<String>>,
    pub(super) mismatches: Mutex<Vec<String>>,
}

/// One user, and what must never reach it.
pub(super) struct Eye<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) subject: &'a Subject,
    hidden: Vec<(&'static str, &'static [u8])>,
    foreign: &'a BTreeSet<Uuid>,
}

impl Comparison<'_> {
    /// Into the bin and out of it by who may do everything, since in a random organisation nobody else may.
    pub(super) async fn of_administrator(&self, tenant: &Tenant, other: &Tenant) {
        let foreign = other.ids();
        let eye = Eye { tenant, subject: &tenant.administrator, hidden: Vec::new(), foreign: &foreign };
        for resource in [CONTACT, ACCOUNT] {
            let (name, _) = tenant.model.records.iter().find(|(_, record)| record.resource == resource).expect("a record");
            let delete = contacts::DeleteContactRequest { name: name.clone(), etag: String::new() };
            for verb in ["Delete", "Undelete"] {
                self.expect(&eye, &method(resource, verb, ""), name, delete.encode_to_vec(), Verdict::Allowed).await;
            }
        }
        self.views(&eye, Verdict::Allowed).await;
        self.mappings(&eye, Verdict::Allowed).await;
        self.duplicates(&eye, Verdict::Allowed).await;
        self.merges(&eye, Verdict::Allowed).await;
        self.merges_of_accounts(&eye, Verdict::Allowed).await;
        self.files(&eye, Verdict::Allowed).await;
        self.bulk(&eye, Verdict::Allowed).await;
    }

    /// Compares for every user of `tenant`, with its own records and those of `other`.
    pub(super) async fn of(&self, tenant: &Tenant, other: &Tenant) {
        let foreign = other.ids();
        for subject in tenant.subjects.values() {
            let hidden = FIELDS.iter().copied().filter(|(field, _)| tenant.model.hides(subject.id, field)).collect();
            let eye = Eye { tenant, subject, hidden, foreign: &foreign };
            let records = tenant.model.records.iter().chain(&other.model.records).map(|(name, record)| (name.as_str(), record.resource));
            let eye = &eye;
            stream::iter(records).for_each_concurrent(AT_ONCE, |(name, resource)| Box::pin(self.one(eye, name, resource))).await;
            for resource in [CONTACT, ACCOUNT] {
                self.many(eye, other, resource).await;
            }
            self.search(eye).await;
            self.views(eye, Verdict::Denied).await;
            self.mappings(eye, Verdict::Denied).await;
            self.duplicates(eye, Verdict::Denied).await;
            self.merges(eye, Verdict::Denied).await;
            self.merges_of_accounts(eye, Verdict::Denied).await;
            self.files(eye, Verdict::Denied).await;
            self.bulk(eye, Verdict::Denied).await;
            self.hidden_fields(eye).await;
            for resource in [CONTACT, ACCOUNT] {
                let some = |tenant: &Tenant, most| -> Vec<String> {
                    let records = tenant.model.records.iter().filter(|(_, record)| record.resource == resource);
                    records.take(most).map(|(name, _)| name.clone()).collect()
                };
                for name in some(tenant, 3).iter().chain(&some(other, 1)) {
                    self.bin(eye, name, resource).await;
                    self.share(eye, name, resource).await;
                    self.upsert(eye, name, resource).await;
                }
                self.create(eye, resource).await;
            }
            let request = pb::VerifySealRequest { name: "services/contacts".to_owned(), ..pb::VerifySealRequest::default() };
            self.expect(eye, "/rapport.common.v1.AuditService/VerifySeal", "the journal", request.encode_to_vec(), Verdict::Denied).await;
            self.dead_letters(eye).await;
        }
    }

    /// Letters of the whole tenant: no level limits them, and one that is not there is answered as missing.
    async fn dead_letters(&self, eye: &Eye<'_>) {
        let parent = "services/contacts".to_owned();
        let names = vec![format!("{parent}/deadLetters/{}", clock::new_id())];
        let replay = pb::ReplayDeadLettersRequest { parent: parent.clone(), names: names.clone() };
        let discard = pb::DiscardDeadLettersRequest { parent: parent.clone(), names, reason: self.when.to_owned() };
        let list = pb::ListDeadLettersRequest { parent, ..pb::ListDeadLettersRequest::default() };
        for (verb, action, request) in
            [("List", "read", list.encode_to_vec()), ("Replay", "replay", replay.encode_to_vec()), ("Discard", "discard", discard.encode_to_vec())]
        {
            let held = !eye.tenant.model.held(eye.subject.id, &format!("{DEAD_LETTER}.{action}")).is_empty();
            let expected = if held { Verdict::Allowed } else { Verdict::Denied };
            let path = format!("/rapport.common.v1.DeadLetterService/{verb}DeadLetters");
            self.expect(eye, &path, "a dead letter", request, expected).await;
        }
    }

    /// Every call on one record.
    async fn one(&self, eye: &Eye<'_>, name: &str, resource: &'static str) {
        let verdict = |action| eye.tenant.model.verdict(eye.subject.id, action, resource, name);
        let read = verdict(Action::Read);
        let get = contacts::GetContactRequest { name: name.to_owned(), as_of: None };
        self.expect(eye, &method(resource, "Get", ""), name, get.encode_to_vec(), read).await;
        let before = contacts::GetContactRequest { as_of: Some(self.as_of), ..get };
        self.expect(eye, &method(resource, "Get", ""), name, before.encode_to_vec(), read).await;
        if let Some(record) = eye.tenant.model.records.get(name) {
            let lookup = contacts::LookupContactRequest { system: SYSTEM.to_owned(), id: record.external_id.clone() };
            self.expect(eye, &method(resource, "Lookup", ""), name, lookup.encode_to_vec(), read).await;
        }
        let tags = vec![self.when.to_owned(), eye.subject.id.to_string()];
        self.expect(eye, &method(resource, "Update", ""), name, update(resource, name, tags), verdict(Action::Update)).await;

        // Methods that any valid token may call decide by the record alone.
        let seen = if read == Verdict::Allowed { Verdict::Allowed } else { Verdict::Absent };
        let changes = pb::ListChangesRequest { name: name.to_owned(), ..pb::ListChangesRequest::default() };
        let answer = self.expect(eye, "/rapport.common.v1.AuditService/ListChanges", name, changes.encode_to_vec(), seen).await;
        self.history(eye, name, answer);
        let shares = pb::ListSharesRequest { name: name.to_owned(), ..pb::ListSharesRequest::default() };
        let answer = self.expect(eye, "/rapport.common.v1.AccessService/ListShares", name, shares.encode_to_vec(), seen).await;
        self.shares(eye, name, answer);
        for (action, told) in ACTIONS {
            let allowed = verdict(action) == Verdict::Allowed;
            let expected = if allowed { Verdict::Allowed } else { seen };
            self.explanation(eye, eye.subject, name, told, expected, allowed).await;
        }
        if eye.tenant.model.records.contains_key(name) {
            self.explanation(eye, &eye.tenant.administrator, name, pb::AccessAction::Read, Verdict::Allowed, read == Verdict::Allowed).await;
        }
    }

    /// Into the bin and out of it again.
    async fn bin(&self, eye: &Eye<'_>, name: &str, resource: &'static str) {
        let verdict = eye.tenant.model.verdict(eye.subject.id, Action::Delete, resource, name);
        let delete = contacts::DeleteContactRequest { name: name.to_owned(), etag: String::new() };
        if self.expect(eye, &method(resource, "Delete", ""), name, delete.encode_to_vec(), verdict).await.is_some() {
            self.expect(eye, &method(resource, "Undelete", ""), name, delete.encode_to_vec(), verdict).await;
        }
    }

    /// Shared with somebody who sees it anyway, and taken back: who may change a record decides about its shares.
    async fn share(&self, eye: &Eye<'_>, name: &str, resource: &'static str) {
        let model = &eye.tenant.model;
        let verdict =
            match (model.verdict(eye.subject.id, Action::Read, resource, name), model.verdict(eye.subject.id, Action::Update, resource, name)) {
                (Verdict::Allowed, Verdict::Allowed) => Verdict::Allowed,
                (Verdict::Allowed, _) => Verdict::Denied,
                _ => Verdict::Absent,
            };
        let subject = eye.tenant.administrator.name();
        let request = pb::ShareRecordRequest {
            name: name.to_owned(),
            subject: subject.clone(),
            access_level: pb::AccessLevel::Read.into(),
            role: String::new(),
        };
        self.expect(eye, "/rapport.common.v1.AccessService/ShareRecord", name, request.encode_to_vec(), verdict).await;
        let request = pb::UnshareRecordRequest { name: name.to_owned(), subject };
        self.expect(eye, "/rapport.common.v1.AccessService/UnshareRecord", name, request.encode_to_vec(), verdict).await;
    }

    /// A batch of one record: the call asks for the permission, its entry is decided by the record.
    async fn upsert(&self, eye: &Eye<'_>, name: &str, resource: &'static str) {
        let model = &eye.tenant.model;
        let held = !model.held(eye.subject.id, &format!("{resource}.update")).is_empty();
        let changes = model.verdict(eye.subject.id, Action::Update, resource, name) == Verdict::Allowed;
        let tags = vec![self.when.to_owned(), eye.subject.id.to_string(), "upserted".to_owned()];
        let request = if resource == CONTACT {
            let contact = contacts::Contact { name: name.to_owned(), tags, ..contacts::Contact::default() };
            contacts::BatchUpsertContactsRequest { contacts: vec![contact], atomic: false, allow_duplicates: false }.encode_to_vec()
        } else {
            let account = contacts::Account { name: name.to_owned(), tags, ..contacts::Account::default() };
            contacts::BatchUpsertAccountsRequest { accounts: vec![account], atomic: false }.encode_to_vec()
        };
        let expected = if held { Verdict::Allowed } else { Verdict::Denied };
        let path = method(resource, "BatchUpsert", "s");
        let Some(answer) = self.expect(eye, &path, name, request, expected).await else { return };
        let changed = if resource == CONTACT {
            let answer = contacts::BatchUpsertContactsResponse::decode(answer.as_slice()).expect("the answer of a batch");
            answer.results.iter().all(|result| matches!(result.result, Some(contacts::upsert_contact_result::Result::Contact(_))))
        } else {
            let answer = contacts::BatchUpsertAccountsResponse::decode(answer.as_slice()).expect("the answer of a batch");
            answer.results.iter().all(|result| matches!(result.result, Some(contacts::upsert_account_result::Result::Account(_))))
        };
        if changed != changes {
            self.mismatch(eye, &path, name, &format!("changed: {changes}"), &format!("{changed}"));
        }
    }

    /// A record of the caller's own, which the administrator deletes again.
    async fn create(&self, eye: &Eye<'_>, resource: &'static str) {
        let held = !eye.tenant.model.held(eye.subject.id, &format!("{resource}.create")).is_empty();
        let request = if resource == CONTACT {
            let person = contacts::Person { family_name: "Tried".to_owned(), ..contacts::Person::default() };
            let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
            contacts::CreateContactRequest { contact: Some(contact), allow_duplicates: false }.encode_to_vec()
        } else {
            let account = contacts::Account { display_name: "Tried".to_owned(), ..contacts::Account::default() };
            contacts::CreateAccountRequest { account: Some(account) }.encode_to_vec()
        };
        let expected = if held { Verdict::Allowed } else { Verdict::Denied };
        let Some(answer) = self.expect(eye, &method(resource, "Create", ""), resource, request, expected).await else { return };
        let made = Stored::decode(answer.as_slice()).expect("a record");
        let request = contacts::DeleteContactRequest { name: made.name, etag: String::new() }.encode_to_vec();
        let deleted = self.wire.send(&method(resource, "Delete", ""), &Caller::of(&eye.tenant.administrator), request).await;
        deleted.expect("the administrator deletes a record");
    }

    fn history(&self, eye: &Eye<'_>, name: &str, answer: Option<Vec<u8>>) {
        let Some(answer) = answer else { return };
        let answer = pb::ListChangesResponse::decode(answer.as_slice()).expect("the answer of ListChanges");
        let hidden: Vec<&str> = eye
            .hidden
            .iter()
            .map(|(field, _)| *field)
            .filter(|field| eye.tenant.model.effect(eye.subject.id, field) == Some(Effect::Hidden))
            .collect();
        for change in answer.changes.iter().flat_map(|change| &change.field_changes) {
            if hidden.iter().any(|field| change.path.starts_with(field)) {
                self.mismatch(eye, "ListChanges", name, "no change of a hidden field", &change.path);
            }
            let dated = change.path.starts_with("person.birth_date") && format!("{}{}", change.before, change.after).contains("1907");
            if dated && eye.tenant.model.hides(eye.subject.id, "person.birth_date") {
                self.mismatch(eye, "ListChanges", name, "no value of a masked field", &change.path);
            }
        }
    }

    fn shares(&self, eye: &Eye<'_>, name: &str, answer: Option<Vec<u8>>) {
        let (Some(answer), Some(record)) = (answer, eye.tenant.model.records.get(name)) else { return };
        let answer = pb::ListSharesResponse::decode(answer.as_slice()).expect("the answer of ListShares");
        let listed: Vec<String> = answer.shares.into_iter().map(|share| share.subject).collect();
        let expected = record.shares.keys().map(|subject| eye.tenant.subject_name(*subject)).collect();
        self.same(eye, "ListShares", name, &expected, &listed);
    }

    async fn explanation(&self, eye: &Eye<'_>, asking: &Subject, name: &str, action: pb::AccessAction, expected: Verdict, allowed: bool) {
        let own = asking.id == eye.subject.id;
        let subject = if own { String::new() } else { eye.subject.name() };
        let request = pb::ExplainAccessRequest { name: name.to_owned(), subject, action: action.into() };
        let asking_eye = Eye { subject: asking, hidden: eye.hidden.clone(), ..*eye };
        let answer = self.expect(&asking_eye, "/rapport.common.v1.AccessService/ExplainAccess", name, request.encode_to_vec(), expected).await;
        let Some(answer) = answer else { return };
        let answer = pb::ExplainAccessResponse::decode(answer.as_slice()).expect("the answer of ExplainAccess");
        if answer.allowed != allowed {
            self.mismatch(eye, &format!("ExplainAccess {action:?}"), name, &format!("allowed: {allowed}"), &format!("{answer:?}"));
        }
        if answer.reasons.is_empty() {
            self.mismatch(eye, &format!("ExplainAccess {action:?}"), name, "reasons", "none");
        }
    }

    /// Calls, looks for what must not be in the answer, and compares how it went; gives the answer if there is one.
    pub(super) async fn expect(&self, eye: &Eye<'_>, path: &str, record: &str, request: Vec<u8>, expected: Verdict) -> Option<Vec<u8>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
        let answer = self.wire.send(path, &Caller::of(eye.subject), request.clone()).await;
        let shown = bytes(&answer);
        for (field, mark) in &eye.hidden {
            if contains(&shown, mark) && !contains(&request, mark) {
                self.mismatch(eye, path, record, &format!("nothing of {field}"), "its value");
            }
        }
        let sent = ids(&request);
        for id in ids(&shown).into_iter().filter(|id| eye.foreign.contains(id) && !sent.contains(id)) {
            self.mismatch(eye, path, record, "no id of another tenant", &id.to_string());
        }
        let got = match &answer {
            Ok(_) => Some(Verdict::Allowed),
            Err(status) if status.code() == Code::NotFound => Some(Verdict::Absent),
            Err(status) if status.code() == Code::PermissionDenied => Some(Verdict::Denied),
            Err(_) => None,
        };
        let told = answer.as_ref().err().map_or_else(|| "Allowed".to_owned(), errors::told);
        if got != Some(expected) {
            self.mismatch(eye, path, record, &format!("{expected:?}"), &told);
        }
        for problem in answer.as_ref().err().map(errors::problems).unwrap_or_default() {
            self.mismatch(eye, path, record, "an error that keeps the contract", &format!("{problem} in {told}"));
        }
        answer.ok()
    }

    pub(super) fn same(&self, eye: &Eye<'_>, call: &str, record: &str, expected: &BTreeSet<String>, got: &[String]) {
        let distinct: BTreeSet<String> = got.iter().cloned().collect();
        if distinct.len() != got.len() {
            self.mismatch(eye, call, record, "each one once", "some of them twice");
        }
        let (lacking, extra): (Vec<_>, Vec<_>) = (expected.difference(&distinct).collect(), distinct.difference(expected).collect());
        if !lacking.is_empty() || !extra.is_empty() {
            self.mismatch(eye, call, record, &format!("{} of them", expected.len()), &format!("lacking {lacking:?}, too many {extra:?}"));
        }
    }

    fn mismatch(&self, eye: &Eye<'_>, call: &str, record: &str, expected: &str, got: &str) {
        let user = eye.tenant.model.users.get(&eye.subject.id);
        let roles = user.into_iter().flat_map(|user| &user.grants).map(|(role, level)| format!("{level:?} {:?}", eye.tenant.model.roles.get(role)));
        let text = format!(
            "{}: {} calls {call} on {record}: expected {expected}, got {got}\n    unit {:?}, roles {}\n    record {:?}",
            self.when,
            eye.subject.name(),
            user.and_then(|user| user.unit),
            roles.collect::<Vec<_>>().join("; "),
            eye.tenant.model.records.get(record)
        );
        self.mismatches.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// Path of the standard method `verb`; the messages of both resources have the same shape where they are used here.
pub(super) fn method(resource: &str, verb: &str, plural: &str) -> String {
    let noun = if resource == CONTACT { "Contact" } else { "Account" };
    format!("/rapport.contacts.v1.{noun}Service/{verb}{noun}{plural}")
}

/// A change that matters to nobody: other tags.
fn update(resource: &str, name: &str, tags: Vec<String>) -> Vec<u8> {
    let (name, mask) = (name.to_owned(), Some(FieldMask { paths: vec!["tags".to_owned()] }));
    if resource == CONTACT {
        let contact = contacts::Contact { name, tags, ..contacts::Contact::default() };
        return contacts::UpdateContactRequest { contact: Some(contact), update_mask: mask, allow_duplicates: false }.encode_to_vec();
    }
    let account = contacts::Account { name, tags, ..contacts::Account::default() };
    contacts::UpdateAccountRequest { account: Some(account), update_mask: mask }.encode_to_vec()
}
