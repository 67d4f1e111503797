//! A row of a file, or a card, as it was cut out.

use std::ops::Range;

use rapport_kit::Fault;

use crate::layout::Cell;

/// A row of a file.
#[derive(Debug)]
pub struct Row {
    /// Line on which it begins, from 1.
    pub line: i64,
    /// Where it stands in the text that was read, without the line break after it.
    pub place: Range<usize>,
    /// What it says.
    pub content: Result<Content, Fault>,
}

/// What a row says.
#[derive(Debug)]
pub enum Content {
    /// Texts in the order of the file's columns.
    Cells(Vec<String>),
    /// Texts under the columns of the layout, as a card has them.
    Card(Vec<Cell>),
}

impl Row {
    /// Its cells, if it could be read and has any.
    #[must_use]
    pub fn cells(&self) -> Option<&Vec<String>> {
        match &self.content {
            Ok(Content::Cells(cells)) => Some(cells),
            Ok(Content::Card(_)) | Err(_) => None,
        }
    }
}
