//! The bytes of a segment. Pure.
//!
//! ```text
//! header   magic "WAYSJRNL" │ version u32 │ begins u32 │ number u64 │ crc u32 of all before it
//! record   len u32 │ crc u32 │ body: len bytes, an entry in postcard
//! record   …
//! ```
//!
//! Numbers are little-endian. `begins` is 1 if the first record is a snapshot. A record's checksum is
//! over the segment's number, the record's place in the file, its length and its body: what a disk
//! brings back from a file that it had before is no record here, whatever it was there.

use crc32fast::Hasher;

use super::damage::Why;

const MAGIC: &[u8; 8] = b"WAYSJRNL";
const VERSION: u32 = 1;
/// Bytes before the first record.
pub(super) const HEADER_LEN: usize = 28;
/// Bytes of a record before its body.
pub(super) const RECORD_HEAD_LEN: usize = 8;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Rises with each segment of a directory.
    pub(super) number: u64,
    pub(super) begins: Begins,
}

/// What a segment's records start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    WithNothing,
    WithSnapshot,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// It can't be read.
    Damaged(Why),
    /// It can be, and it is of a version that this build does not know.
    Version(u32),
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let begins: u32 = match self.begins {
            Begins::WithNothing => 0,
            Begins::WithSnapshot => 1,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(begins.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let short = HeaderFault::Damaged(Why::Torn);
        let wrong = HeaderFault::Damaged(Why::Header);
        let mut fields = Fields(bytes.get(..HEADER_LEN).ok_or(short)?);
        let magic: [u8; 8] = fields.next().ok_or(wrong)?;
        let version = fields.next().map(u32::from_le_bytes).ok_or(wrong)?;
        let begins = fields.next().map(u32::from_le_bytes).ok_or(wrong)?;
        let number = fields.next().map(u64::from_le_bytes).ok_or(wrong)?;
        let crc = fields.next().map(u32::from_le_bytes).ok_or(wrong)?;
        if magic != *MAGIC || crc != crc32fast::hash(&bytes[..HEADER_LEN - 4]) {
            return Err(wrong);
        }
        if version != VERSION {
            return Err(HeaderFault::Version(version));
        }
        let begins = match begins {
            0 => Begins::WithNothing,
            1 => Begins::WithSnapshot,
            _ => return Err(wrong),
        };
        Ok(Self { number, begins })
    }
}

/// The fields of fixed length at the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

/// The head of the record with this body at this place.
pub(super) fn record_head(
    number: u64,
    offset: u64,
    len: u32,
    body: &[u8],
) -> [u8; RECORD_HEAD_LEN] {
    let mut head = [0; RECORD_HEAD_LEN];
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..].copy_from_slice(&checksum(number, offset, len, body).to_le_bytes());
    head
}

/// The body of the record at this place, and where the next is. `None` at the end.
pub(super) fn record_at(
    number: u64,
    bytes: &[u8],
    offset: usize,
) -> Result<Option<(&[u8], usize)>, Why> {
    let rest = bytes.get(offset..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    // Where a file has grown and its bytes never came, a file system shows zeros.
    if rest.iter().all(|byte| *byte == 0) {
        return Err(Why::Torn);
    }
    let mut fields = Fields(rest);
    let len = fields.next().map(u32::from_le_bytes).ok_or(Why::Torn)?;
    let crc = fields.next().map(u32::from_le_bytes).ok_or(Why::Torn)?;
    let body_len = usize::try_from(len).map_err(|_| Why::Torn)?;
    let body = fields.0.get(..body_len).ok_or(Why::Torn)?;
    let place = u64::try_from(offset).map_err(|_| Why::Checksum)?;
    if crc != checksum(number, place, len, body) {
        return Err(Why::Checksum);
    }
    Ok(Some((body, offset + RECORD_HEAD_LEN + body_len)))
}

fn checksum(number: u64, offset: u64, len: u32, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}
