//! How far an export is, and the next piece of it.
//!
//! Guarantees: from the same place over the same records the same bytes come, so that a piece whose storing failed can be
//! made again, by any process.

use std::collections::BTreeSet;

use prost::Message;
use rapport_kit::{Ctx, Db, Fault};
use uuid::Uuid;

use super::plan::{Format, Plan};
use super::records::{self, Fetched, Page};
use super::workbook::Workbook;
use super::{Row, csv, json, vcard};
use crate::layout::Column;
use crate::limits;

/// Where an export stands; the empty one stands before its beginning. Stored between the steps of a job.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Progress {
    /// The last record that was read; empty at the beginning of a pass.
    #[prost(bytes = "vec", tag = "1")]
    after: Vec<u8>,
    /// Whether the columns are known: the first pass over the records, if there has to be one, is done.
    #[prost(bool, tag = "2")]
    is_surveyed: bool,
    /// Headers of the columns; while they are looked for, those found so far.
    #[prost(string, repeated, tag = "3")]
    headers: Vec<String>,
    /// Whether anything was written.
    #[prost(bool, tag = "4")]
    is_begun: bool,
    /// Whether nothing is left to be done.
    #[prost(bool, tag = "5")]
    pub(super) is_done: bool,
    /// How far the archive is, of a workbook.
    #[prost(message, optional, tag = "6")]
    workbook: Option<Workbook>,
}

/// What comes next in the file.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Records in it.
    pub(super) records: usize,
}

/// Makes the next piece, which may be empty, and moves `progress` behind it.
///
/// # Errors
/// FAILED_PRECONDITION (EXPORT_TOO_WIDE, EXPORT_TOO_LARGE); those of reading; what the database answers.
pub(super) async fn advance(db: &Db, ctx: &Ctx, plan: &Plan, progress: &mut Progress) -> Result<Piece, Fault> {
    let fetched = records::fetch(db, ctx, plan, progress.after()?).await?;
    let page = records::shown(db, ctx, plan, fetched).await?;
    progress.take(plan, &page)
}

impl Progress {
    /// Makes the next piece of the page that was read at its place.
    ///
    /// # Errors
    /// As [`advance`].
    pub(super) fn take(&mut self, plan: &Plan, page: &Page) -> Result<Piece, Fault> {
        if !self.is_surveyed {
            if plan.has_columns_of_records() {
                self.survey(plan, page)?;
                return Ok(Piece::default());
            }
            self.headers = plan.columns.iter().map(ToString::to_string).collect();
            self.is_surveyed = true;
        }
        let bytes = self.write(plan, page)?;
        Ok(Piece { bytes, records: page.records.len() })
    }

    /// Where the page stands that comes behind the next to be taken, which was `fetched`; none if that is the last.
    pub(super) fn behind(&self, plan: &Plan, fetched: &Fetched) -> Option<Option<Uuid>> {
        let is_followed_by_another_pass = !self.is_surveyed && plan.has_columns_of_records();
        (fetched.next.is_some() || is_followed_by_another_pass).then_some(fetched.next)
    }

    fn after(&self) -> Result<Option<Uuid>, Fault> {
        if self.after.is_empty() { Ok(None) } else { Uuid::from_slice(&self.after).map(Some).map_err(Fault::internal) }
    }

    /// Goes on behind the page; at the last one this pass is over, which is answered.
    fn pass(&mut self, page: &Page) -> bool {
        self.after = page.next.map(|last| last.as_bytes().to_vec()).unwrap_or_default();
        page.next.is_none()
    }

    /// Notes the columns in which records of the page have something.
    fn survey(&mut self, plan: &Plan, page: &Page) -> Result<(), Fault> {
        let mut columns: BTreeSet<Column> = self.columns(plan).into_iter().collect();
        page.records.iter().for_each(|record| record.survey(&mut columns));
        if columns.len() > limits::EXPORT_COLUMNS {
            let text = format!("Name the columns to export: the records would need more than {}.", limits::EXPORT_COLUMNS);
            return Err(Fault::precondition("EXPORT_TOO_WIDE", text).with("most_columns", limits::EXPORT_COLUMNS.to_string()));
        }
        if self.pass(page) {
            self.is_surveyed = true;
            // A file without records has a header all the same.
            if columns.is_empty() {
                columns.extend(plan.resource.singles());
            }
        }
        self.headers = columns.iter().map(ToString::to_string).collect();
        Ok(())
    }

    /// The columns known so far.
    fn columns(&self, plan: &Plan) -> Vec<Column> {
        self.headers.iter().filter_map(|header| Column::parse(plan.resource, header)).collect()
    }

    fn write(&mut self, plan: &Plan, page: &Page) -> Result<Vec<u8>, Fault> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        self.is_done = self.pass(page);
        match plan.format {
            Format::Csv { byte_order_mark } => {
                let columns = self.columns(plan);
                csv::write(is_first.then_some((&self.headers, byte_order_mark)), rows(&columns, page))
            }
            Format::Xlsx => {
                let columns = self.columns(plan);
                let workbook = self.workbook.get_or_insert_default();
                let mut bytes = Vec::new();
                workbook.write(&mut bytes, &self.headers, rows(&columns, page))?;
                if self.is_done {
                    workbook.end(&mut bytes)?;
                }
                Ok(bytes)
            }
            Format::Vcard3 => vcard::write(vcard::Version::V3_0, page),
            Format::Vcard4 => vcard::write(vcard::Version::V4_0, page),
            Format::JsonLines => json::write(page),
        }
    }
}

/// The records of the page as rows with a text for each column, made one by one: a row may be wide.
fn rows<'a>(columns: &'a [Column], page: &'a Page) -> impl Iterator<Item = Row<'a>> + 'a {
    page.records.iter().map(move |record| columns.iter().map(|column| record.cell(column)).collect())
}
