//! Archives as programs write them, and as they should not be.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// A zip archive that is being written.
#[derive(Default)]
pub(crate) struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u64,
}

/// A file in an archive, as the archive is to tell of it.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) name: &'a str,
    pub(crate) packed: &'a [u8],
    /// Bytes when it is unpacked.
    pub(crate) size: u64,
    pub(crate) checksum: u32,
    /// 0 stored, 8 deflated.
    pub(crate) method: u16,
    pub(crate) is_encrypted: bool,
}

impl Zip {
    /// Adds a file.
    pub(crate) fn add(&mut self, name: &str, content: &[u8]) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory takes it");
        let packed = encoder.finish().expect("memory takes it");
        self.tell(&Told { name, packed: &packed, size: length(content), checksum: crc32fast::hash(content), method: 8, is_encrypted: false });
    }

    /// Adds a file and says this of it.
    pub(crate) fn tell(&mut self, told: &Told<'_>) {
        let offset = u32::try_from(self.bytes.len()).expect("four bytes").to_le_bytes();
        let flags = u16::from(told.is_encrypted).to_le_bytes();
        let name = u16::try_from(told.name.len()).expect("a short name").to_le_bytes();
        let is_large = told.size > u64::from(u32::MAX);
        let size = u32::try_from(told.size).unwrap_or(u32::MAX);
        let packed = u32::try_from(told.packed.len()).expect("four bytes");
        self.bytes.extend(b"PK\x03\x04\x2d\0");
        self.bytes.extend([flags, told.method.to_le_bytes(), [0, 0], [0, 0]].concat());
        self.bytes.extend([0; 12]);
        self.bytes.extend([name, [0, 0]].concat());
        self.bytes.extend(told.name.as_bytes());
        self.bytes.extend(told.packed);
        let directory = &mut self.directory;
        directory.extend(b"PK\x01\x02\x2d\0\x2d\0");
        directory.extend([flags, told.method.to_le_bytes(), [0, 0], [0, 0]].concat());
        directory.extend([told.checksum, packed, size].map(u32::to_le_bytes).concat());
        directory.extend([name, [if is_large { 12 } else { 0 }, 0], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]].concat());
        directory.extend(offset);
        directory.extend(told.name.as_bytes());
        if is_large {
            directory.extend(b"\x01\0\x08\0");
            directory.extend(told.size.to_le_bytes());
        }
        self.count += 1;
    }

    /// The archive; in the large form if it has so many files.
    pub(crate) fn end(mut self) -> Vec<u8> {
        let (offset, size) = (length(&self.bytes), length(&self.directory));
        let record = offset + size;
        self.bytes.append(&mut self.directory);
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        if count == u16::MAX {
            self.bytes.extend(b"PK\x06\x06");
            self.bytes.extend(44_u64.to_le_bytes());
            self.bytes.extend([0; 12]);
            self.bytes.extend([self.count, self.count, size, offset].map(u64::to_le_bytes).concat());
            self.bytes.extend(b"PK\x06\x07\0\0\0\0");
            self.bytes.extend(record.to_le_bytes());
            self.bytes.extend([1, 0, 0, 0]);
        }
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend([count, count].map(u16::to_le_bytes).concat());
        self.bytes.extend([size, offset].map(|number| u32::try_from(number).expect("four bytes").to_le_bytes()).concat());
        self.bytes.extend([0, 0]);
        self.bytes
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("a length")
}
