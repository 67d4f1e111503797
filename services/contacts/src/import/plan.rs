//! What deciding about rows has in common, whatever they become.

use std::collections::HashMap;
use std::ops::Range;

use rapport_contacts_api::v1 as pb;
use rapport_contacts_api::v1::ImportMode;
use rapport_contacts_api::v1::import_match::By;
use rapport_kit::filter::fold;
use rapport_kit::jobs::Run;
use rapport_kit::{Ctx, Fault, name};
use uuid::Uuid;

use super::mapping::{Filled, Mapping};
use super::matching::{self, Match};
use super::order::Order;
use super::owners::{OwnerTable, Told};
use super::remembered;
use super::row::{Content, Row};
use crate::account;
use crate::layout::{Column, Resource, Single, cell};
use crate::violations::Violations;

/// An import at the beginning of a step.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The step.
    pub run: &'a Run,
    /// What is to be done.
    pub order: &'a Order,
    /// What becomes of rows.
    pub rules: &'a pb::ImportRules,
    /// Which cells fill which fields.
    pub mapping: Mapping,
    /// What rows may do.
    pub mode: ImportMode,
    /// How records are told.
    pub way: Match<'a>,
    /// How accounts are told that cells name.
    pub link: Link<'a>,
    /// Whom the owners in the source are here.
    pub owners: OwnerTable<'a>,
    /// Whether a row goes on without the accounts that it names and there are not: it is compared and not loaded.
    pub lenient: bool,
    /// Which of the files that one job compares, from 0. Ids of one file are none of another.
    pub file: u32,
}

/// What is to become of a row.
#[derive(Debug)]
pub enum Outcome<W> {
    /// A record is made or changed.
    Write(Box<W>),
    /// Its record is as the row says.
    Keep,
    /// Nothing: the source has deleted it.
    Pass,
    /// Nothing, for this reason.
    Refuse(Fault),
}

/// A row and what is to become of it.
#[derive(Debug)]
pub struct Planned<W> {
    /// Line on which it begins.
    pub line: i64,
    /// Where it stands in the text of its batch.
    pub place: Range<usize>,
    /// What is to become of it.
    pub outcome: Outcome<W>,
    /// What it is about, to be remembered.
    pub keys: Vec<String>,
    /// The record that it was found to be about.
    pub record: Option<Uuid>,
    /// Whether it names an owner who is nobody here.
    pub unknown_owner: bool,
    /// What it calls accounts that there are not, of a row that goes on without them.
    pub dangling: Vec<String>,
}

/// Why a row is not decided about.
#[derive(Debug)]
pub enum Unread {
    /// The source has deleted it.
    Deleted,
    /// It cannot be read.
    Refused(Fault),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl<W> Planned<W> {
    fn of(row: &Row, outcome: Outcome<W>, keys: Vec<String>) -> Self {
        Self { line: row.line, place: row.place.clone(), outcome, keys, record: None, unknown_owner: false, dangling: Vec::new() }
    }

    /// A refused row.
    #[must_use]
    pub fn refused(row: &Row, fault: Fault) -> Self {
        Self::of(row, Outcome::Refuse(fault), Vec::new())
    }

    /// A row that nothing is decided about.
    #[must_use]
    pub fn unread(row: &Row, why: Unread) -> Self {
        match why {
            Unread::Deleted => Self::of(row, Outcome::Pass, Vec::new()),
            Unread::Refused(fault) => Self::refused(row, fault),
        }
    }
}

impl<'a> Plan<'a> {
    /// The plan that `order` makes.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (FIELD_INVALID); PERMISSION_DENIED (FIELD_READ_ONLY, FIELD_HIDDEN): rights may have changed since
    /// the import was asked for.
    pub fn of(run: &'a Run, order: &'a Order) -> Result<Self, Fault> {
        let rules = order.rules.as_ref().ok_or_else(|| Fault::internal("an import without rules"))?;
        let (mapping, way, link, owners) = checked(run.ctx(), rules, &order.header).map_err(|fault| fault.within("rules"))?;
        Ok(Self { run, order, rules, mapping, mode: rules.mode(), way, link, owners, lenient: false, file: 0 })
    }

    /// What a row fills; its cells are taken out of it. The owner is told by the table of owners.
    ///
    /// # Errors
    /// That the source has deleted the row; INVALID_ARGUMENT (ROW_UNEVEN) if it has more cells than the header, or fewer
    /// because of a quotation mark; what reading it said; PERMISSION_DENIED (FIELD_READ_ONLY) for a card with a field that
    /// the caller may not write.
    pub fn fill(&self, row: &mut Row) -> Result<Filled, Unread> {
        let mut filled = self.fill_all(row)?;
        let single = |column: &Column, of: Single| *column == Column::Single(of);
        if let Some(at) = filled.cells.iter().position(|(column, _)| single(column, Single::Deleted))
            && is_deleted(&filled.cells.swap_remove(at).1)?
        {
            return Err(Unread::Deleted);
        }
        if let Some(at) = filled.cells.iter().position(|(column, _)| single(column, Single::Owner)) {
            match self.owners.told(&filled.cells[at].1) {
                Told::Name(owner) => filled.cells[at].1 = owner,
                Told::Unknown => {
                    filled.cells.swap_remove(at);
                    filled.unknown_owner = true;
                }
            }
        }
        Ok(filled)
    }

    fn fill_all(&self, row: &mut Row) -> Result<Filled, Fault> {
        let cells = match std::mem::replace(&mut row.content, Ok(Content::Cells(Vec::new())))? {
            Content::Cells(cells) => cells,
            Content::Card(cells) => {
                require_text(cells.iter().map(|(_, text)| text.as_str()))?;
                return self.mapping.fill_card(self.run.ctx(), cells);
            }
        };
        require_text(cells.iter().map(String::as_str))?;
        let width = self.order.header.len();
        let beyond = cells.iter().skip(width).any(|cell| !cell.trim().is_empty());
        // Empty cells at the end may be left out. A cell that holds the ones that are missing was quoted by mistake.
        let missing = width.saturating_sub(cells.len());
        let delimiter = char::from(self.order.dialect().delimiter);
        let swallowed = missing > 0 && cells.iter().any(|cell| cell.matches(delimiter).count() >= missing);
        if beyond || swallowed {
            return Err(Fault::argument(
                "ROW_UNEVEN",
                format!("The row has {} cells and the header {width}; look at its quotation marks.", cells.len()),
            )
            .with("cells", cells.len().to_string())
            .with("columns", width.to_string()));
        }
        Ok(self.mapping.fill(&cells))
    }

    /// What is remembered of a row of this file.
    #[must_use]
    pub fn mark(&self, key: &str) -> String {
        if self.file == 0 { key.to_owned() } else { format!("{}/{key}", self.file) }
    }

    /// Who gets a new record whose row names `owner`.
    #[must_use]
    pub fn owner(&self, owner: &str) -> String {
        if owner.is_empty() { self.rules.owner.clone() } else { owner.to_owned() }
    }

    /// Whether rows without what they are matched by are refused.
    #[must_use]
    pub fn requires_keys(&self) -> bool {
        self.mode == ImportMode::Update
    }

    /// The accounts that `keys` stand for.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn linked(&self, mut keys: Vec<String>) -> Result<Linked, Fault> {
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(Linked { found: HashMap::new() });
        }
        let ctx = self.run.ctx();
        let scope = ctx.scope_of("contacts.account.read");
        let found = matching::find(&mut self.run.db().for_tenant(ctx).await?, ctx, &scope, Resource::Account, self.link.way, &keys).await?;
        Ok(Linked { found })
    }
}

/// Reads and checks `rules` for a file with this header, under the caller's rights.
///
/// # Errors
/// As [`Plan::of`].
pub fn checked<'a>(ctx: &Ctx, rules: &'a pb::ImportRules, header: &[String]) -> Result<(Mapping, Match<'a>, Link<'a>, OwnerTable<'a>), Fault> {
    let mapping = Mapping::parse(rules, header)?;
    let mut found = Violations::default();
    let way = Match::parse(&mut found, "match", mapping.resource, rules.r#match.as_ref());
    let link = Match::parse(&mut found, "account_match", Resource::Account, rules.account_match.as_ref());
    if matches!(link.by, By::Email | By::Phone) {
        found.add("account_match.by", "must be an external id, the number or the name of the account");
    }
    if matches!(rules.mode(), ImportMode::CreateOrUpdate | ImportMode::Update) && way.by == By::Unspecified {
        found.add("match", "is required, unless every row becomes a new record");
    }
    let owners = OwnerTable::parse(&mut found, rules);
    found.finish()?;
    mapping.require_writable(ctx)?;
    way.require_readable(ctx, mapping.resource)?;
    link.require_readable(ctx, Resource::Account)?;
    Ok((mapping, way, Link { way: link }, owners))
}

/// How cells say which account they mean.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    way: Match<'a>,
}

/// Accounts that cells mean.
#[derive(Debug)]
pub struct Linked {
    found: HashMap<String, Vec<Uuid>>,
}

impl<'a> Link<'a> {
    /// How it is told which account is meant.
    #[must_use]
    pub fn way(&self) -> Match<'a> {
        self.way
    }

    /// What cells may call the account by that has these marks.
    #[must_use]
    pub fn keys(&self, marks: &matching::Marks<'_>) -> Vec<String> {
        self.way.keys(marks, None)
    }

    /// What the account is looked for by; none for one that is named outright.
    #[must_use]
    pub fn key(&self, cell: &str) -> Option<String> {
        if account_id(cell).is_some() {
            return None;
        }
        Some(if self.way.by == By::DisplayName { fold(cell) } else { cell.to_owned() })
    }
}

impl Linked {
    /// Accounts that were found by what cells mean them by.
    #[must_use]
    pub fn of(found: HashMap<String, Vec<Uuid>>) -> Self {
        Self { found }
    }

    /// The account that a cell means.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (ACCOUNT_UNKNOWN, MATCH_AMBIGUOUS).
    pub fn one(&self, link: &Link<'_>, cell: &str) -> Result<Uuid, Fault> {
        let Some(key) = link.key(cell) else { return account_id(cell).ok_or_else(|| unlinked(cell)) };
        matching::one(&self.found, &[key])?.ok_or_else(|| unlinked(cell))
    }
}

fn account_id(cell: &str) -> Option<Uuid> {
    name::split(cell).filter(|(collection, _)| *collection == account::COLLECTION).map(|(_, id)| id)
}

/// The refusal of a name of an account that stands for none.
#[must_use]
pub fn unlinked(cell: &str) -> Fault {
    let called: String = cell.chars().take(100).collect();
    Fault::precondition("ACCOUNT_UNKNOWN", format!("There is no account that you may see that the row calls {called}; import the accounts first."))
        .with("account", called)
}

/// What rows were about, each key with the line of the first one.
pub type Keys = HashMap<String, i64>;

/// What rows before were about.
#[derive(Debug)]
pub struct Seen {
    lines: Keys,
}

impl Seen {
    /// What the rows of earlier steps were about, of `keys`: those that are remembered, and those that are being written.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn read(plan: &Plan<'_>, keys: Vec<String>, unwritten: &Keys) -> Result<Self, Fault> {
        let ctx = plan.run.ctx();
        let keys: Vec<String> = keys.into_iter().filter(|key| !key.contains('\0')).collect();
        if keys.is_empty() {
            return Ok(Self { lines: Keys::new() });
        }
        let mut lines = remembered::lines(&mut plan.run.db().for_tenant(ctx).await?, ctx, plan.run.id(), &keys).await?;
        for key in keys {
            if let Some(line) = unwritten.get(&key) {
                lines.entry(key).or_insert(*line);
            }
        }
        Ok(Self { lines })
    }

    /// Refuses a second row about one record.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (ROW_REPEATED) naming the line of the first one.
    pub fn require_new(&self, keys: &[String]) -> Result<(), Fault> {
        match keys.iter().find_map(|key| self.lines.get(key)) {
            None => Ok(()),
            Some(line) => {
                Err(Fault::argument("ROW_REPEATED", format!("Line {line} is about the same record; keep one of the two."))
                    .with("line", line.to_string()))
            }
        }
    }

    /// The row with what was decided; one that is not refused is remembered.
    pub fn settle<W>(&mut self, row: &Row, mut keys: Vec<String>, decided: Result<Outcome<W>, Fault>) -> Planned<W> {
        match decided {
            Err(fault) => Planned::refused(row, fault),
            Ok(outcome) => {
                keys.sort_unstable();
                keys.dedup();
                self.lines.extend(keys.iter().map(|key| (key.clone(), row.line)));
                Planned::of(row, outcome, keys)
            }
        }
    }
}

/// Whether the source says of a row that it has deleted it.
fn is_deleted(cell: &str) -> Result<bool, Fault> {
    match cell::read_flag(cell) {
        Some(says_so) => Ok(says_so),
        None if cell::read_time(cell).is_some() => Ok(true),
        None => Err(Fault::invalid("Deleted", "must be yes, no or a time")),
    }
}

/// Refuses a row that no text of the database can hold; it would take the others of its step with it.
fn require_text<'a>(mut cells: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    if cells.any(|text| text.contains('\0')) {
        return Err(Fault::argument("TEXT_INVALID", "Leave out the character NUL: no text can have it."));
    }
    Ok(())
}

/// The refusal of a legal entity that is not known here.
#[must_use]
pub fn entity_unknown() -> Fault {
    Fault::precondition("LEGAL_ENTITY_UNKNOWN", "There is no such legal entity, or it was created a moment ago; check it or import again.")
}

/// The refusal of a row about a record that is there, where rows become new ones.
#[must_use]
pub fn known() -> Fault {
    Fault::exists("RECORD_KNOWN", "There is a record already that the row is about; import it with a mode that updates.")
}

/// The refusal of a row about no record, where rows change those that there are.
#[must_use]
pub fn unknown() -> Fault {
    Fault::precondition("RECORD_UNKNOWN", "There is no record that you may see and that the row is about; import it with a mode that creates.")
}

/// The refusal of a row without what it is matched by.
#[must_use]
pub fn without_key() -> Fault {
    Fault::argument("MATCH_MISSING", "The row has nothing in the columns that it is matched by.")
}
