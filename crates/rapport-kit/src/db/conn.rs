//! A connection on loan. It is an sqlx executor that notices when a statement was not seen to its end, and that
//! waits for the server's answer no longer than the pool allows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use uuid::Uuid;

use super::pool::{Pool, Resting};
use crate::fault::Fault;

/// A connection on loan from the pool; dropping it gives it back, or closes it if a statement is unfinished.
#[derive(Debug)]
pub struct Conn {
    resting: Option<Resting>,
    /// A statement was sent and its end has not been seen.
    busy: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Conn {
    pub(super) fn new(pool: Arc<Pool>, permit: OwnedSemaphorePermit, resting: Resting) -> Self {
        Self { resting: Some(resting), busy: false, pool, _permit: permit }
    }

    /// Sets the tenant outside any transaction. It is unknown from before the statement is sent until the
    /// server has agreed, so a dropped future can leave no connection with a tenant that is believed and wrong.
    pub(super) async fn set_tenant(&mut self, tenant: Uuid) -> Result<(), Fault> {
        if self.resting.as_ref().is_some_and(|resting| resting.tenant == Some(tenant)) {
            return Ok(());
        }
        if let Some(resting) = &mut self.resting {
            resting.tenant = None;
        }
        sqlx::query("select set_config('rapport.tenant', $1, false)").bind(tenant.to_string()).execute(&mut *self).await?;
        if let Some(resting) = &mut self.resting {
            resting.tenant = Some(tenant);
        }
        Ok(())
    }

    /// Whether a statement was sent whose end has not been seen.
    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    fn parts(&mut self) -> (&mut PgConnection, &mut bool) {
        let resting = self.resting.as_mut().expect("a connection stays with its loan until the loan is dropped");
        (&mut resting.connection, &mut self.busy)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Some(resting) = self.resting.take() else { return };
        if self.busy {
            drop(resting);
        } else {
            self.pool.give_back(resting);
        }
    }
}

/// Whether the connection can be used after this error: the server answered, so the conversation is in step.
fn in_step(error: &Error) -> bool {
    let ended =
        error.as_database_error().and_then(|error| error.code()).is_some_and(|state| matches!(state.as_ref(), "57P01" | "57P02" | "57P05" | "25P03"));
    !ended && !matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed)
}

impl<'c> Executor<'c> for &'c mut Conn {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = Arc::clone(&self.pool);
        let (connection, busy) = self.parts();
        *busy = true;
        Box::pin(Watched { rows: connection.fetch_many(query), busy, pool, silence: None })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = Arc::clone(&self.pool);
        let (connection, busy) = self.parts();
        *busy = true;
        let row = connection.fetch_optional(query);
        Box::pin(async move {
            let row = timeout(pool.answer_timeout(), row).await.unwrap_or_else(|_| Err(silent()));
            settle(row.as_ref().err(), busy, &pool);
            row
        })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        let pool = Arc::clone(&self.pool);
        let (connection, busy) = self.parts();
        *busy = true;
        let statement = connection.prepare_with(sql, parameters);
        Box::pin(async move {
            let statement = timeout(pool.answer_timeout(), statement).await.unwrap_or_else(|_| Err(silent()));
            settle(statement.as_ref().err(), busy, &pool);
            statement
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        self.parts().0.describe(sql)
    }
}

fn settle(error: Option<&Error>, busy: &mut bool, pool: &Pool) {
    match error {
        Some(error) if !in_step(error) => pool.forget_idle(),
        _ => *busy = false,
    }
}

/// The server said nothing for too long.
fn silent() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}

/// Rows of a statement; only when their end (or the server's refusal) was seen is the connection free again.
struct Watched<'e> {
    rows: BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>,
    busy: &'e mut bool,
    pool: Arc<Pool>,
    /// Runs while the server says nothing.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Stream for Watched<'_> {
    type Item = Result<Either<PgQueryResult, PgRow>, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = this.rows.as_mut().poll_next(context);
        match &next {
            Poll::Ready(None) => *this.busy = false,
            Poll::Ready(Some(Err(error))) => settle(Some(error), this.busy, &this.pool),
            Poll::Ready(Some(Ok(_))) => this.silence = None,
            Poll::Pending => {
                let silence = this.silence.get_or_insert_with(|| Box::pin(sleep(this.pool.answer_timeout())));
                if silence.as_mut().poll(context).is_ready() {
                    this.pool.forget_idle();
                    return Poll::Ready(Some(Err(silent())));
                }
            }
        }
        next
    }
}
