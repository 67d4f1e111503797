//! Who is calling: access tokens, verified here against identity's published keys.
//!
//! Guarantees: only EdDSA and ES256 by the key that the token names; `typ`, issuer, audience, expiry and
//! not-before are required and checked; `jwk`, `jku`, `x5u` and `crit` headers are refused. A verified token is
//! remembered by its text, never beyond its expiry.

mod door;
mod keys;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use door::{Door, Rules};
pub use keys::Keys;

use crate::clock;

/// Who issues tokens.
pub const ISSUER: &str = "rapport-identity";
/// Whom tokens are for: every service of the installation.
pub const AUDIENCE: &str = "rapport";
/// `typ` of access tokens (RFC 9068).
pub const TYPE: &str = "at+jwt";
/// Longest token that is looked at.
const MAX_TOKEN: usize = 4096;
/// Verified tokens remembered at most.
const REMEMBERED: usize = 50_000;
/// Clocks may differ by this much.
const LEEWAY: u64 = 5;

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Subject: `users/{id}` or `serviceAccounts/{id}`.
    pub sub: String,
    /// Tenant id.
    pub tid: Uuid,
    /// Session id, or id of the key the token was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// Service that acts for the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    /// Permissions that the token is limited to; none means all of the subject's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Vec<String>>,
    /// Token id.
    pub jti: Uuid,
    /// Issued at, seconds.
    pub iat: u64,
    /// Not before, seconds.
    pub nbf: u64,
    /// Expires, seconds.
    pub exp: u64,
}

/// A token that was verified.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: Claims,
    /// Id of the subject.
    pub subject: Uuid,
}

/// Verifies tokens and remembers those that were good.
#[derive(Debug)]
pub struct Verifier {
    keys: Arc<Keys>,
    remembered: RwLock<HashMap<String, (u64, Arc<Verified>)>>,
}

impl Verifier {
    /// A verifier over `keys`.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys, remembered: RwLock::default() }
    }

    /// The verified token; none if it is not valid, whatever the reason.
    pub fn verify(&self, token: &str) -> Option<Arc<Verified>> {
        let generation = self.keys.generation();
        let now = u64::try_from(clock::now().timestamp()).ok()?;
        {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, verified)) = remembered.get(token)
                && *of == generation
                && verified.claims.exp + LEEWAY > now
            {
                return Some(Arc::clone(verified));
            }
        }
        let verified = Arc::new(self.check(token)?);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (of, verified)| *of == generation && verified.claims.exp > now);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(token.to_owned(), (generation, Arc::clone(&verified)));
        Some(verified)
    }

    fn check(&self, token: &str) -> Option<Verified> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if !header_is_plain(&header, token) {
            return None;
        }
        let (algorithm, key) = self.keys.get(header.kid.as_deref()?)?;
        if header.alg != algorithm {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()?.claims;
        let (collection, subject) = crate::name::split(&claims.sub)?;
        matches!(collection, "users" | "serviceAccounts").then_some(Verified { claims, subject })
    }
}

/// Nothing in the header but algorithm, type and key id: no embedded or linked keys, no critical extensions.
fn header_is_plain(header: &Header, token: &str) -> bool {
    let typed = header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case(TYPE));
    let linked = header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some();
    let allowed = matches!(header.alg, Algorithm::EdDSA | Algorithm::ES256);
    typed && !linked && allowed && !names_critical(token)
}

/// Whether the header has `crit`, which the token library does not model.
fn names_critical(token: &str) -> bool {
    use base64::Engine;
    let Some(head) = token.split('.').next() else { return true };
    let Ok(bytes) = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head) else { return true };
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).map_or(true, |header| header.contains_key("crit"))
}
