//! Merges. No role of a random organisation opens them, so that its administrator alone gets at any.

use prost::Message;
use rapport_contacts_api::v1 as contacts;
use rapport_kit::clock;

use super::compare::{Comparison, Eye};
use super::model::Verdict;
use crate::bureau::Stored;
use crate::coverage::wire::Caller;

const SERVICE: &str = "/rapport.contacts.v1.MergeService";
const CONTACTS: &str = "/rapport.contacts.v1.ContactService";
const ACCOUNTS: &str = "/rapport.contacts.v1.AccountService";

impl Comparison<'_> {
    /// Every method on merges of contacts. Who is allowed merges two contacts of their own, which are in the bin afterwards.
    pub(super) async fn merges(&self, eye: &Eye<'_>, expected: Verdict) {
        let (mut survivor, mut loser) = (format!("contacts/{}", clock::new_id()), format!("contacts/{}", clock::new_id()));
        if expected == Verdict::Allowed {
            (survivor, loser) = (self.contact(eye).await, self.contact(eye).await);
        }
        let merge = contacts::MergeContactsRequest { survivor: survivor.clone(), loser: loser.clone(), ..contacts::MergeContactsRequest::default() };
        let preview = contacts::PreviewMergeContactsRequest { merge: Some(merge.clone()) }.encode_to_vec();
        self.expect(eye, &format!("{SERVICE}/PreviewMergeContacts"), &survivor, preview, expected).await;
        let answer = self.expect(eye, &format!("{SERVICE}/MergeContacts"), &survivor, merge.encode_to_vec(), expected).await;
        let made = answer.map(|answer| contacts::Merge::decode(answer.as_slice()).expect("a merge").name);
        let name = made.unwrap_or_else(|| format!("merges/{}", clock::new_id()));
        for (method, request) in [
            ("GetMerge", contacts::GetMergeRequest { name: name.clone() }.encode_to_vec()),
            ("ListMerges", contacts::ListMergesRequest::default().encode_to_vec()),
            ("UnmergeContacts", contacts::UnmergeContactsRequest { name: name.clone(), etag: String::new() }.encode_to_vec()),
        ] {
            self.expect(eye, &format!("{SERVICE}/{method}"), &name, request, expected).await;
        }
        if expected == Verdict::Allowed {
            for name in [survivor, loser] {
                let request = contacts::DeleteContactRequest { name, etag: String::new() }.encode_to_vec();
                self.wire.send(&format!("{CONTACTS}/DeleteContact"), &Caller::of(eye.subject), request).await.expect("a contact less");
            }
        }
    }

    /// The same for accounts.
    pub(super) async fn merges_of_accounts(&self, eye: &Eye<'_>, expected: Verdict) {
        let (mut survivor, mut loser) = (format!("accounts/{}", clock::new_id()), format!("accounts/{}", clock::new_id()));
        if expected == Verdict::Allowed {
            (survivor, loser) = (self.account(eye).await, self.account(eye).await);
        }
        let merge = contacts::MergeAccountsRequest { survivor: survivor.clone(), loser: loser.clone(), ..contacts::MergeAccountsRequest::default() };
        let preview = contacts::PreviewMergeAccountsRequest { merge: Some(merge.clone()) }.encode_to_vec();
        self.expect(eye, &format!("{SERVICE}/PreviewMergeAccounts"), &survivor, preview, expected).await;
        let answer = self.expect(eye, &format!("{SERVICE}/MergeAccounts"), &survivor, merge.encode_to_vec(), expected).await;
        let made = answer.map(|answer| contacts::Merge::decode(answer.as_slice()).expect("a merge").name);
        let name = made.unwrap_or_else(|| format!("merges/{}", clock::new_id()));
        let request = contacts::UnmergeAccountsRequest { name: name.clone(), etag: String::new() }.encode_to_vec();
        self.expect(eye, &format!("{SERVICE}/UnmergeAccounts"), &name, request, expected).await;
        if expected == Verdict::Allowed {
            for name in [survivor, loser] {
                let request = contacts::DeleteAccountRequest { name, etag: String::new() }.encode_to_vec();
                self.wire.send(&format!("{ACCOUNTS}/DeleteAccount"), &Caller::of(eye.subject), request).await.expect("an account less");
            }
        }
    }

    async fn account(&self, eye: &Eye<'_>) -> String {
        let account = contacts::Account { display_name: "Merged".to_owned(), ..contacts::Account::default() };
        let request = contacts::CreateAccountRequest { account: Some(account) }.encode_to_vec();
        let answer = self.wire.send(&format!("{ACCOUNTS}/CreateAccount"), &Caller::of(eye.subject), request).await.expect("an account");
        Stored::decode(answer.as_slice()).expect("an account").name
    }

    async fn contact(&self, eye: &Eye<'_>) -> String {
        let person = contacts::Person { family_name: "Merged".to_owned(), ..contacts::Person::default() };
        let contact = contacts::Contact { person: Some(person), ..contacts::Contact::default() };
        let request = contacts::CreateContactRequest { contact: Some(contact), ..Default::default() }.encode_to_vec();
        let answer = self.wire.send(&format!("{CONTACTS}/CreateContact"), &Caller::of(eye.subject), request).await.expect("a contact");
        Stored::decode(answer.as_slice()).expect("a contact").name
    }
}
