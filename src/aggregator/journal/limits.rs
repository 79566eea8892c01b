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
    /// 256 MiB in all, compacted from 8 MiB on, records of up to 8 MiB.
    fn default() -> Self {
        Self {
            len_max: 256 << 20,
            compact_len: 8 << 20,
            record_len_max: 8 << 20,
        }
    }
}

impl JournalLimits {
    /// How many bytes make it worth to write this snapshot's successor. Also a snapshot that leaves
    /// little room is not written again before half of that room is used.
    pub(super) fn compaction_wanted_at(&self, snapshot_len: u64) -> u64 {
        let before_last_record = self.len_max.saturating_sub(self.record_len_max.into());
        let half_of_room = self.len_max.saturating_sub(snapshot_len) / 2;
        let latest = before_last_record.max(snapshot_len.saturating_add(half_of_room));
        let wanted = self.compact_len.max(snapshot_len.saturating_mul(2));
        wanted.min(latest)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_not_written_again_for_nothing() {
        let limits = [
            JournalLimits::default(),
            JournalLimits {
                len_max: 1 << 20,
                ..JournalLimits::default()
            },
        ];
        for limits in limits {
            let lens = (0..limits.len_max).step_by(9973);
            for snapshot_len in lens.filter(|len| limits.len_max - len > 2) {
                let wanted = limits.compaction_wanted_at(snapshot_len);
                let room = limits.len_max - snapshot_len;
                assert!(wanted <= limits.len_max);
                assert!(
                    wanted >= limits.compact_len || wanted - snapshot_len >= room / 2,
                    "a snapshot of {snapshot_len} bytes is replaced at {wanted}"
                );
                assert!(wanted > snapshot_len);
            }
        }
    }
}
