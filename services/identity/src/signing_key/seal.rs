//! Private keys at rest.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use rapport_kit::Fault;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::secret::random;

/// Seals and opens private keys.
pub(super) struct Chest {
    key: LessSafeKey,
}

impl Chest {
    /// Under a key derived from the installation's sealing secret.
    pub(super) fn new(secret: &SecretString) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"rapport identity").extract(secret.expose_secret().as_bytes());
        let key = UnboundKey::from(root.expand(&[b"signing keys 1"], &AES_256_GCM).expect("a key is shorter than what HKDF can give"));
        Self { key: LessSafeKey::new(key) }
    }

    /// Nonce, sealed key and tag; bound to `kid`, so that rows cannot be exchanged.
    pub(super) fn seal(&self, kid: &str, private: &[u8]) -> Vec<u8> {
        let nonce = random::<NONCE_LEN>();
        let mut text = private.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(kid.as_bytes()), &mut text)
            .expect("a private key is far shorter than what AES-GCM can seal");
        [nonce.as_slice(), &text].concat()
    }

    /// The private key.
    pub(super) fn open(&self, kid: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, Fault> {
        let wrong = || Fault::precondition("SEALING_SECRET_WRONG", "Start with the sealing secret that the signing keys were stored under.");
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut text = text.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(kid.as_bytes()), &mut text).map_err(|_| wrong())?.len();
        text.truncate(length);
        Ok(text.into())
    }
}

impl fmt::Debug for Chest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Chest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_under_its_own_id_and_secret_alone() {
        let chest = Chest::new(&"secret".to_owned().into());
        let sealed = chest.seal("a", b"private");
        assert_eq!(chest.open("a", &sealed).unwrap().expose_secret(), b"private");
        assert!(chest.open("b", &sealed).is_err());
        assert!(Chest::new(&"other".to_owned().into()).open("a", &sealed).is_err());
        assert!(chest.open("a", &[]).is_err());
    }
}
