//! The keys that seal what callers carry for us.
//!
//! Guarantees: keys for different uses are derived separately (HKDF-SHA256), never shown and never leave this
//! file. All pods of a service are given the same secret and so open each other's tokens.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac, rand};

const TOKEN: &[&[u8]] = &[b"page token 1"];
const MAC: &[&[u8]] = &[b"mac 1"];
/// Bound into every sealed text, so that nothing else that may one day be sealed passes for a token.
const AAD: &[u8] = b"rapport page token 1";

/// Seals page tokens and authenticates hashes with keys derived from one secret.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<Keys>,
}

struct Keys {
    token: LessSafeKey,
    mac: hmac::Key,
}

impl Sealer {
    /// A sealer under keys derived from `secret`, which should have 32 random bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"rapport kit").extract(secret);
        let token = UnboundKey::from(root.expand(TOKEN, &AES_256_GCM_SIV).expect("a key is shorter than what HKDF can give"));
        let mac = hmac::Key::from(root.expand(MAC, hmac::HMAC_SHA256).expect("a key is shorter than what HKDF can give"));
        Self { keys: Arc::new(Keys { token: LessSafeKey::new(token), mac }) }
    }

    /// A sealer that shares its keys with nobody, for tests.
    #[must_use]
    pub fn random() -> Self {
        Self::new(&random::<32>())
    }

    /// HMAC-SHA256 over `parts`, each with its length.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = hmac::Context::with_key(&self.keys.mac);
        for part in parts {
            mac.update(&part.len().to_be_bytes());
            mac.update(part);
        }
        mac.sign().as_ref().to_vec()
    }

    /// Nonce, sealed text and tag in one.
    pub(super) fn encrypt(&self, mut text: Vec<u8>) -> Vec<u8> {
        let nonce = random::<NONCE_LEN>();
        self.keys
            .token
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(AAD), &mut text)
            .expect("a token is far shorter than what AES-GCM can seal");
        [nonce.as_slice(), &text].concat()
    }

    /// What was sealed; none if this sealer did not seal it or it was changed since.
    pub(super) fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let length = self.keys.token.open_in_place(nonce, Aad::from(AAD), &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer")
    }
}

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_the_same_secret() {
        let sealed = Sealer::new(b"secret").encrypt(b"text".to_vec());
        assert_eq!(Sealer::new(b"secret").decrypt(&sealed).as_deref(), Some(b"text".as_slice()));
        assert_eq!(Sealer::new(b"Secret").decrypt(&sealed), None);
    }

    #[test]
    fn sealing_the_same_text_twice_looks_different() {
        let sealer = Sealer::random();
        assert_ne!(sealer.encrypt(b"text".to_vec()), sealer.encrypt(b"text".to_vec()));
    }

    #[test]
    fn too_few_bytes_open_to_nothing() {
        let sealer = Sealer::random();
        for length in 0..40 {
            assert_eq!(sealer.decrypt(&vec![0; length]), None, "{length}");
        }
    }

    #[test]
    fn the_mac_depends_on_the_secret_the_parts_and_where_they_end() {
        let sealer = Sealer::new(b"secret");
        assert_eq!(sealer.mac(&[b"ab", b"c"]), sealer.clone().mac(&[b"ab", b"c"]));
        assert_eq!(sealer.mac(&[b"ab", b"c"]).len(), 32);
        assert_ne!(sealer.mac(&[b"ab", b"c"]), sealer.mac(&[b"a", b"bc"]));
        assert_ne!(sealer.mac(&[b"ab", b"c"]), Sealer::random().mac(&[b"ab", b"c"]));
    }

    #[test]
    fn nothing_of_the_keys_is_shown() {
        assert_eq!(format!("{:?}", Sealer::new(b"secret")), "Sealer");
    }
}
