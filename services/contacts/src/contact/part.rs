//! A part of each contact, for those who read many and need little of them.
//!
//! Guarantees: what is read is as in [`super::sql::read`]; what is not asked for is as if the contact had none of it.

use std::collections::BTreeSet;

use rapport_kit::{Ctx, Fault};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};

use super::Contact;
use super::sql::{COLUMNS, read};

/// What is read besides what every contact has. To print a stored person costs the database more than to find one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of the person, by the names under which it is stored.
    person: Vec<&'static str>,
    roles: bool,
    external_ids: bool,
}

impl Part {
    /// The part that these paths of an update name.
    #[must_use]
    pub fn of(paths: BTreeSet<&'static str>) -> Self {
        let (roles, external_ids) = (paths.contains("accounts"), paths.contains("external_ids"));
        Self { person: paths.into_iter().filter_map(|path| path.strip_prefix("person.")).collect(), roles, external_ids }
    }

    /// As [`super::sql::select`].
    #[must_use]
    pub fn select(&self, ctx: &Ctx) -> QueryBuilder<Postgres> {
        let mut columns = COLUMNS.replace("c.person", "'{}'::jsonb");
        for (column, is_read) in [("c.account_roles", self.roles), ("c.external_ids", self.external_ids)] {
            if !is_read {
                columns = columns.replace(column, "'[]'::jsonb");
            }
        }
        self.person.iter().for_each(|key| columns.push_str(&format!(", c.person -> '{key}' as \"person.{key}\"")));
        let mut query = QueryBuilder::new(format!("select {columns} from contacts c where c.tenant_id = "));
        query.push_bind(ctx.tenant());
        query
    }

    /// The contact in a row of [`Part::select`].
    ///
    /// # Errors
    /// INTERNAL if the row is not what this build writes.
    pub fn read(&self, row: &PgRow) -> Result<Contact, Fault> {
        let mut contact = read(row)?;
        let mut person = String::from("{");
        for key in &self.person {
            let Some(Json(value)) = row.try_get::<Option<Json<&RawValue>>, _>(format!("person.{key}").as_str())? else { continue };
            if person.len() > 1 {
                person.push(',');
            }
            person.push('"');
            person.push_str(key);
            person.push_str("\":");
            person.push_str(value.get());
        }
        person.push('}');
        contact.details.person = serde_json::from_str(&person).map_err(Fault::internal)?;
        Ok(contact)
    }
}
