//! The rows of a sheet while its import runs, in the database: a piece of them is one step.

use prost::Message;
use rapport_kit::Fault;
use rapport_kit::jobs::Run;

use crate::import::csv::WIDEST_ROW;

/// Rows that stand together.
#[derive(Clone, PartialEq, Message)]
pub struct Piece {
    /// In order.
    #[prost(message, repeated, tag = "1")]
    pub rows: Vec<SheetRow>,
}

/// A row of a sheet.
#[derive(Clone, PartialEq, Message)]
pub struct SheetRow {
    /// On which line of the sheet it stands, from 1.
    #[prost(int64, tag = "1")]
    pub line: i64,
    /// Texts of its cells from the first column on, to the last one that is not empty.
    #[prost(string, repeated, tag = "2")]
    pub cells: Vec<String>,
    /// Whether it takes more than a row may, and has no cells therefore.
    #[prost(bool, tag = "3")]
    pub is_too_long: bool,
    /// How many cells it has, if these are too many.
    #[prost(uint32, tag = "4")]
    pub width: u32,
}

impl SheetRow {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.cells.is_empty() && !self.is_too_long && self.width == 0
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.cells.iter().map(|cell| cell.len() + 2).sum::<usize>() + 16
    }

    /// Its cells.
    ///
    /// # Errors
    /// INVALID_ARGUMENT (ROW_TOO_LONG, ROW_TOO_WIDE).
    pub fn cells(self) -> Result<Vec<String>, Fault> {
        if self.width > 0 {
            return Err(Fault::argument("ROW_TOO_WIDE", format!("A row may have at most {WIDEST_ROW} cells.")).with("cells", self.width.to_string()));
        }
        if self.is_too_long {
            return Err(Fault::argument("ROW_TOO_LONG", "A row may take at most 1 MiB; shorten its texts."));
        }
        Ok(self.cells)
    }
}

/// Stores the piece of this number of the job; one that another process stored before it died is replaced.
///
/// # Errors
/// What the database answers.
pub async fn store(run: &Run, number: i32, piece: &Piece) -> Result<(), Fault> {
    sqlx::query!(
        "insert into import_pieces (tenant_id, job_id, number, content) values ($1, $2, $3, $4)
         on conflict (tenant_id, job_id, number) do update set content = excluded.content",
        run.ctx().tenant(),
        run.id(),
        number,
        piece.encode_to_vec()
    )
    .execute(&mut run.db().for_tenant(run.ctx()).await?)
    .await?;
    Ok(())
}

/// The piece of this number.
///
/// # Errors
/// What the database answers; INTERNAL if it is gone.
pub async fn read(run: &Run, number: i32) -> Result<Piece, Fault> {
    let content = sqlx::query_scalar!(
        "select content from import_pieces where tenant_id = $1 and job_id = $2 and number = $3",
        run.ctx().tenant(),
        run.id(),
        number
    )
    .fetch_optional(&mut run.db().for_tenant(run.ctx()).await?)
    .await?;
    let content = content.ok_or_else(|| Fault::internal("a piece of a sheet is gone"))?;
    Piece::decode(content.as_slice()).map_err(Fault::internal)
}
