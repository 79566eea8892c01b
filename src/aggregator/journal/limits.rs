//! How much a journal may hold.

use std::io;

/// How large a journal may become. While it is compacted the old and the new segment are there at
/// once: so at most twice [`len_max`](JournalLimits::len_max) on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// The most bytes of a segment. What goes beyond is refused until the journal is compacted.
    pub len_max: u64,
    /// From this length on the journal asks to be compacted, unless its snapshot alone is more than
    /// half of it.
    pub compact_len: u64,
    /// The most bytes of one record. Snapshots are bounded by `len_max` alone.
    pub record_len_max: u32,
}

impl Default for JournalLimits {
    /// 64 MiB in all, compacted from 8 MiB on, records of up to 8 MiB.
    fn default() -> Self {
        Self {
            len_max: 64 << 20,
            compact_len: 8 << 20,
            record_len_max: 8 << 20,
        }
    }
}

impl JournalLimits {
    /// How many bytes make it worth to write this snapshot's successor.
    pub(super) fn compaction_wanted_at(&self, snapshot_len: u64) -> u64 {
        let last_record = u64::from(self.record_len_max);
        self.compact_len
            .max(snapshot_len.saturating_mul(2))
            .min(self.len_max.saturating_sub(last_record))
    }
}

/// A record that is longer than one may be: nothing has changed.
pub(super) fn record_too_long(max: u32) -> io::Error {
    let text = format!("the record is longer than {max} bytes, the most that the journal takes");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The journal is full.
pub(super) fn journal_full(got: u64, max: u64) -> io::Error {
    let text = format!("the journal would have {got} bytes, and may have {max}: compact it");
    io::Error::new(io::ErrorKind::QuotaExceeded, text)
}
