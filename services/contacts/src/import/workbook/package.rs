//! The parts of a workbook: files in a zip archive (APPNOTE 6.3), of which the directory and what is wanted are read.
//!
//! Guarantees: what the directory says is bounded before anything is unpacked, and no part is unpacked further than it
//! says; a part whose length or checksum is another one is refused.
//!
//! It is read here and by no library: a file stands in the database in chunks, of which a few are in memory at a time,
//! and libraries want the whole of it to move about in.

use std::collections::HashMap;

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress, Status};
use rapport_kit::files::Files;
use rapport_kit::{Ctx, Fault};
use uuid::Uuid;

/// Bytes of a workbook.
const LARGEST: i64 = 32 * 1024 * 1024;
/// Parts of a workbook.
const PARTS: u64 = 10_000;
/// Bytes of the list of parts.
const DIRECTORY: u64 = 4 * 1024 * 1024;
/// Bytes of a small part that is read as a whole.
pub const SMALL: u64 = 4 * 1024 * 1024;
/// Bytes of a sheet.
pub const SHEET: u64 = 512 * 1024 * 1024;
/// What a part may be larger by than it is packed, beyond [`FREE`] bytes. Sheets reach 50.
const RATIO: u64 = 200;
const FREE: u64 = 16 * 1024 * 1024;
/// Bytes that are unpacked at once.
const AT_ONCE: usize = 256 * 1024;
/// Bytes of the record at the end of the archive, and of the longest remark behind it.
const END: usize = 22;
const REMARK: usize = 65_535;

/// A workbook's parts.
#[derive(Debug)]
pub struct Package<'a> {
    files: &'a Files,
    ctx: &'a Ctx,
    file: Uuid,
    parts: HashMap<String, Part>,
}

/// Where a part stands and what the directory says of it.
#[derive(Debug, Clone, Copy)]
struct Part {
    offset: u64,
    packed: u64,
    size: u64,
    checksum: u32,
    method: u16,
    is_encrypted: bool,
}

impl<'a> Package<'a> {
    /// The parts of a file of `size` bytes.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE, WORKBOOK_TOO_LARGE); NOT_FOUND (RECORD_NOT_FOUND); what the database answers.
    pub async fn open(files: &'a Files, ctx: &'a Ctx, file: Uuid, size: i64) -> Result<Self, Fault> {
        if size > LARGEST {
            return Err(too_large("it takes more than 32 MiB"));
        }
        let size = u64::try_from(size).map_err(Fault::internal)?;
        let mut package = Self { files, ctx, file, parts: HashMap::new() };
        let behind = u64::try_from(END + REMARK + 20).map_err(Fault::internal)?;
        let from = size.saturating_sub(behind);
        let tail = package.read(from, size - from).await?;
        let (count, length, offset) = package.directory(&tail).await?;
        if count > PARTS || length > DIRECTORY {
            return Err(too_large("it has more than 10,000 parts"));
        }
        let directory = package.read(offset, length).await?;
        package.parts = parts(&directory, count).ok_or_else(damaged)?;
        Ok(package)
    }

    /// How many parts there are, and the bytes and the place of their list.
    async fn directory(&self, tail: &[u8]) -> Result<(u64, u64, u64), Fault> {
        let end = find_end(tail).ok_or_else(damaged)?;
        let (count, length, offset) = (number(tail, end + 10, 2), number(tail, end + 12, 4), number(tail, end + 16, 4));
        let (Some(count), Some(length), Some(offset)) = (count, length, offset) else { return Err(damaged()) };
        if count != 0xffff && length != 0xffff_ffff && offset != 0xffff_ffff {
            return Ok((count, length, offset));
        }
        // The large form: a record before this one says where the true one is.
        let large = end.checked_sub(20).filter(|at| tail[*at..].starts_with(b"PK\x06\x07")).and_then(|at| number(tail, at + 8, 8));
        let record = self.read(large.ok_or_else(damaged)?, 56).await?;
        let told = (number(&record, 32, 8), number(&record, 40, 8), number(&record, 48, 8));
        let (true, (Some(count), Some(length), Some(offset))) = (record.starts_with(b"PK\x06\x06"), told) else { return Err(damaged()) };
        Ok((count, length, offset))
    }

    /// Whether there is such a part.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parts.contains_key(&key(name))
    }

    /// A small part as a whole; none if there is no such part.
    ///
    /// # Errors
    /// As [`Package::open`].
    pub async fn small(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut stream = self.stream(name, SMALL).await?;
        let mut whole = Vec::new();
        while let Some(bytes) = stream.next().await? {
            whole.extend(bytes);
        }
        Ok(Some(whole))
    }

    /// A part from its beginning, of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Package::open`].
    pub async fn stream(&self, name: &str, most: u64) -> Result<Stream<'_>, Fault> {
        let part = *self.parts.get(&key(name)).ok_or_else(damaged)?;
        if part.is_encrypted {
            return Err(super::super::order::unreadable("Save the workbook without a password."));
        }
        if !matches!(part.method, 0 | 8) {
            return Err(damaged());
        }
        if part.size > most || part.size > FREE && part.size / RATIO > part.packed {
            return Err(too_large("a part of it would be too large when it is unpacked"));
        }
        let head = self.read(part.offset, 30).await?;
        let (Some(name), Some(extra)) = (number(&head, 26, 2), number(&head, 28, 2)) else { return Err(damaged()) };
        if !head.starts_with(b"PK\x03\x04") {
            return Err(damaged());
        }
        let inflate = (part.method == 8).then(|| Decompress::new(false));
        let at = part.offset + 30 + name + extra;
        Ok(Stream {
            package: self,
            part,
            at,
            left: part.packed,
            packed: Vec::new(),
            used: 0,
            inflate,
            checksum: Hasher::new(),
            met: 0,
            is_over: false,
        })
    }

    /// This many bytes of the file.
    async fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Fault> {
        let length = usize::try_from(length).map_err(Fault::internal)?;
        let mut bytes = Vec::with_capacity(length.min(2 * 1024 * 1024));
        while bytes.len() < length {
            let at = i64::try_from(offset).ok().and_then(|offset| offset.checked_add(i64::try_from(bytes.len()).ok()?)).ok_or_else(damaged)?;
            let more = self.files.read_at(self.ctx, self.file, at, length - bytes.len()).await?;
            if more.is_empty() {
                return Err(damaged());
            }
            bytes.extend(more);
        }
        Ok(bytes)
    }
}

/// A part that is being unpacked.
pub struct Stream<'a> {
    package: &'a Package<'a>,
    part: Part,
    /// Where packed bytes come next, and how many of them.
    at: u64,
    left: u64,
    packed: Vec<u8>,
    used: usize,
    /// None for a part that is not compressed.
    inflate: Option<Decompress>,
    checksum: Hasher,
    /// Bytes that came out.
    met: u64,
    is_over: bool,
}

impl Stream<'_> {
    /// Bytes of the whole part, as the directory says.
    #[must_use]
    pub fn size(&self) -> i64 {
        i64::try_from(self.part.size).unwrap_or(i64::MAX)
    }

    /// The next bytes, at most 256 KiB; none at the end.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (FILE_UNREADABLE) for what is not as the directory says; NOT_FOUND (RECORD_NOT_FOUND); what
    /// the database answers.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let mut out = Vec::with_capacity(AT_ONCE);
        while !self.is_over && out.len() < AT_ONCE {
            if self.used == self.packed.len() && self.left > 0 {
                self.packed = self.package.read(self.at, self.left.min(1024 * 1024)).await?;
                self.used = 0;
                let count = u64::try_from(self.packed.len()).map_err(Fault::internal)?;
                (self.at, self.left) = (self.at + count, self.left - count);
            }
            self.unpack(&mut out)?;
        }
        // Little that was read can take long to unpack; others on this thread go on meanwhile.
        tokio::task::yield_now().await;
        self.met += u64::try_from(out.len()).map_err(Fault::internal)?;
        self.checksum.update(&out);
        if self.met > self.part.size {
            return Err(damaged());
        }
        if self.is_over && (self.met != self.part.size || self.checksum.clone().finalize() != self.part.checksum) {
            return Err(damaged());
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn unpack(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let input = &self.packed[self.used..];
        let Some(inflate) = &mut self.inflate else {
            let count = input.len().min(AT_ONCE - out.len());
            out.extend_from_slice(&input[..count]);
            self.used += count;
            self.is_over = self.left == 0 && self.used == self.packed.len();
            return Ok(());
        };
        let (taken, given) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress_vec(input, out, FlushDecompress::None).map_err(|_| damaged())?;
        let (taken, given) = (inflate.total_in() - taken, inflate.total_out() - given);
        self.used += usize::try_from(taken).map_err(Fault::internal)?;
        self.is_over = status == Status::StreamEnd;
        // It neither takes what there is nor gives anything any more: it is cut off.
        if !self.is_over && taken == 0 && given == 0 && (self.left == 0 || !input.is_empty()) {
            return Err(damaged());
        }
        Ok(())
    }
}

/// Where the last record of an archive begins.
fn find_end(tail: &[u8]) -> Option<usize> {
    let is_end = |at: &usize| {
        let remark = number(tail, at + 20, 2).and_then(|length| usize::try_from(length).ok());
        tail[*at..].starts_with(b"PK\x05\x06") && remark.is_some_and(|length| at + END + length == tail.len())
    };
    (0..=tail.len().checked_sub(END)?).rev().find(is_end)
}

/// The parts that a directory lists; none if it does not hold so many.
fn parts(directory: &[u8], count: u64) -> Option<HashMap<String, Part>> {
    let mut parts = HashMap::new();
    let mut at = 0;
    for _ in 0..count {
        let entry = directory.get(at..).filter(|entry| entry.starts_with(b"PK\x01\x02"))?;
        let length = |at: usize| number(entry, at, 2).and_then(|length| usize::try_from(length).ok());
        let (name, extra, remark) = (length(28)?, length(30)?, length(32)?);
        let mut part = Part {
            offset: number(entry, 42, 4)?,
            packed: number(entry, 20, 4)?,
            size: number(entry, 24, 4)?,
            checksum: u32::try_from(number(entry, 16, 4)?).ok()?,
            method: u16::try_from(number(entry, 10, 2)?).ok()?,
            is_encrypted: number(entry, 8, 2)? & 1 == 1,
        };
        widen(&mut part, entry.get(46 + name..46 + name + extra)?);
        let name = String::from_utf8_lossy(entry.get(46..46 + name)?);
        parts.entry(key(&name)).or_insert(part);
        at += 46 + length(28)? + extra + remark;
    }
    Some(parts)
}

/// Takes over what stands in the large form: the numbers that do not fit, in this order.
fn widen(part: &mut Part, mut extra: &[u8]) {
    while let (Some(id), Some(length)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let Some(field) = usize::try_from(length).ok().and_then(|length| extra.get(4..4 + length)) else { return };
        if id == 1 {
            let mut at = 0;
            for number_of in [&mut part.size, &mut part.packed, &mut part.offset] {
                if let (0xffff_ffff, Some(large)) = (*number_of, number(field, at, 8)) {
                    *number_of = large;
                    at += 8;
                }
            }
            return;
        }
        extra = &extra[4 + field.len()..];
    }
}

/// A number of so many bytes, the least one first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// What a part is called, without case.
fn key(name: &str) -> String {
    name.replace('\\', "/").trim_start_matches('/').to_lowercase()
}

/// The refusal of what is no sound workbook.
#[must_use]
pub fn damaged() -> Fault {
    super::super::order::unreadable("It is no workbook, or it is damaged or cut off; open it in its program and save it anew as XLSX.")
}

/// The refusal of a workbook that would take too much.
#[must_use]
pub fn too_large(why: &str) -> Fault {
    Fault::precondition("WORKBOOK_TOO_LARGE", format!("Save the sheet as CSV, or import it in parts: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_ends_where_its_last_record_fits() {
        let record = |remark: &[u8]| [b"PK\x05\x06".as_slice(), &[0; 16], &[u8::try_from(remark.len()).unwrap(), 0], remark].concat();
        assert_eq!(find_end(&record(b"")), Some(0));
        assert_eq!(find_end(&[b"abc".as_slice(), &record(b"remark")].concat()), Some(3));
        assert_eq!(find_end(&[record(b"").as_slice(), b"cut"].concat()), None);
        assert_eq!(find_end(b"PK"), None);
    }

    #[test]
    fn a_directory_that_promises_more_than_it_holds_is_none() {
        let entry = [b"PK\x01\x02".as_slice(), &[0; 24], &[1, 0, 0, 0, 0, 0], &[0; 12], b"a"].concat();
        assert_eq!(parts(&entry, 1).map(|parts| parts.len()), Some(1));
        assert!(parts(&entry, 2).is_none());
        assert!(parts(&entry[..entry.len() - 1], 1).is_none());
    }
}
