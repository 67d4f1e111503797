//! Who is calling: access tokens, verified here against identity's published keys.
//!
//! Guarantees: only EdDSA and ES256 by the key that the token names; `typ`, issuer, audience, expiry and
//! not-before are required and checked; `jwk`, `jku`, `x5u` and `crit` headers are refused. A verified token is
//! remembered by its text, never beyond its expiry. A refusal tells what its holder can mend, and nothing about a
//! token whose signature is not ours.

mod door;
mod keys;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use door::{Door, Rules};
pub use keys::Keys;

use crate::clock;
use crate::fault::Fault;

/// Who issues tokens.
pub const ISSUER: &str = "rapport-identity";
/// Whom tokens are for: every service of the installation.
pub const AUDIENCE: &str = "rapport";
/// `typ` of access tokens (RFC 9068).
pub const TYPE: &str = "at+jwt";
/// Stands before keys of service accounts, so that secret scanners know them and the door can say what they are for.
pub const API_KEY_PREFIX: &str = "rpk_";
/// Stands before refresh tokens, for the same reasons.
pub const REFRESH_PREFIX: &str = "rpr_";
/// Longest token that is looked at.
const MAX_TOKEN: usize = 4096;
/// Verified tokens remembered at most.
const REMEMBERED: usize = 50_000;
/// Last bytes of a token that it is looked up by: they are of its signature, and nothing is remembered whose signature is not
/// ours. Looking it up by all of it would cost each call more.
const TAIL: usize = 32;
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

/// Why a bearer token opens no door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The call carries none.
    Missing,
    /// It is no token at all.
    Malformed,
    /// It is a key of a service account, to be exchanged first.
    ApiKey,
    /// It is a refresh token, to be exchanged first.
    RefreshToken,
    /// It was good and is past its time.
    Expired,
    /// It was signed for somebody else to accept.
    Audience,
    /// Anything else; more is not told.
    NotValid,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::credential(match refusal {
            Refusal::Missing => "Send an access token with the call, as `authorization: Bearer …`: there is none.",
            Refusal::Malformed => {
                "Sign in (SessionService.SignIn) or exchange an API key, and send the access token whole, as it was answered: this is none, or not all of it."
            }
            Refusal::ApiKey => "Exchange the API key first (ExchangeApiKey) and send the access token that it gives: the key itself opens nothing.",
            Refusal::RefreshToken => "Send the access token: this is the refresh token, which is good for RefreshSession alone.",
            Refusal::Expired => "Refresh the session or exchange the key again: the access token has expired.",
            Refusal::Audience => "Send an access token of this installation: this one was issued for another audience.",
            Refusal::NotValid => "Sign in again: the credential is not valid here.",
        })
    }
}

/// Verifies tokens and remembers those that were good.
#[derive(Debug)]
pub struct Verifier {
    keys: Arc<Keys>,
    remembered: RwLock<HashMap<[u8; TAIL], Remembered>>,
}

/// A token that was good.
#[derive(Debug)]
struct Remembered {
    token: String,
    /// Of the keys that it was verified by.
    generation: u64,
    verified: Arc<Verified>,
}

impl Verifier {
    /// A verifier over `keys`.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys, remembered: RwLock::default() }
    }

    /// The verified token.
    ///
    /// # Errors
    /// Why it is not valid.
    pub fn verify(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        let generation = self.keys.generation();
        let now = u64::try_from(clock::now().timestamp()).unwrap_or_default();
        let Some(tail) = token.as_bytes().last_chunk::<TAIL>().copied() else { return self.check(token).map(Arc::new) };
        {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = remembered.get(&tail)
                && known.token == token
                && known.generation == generation
                && known.verified.claims.exp + LEEWAY > now
            {
                return Ok(Arc::clone(&known.verified));
            }
        }
        let verified = Arc::new(self.check(token)?);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, known| known.generation == generation && known.verified.claims.exp > now);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(tail, Remembered { token: token.to_owned(), generation, verified: Arc::clone(&verified) });
        Ok(verified)
    }

    fn check(&self, token: &str) -> Result<Verified, Refusal> {
        if token.starts_with(API_KEY_PREFIX) {
            return Err(Refusal::ApiKey);
        }
        if token.starts_with(REFRESH_PREFIX) {
            return Err(Refusal::RefreshToken);
        }
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        if !header_is_plain(&header, token) {
            return Err(Refusal::NotValid);
        }
        let (algorithm, key) = header.kid.as_deref().and_then(|kid| self.keys.get(kid)).ok_or(Refusal::NotValid)?;
        if header.alg != algorithm {
            return Err(Refusal::NotValid);
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // The signature is checked before the claims, so that only who was given a token learns what is wrong with it.
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Refusal::Expired,
            ErrorKind::InvalidAudience => Refusal::Audience,
            _ => Refusal::NotValid,
        })?;
        let claims = claims.claims;
        let subject = crate::name::split(&claims.sub).filter(|(collection, _)| matches!(*collection, "users" | "serviceAccounts"));
        let (_, subject) = subject.ok_or(Refusal::NotValid)?;
        Ok(Verified { claims, subject })
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
