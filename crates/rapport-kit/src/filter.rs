//! Filters (AIP-160) and orders (AIP-132) of lists, turned into SQL over a whitelist of fields.
//!
//! Guarantees: what the caller wrote reaches the database as bound values only, never as SQL text. Conditions
//! use leakproof operators alone (`=`, `<`, `<=`, `>`, `>=`, `<>` and `is null` on text, uuid, numbers, boolean
//! and timestamptz), so that indexes serve them under row-level security. A field that the caller's roles hide
//! or mask can neither be filtered by nor sorted by. At most 64 restrictions, nested 32 deep, in 4096 bytes.
//!
//! Absent values: `field:*` is true where there is one; a comparison with an absent value is false, so that
//! `field != x` and `NOT field = x` are true for it.

mod condition;
mod fold;
mod order;
mod read;

use sqlx::{Postgres, QueryBuilder};

use crate::access::FieldRules;
use crate::fault::Fault;

pub use fold::fold;
pub use order::{Order, SortKey, parse_order};

/// Bytes of the longest filter.
const MAX_BYTES: usize = 4096;
/// Letters of what the caller wrote that a refusal repeats: it has to fit into a trailer.
const SHOWN: usize = 64;

/// A field that lists of a resource can be filtered by.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its path in the resource's message, such as `person.family_name`.
    pub path: &'static str,
    /// Where it is stored.
    pub column: Column,
    /// What its values are.
    pub kind: Kind,
    /// Whether it may stand in `order_by`: only for a plain, indexed NOT NULL column.
    pub sort: bool,
}

/// Where a field is stored.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// One value a row: an expression such as `c.family_folded`.
    Plain(&'static str),
    /// Any number of values a row, one of which has to fit. The three parts in a row, with a comparison after
    /// `column`, make a condition: `exists (select from contact_tag t where … and ` `t.tag` `)`.
    Within {
        /// Ends with ` and `.
        before: &'static str,
        /// The expression that is compared.
        column: &'static str,
        /// Closes what `before` opened.
        after: &'static str,
    },
}

/// What the values of a field are, which decides how they are written and compared.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text as it is, in a `text` column; empty means absent.
    Text,
    /// Text stored as [`fold`] leaves it; what the caller writes is folded too.
    Folded,
    /// Name of a record of `collection`, stored as its id.
    Uuid {
        /// Such as `contacts`.
        collection: &'static str,
    },
    /// Name of a record of one of several collections, stored as its id.
    AnyUuid {
        /// Such as `users` and `teams`.
        collections: &'static [&'static str],
    },
    /// `true` or `false`.
    Bool,
    /// A whole number, in a column of any integer type.
    Int,
    /// An RFC 3339 time.
    Time,
    /// One of these names, stored as a smallint.
    Enum(&'static [(&'static str, i16)]),
}

/// What bare words of a filter look for.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Fields that a match may tell something about: if one is hidden from the caller, bare words are refused.
    pub paths: &'static [&'static str],
    /// How a word is found.
    pub by: SearchBy,
}

/// How a bare word is found. The word is folded first.
#[derive(Debug, Clone, Copy)]
pub enum SearchBy {
    /// By a value that begins with it.
    Prefix(Column),
    /// By a condition in two parts, the word between them: `c.id in (select contacts.search(` `))`.
    Call {
        /// What stands before the word.
        before: &'static str,
        /// What stands after it.
        after: &'static str,
    },
}

/// Appends ` and (…)`, true for the rows that the filter `text` asks for; nothing if it is empty.
///
/// # Errors
/// INVALID_ARGUMENT (FILTER_INVALID) saying where the filter is wrong and what it may use; PERMISSION_DENIED
/// (FIELD_HIDDEN) if it uses a field that the caller's roles do not show.
pub fn push(query: &mut QueryBuilder<Postgres>, fields: &[Field], search: Option<Search>, text: &str, rules: &FieldRules) -> Result<(), Fault> {
    if let Some(condition) = read::read(fields, search, text, rules)? {
        query.push(" and (");
        condition.push(query);
        query.push(")");
    }
    Ok(())
}

/// The beginning of what the caller wrote, for a refusal.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::Effect;

    pub(crate) const FIELDS: &[Field] = &[
        Field { path: "person.family_name", column: Column::Plain("c.family_folded"), kind: Kind::Folded, sort: true },
        Field { path: "number", column: Column::Plain("c.number"), kind: Kind::Int, sort: true },
        Field { path: "language", column: Column::Plain("c.language"), kind: Kind::Text, sort: false },
        Field { path: "owner", column: Column::Plain("c.owner_id"), kind: Kind::Uuid { collection: "users" }, sort: false },
        Field { path: "holder", column: Column::Plain("c.holder_id"), kind: Kind::AnyUuid { collections: &["users", "teams"] }, sort: false },
        Field { path: "shipped", column: Column::Plain("c.shipped"), kind: Kind::Bool, sort: false },
        Field { path: "state", column: Column::Plain("c.state"), kind: Kind::Enum(&[("ACTIVE", 1), ("DISABLED", 2)]), sort: false },
        Field { path: "create_time", column: Column::Plain("c.create_time"), kind: Kind::Time, sort: true },
        Field { path: "tags", column: TAGS, kind: Kind::Text, sort: true },
    ];
    const TAGS: Column = Column::Within { before: "exists (select from tag t where t.id = c.id and ", column: "t.tag", after: ")" };
    const USER: &str = "users/01890a5d-ac96-774b-bcce-b302099a8057";

    fn sql_under(text: &str, search: Option<Search>, rules: &FieldRules) -> Result<String, Fault> {
        let mut query = QueryBuilder::new("");
        push(&mut query, FIELDS, search, text, rules).map(|()| query.into_string())
    }

    fn sql(text: &str) -> String {
        sql_under(text, None, &FieldRules::none()).unwrap_or_else(|fault| panic!("{text}: {fault}"))
    }

    fn problem(text: &str) -> String {
        let fault = sql_under(text, None, &FieldRules::none()).expect_err(text);
        assert_eq!((fault.code(), fault.reason()), (tonic::Code::InvalidArgument, "FILTER_INVALID"), "{text}");
        fault.text().to_owned()
    }

    #[test]
    fn an_empty_filter_adds_nothing() {
        assert_eq!(sql(""), "");
        assert_eq!(sql(" \n"), "");
    }

    #[test]
    fn or_binds_tighter_than_and_and_a_sequence_is_an_and() {
        assert_eq!(sql("number = 1 AND number = 2 OR number = 3"), " and (c.number = $1 and (c.number = $2 or c.number = $3))");
        assert_eq!(sql("number = 1 number = 2"), " and (c.number = $1 and c.number = $2)");
    }

    #[test]
    fn what_is_negated_holds_for_absent_values() {
        assert_eq!(sql("number != 1"), " and ((c.number = $1) is not true)");
        assert_eq!(sql("-(number = 1 OR number > 2)"), " and (((c.number = $1 or c.number > $2)) is not true)");
        assert_eq!(sql("NOT number:*"), " and (not (c.number is not null))");
        assert_eq!(sql("NOT language:*"), " and ((c.language <> '') is not true)");
        assert_eq!(sql("NOT tags:x"), " and (not (exists (select from tag t where t.id = c.id and t.tag = $1)))");
    }

    #[test]
    fn text_is_ordered_byte_by_byte_and_a_star_at_its_end_is_a_range() {
        assert_eq!(sql("language >= de"), " and (c.language collate \"C\" >= $1)");
        assert_eq!(sql("language = 'de*'"), " and ((c.language collate \"C\" >= $1 and c.language collate \"C\" < $2))");
        assert_eq!(
            sql("tags:vip*"),
            " and (exists (select from tag t where t.id = c.id and (t.tag collate \"C\" >= $1 and t.tag collate \"C\" < $2)))"
        );
    }

    #[test]
    fn every_kind_takes_its_values() {
        for text in [
            "person.family_name:Çelik",
            "language = a@b.example",
            &format!("owner = {USER}"),
            &format!("holder = {USER}"),
            &format!("holder = {}", USER.replace("users", "teams")),
            "shipped = true",
            "state = ACTIVE",
            "create_time > \"2024-05-01T10:00:00+02:00\"",
            "number <= -5",
        ] {
            assert!(sql(text).contains("$1"), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_what_is_allowed() {
        assert!(problem("surname = x").contains("person.family_name"));
        assert!(problem("state = GONE").contains("ACTIVE, DISABLED"));
        assert!(problem("number = many").contains("number"));
        assert!(problem("owner = teams/1").contains("users/"));
        assert!(problem(&format!("holder = {}", USER.replace("users", "roles"))).contains("users/{uuid} or teams/{uuid}"));
        assert!(problem("create_time > yesterday").contains("RFC 3339"));
        assert!(problem("shipped > true").contains('='));
        assert!(problem("tags != x").contains("NOT tags"));
        assert!(problem("language = (a OR b)").contains("language"));
        assert!(problem("number = 1 AND").contains("byte"));
        assert!(problem("near(number, 1)").contains("near"));
        assert!(problem("Celik").contains("bare word"));
        for text in ["language = '*a'", "language = 'a*b'", "language = '*'", "language > 'a*'", "number = '1*'", "language = 'a\0'"] {
            problem(text);
        }
    }

    #[test]
    fn a_day_that_the_calendar_does_not_have_is_named_as_such() {
        let text = problem("create_time > \"2024-02-30T10:00:00Z\"");
        assert!(text.contains("create_time") && text.contains("2024-02-30T10:00:00Z") && text.contains("no such day or hour"), "{text}");
        assert!(!problem("create_time > yesterday").contains("no such day"));
    }

    #[test]
    fn a_misspelt_and_or_or_not_is_refused_and_not_searched_for() {
        let search = Search { paths: &["tags"], by: SearchBy::Prefix(TAGS) };
        let refused = |text: &str| sql_under(text, Some(search), &FieldRules::none()).expect_err(text);
        for (text, word, meant) in [
            ("number = 1 and number = 2", "and", "AND"),
            ("number = 1 AN number = 2", "AN", "AND"),
            ("number = 1 ANDD number = 2", "ANDD", "AND"),
            ("number = 1 NAD number = 2", "NAD", "AND"),
            ("number = 1 Or number = 2", "Or", "OR"),
            ("not number = 1", "not", "NOT"),
            ("number = 1 AND (number = 2 or number = 3)", "or", "OR"),
            ("Lee or Smith", "or", "OR"),
        ] {
            let fault = refused(text);
            assert_eq!((fault.code(), fault.reason()), (tonic::Code::InvalidArgument, "FILTER_INVALID"), "{text}");
            assert!(fault.text().contains(&format!(" {word} ")) && fault.text().contains(&format!(" {meant} ")), "{text}: {fault}");
        }
        // A word that stands alone, in quotes or among words is what somebody looks for.
        for text in ["and", "AN", "\"and\" number = 1", "\"AN\" number = 1", "Ann AN", "Smith number = 1", "SMITH number = 1"] {
            assert!(sql_under(text, Some(search), &FieldRules::none()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_bare_word_is_refused_by_name_where_nothing_can_be_searched() {
        for (text, word) in [("number = 1 and number = 2", "and"), ("Celik", "Celik"), ("number = 1 Celik", "Celik")] {
            assert!(problem(text).contains(word), "{text}");
        }
    }

    #[test]
    fn size_depth_and_number_of_terms_are_limited() {
        let terms = |count: usize| vec!["number = 1"; count].join(" OR ");
        assert!(!sql(&terms(64)).is_empty());
        assert!(problem(&terms(65)).contains("64"));
        assert!(problem(&format!("{}number = 1{}", "(".repeat(33), ")".repeat(33))).contains("32"));
        let long = format!("language = {}", "x".repeat(MAX_BYTES));
        assert!(problem(&long).len() < 1000);
        assert!(problem(&format!("{} = 1", "x".repeat(4000))).len() < 1000);
    }

    #[test]
    fn a_hidden_or_masked_field_cannot_be_asked_about() {
        let rules = FieldRules::new(vec![("person".to_owned(), Effect::Masked)]);
        for text in ["person.family_name = x", "number = 1 OR NOT person.family_name:*"] {
            assert_eq!(sql_under(text, None, &rules).unwrap_err().reason(), "FIELD_HIDDEN", "{text}");
        }
        assert!(sql_under("number = 1", None, &rules).is_ok());
    }

    #[test]
    fn bare_words_search_if_the_caller_may_see_what_they_search() {
        let prefix = Search { paths: &["tags"], by: SearchBy::Prefix(TAGS) };
        let call = Search { paths: &["tags"], by: SearchBy::Call { before: "c.id in (select search(", after: "))" } };
        let none = FieldRules::none();
        assert_eq!(sql_under("Ann Lee", Some(call), &none).unwrap(), " and (c.id in (select search($1)) and c.id in (select search($2)))");
        assert_eq!(sql_under("-ann*", Some(call), &none).unwrap(), " and ((c.id in (select search($1))) is not true)");
        assert!(sql_under("ann", Some(prefix), &none).unwrap().contains("t.tag collate \"C\" >= $1"));
        let hidden = FieldRules::new(vec![("tags".to_owned(), Effect::Hidden)]);
        assert_eq!(sql_under("ann", Some(call), &hidden).unwrap_err().reason(), "FIELD_HIDDEN");
    }

    proptest! {
        #[test]
        fn no_value_ever_becomes_sql(value in "[^*\0]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(sql(&format!("language = \"{quoted}\"")), " and (c.language = $1)");
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,80}") {
            let _ = sql_under(&text, None, &FieldRules::none());
        }

        #[test]
        fn any_filter_of_known_words_is_taken_or_refused_and_its_sql_is_whitelisted(
            words in prop::collection::vec(prop::sample::select(vec![
                "number", "=", "!=", ":", "tags", "language", "AND", "OR", "NOT", "-", "(", ")", "1", "'a*'", "*", "x", "drop",
            ]), 1..20),
        ) {
            if let Ok(sql) = sql_under(&words.join(" "), None, &FieldRules::none()) {
                prop_assert!(!sql.contains("drop") && sql.matches('(').count() == sql.matches(')').count(), "{}", sql);
            }
        }
    }
}
