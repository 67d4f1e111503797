//! What a list was asked for, as a fingerprint, so that a page token continues that list and no other.

use std::fmt::Display;

use aws_lc_rs::digest::{Context, SHA256};

use crate::ctx::Ctx;

/// Fingerprint of a list's method, caller and arguments: all but `page_size` and `page_token`.
#[derive(Clone)]
pub struct Query {
    digest: Context,
}

impl Query {
    /// A query of `method`, with nothing about caller and arguments yet.
    #[must_use]
    pub fn new(method: &str) -> Self {
        Self { digest: Context::new(&SHA256) }.with("method", method)
    }

    /// A query of the method, tenant and subject of the call.
    #[must_use]
    pub fn of(ctx: &Ctx) -> Self {
        Self::new(ctx.call().method).with("tenant", ctx.tenant()).with("subject", ctx.subject())
    }

    /// Adds an argument. The order of arguments matters.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        for part in [name, &value.to_string()] {
            // The length in front keeps neighbouring parts from running into each other.
            self.digest.update(&part.len().to_be_bytes());
            self.digest.update(part.as_bytes());
        }
        self
    }

    pub(super) fn hash(&self) -> Vec<u8> {
        self.digest.clone().finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Query {
        Query::new("List").with("filter", "a = 1").with("order_by", "b")
    }

    #[test]
    fn the_same_method_and_arguments_give_the_same_fingerprint() {
        assert_eq!(base().hash(), base().hash());
    }

    #[test]
    fn another_method_argument_or_value_gives_another_fingerprint() {
        let others = [
            Query::new("Search").with("filter", "a = 1").with("order_by", "b"),
            Query::new("List").with("filter", "a = 2").with("order_by", "b"),
            Query::new("List").with("parent", "a = 1").with("order_by", "b"),
            base().with("show_deleted", true),
        ];
        for other in others {
            assert_ne!(other.hash(), base().hash());
        }
    }

    #[test]
    fn text_that_moves_from_one_argument_to_the_next_changes_the_fingerprint() {
        assert_ne!(Query::new("List").with("a", "bc").hash(), Query::new("List").with("ab", "c").hash());
        assert_ne!(Query::new("List").with("a", "b").with("c", "").hash(), Query::new("List").with("a", "").with("c", "b").hash());
    }
}
