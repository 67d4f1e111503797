//! Identity's public keys: kept in memory and in the database, so that a service can start while identity is away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use rapport_proto::common::v1 as pb;
use tokio::sync::Notify;

use crate::db::SystemDb;
use crate::fault::Fault;

/// Asking again because of an unknown key id happens at most this often.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The keys that sign access tokens, by id.
#[derive(Debug, Default)]
pub struct Keys {
    keys: RwLock<HashMap<String, (Algorithm, DecodingKey)>>,
    known: RwLock<Vec<pb::Jwk>>,
    generation: AtomicU64,
    wanted: Notify,
    asked: RwLock<Option<Instant>>,
}

impl Keys {
    /// The key with this id. An unknown id makes the feed ask identity, for the next call's sake.
    pub(super) fn get(&self, kid: &str) -> Option<(Algorithm, DecodingKey)> {
        let key = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(kid).cloned();
        if key.is_none() {
            self.want();
        }
        key
    }

    /// Grows whenever the keys change; what was verified before must be verified again.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn want(&self) {
        let mut asked = self.asked.write().unwrap_or_else(PoisonError::into_inner);
        if asked.is_none_or(|at| at.elapsed() > ASK_AGAIN) {
            *asked = Some(Instant::now());
            self.wanted.notify_one();
        }
    }

    /// Ready when a token named a key that is not here.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Replaces the keys; answers whether anything changed.
    pub fn set(&self, published: Vec<pb::Jwk>) -> bool {
        if *self.known.read().unwrap_or_else(PoisonError::into_inner) == published {
            return false;
        }
        let keys = published.iter().filter_map(|key| Some((key.kid.clone(), decoding(key)?))).collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = published;
        self.generation.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Replaces the keys and stores them for the next start.
    pub(crate) async fn replace(&self, db: &SystemDb, published: Vec<pb::Jwk>) -> Result<(), Fault> {
        if *self.known.read().unwrap_or_else(PoisonError::into_inner) == published {
            return Ok(());
        }
        let stored =
            published.iter().map(|key| serde_json::json!({"kid": key.kid, "kty": key.kty, "crv": key.crv, "x": key.x, "y": key.y, "alg": key.alg}));
        let stored = serde_json::Value::Array(stored.collect());
        let mut conn = db.conn().await?;
        sqlx::query("insert into kit.signing_keys (keys) values ($1) on conflict (one) do update set keys = excluded.keys")
            .bind(stored)
            .execute(&mut conn)
            .await?;
        self.set(published);
        Ok(())
    }

    /// Takes up the keys that were stored before, unless newer ones are here already.
    pub(crate) async fn load(&self, db: &SystemDb) -> Result<(), Fault> {
        let mut conn = db.conn().await?;
        let stored: Option<serde_json::Value> = sqlx::query_scalar("select keys from kit.signing_keys").fetch_optional(&mut conn).await?;
        let Some(serde_json::Value::Array(stored)) = stored else { return Ok(()) };
        if self.generation() == 0 {
            let text = |key: &serde_json::Value, field: &str| key.get(field).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            let read = |key: &serde_json::Value| pb::Jwk {
                kid: text(key, "kid"),
                kty: text(key, "kty"),
                crv: text(key, "crv"),
                x: text(key, "x"),
                y: text(key, "y"),
                alg: text(key, "alg"),
                ..pb::Jwk::default()
            };
            self.set(stored.iter().map(read).collect());
        }
        Ok(())
    }
}

fn decoding(key: &pb::Jwk) -> Option<(Algorithm, DecodingKey)> {
    let algorithm = match key.alg.as_str() {
        "EdDSA" => Algorithm::EdDSA,
        "ES256" => Algorithm::ES256,
        _ => return None,
    };
    let mut jwk = serde_json::json!({"kid": key.kid, "kty": key.kty, "crv": key.crv, "x": key.x, "alg": key.alg, "use": "sig"});
    if !key.y.is_empty() {
        jwk["y"] = key.y.clone().into();
    }
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    Some((algorithm, DecodingKey::from_jwk(&jwk).ok()?))
}
