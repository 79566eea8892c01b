//! What lies in the mailbox: one record in each message.
//!
//! ```text
//!  0        8                 16                24       28      32
//!  +--------+-----------------+-----------------+--------+-------+
//!  | magic  | inode of down   | inode of up     | number | zero  |
//!  +--------+-----------------+-----------------+--------+-------+
//! ```
//!
//! The inodes say which queues are meant, so that a record that was left behind does not lead to
//! those of a later client with the same number.

use super::sys::Shape;

/// The size of a record.
pub(super) const RECORD_LEN: usize = 32;

/// The mailbox: as many messages as a process without privilege may have.
pub(super) const MAILBOX: Shape = Shape {
    messages: 10,
    message_len: 32,
};

const MAGIC: [u8; 8] = *b"waymque1";

/// A client that wants in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) down_inode: u64,
    pub(super) up_inode: u64,
    /// Names the pair.
    pub(super) number: u32,
}

impl Record {
    pub(super) fn encode(self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.down_inode.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.up_inode.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// `None` if somebody else has put something else into the mailbox.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_LEN] = bytes.try_into().ok()?;
        if !bytes.starts_with(&MAGIC) || bytes[28..] != [0; 4] {
            return None;
        }
        Some(Self {
            down_inode: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            up_inode: u64::from_le_bytes(bytes[16..24].try_into().ok()?),
            number: u32::from_le_bytes(bytes[24..28].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_these_bytes() {
        let record = Record {
            down_inode: 0x0807_0605_0403_0201,
            up_inode: 0x1817_1615_1413_1211,
            number: 0x2423_2221,
        };
        let bytes = record.encode();
        let expected = b"waymque1\x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\0\0\0\0";
        assert_eq!(&bytes, expected);
        assert_eq!(Record::decode(&bytes), Some(record));
        assert_eq!(u32::try_from(RECORD_LEN), Ok(MAILBOX.message_len));
        for garbage in [&bytes[..31], &[0; 32], b"", b"hello"] {
            assert_eq!(Record::decode(garbage), None);
        }
    }
}
