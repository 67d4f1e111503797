//! A transaction: for consumers, jobs and commands that change several records.
//!
//! Guarantees: what is not committed is rolled back, also when the future that held it is dropped.

use sqlx::Executor;

use super::Conn;
use crate::fault::Fault;

/// An open transaction. Begin and commit it in one function, without a network call between.
#[derive(Debug)]
pub struct Tx {
    conn: Option<Conn>,
}

impl Tx {
    pub(super) async fn begin(mut conn: Conn) -> Result<Self, Fault> {
        conn.execute("begin").await?;
        Ok(Self { conn: Some(conn) })
    }

    /// The connection, for statements of this transaction.
    pub fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("the connection leaves a transaction only when it ends")
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// What the database answers; nothing has happened then, unless the connection broke while the answer
    /// was on its way. INTERNAL if an earlier statement failed: the transaction is over then.
    pub async fn commit(mut self) -> Result<(), Fault> {
        // After a failed statement a bare commit would roll back and report success; the statement before it,
        // sent in the same message, fails instead.
        self.conn().execute("select; commit").await?;
        self.conn = None;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        // In the middle of a statement the connection is closed, which rolls back as well.
        let Some(mut conn) = self.conn.take().filter(|conn| !conn.busy()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // The rollback is awaited apart; if it does not come to an end, the connection counts as busy and is closed.
        runtime.spawn(async move {
            let rollback = conn.execute("rollback");
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), rollback).await;
        });
    }
}
