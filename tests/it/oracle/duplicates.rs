//! Duplicates. No role of a random organisation opens rules and sweeps; pairs are seen by who may read both records.

use std::collections::BTreeSet;

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_contacts_api::v1::duplicate_comparison::{Field, Method};
use rapport_kit::clock;

use super::compare::{Comparison, Eye};
use super::model::Verdict;
use super::world::CONTACT;

const RULES: &str = "/rapport.contacts.v1.DuplicateRuleService";
const PAIRS: &str = "/rapport.contacts.v1.DuplicateService";

impl Comparison<'_> {
    /// Every method on duplicates; `expected` of those that only an administrator may call.
    pub(super) async fn duplicates(&self, eye: &Eye<'_>, expected: Verdict) {
        self.rules(eye, expected).await;
        let sweep = contacts::StartDuplicateSweepRequest::default().encode_to_vec();
        self.expect(eye, &format!("{PAIRS}/StartDuplicateSweep"), "a sweep", sweep, expected).await;

        let model = &eye.tenant.model;
        let holds = |action: &str| !model.held(eye.subject.id, &format!("{CONTACT}.{action}")).is_empty() || expected == Verdict::Allowed;
        let reads = if holds("read") { Verdict::Allowed } else { Verdict::Denied };
        let person = contacts::Person { family_name: "Nobody".to_owned(), ..contacts::Person::default() };
        let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
        let find = contacts::FindDuplicatesRequest { record: Some(contacts::find_duplicates_request::Record::Contact(contact)) };
        self.expect(eye, &format!("{PAIRS}/FindDuplicates"), "nobody", find.encode_to_vec(), reads).await;
        let list = contacts::ListDuplicatePairsRequest { page_size: 1000, ..contacts::ListDuplicatePairsRequest::default() };
        let answer = self.expect(eye, &format!("{PAIRS}/ListDuplicatePairs"), "pairs", list.encode_to_vec(), reads).await;
        if let Some(answer) = answer.filter(|_| expected != Verdict::Allowed) {
            let pairs = contacts::ListDuplicatePairsResponse::decode(answer.as_slice()).expect("a list").duplicate_pairs;
            let visible = model.visible(eye.subject.id, CONTACT);
            let records = pairs.into_iter().flat_map(|pair| [pair.first_record, pair.second_record]);
            let extra: BTreeSet<String> = records.filter(|name| !visible.contains(name)).collect();
            self.same(eye, "ListDuplicatePairs", CONTACT, &BTreeSet::new(), &extra.into_iter().collect::<Vec<_>>());
        }
        let review = contacts::ReviewDuplicatePairRequest {
            name: format!("duplicatePairs/{}", clock::new_id()),
            state: contacts::duplicate_pair::State::NotDuplicate.into(),
            ..contacts::ReviewDuplicatePairRequest::default()
        };
        let verdict = if holds("update") { Verdict::Absent } else { Verdict::Denied };
        self.expect(eye, &format!("{PAIRS}/ReviewDuplicatePair"), "a pair", review.encode_to_vec(), verdict).await;
    }

    async fn rules(&self, eye: &Eye<'_>, expected: Verdict) {
        let comparison = contacts::DuplicateComparison {
            field: Field::Email.into(),
            method: Method::Exact.into(),
            weight: 50,
            ..contacts::DuplicateComparison::default()
        };
        let rule = contacts::DuplicateRule {
            display_name: "Compared".to_owned(),
            collection: "accounts".to_owned(),
            comparisons: vec![comparison],
            threshold: 50,
            ..contacts::DuplicateRule::default()
        };
        let create = contacts::CreateDuplicateRuleRequest { duplicate_rule: Some(rule.clone()) }.encode_to_vec();
        let answer = self.expect(eye, &format!("{RULES}/CreateDuplicateRule"), "a rule", create, expected).await;
        let made = answer.map(|answer| contacts::DuplicateRule::decode(answer.as_slice()).expect("a rule").name);
        let name = made.unwrap_or_else(|| format!("duplicateRules/{}", clock::new_id()));
        let changed = contacts::DuplicateRule { name: name.clone(), threshold: 40, ..rule };
        for (method, request) in [
            ("GetDuplicateRule", contacts::GetDuplicateRuleRequest { name: name.clone() }.encode_to_vec()),
            ("ListDuplicateRules", contacts::ListDuplicateRulesRequest::default().encode_to_vec()),
            ("UpdateDuplicateRule", contacts::UpdateDuplicateRuleRequest { duplicate_rule: Some(changed), update_mask: None }.encode_to_vec()),
            ("DeleteDuplicateRule", contacts::DeleteDuplicateRuleRequest { name: name.clone(), etag: String::new() }.encode_to_vec()),
        ] {
            self.expect(eye, &format!("{RULES}/{method}"), &name, request, expected).await;
        }
    }
}
