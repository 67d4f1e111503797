//! The policy's values and limits.

use chrono::{DateTime, TimeDelta, Utc};

use crate::parse::Problems;

/// The security policy of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecurityPolicy {
    /// 0 until it is stored.
    pub(crate) version: i64,
    pub(crate) password_min_length: i32,
    pub(crate) lockout_attempts: i32,
    pub(crate) lockout_base_seconds: i32,
    pub(crate) session_idle_seconds: i32,
    pub(crate) session_absolute_seconds: i32,
    /// 0 means for ever.
    pub(crate) history_retention_days: i32,
    pub(crate) data_owner: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl SecurityPolicy {
    /// What holds before one is stored.
    pub(crate) fn defaults(now: DateTime<Utc>) -> Self {
        Self {
            version: 0,
            password_min_length: 12,
            lockout_attempts: 5,
            lockout_base_seconds: 30,
            session_idle_seconds: 28_800,
            session_absolute_seconds: 604_800,
            history_retention_days: 3650,
            data_owner: String::new(),
            created_at: now,
            updated_at: now,
        }
    }

    /// Notes every value outside its limits, below `path`.
    pub(crate) fn check(&self, path: &str, problems: &mut Problems) {
        let field = |name: &str| format!("{path}{name}");
        problems.number(&field("password_min_length"), self.password_min_length, 8, 128);
        problems.number(&field("lockout_attempts"), self.lockout_attempts, 3, 100);
        problems.number(&field("lockout_base_seconds"), self.lockout_base_seconds, 1, 86_400);
        problems.number(&field("session_idle_seconds"), self.session_idle_seconds, 300, 2_592_000);
        problems.number(&field("session_absolute_seconds"), self.session_absolute_seconds, 300, 7_776_000);
        if self.session_absolute_seconds < self.session_idle_seconds {
            problems.note(&field("session_absolute_seconds"), "must be at least session_idle_seconds");
        }
        if self.history_retention_days != 0 {
            problems.number(&field("history_retention_days"), self.history_retention_days, 30, 36_500);
        }
        problems.text(&field("data_owner"), &self.data_owner, 1, 500);
    }

    /// The policy as it is stored next.
    pub(crate) fn stored(mut self, now: DateTime<Utc>) -> Self {
        if self.version == 0 {
            self.created_at = now;
        }
        self.version += 1;
        self.updated_at = now;
        self
    }

    /// How long a session lives without a refresh.
    pub(crate) fn idle(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.session_idle_seconds))
    }

    /// How long a session lives at all.
    pub(crate) fn absolute(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.session_absolute_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(policy: &SecurityPolicy) -> bool {
        let mut problems = Problems::default();
        policy.check("", &mut problems);
        problems.done().is_err()
    }

    #[test]
    fn the_defaults_lack_nothing_but_the_data_owner() {
        let mut policy = SecurityPolicy::defaults(DateTime::UNIX_EPOCH);
        assert!(problems(&policy));
        policy.data_owner = "Head of sales".to_owned();
        assert!(!problems(&policy));
        policy.history_retention_days = 0;
        assert!(!problems(&policy));
        policy.session_absolute_seconds = 300;
        assert!(problems(&policy));
    }

    #[test]
    fn storing_counts_versions_from_one() {
        let first = SecurityPolicy::defaults(DateTime::UNIX_EPOCH).stored(DateTime::UNIX_EPOCH);
        assert_eq!((first.version, first.stored(DateTime::UNIX_EPOCH).version), (1, 2));
    }
}
