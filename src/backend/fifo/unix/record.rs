//! What lies in the mailbox: records of one size, each written by one call.
//!
//! ```text
//!  0        8                 24                        56       64
//!  +--------+-----------------+-------------------------+--------+
//!  | magic  | id of the pair  | zero, not looked at     |checksum|
//!  +--------+-----------------+-------------------------+--------+
//! ```
//!
//! The kernel keeps writes of up to `PIPE_BUF` bytes whole: at least 512 on every system. A record
//! has 64, so that one page holds 64 of them: a backlog as sockets have it.
//!
//! Anything else in there was written by somebody of the same user, by mistake or not. A reader
//! finds the next record behind it, whatever its length, by magic and checksum. The checksum finds
//! accidents; who writes a record on purpose has no need to forge one.

/// The size of a record.
pub(super) const RECORD_LEN: usize = 64;

const MAGIC: [u8; 8] = *b"wayfifo1";
const ID_AT: usize = MAGIC.len();
const CHECKSUM_AT: usize = RECORD_LEN - size_of::<u64>();

/// How many bytes are read at once. At least two records, so that there is always room.
const BUFFER_LEN: usize = 4096;

/// Names the pair that a client has created. Nobody can guess it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PairId(pub(super) [u8; 16]);

impl PairId {
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// The record that announces a pair.
pub(super) fn encode(id: PairId) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    record[..ID_AT].copy_from_slice(&MAGIC);
    record[ID_AT..ID_AT + id.0.len()].copy_from_slice(&id.0);
    let sum = checksum(&record[..CHECKSUM_AT]);
    record[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
    record
}

fn decode(record: &[u8]) -> Option<PairId> {
    let sum = checksum(record.get(..CHECKSUM_AT)?);
    if !record.starts_with(&MAGIC) || record.get(CHECKSUM_AT..)? != sum.to_le_bytes() {
        return None;
    }
    let id = record.get(ID_AT..ID_AT + size_of::<PairId>())?;
    Some(PairId(id.try_into().ok()?))
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What was read from the mailbox and not yet looked at.
#[derive(Debug)]
pub(super) struct Records {
    buffer: Box<[u8; BUFFER_LEN]>,
    /// What is left lies from here …
    start: usize,
    /// … to here.
    end: usize,
    /// Bytes that were no record, since [`take_skipped`](Records::take_skipped).
    skipped: usize,
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            buffer: Box::new([0; BUFFER_LEN]),
            start: 0,
            end: 0,
            skipped: 0,
        }
    }

    /// The next record. `None` when the rest is too short for one.
    pub(super) fn next(&mut self) -> Option<PairId> {
        while self.end - self.start >= RECORD_LEN {
            let record = &self.buffer[self.start..self.start + RECORD_LEN];
            if let Some(id) = decode(record) {
                self.start += RECORD_LEN;
                return Some(id);
            }
            self.start += 1;
            self.skipped += 1;
        }
        self.skip_what_begins_no_record();
        None
    }

    /// Forgets the beginning of the rest up to where a record may begin, so that garbage does not
    /// wait for more.
    fn skip_what_begins_no_record(&mut self) {
        while self.start < self.end {
            let rest = &self.buffer[self.start..self.end];
            let len = rest.len().min(MAGIC.len());
            if rest[..len] == MAGIC[..len] {
                return;
            }
            self.start += 1;
            self.skipped += 1;
        }
    }

    /// How many bytes were skipped since this was last asked.
    pub(super) fn take_skipped(&mut self) -> usize {
        std::mem::take(&mut self.skipped)
    }

    /// Where to read to, once [`next`](Records::next) gives `None`. Never empty then.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read into the room.
    pub(super) fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(BUFFER_LEN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8], piece_len: usize) -> (Vec<PairId>, usize) {
        let mut records = Records::new();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece_len) {
            let mut piece = piece;
            while !piece.is_empty() {
                let room = records.room();
                let len = room.len().min(piece.len());
                assert_ne!(len, 0, "there is always room");
                room[..len].copy_from_slice(&piece[..len]);
                records.filled(len);
                piece = &piece[len..];
                while let Some(id) = records.next() {
                    found.push(id);
                }
            }
        }
        (found, records.take_skipped())
    }

    #[test]
    fn a_record_is_these_bytes() {
        let record = encode(PairId([0xab; 16]));
        assert!(record.len() <= 512, "POSIX promises no larger atomic write");
        let mut expected = b"wayfifo1".to_vec();
        expected.extend([0xab; 16]);
        expected.extend([0; 32]);
        expected.extend(0xf9bb_7598_bc23_6191_u64.to_le_bytes());
        assert_eq!(record, expected[..]);
        assert_eq!(decode(&record), Some(PairId([0xab; 16])));
    }

    #[test]
    fn a_record_with_any_bit_changed_is_none() {
        let record = encode(PairId([7; 16]));
        for bit in 0..RECORD_LEN * 8 {
            let mut changed = record;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed), None, "bit {bit}");
        }
    }

    /// Garbage, also such that looks like the beginning of a record.
    fn garbage() -> impl Strategy<Value = Vec<u8>> {
        let beginning = (0..RECORD_LEN).prop_map(|len| encode(PairId([9; 16]))[..len].to_vec());
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            beginning,
            Just(MAGIC.repeat(20)),
        ]
    }

    proptest! {
        #[test]
        fn records_are_found_whatever_lies_between_them(
            parts in proptest::collection::vec((garbage(), any::<[u8; 16]>()), 1..20),
            piece_len in 1_usize..5000,
        ) {
            let mut bytes = Vec::new();
            for (garbage, id) in &parts {
                bytes.extend_from_slice(garbage);
                bytes.extend_from_slice(&encode(PairId(*id)));
            }
            let (found, skipped) = read_all(&bytes, piece_len);
            let ids: Vec<PairId> = parts.iter().map(|(_, id)| PairId(*id)).collect();
            prop_assert_eq!(found, ids);
            prop_assert_eq!(skipped, parts.iter().map(|(garbage, _)| garbage.len()).sum::<usize>());
        }
    }
}
