//! The support bundle tells how a service stands, and nothing that is secret or about anybody.

use rapport_kit::config::{Config, Secrets};
use rapport_kit::process;
use rapport_kit::testing::{Identity, Infra, password};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::{Rig, SERVICE, superuser};

fn at<'a>(bundle: &'a Value, place: &str) -> &'a Value {
    bundle.pointer(place).unwrap_or_else(|| panic!("{place} is missing in {bundle:#}"))
}

#[tokio::test]
async fn the_bundle_of_a_running_service_tells_how_it_stands_and_no_secret() {
    let infra = Infra::from_environment();
    let rig = Rig::configured(|config| config.metrics = "127.0.0.1:0".to_owned()).await;
    let mut owner = superuser(&rig.logins).await;
    sqlx::query(
        "insert into kit.dead_letter (tenant_id, id, state, consumer, event_id, fact, subject, subject_version, routing_key, headers, body, reason, attempts)
         values (gen_random_uuid(), gen_random_uuid(), 'dead', 'probe', 'canary-event', 'canary.fact', 'canary-subject', 1, 'canary', '{}', 'canary-body', 'canary-person', 1)",
    )
    .execute(&mut owner)
    .await
    .expect("a dead letter");
    let config = Config {
        identity: rig.identity.address.clone(),
        metrics: rig.running.metrics.expect("a metrics port").to_string(),
        otlp: "https://collector:canary-otlp@traces.example:4317".to_owned(),
        service: json!({"smtp_password": "canary-smtp", "hook": "https://canary-user:canary-hook@hooks.example/in", "note": "canary-credential"}),
        ..Config::default()
    };
    let secrets = Secrets {
        database_app: rig.logins.app.clone(),
        database_system: rig.logins.system.clone(),
        broker: Some(infra.broker.clone()),
        credential: SecretString::from("canary-credential"),
        sealing: SecretString::from("canary-sealing"),
    };
    let bundle = process::bundle(&SERVICE, &config, &secrets).await;
    let text = bundle.to_string();
    let broker: http::Uri = infra.broker.expose_secret().parse().expect("an address");
    let broker = broker.authority().and_then(|authority| authority.as_str().split(['@', ':']).nth(1)).expect("a password");
    for secret in ["canary", password().expose_secret(), broker] {
        assert!(!text.contains(secret), "{secret} stands in {bundle:#}");
    }
    for (place, value) in [
        ("/service", json!("probe")),
        ("/configuration/drain_seconds", json!(18)),
        ("/secrets/database_app/user", json!("probe_app")),
        ("/database/answers", json!(true)),
        ("/database/schema/pending", json!(0)),
        ("/database/dead_letters/dead", json!(1)),
        ("/database/outbox/waiting", json!(0)),
        ("/broker/answers", json!(true)),
        ("/figures/answers", json!(true)),
    ] {
        assert_eq!(at(&bundle, place), &value, "{place} in {bundle:#}");
    }
    assert!(at(&bundle, "/figures/values").get("rapport_policy_synced_timestamp_seconds").is_some(), "{bundle:#}");
}

#[tokio::test]
async fn what_is_away_is_told_and_hides_nothing_of_the_rest() {
    let identity = Identity::start().await;
    let away = |scheme: &str| SecretString::from(format!("{scheme}://canary-user:canary-password@127.0.0.1:1/nothing"));
    let secrets = Secrets {
        database_app: away("postgres"),
        database_system: away("postgres"),
        broker: Some(away("amqp")),
        credential: SecretString::from("canary-credential"),
        sealing: SecretString::from("canary-sealing"),
    };
    let config = Config { identity: identity.address.clone(), metrics: "127.0.0.1:1".to_owned(), ..Config::default() };
    let bundle = process::bundle(&SERVICE, &config, &secrets).await;
    for (part, reason) in [("database", "DATABASE_AWAY"), ("broker", "BROKER_AWAY"), ("figures", "METRICS_AWAY")] {
        assert_eq!(at(&bundle, &format!("/{part}/answers")), &json!(false), "{bundle:#}");
        assert_eq!(at(&bundle, &format!("/{part}/reason")), &json!(reason), "{bundle:#}");
    }
    assert_eq!(at(&bundle, "/secrets/broker/port"), &json!(1));
    assert!(!bundle.to_string().replace("canary-user", "").contains("canary"), "{bundle:#}");
}
