//! Orders of lists: `order_by` over a whitelist, and the place in the order where a page begins.
//!
//! Guarantees: every order is total, because the id always comes last; all keys run in the same direction, so
//! that one row comparison finds the next page and one index serves it. Sort columns are NOT NULL.

use std::fmt;

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::condition::COLLATE;
use super::{Column, Field, Kind, shown};
use crate::access::FieldRules;
use crate::fault::Fault;
use crate::page::{self, Cursor, KeyValue};

/// Names of the columns that carry the sort keys of a row; as many as an order may have.
const OUTPUTS: [&str; 2] = ["sort_key_1", "sort_key_2"];

/// The order of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Sort keys, the most important first; the id follows them.
    pub keys: Vec<SortKey>,
    /// Whether all of them, and the id, run downwards.
    pub descending: bool,
}

/// One key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Path of the field.
    pub path: &'static str,
    /// The column sorted by.
    pub column: &'static str,
    kind: KeyKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Text,
    Int,
    Time,
}

/// The order that `text` asks for: paths separated by commas, each with an optional ` desc`; empty means `default`,
/// or the order of ids for a caller whose roles do not show what `default` sorts by.
///
/// # Errors
/// INVALID_ARGUMENT (ORDER_INVALID) naming what is wrong and the fields that can be sorted by; PERMISSION_DENIED
/// (FIELD_HIDDEN) if the caller's roles do not show one of them.
pub fn parse_order(fields: &[Field], text: &str, default: &str, rules: &FieldRules) -> Result<Order, Fault> {
    if text.trim().is_empty() {
        let order = parse(fields, default)?;
        let is_shown = order.keys.iter().all(|key| rules.require_readable(key.path).is_ok());
        return Ok(if is_shown { order } else { Order { keys: Vec::new(), descending: false } });
    }
    let order = parse(fields, text)?;
    for key in &order.keys {
        rules.require_readable(key.path)?;
    }
    Ok(order)
}

fn parse(fields: &[Field], text: &str) -> Result<Order, Fault> {
    let mut order = Order { keys: Vec::new(), descending: false };
    for (index, part) in text.split(',').enumerate() {
        if index == OUTPUTS.len() {
            return Err(refuse(fields, format!("it has more than {} keys", OUTPUTS.len())));
        }
        let mut words = part.split_whitespace();
        let (path, direction, rest) = (words.next().unwrap_or_default(), words.next(), words.next());
        let descending = direction == Some("desc");
        if rest.is_some() || !matches!(direction, None | Some("asc" | "desc")) {
            return Err(refuse(fields, format!("after {} only desc may follow", shown(path))));
        }
        let key = fields.iter().find(|field| field.path == path).and_then(sort_key);
        let key =
            key.ok_or_else(|| refuse(fields, format!("it cannot use {}", if path.is_empty() { "an empty key".to_owned() } else { shown(path) })))?;
        if order.keys.contains(&key) {
            return Err(refuse(fields, format!("{path} stands in it twice")));
        }
        if index > 0 && descending != order.descending {
            return Err(refuse(fields, "its keys do not all run in the same direction".to_owned()));
        }
        order.descending = descending;
        order.keys.push(key);
    }
    Ok(order)
}

impl Order {
    /// Appends `, k1 as sort_key_1, …` to a select list, for [`Order::cursor`].
    pub fn push_columns(&self, query: &mut QueryBuilder<Postgres>) {
        for (key, output) in self.keys.iter().zip(OUTPUTS) {
            let cast = if key.kind == KeyKind::Int { "::bigint" } else { "" };
            query.push(format_args!(", {}{cast} as {output}", key.column));
        }
    }

    /// Appends ` and (k1, id) > ($1, $2)`, true for the rows after `cursor`; nothing without one.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (PAGE_TOKEN_INVALID) if the cursor stems from another order.
    pub fn push_after(&self, query: &mut QueryBuilder<Postgres>, cursor: Option<&Cursor>, id_column: &str) -> Result<(), Fault> {
        let Some(cursor) = cursor else { return Ok(()) };
        let fits = self.keys.len() == cursor.keys.len() && self.keys.iter().zip(&cursor.keys).all(|(key, value)| key.kind.takes(value));
        if !fits {
            return Err(page::invalid("belongs to another order"));
        }
        query.push(" and (");
        for key in &self.keys {
            query.push(key.expression()).push(", ");
        }
        query.push(id_column).push(if self.descending { ") < (" } else { ") > (" });
        for value in &cursor.keys {
            match value {
                KeyValue::Text(text) => query.push_bind(text.clone()),
                KeyValue::Int(number) => query.push_bind(*number),
                KeyValue::Time(time) => query.push_bind(*time),
            };
            query.push(", ");
        }
        query.push_bind(cursor.id).push(")");
        Ok(())
    }

    /// Appends ` order by k1 asc, id asc`.
    pub fn push_order_by(&self, query: &mut QueryBuilder<Postgres>, id_column: &str) {
        let direction = self.direction();
        query.push(" order by ");
        for key in &self.keys {
            query.push(key.expression()).push(direction).push(", ");
        }
        query.push(id_column).push(direction);
    }

    /// The place of `row`, read with [`Order::push_columns`], in the order.
    ///
    /// # Errors
    /// INTERNAL if a column is missing or has another type.
    pub fn cursor(&self, row: &PgRow, id: Uuid) -> Result<Cursor, Fault> {
        let read = |(key, output): (&SortKey, &str)| match key.kind {
            KeyKind::Text => row.try_get(output).map(KeyValue::Text),
            KeyKind::Int => row.try_get(output).map(KeyValue::Int),
            KeyKind::Time => row.try_get(output).map(KeyValue::Time),
        };
        let keys = self.keys.iter().zip(OUTPUTS).map(read).collect::<Result<_, sqlx::Error>>()?;
        Ok(Cursor { keys, id })
    }

    fn direction(&self) -> &'static str {
        if self.descending { " desc" } else { " asc" }
    }
}

/// The order in its one spelling, for the fingerprint of a list.
impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&str> = self.keys.iter().map(|key| key.path).collect();
        write!(formatter, "{}{}", paths.join(","), self.direction())
    }
}

impl SortKey {
    fn expression(&self) -> String {
        let collate = if self.kind == KeyKind::Text { COLLATE } else { "" };
        format!("{}{collate}", self.column)
    }
}

impl KeyKind {
    fn takes(self, value: &KeyValue) -> bool {
        matches!((self, value), (Self::Text, KeyValue::Text(_)) | (Self::Int, KeyValue::Int(_)) | (Self::Time, KeyValue::Time(_)))
    }
}

fn sort_key(field: &Field) -> Option<SortKey> {
    let kind = match field.kind {
        Kind::Text | Kind::Folded => KeyKind::Text,
        Kind::Int | Kind::Enum(_) => KeyKind::Int,
        Kind::Time => KeyKind::Time,
        Kind::Uuid { .. } | Kind::AnyUuid { .. } | Kind::Bool => return None,
    };
    match field.column {
        Column::Plain(column) if field.sort => Some(SortKey { path: field.path, column, kind }),
        Column::Plain(_) | Column::Within { .. } => None,
    }
}

fn refuse(fields: &[Field], problem: String) -> Fault {
    let keys = fields.iter().filter_map(sort_key).map(|key| key.path).collect::<Vec<_>>().join(", ");
    let text = format!("Correct order_by: {problem}. Write one or two keys with a comma between, or with desc after each; the keys are {keys}.");
    Fault::argument("ORDER_INVALID", text).with("problem", problem).with("keys", keys)
}

#[cfg(test)]
mod tests {
    use super::super::tests::FIELDS;
    use super::*;
    use crate::access::Effect;
    use crate::clock;

    fn order(text: &str) -> Order {
        parse_order(FIELDS, text, "person.family_name", &FieldRules::none()).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    fn order_by(order: &Order) -> String {
        let mut query = QueryBuilder::new("");
        order.push_columns(&mut query);
        order.push_order_by(&mut query, "c.id");
        query.into_string()
    }

    #[test]
    fn an_empty_order_is_the_default_and_the_id_always_comes_last() {
        assert_eq!(order(" ").to_string(), "person.family_name asc");
        assert_eq!(order_by(&order("")), ", c.family_folded as sort_key_1 order by c.family_folded collate \"C\" asc, c.id asc");
    }

    #[test]
    fn two_keys_run_down_together() {
        let order = order(" number  desc ,create_time desc");
        assert_eq!(
            order_by(&order),
            ", c.number::bigint as sort_key_1, c.create_time as sort_key_2 order by c.number desc, c.create_time desc, c.id desc"
        );
        assert_eq!(order, super::tests::order("number desc,create_time desc"));
    }

    #[test]
    fn the_next_page_begins_after_the_cursor_in_the_direction_of_the_order() {
        let cursor = Cursor { keys: vec![KeyValue::Text("celik".to_owned()), KeyValue::Time(clock::now())], id: clock::new_id() };
        for (text, comparison) in [("person.family_name, create_time", ">"), ("person.family_name desc, create_time desc", "<")] {
            let mut query = QueryBuilder::new("");
            order(text).push_after(&mut query, Some(&cursor), "c.id").unwrap();
            assert_eq!(query.into_string(), format!(" and (c.family_folded collate \"C\", c.create_time, c.id) {comparison} ($1, $2, $3)"));
        }
    }

    #[test]
    fn the_first_page_has_no_condition() {
        let mut query = QueryBuilder::new("");
        order("").push_after(&mut query, None, "c.id").unwrap();
        assert_eq!(query.into_string(), "");
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        for keys in [vec![], vec![KeyValue::Int(1)], vec![KeyValue::Text(String::new()), KeyValue::Int(1)]] {
            let mut query = QueryBuilder::new("");
            let fault = order("").push_after(&mut query, Some(&Cursor { keys, id: clock::new_id() }), "c.id").unwrap_err();
            assert_eq!(fault.reason(), "PAGE_TOKEN_INVALID");
        }
    }

    #[test]
    fn a_refusal_names_the_keys_that_can_be_used() {
        for text in ["surname", "tags", "language", "number down", "number desc desc", "number,", "number,number", "number,create_time desc"] {
            let fault = parse_order(FIELDS, text, "number", &FieldRules::none()).expect_err(text);
            assert_eq!((fault.code(), fault.reason()), (tonic::Code::InvalidArgument, "ORDER_INVALID"), "{text}");
            assert!(fault.text().contains("person.family_name, number, create_time"), "{text}");
        }
        assert!(parse_order(FIELDS, "number,create_time,person.family_name", "number", &FieldRules::none()).is_err());
    }

    #[test]
    fn a_hidden_field_cannot_be_sorted_by_and_a_hidden_default_gives_way_to_the_id() {
        let rules = FieldRules::new(vec![("person.family_name".to_owned(), Effect::Hidden)]);
        let under = |text: &str| parse_order(FIELDS, text, "person.family_name", &rules);
        assert_eq!(under("number,person.family_name").unwrap_err().reason(), "FIELD_HIDDEN");
        assert_eq!(order_by(&under("").unwrap()), " order by c.id asc");
        assert_eq!(order_by(&under("number").unwrap()), ", c.number::bigint as sort_key_1 order by c.number asc, c.id asc");
    }
}
