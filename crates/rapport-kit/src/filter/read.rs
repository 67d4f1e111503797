//! Reading a filter: from the caller's text to conditions over known fields, every value parsed.

use aip_160::{Arg, Comparable, Comparator, Expression, FilterError, Restriction, parse_filter_with_max_depth};
use chrono::format::ParseErrorKind;
use chrono::{DateTime, Utc};

use super::condition::{Condition, Operator, Test, Value};
use super::{Column, Field, Kind, MAX_BYTES, Search, SearchBy, fold, shown};
use crate::access::FieldRules;
use crate::fault::Fault;
use crate::name;

const MAX_DEPTH: usize = 32;
const MAX_TERMS: usize = 64;
const OPERATORS: [&str; 3] = ["AND", "OR", "NOT"];

/// The condition that `text` asks for; none if it asks for everything.
pub(super) fn read(fields: &[Field], search: Option<Search>, text: &str, rules: &FieldRules) -> Result<Option<Condition>, Fault> {
    let mut reader = Reader { fields, search, rules, terms: 0 };
    if text.len() > MAX_BYTES {
        return Err(reader.refuse(format!("it is longer than {MAX_BYTES} bytes")));
    }
    let filter = parse_filter_with_max_depth(text, MAX_DEPTH).map_err(|error| reader.refuse_syntax(&error))?;
    filter.expression.map(|expression| reader.expression(&expression)).transpose()
}

struct Reader<'a> {
    fields: &'a [Field],
    search: Option<Search>,
    rules: &'a FieldRules,
    terms: usize,
}

impl Reader<'_> {
    fn expression(&mut self, expression: &Expression) -> Result<Condition, Fault> {
        match expression {
            Expression::Sequence(parts) => {
                self.require_no_misspelt(parts)?;
                Ok(Condition::All(self.expressions(parts)?))
            }
            Expression::And(parts) => Ok(Condition::All(self.expressions(parts)?)),
            Expression::Or(parts) => Ok(Condition::Any(self.expressions(parts)?)),
            Expression::Not(inner) => Ok(Condition::Not(Box::new(self.expression(inner)?))),
            Expression::Restriction(restriction) => self.restriction(restriction),
            Expression::Global(comparable) => self.bare_word(comparable),
        }
    }

    fn expressions(&mut self, parts: &[Expression]) -> Result<Vec<Condition>, Fault> {
        parts.iter().map(|part| self.expression(part)).collect()
    }

    /// Terms without an operator between them are joined by AND, so that a misspelt operator would pass for a word
    /// to look for.
    fn require_no_misspelt(&self, parts: &[Expression]) -> Result<(), Fault> {
        let compares = parts.iter().any(|part| !matches!(part, Expression::Global(_)));
        for part in parts {
            let Expression::Global(Comparable::Member(member)) = part else { continue };
            if !member.is_simple() || member.value.is_quoted() {
                continue;
            }
            let word = member.value.as_str();
            let Some(meant) = OPERATORS.into_iter().find(|operator| is_meant(word, operator, compares)) else { continue };
            let problem =
                format!("{} stands between its terms; write {meant} if that is meant, or put the word in quotes to look for it", shown(word));
            return Err(self.refuse(problem));
        }
        Ok(())
    }

    fn restriction(&mut self, restriction: &Restriction) -> Result<Condition, Fault> {
        self.count()?;
        let path = restriction.comparable.to_string();
        let field =
            *self.fields.iter().find(|field| field.path == path).ok_or_else(|| self.refuse(format!("there is no field {} in it", shown(&path))))?;
        self.rules.require_readable(field.path)?;
        let Restriction { comparator, arg, .. } = restriction;
        let allowed = field.comparators();
        if !allowed.contains(comparator) {
            let negated = if field.is_multiple() { format!(" (for none of them, NOT {path}:…)") } else { String::new() };
            let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            return Err(self.refuse_field(&field, format!("{path} cannot be compared by {comparator}, only by {allowed}{negated}")));
        }
        let Some(value) = literal(arg) else {
            return Err(self.refuse_field(&field, format!("{path} is compared with one value at a time; write the comparison once for each")));
        };
        let test = field.test(*comparator, &value).ok_or_else(|| {
            let values = field.kind.values();
            let why = if field.kind.is_off_the_calendar(&value) { "there is no such day or hour; " } else { "" };
            self.refuse_field(
                &field,
                format!("{path} {comparator} {} does not fit: {why}{path} takes {values}, and {path}:* is true where it is set", shown(&value)),
            )
        })?;
        let condition = Condition::Test { column: field.column, test };
        Ok(if *comparator == Comparator::NotEqual { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn bare_word(&mut self, comparable: &Comparable) -> Result<Condition, Fault> {
        self.count()?;
        let word = match comparable {
            Comparable::Member(_) => literal(&Arg::Comparable(comparable.clone())),
            Comparable::Function(function) => return Err(self.refuse(format!("there is no function {} in it", shown(&function.name.join("."))))),
        };
        let Some(search) = self.search else {
            return Err(self.refuse(format!("the bare word {} means nothing here", shown(&comparable.to_string()))));
        };
        for path in search.paths {
            self.rules.require_readable(path)?;
        }
        let word = word.map(|word| fold(word.strip_suffix('*').unwrap_or(&word))).filter(|word| is_usable(word) && !word.is_empty());
        let Some(word) = word else {
            return Err(self.refuse(format!("{} is nothing that can be searched", shown(&comparable.to_string()))));
        };
        Ok(match search.by {
            SearchBy::Prefix(column) => Condition::Test { column, test: Test::Prefix(word) },
            SearchBy::Call { before, after } => Condition::Search { before, word, after },
        })
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.terms += 1;
        if self.terms > MAX_TERMS { Err(self.refuse(format!("it has more than {MAX_TERMS} terms"))) } else { Ok(()) }
    }

    fn refuse(&self, problem: String) -> Fault {
        let fields = self.fields.iter().map(|field| field.path).collect::<Vec<_>>().join(", ");
        let text = format!("Correct the filter: {problem}. It is made of comparisons such as field = \"value\"; the fields are {fields}.");
        Fault::argument("FILTER_INVALID", text).with("problem", problem).with("fields", fields)
    }

    fn refuse_field(&self, field: &Field, problem: String) -> Fault {
        self.refuse(problem).with("field", field.path)
    }

    fn refuse_syntax(&self, error: &FilterError) -> Fault {
        match error {
            FilterError::Syntax { offset, message } => {
                let hint = "values with other signs than letters, digits, - and / stand in quotes";
                self.refuse(format!("at byte {offset}: {message} ({hint})")).with("position", offset.to_string())
            }
            FilterError::TooDeep { limit } => self.refuse(format!("it is nested deeper than {limit}")),
            other => self.refuse(shown(&other.to_string())),
        }
    }
}

/// Whether `word` is the operator in other letters or, beside comparisons, one slip away from it: a letter too few,
/// too many, wrong or out of place. Words in small letters are taken for words unless they are the operator.
fn is_meant(word: &str, operator: &str, compares: bool) -> bool {
    word.eq_ignore_ascii_case(operator) || compares && word.bytes().all(|byte| byte.is_ascii_uppercase()) && is_one_slip(word, operator)
}

fn is_one_slip(word: &str, operator: &str) -> bool {
    let (word, operator) = (word.as_bytes(), operator.as_bytes());
    let same = word.iter().zip(operator).take_while(|(one, other)| one == other).count();
    let (rest, expected) = (word.get(same..).unwrap_or_default(), operator.get(same..).unwrap_or_default());
    match (rest, expected) {
        ([_, rest @ ..], expected) if rest == expected => true,
        (rest, [_, expected @ ..]) if rest == expected => true,
        ([_, rest @ ..], [_, expected @ ..]) if rest == expected => true,
        ([one, other, rest @ ..], [first, second, expected @ ..]) => one == second && other == first && rest == expected,
        _ => false,
    }
}

/// The one value that is written, quoted or not; unquoted ones may hold dots, as addresses do.
fn literal(arg: &Arg) -> Option<String> {
    match arg {
        Arg::Comparable(Comparable::Member(member)) if member.is_simple() => Some(member.value.as_str().to_owned()),
        Arg::Comparable(Comparable::Member(member)) => member.field_path(),
        Arg::Comparable(Comparable::Function(_)) | Arg::Composite(_) => None,
    }
}

/// PostgreSQL's text has no NUL.
fn is_usable(text: &str) -> bool {
    !text.contains('\0')
}

impl Field {
    fn is_multiple(&self) -> bool {
        matches!(self.column, Column::Within { .. })
    }

    fn comparators(&self) -> &'static [Comparator] {
        use Comparator::{Equal, GreaterThan, GreaterThanOrEqual, Has, LessThan, LessThanOrEqual, NotEqual};
        match self.kind {
            _ if self.is_multiple() => &[Has, Equal],
            Kind::Uuid { .. } | Kind::AnyUuid { .. } | Kind::Bool | Kind::Enum(_) => &[Equal, NotEqual, Has],
            Kind::Text | Kind::Folded | Kind::Int | Kind::Time => &[Equal, NotEqual, LessThan, LessThanOrEqual, GreaterThan, GreaterThanOrEqual, Has],
        }
    }

    fn test(&self, comparator: Comparator, value: &str) -> Option<Test> {
        if comparator == Comparator::Has && value == "*" {
            return Some(if self.kind.is_text() { Test::TextPresent } else { Test::Present });
        }
        let operator = match comparator {
            Comparator::Equal | Comparator::NotEqual | Comparator::Has => Operator::Equal,
            Comparator::LessThan => Operator::Less,
            Comparator::LessThanOrEqual => Operator::LessOrEqual,
            Comparator::GreaterThan => Operator::Greater,
            Comparator::GreaterThanOrEqual => Operator::GreaterOrEqual,
        };
        if self.kind.is_text() && value.contains('*') {
            let prefix = self.kind.text(value.strip_suffix('*')?)?;
            return (operator == Operator::Equal && !prefix.is_empty() && !prefix.contains('*')).then_some(Test::Prefix(prefix));
        }
        Some(Test::Compare(operator, self.kind.value(value)?))
    }
}

impl Kind {
    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Folded)
    }

    fn text(self, value: &str) -> Option<String> {
        let text = if matches!(self, Self::Folded) { fold(value) } else { value.to_owned() };
        is_usable(&text).then_some(text)
    }

    fn value(self, value: &str) -> Option<Value> {
        match self {
            Self::Text | Self::Folded => self.text(value).map(Value::Text),
            Self::Uuid { collection } => name::split(value).filter(|(of, _)| *of == collection).map(|(_, id)| Value::Uuid(id)),
            Self::AnyUuid { collections } => name::split(value).filter(|(of, _)| collections.contains(of)).map(|(_, id)| Value::Uuid(id)),
            Self::Bool => value.parse().ok().map(Value::Bool),
            Self::Int => value.parse().ok().map(Value::Int),
            Self::Time => DateTime::parse_from_rfc3339(value).ok().map(|time| Value::Time(time.with_timezone(&Utc))),
            Self::Enum(names) => names.iter().find(|(known, _)| *known == value).map(|(_, number)| Value::Small(*number)),
        }
    }

    /// Whether `value` is a time in form, of a day or hour that does not exist.
    fn is_off_the_calendar(self, value: &str) -> bool {
        let problem = DateTime::parse_from_rfc3339(value).err().map(|error| error.kind());
        matches!(self, Self::Time) && matches!(problem, Some(ParseErrorKind::OutOfRange | ParseErrorKind::Impossible))
    }

    /// What values look like, for a refusal.
    fn values(self) -> String {
        match self {
            Self::Text | Self::Folded => "a text, which may end with one * for the rest when compared by = or :".to_owned(),
            Self::Uuid { collection } => format!("a name such as {collection}/{{uuid}}"),
            Self::AnyUuid { collections } => {
                format!("a name such as {}", collections.iter().map(|collection| format!("{collection}/{{uuid}}")).collect::<Vec<_>>().join(" or "))
            }
            Self::Bool => "true or false".to_owned(),
            Self::Int => "a whole number".to_owned(),
            Self::Time => "an RFC 3339 time in quotes such as \"2024-05-01T10:00:00Z\"".to_owned(),
            Self::Enum(names) => format!("one of {}", names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
        }
    }
}
