//! Opaque secrets that callers carry: refresh tokens and API keys.
//!
//! Guarantees: 256 random bits; only a SHA-256 digest is stored; texts that we never gave out are told apart
//! from spent ones, so that nobody can end another's session by guessing names.

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rapport_kit::page::Sealer;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;

const TAG: usize = 16;
const LENGTH: usize = 32 + 16 + 16 + TAG;

/// A secret with the record that it belongs to.
#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) tenant: Uuid,
    pub(crate) id: Uuid,
    bytes: SecretBox<[u8; 32]>,
}

impl Secret {
    /// A new random one.
    pub(crate) fn random(tenant: Uuid, id: Uuid) -> Self {
        Self { tenant, id, bytes: SecretBox::new(Box::new(random())) }
    }

    /// The one that follows: always the same, so that a repeated request is given the same answer.
    pub(crate) fn successor(&self, sealer: &Sealer) -> Self {
        let next = sealer.mac(&[b"successor of a secret", self.id.as_bytes(), self.bytes.expose_secret()]);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&next);
        Self { tenant: self.tenant, id: self.id, bytes: SecretBox::new(Box::new(bytes)) }
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.bytes.expose_secret()).as_ref().to_vec()
    }

    /// Whether it is the one whose digest this is.
    pub(crate) fn is(&self, hash: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.hash(), hash).is_ok()
    }

    /// As the caller carries it, after `prefix`.
    pub(crate) fn text(&self, prefix: &str, sealer: &Sealer) -> String {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.tag(prefix, sealer));
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a text that was given out here with `prefix`; none for any other text.
    pub(crate) fn read(text: &SecretString, prefix: &str, sealer: &Sealer) -> Option<Self> {
        let text = text.expose_secret().strip_prefix(prefix)?;
        if text.len() > 2 * LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == LENGTH)?;
        let secret = Self {
            tenant: Uuid::from_slice(&bytes[32..48]).ok()?,
            id: Uuid::from_slice(&bytes[48..64]).ok()?,
            bytes: SecretBox::new(Box::new(bytes[..32].try_into().ok()?)),
        };
        constant_time::verify_slices_are_equal(&secret.tag(prefix, sealer), &bytes[64..]).ok()?;
        Some(secret)
    }

    /// The random part stands first, so that the first characters tell one secret from another.
    fn head(&self) -> Vec<u8> {
        [self.bytes.expose_secret().as_slice(), self.tenant.as_bytes(), self.id.as_bytes()].concat()
    }

    fn tag(&self, prefix: &str, sealer: &Sealer) -> Vec<u8> {
        let mut tag = sealer.mac(&[b"tag of a secret", prefix.as_bytes(), &self.head()]);
        tag.truncate(TAG);
        tag
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::random(Uuid::from_u128(1), Uuid::from_u128(2))
    }

    #[test]
    fn what_was_given_out_is_read_back_and_nothing_else() {
        let sealer = Sealer::random();
        let secret = secret();
        let text = secret.text("x_", &sealer);
        let read = Secret::read(&text.clone().into(), "x_", &sealer).unwrap();
        assert!(read.is(&secret.hash()) && read.id == secret.id && read.tenant == secret.tenant);
        assert!(Secret::read(&text.clone().into(), "y_", &sealer).is_none());
        assert!(Secret::read(&text.into(), "x_", &Sealer::random()).is_none());
        assert!(Secret::read(&"x_".to_owned().into(), "x_", &sealer).is_none());
    }

    #[test]
    fn the_successor_is_always_the_same_and_another_secret() {
        let sealer = Sealer::random();
        let secret = secret();
        assert_eq!(secret.successor(&sealer).hash(), secret.successor(&sealer).hash());
        assert_ne!(secret.successor(&sealer).hash(), secret.hash());
    }

    #[test]
    fn nothing_of_it_is_shown() {
        assert!(format!("{:?}", secret()).contains("REDACTED"));
    }
}
