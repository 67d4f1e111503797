//! The rules that hold for a tenant, as writes need them: without asking the database each time.
//!
//! Guarantees: a rule that was changed holds within a second; at most 1,000 tenants are remembered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rapport_kit::db::Conn;
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

use super::rule::Details;
use super::{rule_sql, shipped};
use crate::search::Kind;

/// How long what was read is taken for what holds; half of what is promised, since reading takes time too.
const FRESH: Duration = Duration::from_millis(500);
const TENANTS: usize = 1000;

type Held = HashMap<Uuid, (Instant, Arc<[Details]>)>;

/// Rules that hold, by tenant.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    held: Arc<Mutex<Held>>,
}

impl Rules {
    /// Those of the caller's tenant that are not left out, for both kinds of records.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn of(&self, db: &Db, ctx: &Ctx) -> Result<Arc<[Details]>, Fault> {
        let known = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(&ctx.tenant()).cloned();
        if let Some((_, rules)) = known.filter(|(read, _)| read.elapsed() < FRESH) {
            return Ok(rules);
        }
        let rules: Arc<[Details]> = in_force(&mut db.for_tenant(ctx).await?, ctx.tenant()).await?.into();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= TENANTS {
            held.clear();
        }
        held.insert(ctx.tenant(), (Instant::now(), rules.clone()));
        Ok(rules)
    }
}

/// The rules of a tenant that are not left out; the shipped one for each kind that it has none for.
///
/// # Errors
/// What the database answers.
pub async fn in_force(conn: &mut Conn, tenant: Uuid) -> Result<Vec<Details>, Fault> {
    let own: Vec<Details> = rule_sql::all(conn, tenant).await?.into_iter().map(|rule| rule.details().clone()).collect();
    let shipped = missing(&own);
    Ok(own.into_iter().chain(shipped).filter(|rule| !rule.disabled).collect())
}

/// Shipped rules that hold beside these.
#[must_use]
pub fn missing(own: &[Details]) -> Vec<Details> {
    [Kind::Contact, Kind::Account].into_iter().filter(|kind| !own.iter().any(|rule| rule.kind == *kind)).map(shipped::rule).collect()
}
