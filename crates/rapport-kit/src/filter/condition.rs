//! The conditions of a filter after reading, and their SQL.
//!
//! Guarantees: a condition is built of whitelisted expressions, leakproof operators and bound values. `not` is
//! two-valued: a comparison with null counts as false before it is negated.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::Column;

#[derive(Debug, Clone)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test { column: Column, test: Test },
    Search { before: &'static str, word: String, after: &'static str },
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    Compare(Operator, Value),
    Prefix(String),
    /// Not empty, for text; there is no other absence in a text column but null.
    TextPresent,
    Present,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Uuid(Uuid),
    Bool(bool),
    Int(i64),
    Small(i16),
    Time(DateTime<Utc>),
}

impl Condition {
    /// Appends the condition, in parentheses where it joins several.
    pub(super) fn push(&self, query: &mut QueryBuilder<Postgres>) {
        match self {
            Self::All(parts) => push_joined(query, parts, " and "),
            Self::Any(parts) => push_joined(query, parts, " or "),
            Self::Not(inner) => {
                // `not` alone keeps anti-joins and `is null` within the planner's reach.
                let (before, after) = if inner.is_never_null() { ("not (", ")") } else { ("(", ") is not true") };
                query.push(before);
                inner.push_nested(query);
                query.push(after);
            }
            Self::Test { column: Column::Plain(column), test } => test.push(query, column),
            Self::Test { column: Column::Within { before, column, after }, test } => {
                query.push(before);
                test.push(query, column);
                query.push(after);
            }
            Self::Search { before, word, after } => {
                query.push(before).push_bind(word.clone()).push(after);
            }
        }
    }

    fn push_nested(&self, query: &mut QueryBuilder<Postgres>) {
        if matches!(self, Self::All(_) | Self::Any(_)) {
            query.push("(");
            self.push(query);
            query.push(")");
        } else {
            self.push(query);
        }
    }

    fn is_never_null(&self) -> bool {
        match self {
            Self::Test { column: Column::Within { .. }, .. } | Self::Test { test: Test::Present, .. } | Self::Not(_) => true,
            Self::Test { .. } | Self::Search { .. } | Self::All(_) | Self::Any(_) => false,
        }
    }
}

fn push_joined(query: &mut QueryBuilder<Postgres>, parts: &[Condition], separator: &str) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            query.push(separator);
        }
        part.push_nested(query);
    }
}

impl Test {
    fn push(&self, query: &mut QueryBuilder<Postgres>, column: &str) {
        match self {
            Self::Compare(operator, value) => {
                query.push(column);
                if matches!(value, Value::Text(_)) && *operator != Operator::Equal {
                    query.push(COLLATE);
                }
                query.push(operator.sql());
                value.push(query);
            }
            Self::Prefix(prefix) => push_prefix(query, column, prefix),
            Self::TextPresent => {
                query.push(column).push(" <> ''");
            }
            Self::Present => {
                query.push(column).push(" is not null");
            }
        }
    }
}

/// Text is ordered by its bytes: the same everywhere, and the same as the order of a prefix's range.
pub(super) const COLLATE: &str = " collate \"C\"";

fn push_prefix(query: &mut QueryBuilder<Postgres>, column: &str, prefix: &str) {
    query.push("(").push(column).push(COLLATE).push(" >= ").push_bind(prefix.to_owned());
    if let Some(end) = end_of_prefix(prefix) {
        query.push(" and ").push(column).push(COLLATE).push(" < ").push_bind(end);
    }
    query.push(")");
}

/// The least text greater than every text that begins with `prefix`; UTF-8 sorts as code points do.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

impl Operator {
    fn sql(self) -> &'static str {
        match self {
            Self::Equal => " = ",
            Self::Less => " < ",
            Self::LessOrEqual => " <= ",
            Self::Greater => " > ",
            Self::GreaterOrEqual => " >= ",
        }
    }
}

impl Value {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        match self {
            Self::Text(text) => query.push_bind(text.clone()),
            Self::Uuid(id) => query.push_bind(*id),
            Self::Bool(flag) => query.push_bind(*flag),
            Self::Int(number) => query.push_bind(*number),
            Self::Small(number) => query.push_bind(*number),
            Self::Time(time) => query.push_bind(*time),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_end_of_a_prefix_steps_over_code_points_that_do_not_exist() {
        assert_eq!(end_of_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(end_of_prefix("\u{d7ff}").as_deref(), Some("\u{e000}"));
        assert_eq!(end_of_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(end_of_prefix("\u{10ffff}"), None);
    }

    proptest! {
        #[test]
        fn a_text_lies_in_the_range_of_a_prefix_if_and_only_if_it_begins_with_it(prefix in "[a-c]{1,2}|\\PC{1,3}", text in "[a-c]{0,4}|\\PC{0,4}", join: bool) {
            let text = if join { format!("{prefix}{text}") } else { text };
            let before_end = end_of_prefix(&prefix).is_none_or(|end| text < end);
            prop_assert_eq!(text >= prefix && before_end, text.starts_with(&prefix));
        }
    }
}
