//! The figures of running services: what an alert or a dashboard names is there, and tells how the service stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rapport_kit::clock;
use rapport_kit::testing::{Infra, eventually};
use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::architecture::root;
use crate::office::process;

/// Where metrics are named: alerts and dashboards, and the tests of the alerts.
const SOURCES: [&str; 2] = ["charts/rapport-service/templates", "deploy/alerts-test"];
/// How our own metrics begin.
const PREFIXES: [&str; 3] = ["rapport_", "rpc_server_", "process_"];

/// The metrics that a text names: words that begin as ours do, and whatever stands before a selector's brace.
fn named(text: &str) -> BTreeSet<String> {
    let (mut names, mut word) = (BTreeSet::new(), String::new());
    let mut letters = text.chars().chain([' ']).peekable();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' {
            word.push(letter);
            continue;
        }
        let is_ours = PREFIXES.iter().any(|prefix| word.starts_with(prefix));
        let is_selected = letter == '{' && !word.is_empty() && letters.peek() != Some(&'{');
        if is_ours || is_selected {
            names.insert(std::mem::take(&mut word));
        }
        word.clear();
    }
    names
}

fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| ["tpl", "yaml", "yml", "json"].iter().any(|known| kind == *known)) {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).expect("text")));
        }
    }
    files
}

/// Every sample of the process at this address, by its name with labels.
async fn scrape(address: &str) -> BTreeMap<String, f64> {
    let host = address.trim_start_matches("http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(host).await.expect("the metrics port answers");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let samples = text.lines().filter(|line| PREFIXES.iter().any(|prefix| line.starts_with(prefix)));
    samples.filter_map(|line| line.rsplit_once(' ').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_alerts_and_dashboards_is_exported_by_each_service() {
    let instance = clock::new_id().simple().to_string();
    let broker = Infra::from_environment().broker;
    let (_first, identity) = process(&instance, &["--only", "identity"], broker.expose_secret()).await;
    let (_second, contacts) = process(&instance, &["--only", "contacts", "--identity", &identity.grpc], broker.expose_secret()).await;
    let mut exported = Vec::new();
    for (service, told) in [("identity", &identity), ("contacts", &contacts)] {
        // The probes of a cluster make the first call; whoever reads this page of metrics is none.
        let channel = tonic::transport::Endpoint::from_shared(told.grpc.clone()).expect("an address").connect_lazy();
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
        health.check(tonic_health::pb::HealthCheckRequest::default()).await.expect("it serves");
        let samples = scrape(&told.metrics).await;
        let names: BTreeSet<String> = samples.keys().map(|name| name.split('{').next().unwrap_or_default().to_owned()).collect();
        exported.push((service, names));
    }
    let mut seen = 0;
    let mut orphans = Vec::new();
    for (file, text) in SOURCES.iter().flat_map(|folder| sources(&root().join(folder))) {
        for name in named(&text) {
            seen += 1;
            for (service, names) in &exported {
                // Ages of single partitions come with the first event; identity consumes none of others.
                if !names.contains(&name) && name != "rapport_inbox_age_milliseconds" {
                    orphans.push(format!("{file} names {name}, which {service} does not export"));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} names were found: alerts and dashboards are not where they are looked for");
    assert!(orphans.is_empty(), "{orphans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_how_a_process_stands_and_that_its_seal_is_broken() {
    let infra = Infra::from_environment();
    let instance = clock::new_id().simple().to_string();
    let (child, told) = process(&instance, &["--only", "identity"], infra.broker.expose_secret()).await;
    eventually("a database, a consumer and the policy", async || {
        let samples = scrape(&told.metrics).await;
        let value = |name: &str| samples.get(name).copied().unwrap_or(-1.0);
        // Before the policy was read, the figure is the process's own start.
        let fresh = value("rapport_policy_synced_timestamp_seconds") > value("process_start_time_seconds");
        let stands = value("rapport_database_up") > 0.0 && value("rapport_broker_consumers") > 0.0 && fresh;
        let levels = value(r#"rapport_schema_level{owner="kit"}"#) > 0.0 && value(r#"rapport_schema_level{owner="service"}"#) > 0.0;
        let pool = value(r#"rapport_database_connections{role="app",state="most"}"#) > 0.0;
        let used = value("process_resident_memory_bytes") > 0.0 && value("process_open_fds") > 0.0;
        (stands && levels && pool && used && value("rapport_journal_broken_checkpoint") == 0.0).then_some(())
    })
    .await;
    drop(child);

    let options: PgConnectOptions = infra.postgres.expose_secret().parse().expect("an address");
    let mut owner = options.database(&format!("identity_{instance}")).connect().await.expect("the superuser may connect");
    sqlx::query(
        "insert into kit.seal (through_xid, through_id, era, entries, digest, salt, signature, key_id)
         values ('1', 1, 1, 1, '\\x00', '\\x00', '\\x00', 'forged')",
    )
    .execute(&mut owner)
    .await
    .expect("a forged checkpoint");
    let (_again, told) = process(&instance, &["--only", "identity"], infra.broker.expose_secret()).await;
    eventually("the forged checkpoint to be found", async || {
        let samples = scrape(&told.metrics).await;
        samples.get("rapport_journal_broken_checkpoint").filter(|checkpoint| **checkpoint > 0.0).copied()
    })
    .await;
}
