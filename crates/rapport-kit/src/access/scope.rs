//! The condition under which a row is visible to a caller.

use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::Levels;

/// Whether shares have to allow writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Any share will do.
    Read,
    /// Only shares that allow changes.
    Write,
}

impl Action {
    pub(super) fn of(permission: &str) -> Self {
        if permission.ends_with(".read") { Self::Read } else { Self::Write }
    }
}

/// Rows on which a permission is held by a subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Levels at which it is held.
    pub levels: Levels,
    /// The subject.
    pub subject: Uuid,
    /// Its business unit.
    pub unit: Option<Uuid>,
    /// Teams and units that a share may name.
    pub groups: Vec<Uuid>,
    /// Whether shares have to allow writing.
    pub action: Action,
    /// Whether shares count at all; only explanations ask without them.
    pub subject_shares: bool,
}

/// Where the rows stand: expressions for tenant, id and owner.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Such as `c.tenant_id`.
    pub tenant: &'static str,
    /// Such as `c.id`.
    pub id: &'static str,
    /// Such as `c.owner_id`.
    pub owner: &'static str,
}

impl Scope {
    /// Whether the permission is held at any level; without one no share helps.
    #[must_use]
    pub fn permits_anything(&self) -> bool {
        self.levels.any()
    }

    /// Whether every row of the tenant is in it, so that no condition is needed.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.levels.all
    }

    /// The same condition, for whomever it holds: one that shows every row of the tenant is the same for all.
    #[must_use]
    pub(crate) fn without_subject(&self) -> Self {
        if !self.is_everything() {
            return self.clone();
        }
        let levels = Levels { all: true, ..Levels::default() };
        Self { levels, subject: Uuid::nil(), unit: None, groups: Vec::new(), action: Action::Read, subject_shares: false }
    }

    /// Appends ` and (…)`, true for the rows of `table` that are in the scope.
    pub fn push(&self, query: &mut QueryBuilder<Postgres>, table: Table) {
        if self.levels.all {
            return;
        }
        // Without a level no share helps: a share opens records, not methods.
        if !self.levels.any() {
            query.push(" and false");
            return;
        }
        let Table { tenant, owner, .. } = table;
        query.push(" and (");
        query.push(owner).push(" = ").push_bind(self.subject);
        if self.levels.team {
            query
                .push(format!(" or exists (select from kit.team_member mine where mine.tenant_id = {tenant} and mine.subject_id = "))
                .push_bind(self.subject)
                .push(format!(
                    " and (mine.team_id = {owner} or exists (select from kit.team_member other where other.tenant_id = {tenant}
                       and other.team_id = mine.team_id and other.subject_id = {owner})))"
                ));
        }
        if let (true, Some(unit)) = (self.levels.subtree, self.unit) {
            query
                .push(format!(
                    " or exists (select from kit.policy_subject holder join kit.unit_ancestor above
                       on above.tenant_id = holder.tenant_id and above.unit_id = holder.unit_id
                       where holder.tenant_id = {tenant} and holder.id = {owner} and above.ancestor_id = "
                ))
                .push_bind(unit)
                .push(")");
        }
        if self.subject_shares {
            self.push_shares(query, table);
        }
        query.push(")");
    }

    fn push_shares(&self, query: &mut QueryBuilder<Postgres>, Table { tenant, id, .. }: Table) {
        query
            .push(format!(
                " or exists (select from kit.share given where given.tenant_id = {tenant} and given.record_id = {id} and (given.subject_id = "
            ))
            .push_bind(self.subject)
            .push(" or given.subject_id = any(")
            .push_bind(self.groups.clone())
            .push("))");
        if self.action == Action::Write {
            query.push(" and given.can_write");
        }
        query.push(")");
    }
}
