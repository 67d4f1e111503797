//! The support bundle: what to send along when asking for help, as JSON. `check` prints it.
//!
//! Guarantees: no secret stands in it, whole or in part, wherever it was written (addresses are told without user
//! and password, values of the service's own configuration by name only where the name sounds secret, and every
//! secret that is left anywhere is struck out at last); no record, no name and no text of any tenant, counts alone.
//! Each part is asked for by itself, so that what is away hides nothing of the rest.

use std::net::SocketAddr;
use std::time::Duration;

use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::policy_service_client::PolicyServiceClient;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sqlx::Row;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Service, identity_settings};
use crate::bus::Broker;
use crate::clock;
use crate::config::{Config, Secrets};
use crate::db::{self, Db, PoolConfig, SystemDb};
use crate::fault::Fault;
use crate::rpc;
use crate::tasks::Tasks;
use crate::tls::Tls;

const MASK: &str = "***";
/// Longest wait for any single part.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read of the running process's figures at most.
const FIGURES: u64 = 1024 * 1024;

/// The support bundle of `service`. Reads only; needs none but the secrets that serving needs.
pub async fn bundle(service: &Service, config: &Config, secrets: &Secrets) -> Value {
    let mut bundle = json!({
        "service": service.name,
        "version": env!("CARGO_PKG_VERSION"),
        "time": clock::now().to_rfc3339(),
        "configuration": serde_json::to_value(config).unwrap_or_default(),
        "secrets": {
            "database_app": database_address(&secrets.database_app),
            "database_system": database_address(&secrets.database_system),
            "broker": secrets.broker.as_ref().map(broker_address),
            "credential": "given",
            "sealing": "given",
        },
        "database": told(database(service, secrets)).await,
        "broker": told(broker(config, secrets)).await,
        "identity": told(identity(service, config, secrets)).await,
        "figures": told(figures(config)).await,
    });
    redact(&mut bundle, &known(config, secrets));
    bundle
}

/// The answer, or that there is none and why.
async fn told(part: impl Future<Output = Result<Value, Fault>>) -> Value {
    let answered = |mut answer: Value, answers: bool| {
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("answers".to_owned(), answers.into());
        }
        answer
    };
    match tokio::time::timeout(PATIENCE, part).await.unwrap_or_else(|_| Err(Fault::deadline())) {
        Ok(answer) => answered(answer, true),
        Err(fault) => answered(json!({"reason": fault.reason(), "text": fault.text()}), false),
    }
}

const COUNTS: &str = "
    select current_setting('server_version') as version, kit.current_era() as era,
      current_setting('max_connections')::bigint as most,
      (select count(*) from pg_stat_activity where datname = current_database()) as used,
      (select count(*) from (select from kit.outbox limit 10000) events) as waiting,
      (select coalesce((extract(epoch from now() - min(waits_since)) * 1000)::bigint, 0) from (
         select coalesce(replayed_at, recorded_at) as waits_since from kit.outbox order by shard, bulk, id limit 10000) events) as oldest,
      (select count(*) from (select from kit.dead_letter where state = 'dead' limit 10000) letters) as dead,
      (select count(*) from (select from kit.dead_letter where state <> 'dead' limit 10000) letters) as held,
      (select count(*) from kit.policy_tenant) as tenants,
      (select count(*) from kit.policy_subject where not deleted) as subjects,
      (select max(sealed_at)::text from kit.seal) as sealed,
      (select count(*) from kit.claimed_key) as claimed,
      (select count(*) from kit.unclaimed_key) as unclaimed,
      (select pg_database_size(current_database())) as size";

async fn database(service: &Service, secrets: &Secrets) -> Result<Value, Fault> {
    let one = PoolConfig { max_connections: 1, ..PoolConfig::default() };
    Db::new(secrets.database_app.expose_secret(), one.clone())?.ping().await?;
    let system = SystemDb::new(secrets.database_system.expose_secret(), one)?;
    let mut conn = system.conn().await?;
    let pending = db::pending(&mut conn, service.migrations).await?;
    let [(_, kit), (_, own)] = db::levels(&mut conn).await?;
    let schema = json!({"kit": kit, "service": own, "pending": pending});
    if pending > 0 {
        return Ok(json!({"schema": schema}));
    }
    let counts = sqlx::query(COUNTS).fetch_one(&mut conn).await?;
    let count = |name: &str| counts.get::<i64, _>(name);
    Ok(json!({
        "schema": schema,
        "version": counts.get::<String, _>("version"),
        "era": counts.get::<i32, _>("era"),
        "connections": {"used_of_this_database": count("used"), "most_of_the_server": count("most")},
        "outbox": {"waiting": count("waiting"), "oldest_milliseconds": count("oldest"), "claimed_keys": count("claimed"), "unclaimed_keys": count("unclaimed")},
        "dead_letters": {"dead": count("dead"), "waiting_behind": count("held")},
        "policy": {"tenants": count("tenants"), "subjects": count("subjects")},
        "sealed_until": counts.get::<Option<String>, _>("sealed"),
        "bytes": count("size"),
    }))
}

async fn broker(config: &Config, secrets: &Secrets) -> Result<Value, Fault> {
    let Some(url) = &secrets.broker else { return Ok(json!({"configured": false})) };
    let away = |error| Fault::unavailable("BROKER_AWAY", "The broker does not answer, or refuses this service's name or password.").because(error);
    Broker::new(url.clone(), config.broker_prefix.clone()).reached().await.map_err(away)?;
    Ok(json!({}))
}

/// Whether identity answers, and whether it has news of the policy that this service's copy lacks.
async fn identity(service: &Service, config: &Config, secrets: &Secrets) -> Result<Value, Fault> {
    let away = |status: tonic::Status| Fault::unavailable("IDENTITY_AWAY", format!("Identity answers with {:?}.", status.code())).because(status);
    let system = SystemDb::new(secrets.database_system.expose_secret(), PoolConfig { max_connections: 1, ..PoolConfig::default() })?;
    let since: Option<String> = sqlx::query_scalar("select since from kit.policy_cursor").fetch_optional(&mut system.conn().await?).await?;
    let own = config.listen.parse::<SocketAddr>().map_err(Fault::internal)?;
    let tls = Tls::load(&config.tls)?;
    let client = rpc::Client::new(identity_settings(service, config, own, tls.as_ref()), &[], &Tasks::default())?;
    let mut request = tonic::Request::new(pb::GetPolicyChangesRequest { since: since.clone().unwrap_or_default(), page_size: 1 });
    let bearer = format!("Bearer {}", secrets.credential.expose_secret()).parse().map_err(Fault::internal)?;
    request.metadata_mut().insert("authorization", bearer);
    let answer = PolicyServiceClient::new(client.alone()).get_policy_changes(request).await.map_err(away)?.into_inner();
    Ok(json!({"policy_was_read": since.is_some(), "policy_has_news": !answer.changes.is_empty()}))
}

/// The figures of the process that serves beside this one, without those of single methods.
async fn figures(config: &Config) -> Result<Value, Fault> {
    let Ok(address) = config.metrics.parse::<SocketAddr>() else { return Ok(json!({"configured": false})) };
    let away = |error: std::io::Error| Fault::unavailable("METRICS_AWAY", "No process serves at the configured metrics address.").because(error);
    let mut stream = TcpStream::connect(("127.0.0.1", address.port())).await.map_err(away)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.map_err(away)?;
    let mut text = String::new();
    stream.take(FIGURES).read_to_string(&mut text).await.map_err(away)?;
    let wanted = |line: &&str| (line.starts_with("rapport_") || line.starts_with("process_")) && !line.contains("_bucket{");
    let read = |line: &str| line.rsplit_once(' ').and_then(|(name, value)| Some((name.to_owned(), value.parse::<f64>().ok()?.into())));
    Ok(json!({"values": text.lines().filter(wanted).filter_map(read).collect::<Map<String, Value>>()}))
}

/// Where a database is and as whom it is asked; no password, no parameter.
fn database_address(url: &SecretString) -> Value {
    match url.expose_secret().parse::<PgConnectOptions>() {
        Ok(options) => {
            json!({"host": options.get_host(), "port": options.get_port(), "database": options.get_database(), "user": options.get_username()})
        }
        Err(_) => "cannot be read".into(),
    }
}

fn broker_address(url: &SecretString) -> Value {
    match url.expose_secret().parse::<http::Uri>() {
        Ok(uri) => json!({"scheme": uri.scheme_str(), "host": uri.host(), "port": uri.port_u16()}),
        Err(_) => "cannot be read".into(),
    }
}

/// Every secret, and the password in it if it is an address; long ones first, so that no piece is left of one.
fn known(config: &Config, secrets: &Secrets) -> Vec<String> {
    let migrator = Secrets::migrator(&config.secrets).ok();
    let optional = secrets.broker.iter().chain(&migrator);
    let mut known = Vec::new();
    for secret in [&secrets.database_app, &secrets.database_system, &secrets.credential, &secrets.sealing].into_iter().chain(optional) {
        let secret = secret.expose_secret();
        known.push(secret.to_owned());
        known.extend(userinfo(secret).and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password.to_owned()));
    }
    known.retain(|secret| !secret.is_empty());
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    known
}

/// User and password of an address, and where they stand in it.
fn userinfo(text: &str) -> Option<(&str, std::ops::Range<usize>)> {
    let begin = text.find("://")? + 3;
    let rest = text.get(begin..)?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let end = begin + authority.rfind('@')?;
    Some((text.get(begin..end)?, begin..end))
}

/// Whether a value of this name is better not shown, whatever it is.
fn sounds_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "passphrase", "secret", "token", "credential", "private", "apikey", "api_key"].iter().any(|word| name.contains(word))
}

/// Strikes out what is secret: values whose names sound so, users and passwords in addresses, and what is `known`.
fn redact(value: &mut Value, known: &[String]) {
    match value {
        Value::String(text) => {
            if let Some((_, place)) = userinfo(text) {
                text.replace_range(place, MASK);
            }
            for secret in known {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), MASK);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, known)),
        Value::Object(fields) => {
            for (name, value) in fields {
                // The folder of the secrets, and what is told of each of them, is no secret.
                if sounds_secret(name) && name != "secrets" && *value != "given" {
                    *value = MASK.into();
                } else {
                    redact(value, known);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_struck_out_wherever_it_stands() {
        let mut value = json!({
            "otlp": "https://collector:canary-one@traces.example:4317/?x=1",
            "service": {"smtp": {"host": "mail.example", "Password": "canary-two"}, "list": ["see canary-three-long", "canary-three"]},
            "secrets": "/etc/rapport/secrets",
        });
        redact(&mut value, &["canary-three-long".to_owned(), "canary-three".to_owned()]);
        let text = value.to_string();
        assert!(!text.contains("canary") && !text.contains("-long"), "{text}");
        for kept in ["https://***@traces.example:4317/?x=1", "mail.example", "/etc/rapport/secrets", "see ***"] {
            assert!(text.contains(kept), "{kept} is missing in {text}");
        }
    }

    #[test]
    fn an_address_without_a_user_stays_as_it_is() {
        for address in ["http://identity:8080", "http://identity:8080/a@b", "127.0.0.1:80", "me@example.com"] {
            assert_eq!(userinfo(address), None, "{address}");
        }
        assert_eq!(userinfo("amqp://a:b@c@host/%2f").map(|(user, _)| user), Some("a:b@c"));
    }
}
