//! Passwords: argon2id on a bounded number of threads.
//!
//! Guarantees: at most as many hashes at once as there are threads for them, and a bounded number of calls
//! waiting; verifying the password of nobody takes as long as verifying somebody's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rapport_kit::{Fault, metrics};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zxcvbn::zxcvbn;

use crate::secret::random;

const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Pieces of a KiB that a hash needs.
const BLOCKS: usize = MEMORY as usize;
/// Most bytes of a password.
pub(crate) const MAX_BYTES: usize = 1024;
/// A password must take more guesses than this: well beyond the tens of thousands that everybody tries first, and
/// beyond their usual variations.
const GUESSES: u64 = 1_000_000;
/// Words that are tried here before elsewhere.
const OURS: [&str; 2] = ["rapport", "correcthorsebatterystaple"];

/// The threads that hash.
#[derive(Debug)]
pub(crate) struct Passwords {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    memory: Mutex<Weak<Memory>>,
}

/// Memory of hashes that are done, for those that come next: to have the system clear it for each costs a part of its
/// time. Gone with the last turn; at most as many pieces as there are threads.
#[derive(Debug, Default)]
struct Memory {
    pieces: Mutex<Vec<Vec<Block>>>,
}

/// The right to hash, one password at a time.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: Arc<OwnedSemaphorePermit>,
    memory: Arc<Memory>,
}

impl Passwords {
    /// With this many threads and places to wait. 0 means one thread more than there are cores: a turn reads the
    /// database too, and the others keep the cores busy meanwhile.
    pub(crate) fn new(threads: usize, queue: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { cores + 1 } else { threads };
        Self { slots: Arc::new(Semaphore::new(threads)), waiting: AtomicUsize::new(0), queue, memory: Mutex::default() }
    }

    /// Waits for a turn. What must not be overtaken, such as a look at the lock of an address, comes after it.
    pub(crate) async fn turn(&self) -> Result<Turn, Fault> {
        let busy = || Fault::exhausted("SIGN_IN_BUSY", "Too many people sign in at this moment; send the request again.");
        let memory = self.memory();
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Turn { permit: Arc::new(permit), memory });
        }
        let place = Place::take(&self.waiting, self.queue).ok_or_else(busy)?;
        let permit = Arc::clone(&self.slots).acquire_owned().await.map_err(Fault::internal)?;
        drop(place);
        Ok(Turn { permit: Arc::new(permit), memory })
    }

    /// The memory of all who hash or wait to.
    fn memory(&self) -> Arc<Memory> {
        let mut shared = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let memory = Arc::default();
            *shared = Arc::downgrade(&memory);
            memory
        })
    }
}

impl Memory {
    /// Does what needs a piece, of whatever is in it.
    fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut [Block]) -> T) -> T {
        let pieces = || self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = pieces().pop();
        let mut piece = kept.unwrap_or_else(|| vec![Block::default(); BLOCKS]);
        let done = work(&mut piece);
        // A turn that works has it twice; fewer turns need fewer pieces.
        let mut pieces = pieces();
        if pieces.len() < Arc::strong_count(self).div_ceil(2) {
            pieces.push(piece);
        }
        done
    }
}

/// A place in the queue, left when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::AcqRel) < queue {
            return Some(Self(waiting));
        }
        waiting.fetch_sub(1, Ordering::AcqRel);
        None
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turn {
    /// The text to store for `password`.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Fault> {
        self.run(move |memory| {
            let salt = random::<16>();
            let hash = derive(memory, &password, &salt)?;
            Ok(format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash)))
        })
        .await
    }

    /// Whether `password` is the one that `stored` was made of; with nothing stored it is not, after the same time.
    pub(crate) async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<bool, Fault> {
        self.run(move |memory| {
            let known = stored.as_deref().and_then(parts);
            let (salt, expected) = known.clone().unwrap_or_else(|| (vec![0; 16], vec![0; 32]));
            let hash = derive(memory, &password, &salt)?;
            Ok(known.is_some() && constant_time::verify_slices_are_equal(&hash, &expected).is_ok())
        })
        .await
    }

    /// The permit goes with the work, which ends even if the caller does not wait for it.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut [Block]) -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
        let (permit, memory) = (Arc::clone(&self.permit), Arc::clone(&self.memory));
        let worked = tokio::task::spawn_blocking(move || {
            let done = memory.with(work);
            drop(permit);
            done
        });
        worked.await.map_err(Fault::internal)?
    }
}

fn derive(memory: &mut [Block], password: &SecretString, salt: &[u8]) -> Result<[u8; 32], Fault> {
    metrics::password_hashes().inc();
    let params = Params::new(MEMORY, PASSES, LANES, Some(32)).map_err(|error| Fault::internal(error.to_string()))?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, &mut hash, memory)
        .map_err(|error| Fault::internal(error.to_string()))?;
    Ok(hash)
}

/// Salt and hash of a stored text. There is one set of parameters so far; another one is read here.
fn parts(stored: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let rest = stored.strip_prefix("$argon2id$v=19$")?;
    let mut fields = rest.split('$');
    if fields.next()? != format!("m={MEMORY},t={PASSES},p={LANES}") {
        return None;
    }
    Some((STANDARD_NO_PAD.decode(fields.next()?).ok()?, STANDARD_NO_PAD.decode(fields.next()?).ok()?))
}

/// Why `password` cannot be taken; `about` are texts that anybody knows of the person.
pub(crate) fn weakness(password: &SecretString, min_length: i32, about: &[&str]) -> Option<String> {
    let text = password.expose_secret();
    if text.len() > MAX_BYTES {
        return Some(format!("must have at most {MAX_BYTES} bytes"));
    }
    let least = usize::try_from(min_length).unwrap_or_default();
    if text.chars().count() < least {
        return Some(format!("must have at least {least} characters"));
    }
    // Lists of common passwords, names and words, rows of keys, dates, repetitions, and what is known of the person.
    let words: Vec<&str> = about.iter().copied().chain(OURS).collect();
    (zxcvbn(text, &words).guesses() <= GUESSES).then(|| "is too easily guessed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    // All that is hashed in this binary is hashed here, so that it can be counted.
    #[tokio::test]
    async fn a_password_is_verified_by_what_was_stored_for_it_and_nobodys_takes_the_same_work() {
        let passwords = Passwords::new(1, 1);
        let turn = passwords.turn().await.unwrap();
        let stored = turn.hash(secret("correct horse battery")).await.unwrap();
        assert!(!stored.contains("horse"));
        let work = [
            ("correct horse battery", Some(stored.clone()), true),
            ("correct horse batterie", Some(stored.clone()), false),
            ("", Some(stored), false),
            ("anything", None, false),
            ("anything", Some("unreadable".to_owned()), false),
        ];
        for (password, stored, right) in work {
            let before = metrics::password_hashes().get();
            assert_eq!(turn.verify(secret(password), stored.clone()).await.unwrap(), right, "{password} {stored:?}");
            assert_eq!(metrics::password_hashes().get(), before + 1, "{password} {stored:?}");
        }
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_sent_away() {
        let passwords = Passwords::new(1, 0);
        let _turn = passwords.turn().await.unwrap();
        assert_eq!(passwords.turn().await.unwrap_err().reason(), "SIGN_IN_BUSY");
    }

    #[test]
    fn short_common_and_personal_passwords_are_refused() {
        for weak in [
            "short",
            "aaaaaaaaaaaaaaaa",
            "abcdefghijklmnop",
            "password1234",
            "P@ssw0rd1234",
            "qwertyuiop12",
            "trustno1trustno1",
            "liverpool1234",
            "Ann@Firm.Example",
            "correcthorsebatterystaple",
        ] {
            assert!(weakness(&secret(weak), 12, &["ann@firm.example"]).is_some(), "{weak}");
        }
        assert_eq!(weakness(&secret("correct horse battery"), 12, &["ann@firm.example"]), None);
        assert!(weakness(&secret(&"x1".repeat(600)), 12, &[]).is_some());
    }
}
