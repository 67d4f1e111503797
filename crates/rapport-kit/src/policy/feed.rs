//! Keeps the policy copy and the signing keys fresh: events for speed, polling as the net.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rapport_proto::Event;
use rapport_proto::common::v1 as pb;
use rapport_proto::common::v1::policy_service_client::PolicyServiceClient;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::Policy;
use crate::auth::Keys;
use crate::bus::{self, Broker, Queue};
use crate::clock;
use crate::db::Conn;
use crate::fault::Fault;
use crate::metrics;
use crate::rpc::{Calls, Client};
use crate::tasks::Tasks;

const POLL: Duration = Duration::from_secs(5);
const PAGE: i32 = 500;

/// Where identity is and how this service shows who it is.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Client of identity.
    pub identity: Client,
    /// The service's own credential.
    pub credential: SecretString,
    /// Name of this process among all, for its queue.
    pub holder: String,
}

impl Feed {
    /// Follows identity until the process stops.
    pub fn follow(self, policy: Policy, keys: Arc<Keys>, broker: Option<Broker>, tasks: &Tasks) {
        let client = PolicyServiceClient::new(self.identity.alone());
        if let Some(broker) = broker {
            let queue = Queue::Exclusive { name: broker.queue("policy", &self.holder), keys: vec![pb::PolicyChange::KEY.to_owned()] };
            let policy = policy.clone();
            let listening = bus::consume(broker, queue, tasks.clone(), move |deliveries| {
                let policy = policy.clone();
                async move { hear(&policy, &deliveries).await }
            });
            tasks.spawn("policy events", listening);
        }
        let polling = tasks.clone();
        tasks.spawn("policy poll", async move { self.poll(client, policy, keys, polling).await });
    }

    async fn poll(self, mut client: PolicyServiceClient<Calls>, policy: Policy, keys: Arc<Keys>, tasks: Tasks) {
        if let Err(error) = keys.load(&policy.system).await {
            tracing::warn!(%error, "stored signing keys could not be read");
        }
        let mut warned = false;
        // Each process keeps its own place: another one that moved the stored place on has emptied only its own memory.
        let mut since = None;
        loop {
            let wait = match self.round(&mut client, &policy, &keys, &mut since).await {
                Ok(()) => {
                    warned = false;
                    metrics::policy_synced().set(clock::now().timestamp());
                    POLL
                }
                Err(error) => {
                    if !warned {
                        tracing::warn!(%error, "policy changes could not be read from identity; asking again");
                    }
                    warned = true;
                    Duration::from_millis(500)
                }
            };
            policy.rounds.send_modify(|rounds| *rounds += 1);
            tokio::select! {
                go_on = tasks.pause(wait) => if !go_on { return },
                () = keys.wanted() => {}
                () = policy.wanted.notified() => {}
            }
        }
    }

    async fn round(&self, client: &mut PolicyServiceClient<Calls>, policy: &Policy, keys: &Keys, place: &mut Option<String>) -> Result<(), Fault> {
        // Before identity is asked, so that a process that cannot reach it knows what others have stored.
        let mut since = match place {
            Some(since) => since.clone(),
            None => place.insert(begin(policy).await?).clone(),
        };
        let away = |status: tonic::Status| Fault::unavailable("IDENTITY_AWAY", "Identity does not answer.").because(status);
        let signing = client.get_signing_keys(pb::GetSigningKeysRequest {}).await.map_err(away)?.into_inner().keys;
        keys.replace(&policy.system, signing).await?;
        loop {
            let mut request = tonic::Request::new(pb::GetPolicyChangesRequest { since: since.clone(), page_size: PAGE });
            let bearer = format!("Bearer {}", self.credential.expose_secret()).parse().map_err(Fault::internal)?;
            request.metadata_mut().insert("authorization", bearer);
            let answer = client.get_policy_changes(request).await.map_err(away)?.into_inner();
            policy.apply(&answer.changes).await?;
            if answer.next_since != since {
                since = answer.next_since;
                store_since(policy, &since).await?;
            }
            // Kept whatever comes next: a place that is lost would be taken from the store, where another process
            // may have moved on past changes that this one has not seen.
            *place = Some(since.clone());
            if !answer.has_more {
                return Ok(());
            }
        }
    }
}

/// Applies heard changes; what cannot be read is left to the poll, which reads it again from the source.
async fn hear(policy: &Policy, deliveries: &[bus::Delivery]) -> usize {
    let changes: Vec<pb::PolicyChange> = deliveries.iter().filter_map(|delivery| pb::PolicyChange::decode(delivery.body.as_slice()).ok()).collect();
    if let Err(error) = policy.apply(&changes).await {
        tracing::warn!(%error, "policy events could not be applied; the next poll brings them");
    }
    deliveries.len()
}

/// Sessions that were ended before this process began to follow.
async fn remember_ended(policy: &Policy, conn: &mut Conn) -> Result<(), Fault> {
    let ended: Vec<Uuid> =
        sqlx::query_scalar("select id from kit.policy_revoked_session where revoked_at > now() - interval '1 hour'").fetch_all(conn).await?;
    let forget_at = clock::now().timestamp() + 3600;
    policy.write(|memory| memory.ended_sessions.extend(ended.into_iter().map(|session| (session, forget_at))));
    Ok(())
}

/// The stored place. What memory took from the tables before may be older than that place; sessions that were ended
/// before it stand in the table alone, so that it is read after the place and not before.
async fn begin(policy: &Policy) -> Result<String, Fault> {
    let mut conn = policy.system.conn().await?;
    let since: Option<String> = sqlx::query_scalar("select since from kit.policy_cursor").fetch_optional(&mut conn).await?;
    policy.write(|memory| {
        memory.subjects.clear();
        memory.tenants.clear();
        memory.generation += 1;
    });
    remember_ended(policy, &mut conn).await?;
    Ok(since.unwrap_or_default())
}

async fn store_since(policy: &Policy, since: &str) -> Result<(), Fault> {
    let mut conn = policy.system.conn().await?;
    sqlx::query("insert into kit.policy_cursor (since) values ($1) on conflict (one) do update set since = excluded.since")
        .bind(since)
        .execute(&mut conn)
        .await?;
    Ok(())
}
