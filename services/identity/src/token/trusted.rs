//! Which services may ask for tokens, and what they show.
//!
//! Credentials are files of the folder `trusted` beside the other secrets, one for each service. A service
//! without a file there shows identity's own credential, which is how all services of one process do it.

use std::collections::HashMap;
use std::path::Path;

use aws_lc_rs::{constant_time, digest};
use rapport_kit::Fault;
use secrecy::{ExposeSecret, SecretString};

/// Credentials by service.
#[derive(Debug)]
pub(crate) struct Trusted {
    own: SecretString,
    services: HashMap<String, SecretString>,
}

impl Trusted {
    /// Reads `folder/trusted`, if there is one.
    pub(crate) fn load(folder: &Path, own: SecretString) -> Result<Self, Fault> {
        let mut services = HashMap::new();
        let folder = folder.join("trusted");
        if folder.is_dir() {
            for file in std::fs::read_dir(&folder).map_err(|error| invalid(&error))? {
                let path = file.map_err(|error| invalid(&error))?.path();
                let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else { continue };
                let text = std::fs::read_to_string(&path).map_err(|error| invalid(&error))?;
                services.insert(name.to_owned(), SecretString::from(text.trim().to_owned()));
            }
        }
        Ok(Self { own, services })
    }

    /// Every credential, for the doors of operators and services.
    pub(crate) fn all(&self) -> Vec<SecretString> {
        self.services.values().chain([&self.own]).cloned().collect()
    }

    /// Whether `shown` is the credential of `service`.
    pub(crate) fn knows(&self, service: &str, shown: &SecretString) -> bool {
        let expected = self.services.get(service).unwrap_or(&self.own);
        let digest = |secret: &SecretString| digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
        !expected.expose_secret().is_empty() && constant_time::verify_slices_are_equal(digest(expected).as_ref(), digest(shown).as_ref()).is_ok()
    }
}

fn invalid(error: &std::io::Error) -> Fault {
    Fault::precondition("CONFIG_INVALID", format!("Correct the configuration: secrets of trusted services: {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_with_a_credential_of_its_own_shows_that_one() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let services = HashMap::from([("sales".to_owned(), secret("s"))]);
        let trusted = Trusted { own: secret("own"), services };
        assert!(trusted.knows("sales", &secret("s")) && !trusted.knows("sales", &secret("own")));
        assert!(trusted.knows("contacts", &secret("own")) && !trusted.knows("contacts", &secret("s")));
        assert_eq!(trusted.all().len(), 2);
    }
}
