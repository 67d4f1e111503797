//! What a session is, and what a refresh token means to it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::secret::Secret;
use crate::security_policy::SecurityPolicy;

/// A session, with the digests of its tokens.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: Uuid,
    pub(super) user: Uuid,
    pub(super) user_agent: String,
    pub(super) ip_address: String,
    pub(super) refresh_hash: Vec<u8>,
    pub(super) previous_hash: Option<Vec<u8>>,
    pub(super) last_use_at: DateTime<Utc>,
    pub(super) idle_expires_at: DateTime<Utc>,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) revoked_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

/// What a refresh token is to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The live one.
    Live,
    /// The one before, whose successor nobody has used.
    Repeated,
    /// Spent long ago.
    Spent,
}

impl Session {
    /// A session that begins now.
    pub(super) fn begin(id: Uuid, user: Uuid, refresh_hash: Vec<u8>, policy: &SecurityPolicy, now: DateTime<Utc>) -> Self {
        let expires_at = now + policy.absolute();
        Self {
            id,
            user,
            user_agent: String::new(),
            ip_address: String::new(),
            refresh_hash,
            previous_hash: None,
            last_use_at: now,
            idle_expires_at: expires_at.min(now + policy.idle()),
            expires_at,
            revoked_at: None,
            created_at: now,
        }
    }

    /// Whether it goes on, by its own times and by the policy of today.
    pub(super) fn is_open(&self, policy: &SecurityPolicy, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none()
            && now < self.idle_expires_at.min(self.last_use_at + policy.idle())
            && now < self.expires_at.min(self.created_at + policy.absolute())
    }

    /// What `secret` is to this session.
    pub(super) fn token(&self, secret: &Secret) -> Token {
        if secret.is(&self.refresh_hash) {
            Token::Live
        } else if self.previous_hash.as_ref().is_some_and(|hash| secret.is(hash)) {
            Token::Repeated
        } else {
            Token::Spent
        }
    }

    /// The live token is used: `next` follows it.
    pub(super) fn refresh(&mut self, next: &Secret, policy: &SecurityPolicy, now: DateTime<Utc>) {
        self.previous_hash = Some(std::mem::replace(&mut self.refresh_hash, next.hash()));
        self.last_use_at = now;
        self.expires_at = self.expires_at.min(self.created_at + policy.absolute());
        self.idle_expires_at = self.expires_at.min(now + policy.idle());
    }
}

#[cfg(test)]
mod tests {
    use rapport_kit::page::Sealer;

    use super::*;

    #[test]
    fn a_token_may_come_again_until_its_successor_was_used() {
        let sealer = Sealer::random();
        let (now, policy) = (DateTime::UNIX_EPOCH, SecurityPolicy::defaults(DateTime::UNIX_EPOCH));
        let first = Secret::random(Uuid::nil(), Uuid::nil());
        let second = first.successor(&sealer);
        let mut session = Session::begin(Uuid::nil(), Uuid::nil(), first.hash(), &policy, now);
        assert_eq!(session.token(&first), Token::Live);
        session.refresh(&second, &policy, now);
        assert_eq!((session.token(&first), session.token(&second)), (Token::Repeated, Token::Live));
        session.refresh(&second.successor(&sealer), &policy, now);
        assert_eq!((session.token(&first), session.token(&second)), (Token::Spent, Token::Repeated));
    }

    #[test]
    fn a_session_ends_when_idle_and_in_any_case_under_the_policy_of_today() {
        let (now, mut policy) = (DateTime::UNIX_EPOCH, SecurityPolicy::defaults(DateTime::UNIX_EPOCH));
        let session = Session::begin(Uuid::nil(), Uuid::nil(), Vec::new(), &policy, now);
        let later = |seconds| now + chrono::TimeDelta::seconds(seconds);
        assert!(session.is_open(&policy, later(28_799)) && !session.is_open(&policy, later(28_800)));
        policy.session_idle_seconds = 300;
        assert!(!session.is_open(&policy, later(300)));
    }
}
