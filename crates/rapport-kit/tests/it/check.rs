//! What an installation asks before it goes on: the level of the schema, and a call to a running service.

use std::time::Duration;

use rapport_kit::config::{Config, Secrets};
use rapport_kit::db::{self, Logins};
use rapport_kit::testing::{Infra, eventually, password};
use rapport_kit::{Service, clock, process};
use rapport_proto::MethodRule;
use secrecy::SecretString;
use tonic::Code;

use crate::support::{Rig, SERVICE, refused};

/// What the service of these tests does not serve.
const STRANGE: &[MethodRule] = &[MethodRule { path: "/strange.Service/Method", ..rapport_proto::METHODS[0] }];

/// A database of the service in which nothing was migrated yet.
async fn empty() -> Logins {
    let database = format!("probe_{}", clock::new_id().simple());
    db::provision(&Infra::from_environment().postgres, SERVICE.name, &database, None, &password()).await.expect("a database is made")
}

fn secrets(logins: &Logins) -> Secrets {
    Secrets { database_app: logins.app.clone(), database_system: logins.system.clone(), broker: None, credential: password(), sealing: password() }
}

#[tokio::test]
async fn a_pod_waits_until_the_migration_of_its_release_has_run() {
    let logins = empty().await;
    let secrets = secrets(&logins);
    let at_once = process::schema_reached(&SERVICE, &secrets, Duration::ZERO).await.expect_err("nothing has run");
    assert_eq!(refused(at_once), (Code::FailedPrecondition, "MIGRATIONS_PENDING".to_owned()));
    // Joined, the one that waits begins.
    let waiting = process::schema_reached(&SERVICE, &secrets, Duration::from_secs(60));
    let (waited, migrated) = tokio::join!(waiting, process::migrated(&SERVICE, &logins.migrator, Duration::ZERO));
    migrated.expect("the migrations apply");
    waited.expect("it goes on as soon as they have");
    process::schema_reached(&SERVICE, &secrets, Duration::ZERO).await.expect("the next pod need not wait");
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_then_told() {
    let mut secrets = secrets(&empty().await);
    let nowhere = SecretString::from("postgres://probe_system:development@127.0.0.1:1/probe");
    secrets.database_system = nowhere.clone();
    let fault = process::schema_reached(&SERVICE, &secrets, Duration::from_millis(500)).await.expect_err("nobody listens there");
    assert_eq!((fault.code(), fault.reason()), (Code::Unavailable, "DATABASE_AWAY"), "{fault:?}");
    let fault = process::migrated(&SERVICE, &nowhere, Duration::from_millis(500)).await.expect_err("nor does anybody migrate there");
    assert_eq!(fault.reason(), "DATABASE_AWAY");
}

#[tokio::test]
async fn a_serving_service_answers_and_one_that_ends_or_is_absent_does_not() {
    let rig = Rig::configured(|config: &mut Config| config.leave_seconds = 3).await;
    let address = format!("http://{}", rig.running.address);
    process::answers(&SERVICE, &address, None, Duration::ZERO).await.expect("it serves");
    let stranger = Service { name: "stranger", methods: &[STRANGE], ..SERVICE };
    let refused = process::answers(&stranger, &address, None, Duration::ZERO).await.expect_err("another service is not the one that was asked for");
    assert!(refused.text().contains("/strange.Service/Method"), "{refused}");
    let goodbye = eventually("it says goodbye", async || process::answers(&SERVICE, &address, None, Duration::ZERO).await.err());
    let (ended, leaving) = tokio::join!(rig.running.stop(), goodbye);
    assert!(ended);
    assert!(leaving.text().contains("NOT_SERVING"), "{leaving}");
    let absent = process::answers(&SERVICE, &address, None, Duration::ZERO).await.expect_err("nobody is there");
    assert_eq!((absent.code(), absent.reason()), (Code::Unavailable, "SERVICE_NOT_SERVING"));
    let nowhere = process::answers(&SERVICE, "no address", None, Duration::ZERO).await.expect_err("it cannot be read");
    assert_eq!(nowhere.reason(), "SERVICE_ADDRESS_INVALID");
}
