//! Pages of a list: how many rows, and where the next page begins.
//!
//! Guarantees: a page token is sealed (AES-256-GCM-SIV), so that a caller can neither read nor make one; it opens
//! only under the key that sealed it, for the same method, tenant, subject and arguments, within 24 hours.
//! Everything else is INVALID_ARGUMENT with reason PAGE_TOKEN_INVALID. A token is a place in an order, never a
//! permission: rows of the next page are read under the caller's own access. A page ends before its rows take more
//! than callers take in at once, so it may be shorter than was asked for.

mod query;
mod sealer;
mod token;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use prost::Message;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _, ValueRef as _};
use uuid::Uuid;

use crate::ctx::Ctx;
use crate::db::Conn;
use crate::fault::Fault;

pub use query::Query;
pub use sealer::Sealer;

/// Rows of a page when the caller does not say.
const DEFAULT_SIZE: i32 = 50;
/// Rows of the largest page.
const MAX_SIZE: i32 = 1000;
/// Rows that a page is made ready for; a longer one grows.
const USUAL: usize = 64;
/// Bytes of a page's rows, but for one that takes more alone. What an answer adds to them must fit into 4 MiB too.
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Rows to read for `page_size`: 50 if it is 0, never more than 1000.
///
/// # Errors
/// INVALID_ARGUMENT (FIELD_INVALID) if it is negative.
pub fn size(page_size: i32) -> Result<i64, Fault> {
    match page_size {
        ..0 => Err(Fault::invalid("page_size", "must not be negative; 0 means 50, and above 1000 means 1000")),
        0 => Ok(i64::from(DEFAULT_SIZE)),
        _ => Ok(i64::from(page_size.min(MAX_SIZE))),
    }
}

/// The last row of a page, as far as the order of the list is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Its sort keys, first key first.
    pub keys: Vec<KeyValue>,
    /// Its id, which decides between rows with equal keys.
    pub id: Uuid,
}

/// Value of a sort key. None is null: sort columns are NOT NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyValue {
    /// A text, compared byte by byte.
    Text(String),
    /// A number.
    Int(i64),
    /// A time, in microseconds as PostgreSQL stores it.
    Time(DateTime<Utc>),
}

/// A row of a list, which tells what it takes in an answer.
pub trait Measured {
    /// Its size in bytes, about.
    fn bytes(&self) -> usize;
}

/// Reads the page of at most `size` rows that `query` begins with, no more of it than an answer takes, so that a
/// thousand large records are never held at once; and the token of the next page, empty at the end of the list.
/// `place` says where a row stands in the order of the list.
///
/// The limit stands in the statement's text, not among its values: of a limit that it does not know the database
/// thinks the worst, so that it would plan the statement anew for each page.
///
/// # Errors
/// What the database and `place` answer.
pub async fn read(
    ctx: &Ctx,
    asked: &Query,
    query: &mut QueryBuilder<Postgres>,
    conn: &mut Conn,
    size: i64,
    place: impl FnOnce(&PgRow) -> Result<Cursor, Fault>,
) -> Result<(Vec<PgRow>, String), Fault> {
    // One more, which says whether there is a next page.
    query.push(format_args!(" limit {}", size + 1));
    let size = usize::try_from(size).map_err(Fault::internal)?;
    let (mut rows, mut bytes, mut is_full) = (Vec::with_capacity(size.min(USUAL)), 0, false);
    let mut found = query.build().fetch(conn);
    while let Some(row) = found.try_next().await? {
        // What does not fit is taken off the connection only.
        if is_full {
            continue;
        }
        bytes += bytes_of(&row);
        is_full = rows.len() == size || (!rows.is_empty() && bytes > MAX_BYTES);
        if !is_full {
            rows.push(row);
        }
    }
    let token = token(ctx, asked, rows.last().filter(|_| is_full), place)?;
    Ok((rows, token))
}

fn bytes_of(row: &PgRow) -> usize {
    let value = |column| row.try_get_raw(column).ok().filter(|value| !value.is_null()).and_then(|value| value.as_bytes().ok());
    (0..row.len()).filter_map(value).map(<[u8]>::len).sum()
}

/// The token of the page after `last`; empty if there is none.
fn token<R>(ctx: &Ctx, asked: &Query, last: Option<&R>, place: impl FnOnce(&R) -> Result<Cursor, Fault>) -> Result<String, Fault> {
    last.map_or_else(|| Ok(String::new()), |last| Ok(ctx.call().sealer.seal(&place(last)?, asked)))
}

/// How many of `rows` make a page of at most `size`; at least one.
pub(crate) fn fit<R: Measured>(rows: &[R], size: i64) -> Result<usize, Fault> {
    let size = usize::try_from(size).map_err(Fault::internal)?;
    let mut bytes = 0;
    let fit = rows.iter().take(size).take_while(|row| {
        bytes += row.bytes();
        bytes <= MAX_BYTES
    });
    Ok(fit.count().max(1))
}

/// Ends the page of a list that was read by a statement of its own: of `rows`, one beyond `size`, those that do not fit are taken away, and the token of
/// the next page is sealed over the place of the last row that stays. Empty at the end of the list.
///
/// # Errors
/// What `place` answers.
pub fn end<R: Measured>(
    ctx: &Ctx,
    asked: &Query,
    rows: &mut Vec<R>,
    size: i64,
    place: impl FnOnce(&R) -> Result<Cursor, Fault>,
) -> Result<String, Fault> {
    let fit = fit(rows, size)?;
    let has_more = rows.len() > fit;
    rows.truncate(fit);
    token(ctx, asked, rows.last().filter(|_| has_more), place)
}

/// Refuses an answer that callers would not take in, for methods without pages.
///
/// # Errors
/// RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE).
pub fn require_fit(answer: &impl Message) -> Result<(), Fault> {
    require_bytes(answer.encoded_len(), "Ask for less at once: an answer may take at most 4 MiB.")
}

/// As [`require_fit`], where the answer is not made yet: before a write that could not be told of. `advice` is for the
/// caller.
///
/// # Errors
/// RESOURCE_EXHAUSTED (MESSAGE_TOO_LARGE).
pub fn require_bytes(bytes: usize, advice: &'static str) -> Result<(), Fault> {
    if bytes <= crate::MAX_MESSAGE {
        return Ok(());
    }
    Err(Fault::too_large(advice))
}

/// The refusal of a page token; `problem` says what is wrong with it.
pub(crate) fn invalid(problem: &str) -> Fault {
    Fault::argument("PAGE_TOKEN_INVALID", format!("The page token {problem}; start again without one.")).with("problem", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_50_rows_unless_the_caller_says_otherwise_and_never_more_than_1000() {
        for (asked, given) in [(0, 50), (1, 1), (50, 50), (1000, 1000), (1001, 1000), (i32::MAX, 1000)] {
            assert_eq!(size(asked).unwrap(), given, "{asked}");
        }
    }

    impl Measured for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn a_page_ends_before_three_mebibytes_of_rows_but_never_before_the_first() {
        let quarter = MAX_BYTES / 4;
        for (rows, fitting) in [(vec![], 1), (vec![1; 3], 3), (vec![1; 9], 5), (vec![quarter; 9], 4), (vec![MAX_BYTES + 1, 1], 1)] {
            assert_eq!(fit(&rows, 5).unwrap(), fitting, "{rows:?}");
        }
    }

    #[test]
    fn a_negative_page_size_is_refused() {
        for asked in [-1, i32::MIN] {
            assert_eq!(size(asked).unwrap_err().reason(), "FIELD_INVALID", "{asked}");
        }
    }
}
