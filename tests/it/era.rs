//! After identity's database was restored, ids of transactions begin anew; nobody may miss what happens then.

use rapport_identity_api::v1 as identity;
use rapport_identity_api::v1::team_service_client::TeamServiceClient;
use rapport_kit::testing::{eventually, password};
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::policy_service_client::PolicyServiceClient;
use secrecy::ExposeSecret;

use crate::office::{Office, policy, superuser, with};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_followed_the_policy_before_a_restore_is_told_everything_again() {
    let office = Office::open().await;
    office.tenant("restored", Some(policy())).await;
    let admin = office.sign_in("restored", "admin@example.com").await;
    let team = create_team(&office, &admin, "Before").await;
    let (before, since) = told(&office, "", &team).await;
    let (nothing, same) = all(&office, &since).await;
    assert_eq!((nothing.len(), &same), (0, &since), "who has everything is told nothing");

    let mut owner = superuser(&office.databases[0]).await;
    eventually("an empty outbox", async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from kit.outbox").fetch_one(&mut superuser(&office.databases[0]).await).await.ok()?;
        (waiting == 0).then_some(())
    })
    .await;
    for statement in ["update kit.journal set xid = (xid::text::bigint + 1000000000000)::text::xid8", "select kit.begin_era()"] {
        sqlx::query(statement).execute(&mut owner).await.expect("the restore is as it would be");
    }

    let team = create_team(&office, &admin, "After").await;
    let (after, next) = told(&office, &since, &team).await;
    let names = |changes: &[pb::PolicyChange]| changes.iter().map(|change| change.name.clone()).collect::<Vec<_>>();
    let mut expected = names(&before);
    expected.push(team);
    assert_eq!(names(&after), expected, "all of it again, in the same order, and what came after");
    // What was lost by the restore may have had any version so far; what is told now stands above it.
    let highest = before.iter().map(|change| change.version).max();
    assert!(after.iter().all(|change| Some(change.version) > highest));
    assert_eq!(all(&office, &next).await, (Vec::new(), next));
}

async fn create_team(office: &Office, admin: &str, name: &str) -> String {
    let team = identity::Team { display_name: name.to_owned(), ..identity::Team::default() };
    let request = with(admin, identity::CreateTeamRequest { team: Some(team) });
    TeamServiceClient::new(office.identity.clone()).create_team(request).await.expect("a team").into_inner().name
}

/// Everything after `since`, as soon as it ends with `last`: other transactions of the server can hold that
/// back for a moment.
async fn told(office: &Office, since: &str, last: &str) -> (Vec<pb::PolicyChange>, String) {
    eventually("the last change", async || {
        let (changes, next) = all(office, since).await;
        changes.last().is_some_and(|change| change.name == last).then_some((changes, next))
    })
    .await
}

/// Everything after `since`, by small pages.
async fn all(office: &Office, since: &str) -> (Vec<pb::PolicyChange>, String) {
    let mut client = PolicyServiceClient::new(office.identity.clone());
    let (mut changes, mut since) = (Vec::new(), since.to_owned());
    for _ in 0..100 {
        let request = with(password().expose_secret(), pb::GetPolicyChangesRequest { since: since.clone(), page_size: 3 });
        let answer = client.get_policy_changes(request).await.expect("changes").into_inner();
        changes.extend(answer.changes);
        since = answer.next_since;
        if !answer.has_more {
            return (changes, since);
        }
    }
    panic!("the changes have no end: {} so far", changes.len());
}
