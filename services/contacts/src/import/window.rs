//! A stretch of a file, as much of it as a step needs.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE};
use rapport_kit::files::Files;
use rapport_kit::{Ctx, Fault};
use uuid::Uuid;

use super::text;

/// Bytes that are read at once: most steps need no more.
pub const AT_ONCE: usize = 256 * 1024;
/// Bytes that a window may grow to: the longest row, twice over in letters of two bytes, with what is read at once.
const MOST: usize = 4 * 1024 * 1024;

/// A stretch of a file from an offset on.
#[derive(Debug)]
pub struct Window {
    file: Uuid,
    offset: i64,
    bytes: Vec<u8>,
    /// Whether the file ends with it.
    pub at_end: bool,
}

impl Window {
    /// The file from `offset` on, as far as it is read at once.
    ///
    /// # Errors
    /// NOT_FOUND (RECORD_NOT_FOUND) if the file was deleted; what the database answers.
    pub async fn open(files: &Files, ctx: &Ctx, file: Uuid, offset: i64) -> Result<Self, Fault> {
        let mut window = Self { file, offset, bytes: Vec::new(), at_end: false };
        window.grow(files, ctx).await?;
        Ok(window)
    }

    /// Reads on; false if the file ends, or the window is as large as it may be.
    ///
    /// # Errors
    /// As [`Window::open`].
    pub async fn grow(&mut self, files: &Files, ctx: &Ctx) -> Result<bool, Fault> {
        if self.at_end || self.bytes.len() > MOST {
            return Ok(false);
        }
        let length = i64::try_from(self.bytes.len()).map_err(Fault::internal)?;
        let more = files.read_at(ctx, self.file, self.offset + length, AT_ONCE).await?;
        self.at_end = more.is_empty();
        self.bytes.extend(more);
        Ok(!self.at_end)
    }

    /// The same without its first `bytes`.
    #[must_use]
    pub fn after(mut self, bytes: usize) -> Self {
        self.offset += i64::try_from(self.bytes.drain(..bytes).len()).unwrap_or_default();
        self
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What rows are cut out of: the bytes as they are, or as UTF-8 where letters take two bytes.
    #[must_use]
    pub fn cuttable(&self, encoding: &'static Encoding) -> Cow<'_, [u8]> {
        if !text::is_utf16(encoding) {
            return (&self.bytes).into();
        }
        let mut whole = if self.at_end { self.bytes.len() } else { self.bytes.len() / 2 * 2 };
        // The first half of a letter of four bytes waits for the second.
        let high = |pair: &[u8]| matches!(if encoding == UTF_16BE { pair[0] } else { pair[1] }, 0xd8..=0xdb);
        if !self.at_end && whole >= 2 && high(&self.bytes[whole - 2..whole]) {
            whole -= 2;
        }
        let (text, _) = encoding.decode_without_bom_handling(&self.bytes[..whole]);
        text.into_owned().into_bytes().into()
    }
}

/// The encoding of what is cut out of a file in `encoding`.
#[must_use]
pub fn cut_encoding(encoding: &'static Encoding) -> &'static Encoding {
    if text::is_utf16(encoding) { UTF_8 } else { encoding }
}

/// How many bytes of the file the first `consumed` bytes of what was cut take.
#[must_use]
pub fn length(cuttable: &[u8], consumed: usize, encoding: &'static Encoding) -> usize {
    if !text::is_utf16(encoding) {
        return consumed;
    }
    String::from_utf8_lossy(&cuttable[..consumed]).encode_utf16().count() * 2
}
