//! Signs access tokens with the current key.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rapport_kit::auth::{AUDIENCE, Claims, ISSUER, TYPE};
use rapport_kit::{Fault, SystemDb, clock};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::seal::Chest;
use super::sql::{self, CURRENT, KeyRow, NEXT, PREVIOUS};

/// How long an access token is valid.
const LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// The next key must have been published for as long as two caches keep keys before it signs.
const SEASON: TimeDelta = TimeDelta::minutes(10);

/// Whom a token is for.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) tenant: Uuid,
    /// `users/{id}` or `serviceAccounts/{id}`.
    pub(crate) name: String,
    /// Session, or key that it is given for.
    pub(crate) session: Option<Uuid>,
    /// Service that acts for the subject.
    pub(crate) service: Option<String>,
    /// Permissions that it is limited to.
    pub(crate) scope: Option<Vec<String>>,
    /// It ends with this, if that is sooner.
    pub(crate) until: Option<DateTime<Utc>>,
}

/// A signed token. It is a secret: not for logs.
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) expires_at: DateTime<Utc>,
}

struct Current {
    kid: String,
    pair: Ed25519KeyPair,
}

/// Holds the current key in memory.
pub(crate) struct Signer {
    chest: Chest,
    current: RwLock<Arc<Current>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Signer")
    }
}

impl Signer {
    /// Takes up the stored keys; makes the first ones if there are none.
    pub(crate) async fn open(db: &SystemDb, sealing: &SecretString) -> Result<Self, Fault> {
        let chest = Chest::new(sealing);
        let mut tx = db.begin().await?;
        sql::lock(&mut tx).await?;
        let now = clock::now();
        for state in [CURRENT, NEXT] {
            if sql::in_state(&mut tx, state).await?.is_none() {
                sql::insert(&mut tx, &generate(&chest, state, now)?).await?;
            }
        }
        let row = sql::in_state(&mut tx, CURRENT).await?.ok_or_else(|| Fault::internal("there is no current signing key"))?;
        tx.commit().await?;
        let current = unseal(&chest, &row)?;
        Ok(Self { chest, current: RwLock::new(Arc::new(current)) })
    }

    /// Takes up the current key again, after another process may have rotated.
    pub(crate) async fn reload(&self, db: &SystemDb) -> Result<(), Fault> {
        let rows = sql::all(db).await?;
        let row = rows.iter().find(|row| row.state == CURRENT).ok_or_else(|| Fault::internal("there is no current signing key"))?;
        if row.kid != self.current().kid {
            let current = unseal(&self.chest, row)?;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        }
        Ok(())
    }

    /// Next becomes current, current previous, and a new next is published. With `force` the next one may be
    /// young and earlier ones are dropped at once. A key that was used before rotates nothing.
    pub(crate) async fn rotate(&self, db: &SystemDb, force: bool, key: Option<(&str, &[u8])>, now: DateTime<Utc>) -> Result<(), Fault> {
        let mut tx = db.begin().await?;
        sql::lock(&mut tx).await?;
        if let Some((key, hash)) = key {
            if let Some(earlier) = sql::rotation(&mut tx, key).await? {
                return if earlier == hash { Ok(()) } else { Err(reused(key)) };
            }
            sql::remember(&mut tx, key, hash, now).await?;
        }
        let next = sql::in_state(&mut tx, NEXT).await?.ok_or_else(|| Fault::internal("there is no next signing key"))?;
        let ripe_at = next.state_at + SEASON;
        if !force && now < ripe_at {
            let wait = (ripe_at - now).to_std().map_err(Fault::internal)?;
            let text = "Rotate after the given time, when every cache has the next key; or force it.";
            return Err(Fault::precondition("NEXT_KEY_TOO_YOUNG", text).with("ripe_time", ripe_at.to_rfc3339()).retry_after(wait));
        }
        sql::advance(&mut tx, CURRENT, PREVIOUS, now).await?;
        sql::advance(&mut tx, NEXT, CURRENT, now).await?;
        sql::insert(&mut tx, &generate(&self.chest, NEXT, now)?).await?;
        if force {
            sql::delete_previous(&mut tx, now + TimeDelta::seconds(1)).await?;
        }
        tx.commit().await?;
        self.reload(db).await
    }

    /// A signed access token.
    pub(crate) fn issue(&self, subject: Subject, now: DateTime<Utc>) -> Result<Issued, Fault> {
        let expires_at = subject.until.map_or(now + LIFETIME, |until| until.min(now + LIFETIME));
        let seconds = |time: DateTime<Utc>| u64::try_from(time.timestamp()).map_err(Fault::internal);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: subject.name,
            tid: subject.tenant,
            sid: subject.session,
            act: subject.service,
            scope: subject.scope,
            jti: clock::new_id(),
            iat: seconds(now)?,
            nbf: seconds(now)?,
            exp: seconds(expires_at)?,
        };
        let current = self.current();
        let header = serde_json::json!({"alg": "EdDSA", "typ": TYPE, "kid": current.kid});
        let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let head = part(serde_json::to_vec(&header).map_err(Fault::internal)?);
        let body = part(serde_json::to_vec(&claims).map_err(Fault::internal)?);
        let text = format!("{head}.{body}");
        let signature = URL_SAFE_NO_PAD.encode(current.pair.sign(text.as_bytes()));
        Ok(Issued { token: format!("{text}.{signature}"), expires_at })
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn reused(key: &str) -> Fault {
    Fault::argument("IDEMPOTENCY_KEY_REUSED", "Use a new idempotency key: this one came with another request before.").with("key", key)
}

fn generate(chest: &Chest, state: i16, now: DateTime<Utc>) -> Result<KeyRow, Fault> {
    let kid = clock::new_id().simple().to_string();
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(Fault::internal)?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(Fault::internal)?;
    let public_key = URL_SAFE_NO_PAD.encode(pair.public_key());
    Ok(KeyRow { sealed: chest.seal(&kid, private.as_ref()), kid, state, public_key, state_at: now })
}

fn unseal(chest: &Chest, row: &KeyRow) -> Result<Current, Fault> {
    let private = chest.open(&row.kid, &row.sealed)?;
    let pair = Ed25519KeyPair::from_pkcs8(private.expose_secret()).map_err(Fault::internal)?;
    Ok(Current { kid: row.kid.clone(), pair })
}
