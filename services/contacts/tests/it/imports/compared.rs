//! Reconciliations by somebody who sees or changes less than all.

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportLayout;
use rapport_kit::testing::Subject;
use rapport_proto::common::v1::{FieldEffect, FieldRule, GrantLevel};

use super::desk::Desk;
use super::migration::{ACCOUNTS, CONTACTS, Exported, figures, started_by, told};

/// Somebody who reads records at one level, changes their own, and has these rules on fields.
fn somebody(desk: &Desk, reads: GrantLevel, rules: &[FieldRule]) -> Subject {
    let role = |permissions: &[&str]| desk.identity.role(desk.tenant, permissions, rules.to_vec());
    let works = role(&["contacts.import.*", "files.*", "jobs.*"]);
    let (reader, editor) = (role(&["contacts.contact.read", "contacts.account.read"]), role(&["contacts.contact.*", "contacts.account.*"]));
    desk.identity.user_with(desk.tenant, None, &[(works, GrantLevel::All), (reader, reads), (editor, GrantLevel::Own)])
}

async fn compared_by(desk: &Desk, who: &Subject, files: &[&Exported]) -> Vec<pb::ReconciledFile> {
    let job = started_by(desk, who, files).await;
    desk.succeeded(&job).await;
    told(desk, &job).await
}

/// Rows that were not compared, by reason.
fn uncompared(file: &pb::ReconciledFile) -> Vec<(&str, i64)> {
    file.uncompared.iter().map(|refusal| (refusal.reason.as_str(), refusal.count)).collect()
}

fn sums(file: &pb::ReconciledFile) -> Vec<(&str, &str)> {
    file.sums.iter().map(|sum| (sum.field.as_str(), sum.here.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_may_not_change_or_see_is_not_compared_and_in_no_sum() {
    let desk = Desk::open().await;
    let hidden = FieldRule { resource: "contacts.account".to_owned(), field: "employee_count".to_owned(), effect: FieldEffect::Hidden.into() };
    for (reads, rules, reason, unloaded, sum) in [
        (GrantLevel::All, vec![], "RECORD_READ_ONLY", 0, vec![("employee_count", "17")]),
        (GrantLevel::All, vec![hidden.clone()], "RECORD_READ_ONLY", 0, vec![]),
        // The parent of one stands in the file and is not to be seen.
        (GrantLevel::Own, vec![], "EXTERNAL_ID_TAKEN", 1, vec![("employee_count", "17")]),
    ] {
        let desk = desk.elsewhere();
        let who = somebody(&desk, reads, &rules);
        let mut accounts = Exported::look(&desk, "accounts", ACCOUNTS, ImportLayout::Salesforce).await.owned(&[("005A", &who.name())]);
        let contacts = Exported::look(&desk, "contacts", CONTACTS, ImportLayout::Salesforce).await;
        accounts.load(&desk).await;
        contacts.load(&desk).await;
        // A number that is hidden cannot be compared.
        accounts.rules.columns.retain(|column| column.target != "Employees");
        let found = compared_by(&desk, &who, &[&accounts, &contacts]).await;
        assert_eq!((figures(&found[0]), uncompared(&found[0])), ([3, 0, 0, 1, 1, unloaded, 2], vec![(reason, 1)]), "{reason}");
        assert_eq!(sums(&found[0]), sum, "{reason}");
        assert_eq!((figures(&found[1]), uncompared(&found[1])), ([0, 0, 2, 1, 2, 0, 2], vec![(reason, 2)]), "{reason}");
    }
}
