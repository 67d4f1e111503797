//! A zip archive (APPNOTE 6.3) that is written from its beginning to its end, in pieces between which only this state
//! is kept.
//!
//! Guarantees: the same pieces make the same bytes. Each piece is compressed by itself and ends on a whole byte, so that
//! another process can go on. Sizes and checksums stand behind each file, since they are not known before; times are those
//! of no day. At most 4 GiB.

use std::io::Write;

use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use prost::Message;
use rapport_kit::Fault;

/// Sizes behind the file, name in UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
/// The version that knows deflation.
const VERSION: u16 = 20;
const DEFLATED: u16 = 8;
/// 1 January 1980, the first day that can be said.
const DAY: u16 = 1 << 5 | 1;
/// An empty last block of a deflated stream.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// How far an archive is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Archive {
    /// Bytes written.
    #[prost(uint64, tag = "1")]
    written: u64,
    /// Files that are complete.
    #[prost(message, repeated, tag = "2")]
    files: Vec<File>,
    /// The file that is being written.
    #[prost(message, optional, tag = "3")]
    open: Option<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
    /// Where it begins in the archive.
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(uint32, tag = "3")]
    checksum: u32,
    /// Bytes before and after compression.
    #[prost(uint64, tag = "4")]
    size: u64,
    #[prost(uint64, tag = "5")]
    packed: u64,
}

impl Archive {
    /// Begins a file.
    pub(super) fn open(&mut self, out: &mut Vec<u8>, name: &str) {
        self.open = Some(File { name: name.to_owned(), offset: self.written, ..File::default() });
        let mut head = Vec::new();
        head.extend(0x0403_4b50_u32.to_le_bytes());
        head.extend(words(&[VERSION, FLAGS, DEFLATED, 0, DAY]));
        // Checksum and sizes, which come behind the file.
        head.extend([0; 12]);
        head.extend(words(&[length(name), 0]));
        head.extend(name.as_bytes());
        self.put(out, &head);
    }

    /// Bytes of the open file before compression.
    pub(super) fn size(&self) -> u64 {
        self.open.as_ref().map_or(0, |file| file.size)
    }

    /// Appends to the open file.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (EXPORT_TOO_LARGE).
    pub(super) fn feed(&mut self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).and_then(|()| encoder.flush()).map_err(Fault::internal)?;
        // Taken before the encoder ends: it would mark its last block as that of the file.
        let packed = std::mem::take(encoder.get_mut());
        if let Some(file) = &mut self.open {
            let mut hasher = Hasher::new_with_initial(file.checksum);
            hasher.update(bytes);
            file.checksum = hasher.finalize();
            file.size += count(bytes);
            file.packed += count(&packed);
        }
        self.put(out, &packed);
        within(self.written)?;
        within(self.size()).map(|_| ())
    }

    /// Ends the open file.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (EXPORT_TOO_LARGE).
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(mut file) = self.open.take() else { return Ok(()) };
        file.packed += count(&LAST_BLOCK);
        let mut tail = LAST_BLOCK.to_vec();
        tail.extend(0x0807_4b50_u32.to_le_bytes());
        tail.extend(file.sums()?);
        self.put(out, &tail);
        self.files.push(file);
        Ok(())
    }

    /// Ends the archive with the list of its files.
    ///
    /// # Errors
    /// FAILED_PRECONDITION (EXPORT_TOO_LARGE).
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut directory = Vec::new();
        for file in &self.files {
            directory.extend(0x0201_4b50_u32.to_le_bytes());
            directory.extend(words(&[VERSION, VERSION, FLAGS, DEFLATED, 0, DAY]));
            directory.extend(file.sums()?);
            // No extra field, comment, disk, nor attributes.
            directory.extend(words(&[length(&file.name), 0, 0, 0, 0, 0, 0]));
            directory.extend(within(file.offset)?.to_le_bytes());
            directory.extend(file.name.as_bytes());
        }
        let files = u16::try_from(self.files.len()).map_err(Fault::internal)?;
        let mut end = Vec::new();
        end.extend(0x0605_4b50_u32.to_le_bytes());
        end.extend(words(&[0, 0, files, files]));
        end.extend(within(count(&directory))?.to_le_bytes());
        end.extend(within(self.written)?.to_le_bytes());
        end.extend(words(&[0]));
        self.put(out, &directory);
        self.put(out, &end);
        Ok(())
    }

    fn put(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend_from_slice(bytes);
        self.written += count(bytes);
    }
}

impl File {
    /// Checksum and sizes as both ends of the archive say them.
    fn sums(&self) -> Result<Vec<u8>, Fault> {
        Ok([self.checksum, within(self.packed)?, within(self.size)?].into_iter().flat_map(u32::to_le_bytes).collect())
    }
}

fn words(words: &[u16]) -> impl Iterator<Item = u8> + '_ {
    words.iter().flat_map(|word| word.to_le_bytes())
}

/// Names are our own and short.
fn length(name: &str) -> u16 {
    u16::try_from(name.len()).unwrap_or_default()
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The number, if the archive can say it.
fn within(number: u64) -> Result<u32, Fault> {
    let text = "Export fewer records or columns at once, or another format: a workbook may take at most 4 GiB.";
    u32::try_from(number).map_err(|_| Fault::precondition("EXPORT_TOO_LARGE", text))
}
