//! The journal over disks that fail, and over bytes that are not what was written.

pub(crate) mod disk;

use std::io;

use proptest::prelude::*;

use super::*;
use disk::TestDisk;

/// Its number, counted from 0, and something to give it a length.
type Record = (u32, Vec<u8>);
/// A snapshot is how many records there were.
type TestJournal = Journal<Record, u32>;

const SMALL: JournalLimits = JournalLimits {
    len_max: 4096,
    compact_len: 1024,
    record_len_max: 512,
};

fn open(disk: &TestDisk) -> (TestJournal, Replay<Record, u32>) {
    Journal::open_on(Box::new(disk.clone()), SMALL).unwrap()
}

/// How many records a replay is about. They must be all up to there.
fn count(replay: &Replay<Record, u32>) -> u32 {
    let mut count = replay.snapshot.unwrap_or_default();
    for (number, _) in &replay.records {
        assert_eq!(*number, count, "one is missing, or there twice");
        count += 1;
    }
    count
}

/// A disk with a snapshot of two records and three more.
fn sample() -> (TestDisk, String) {
    let disk = TestDisk::default();
    let (mut journal, _) = open(&disk);
    journal.compact(&2).unwrap();
    for number in 2..5 {
        journal.append(&(number, vec![7; 9])).unwrap();
    }
    journal.sync().unwrap();
    (disk, segment_name(2))
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Sync,
    Compact,
    FailIn(u32),
    Room(usize),
    Heal,
    Restart,
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..200_usize).prop_map(Step::Append),
        4 => Just(Step::Sync),
        2 => Just(Step::Compact),
        2 => (0..8_u32).prop_map(Step::FailIn),
        1 => (0..600_usize).prop_map(Step::Room),
        1 => Just(Step::Heal),
        1 => Just(Step::Restart),
        2 => any::<u64>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// An owner that keeps what was refused in memory, as the agent does.
struct Owner {
    disk: TestDisk,
    journal: TestJournal,
    /// All records that there ever were.
    count: u32,
    /// Those that must survive.
    synced: u32,
}

impl Owner {
    fn new() -> Self {
        let disk = TestDisk::default();
        let journal = open(&disk).0;
        Self {
            disk,
            journal,
            count: 0,
            synced: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(len) => {
                let appended = self.journal.append(&(self.count, vec![3; *len]));
                assert_eq!(appended.is_err(), self.journal.stopped().is_some());
                self.count += 1;
            }
            Step::Sync => {
                if self.journal.sync().is_ok() {
                    self.synced = self.count;
                }
            }
            Step::Compact => {
                if self.journal.compact(&self.count).is_ok() {
                    assert_eq!(self.journal.stopped(), None);
                    self.synced = self.count;
                }
            }
            Step::FailIn(operations) => self.disk.fail_in(*operations),
            Step::Room(room) => self.disk.set_room(Some(*room)),
            Step::Heal => self.disk.heal(),
            Step::Restart => {
                self.disk.end_process();
                self.reopen();
            }
            Step::Crash(seed) => {
                self.crash(*seed);
            }
        }
        assert!(self.journal.len() <= SMALL.len_max);
    }

    fn crash(&mut self, mut seed: u64) {
        self.disk.crash(|below| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(seed >> 33).unwrap() % below
        });
        self.reopen();
    }

    fn reopen(&mut self) {
        let opened = loop {
            // A disk that fails once can be read the next time.
            if let Ok(opened) = Journal::open_on(Box::new(self.disk.clone()), SMALL) {
                break opened;
            }
        };
        let (journal, replay) = opened;
        self.journal = journal;
        let found = count(&replay);
        assert!(
            self.synced <= found,
            "{} were synced, {found} are there",
            self.synced
        );
        assert!(found <= self.count, "{found} are more than there ever were");
        self.count = found;
        if self.journal.stopped().is_none() {
            self.synced = found;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_survives_whatever_fails(steps in steps(), seed: u64) {
        let mut owner = Owner::new();
        for step in &steps {
            owner.take(step);
        }
        // In the end all is well again, and nothing of what the owner has is lost.
        owner.disk.heal();
        owner.journal.compact(&owner.count).unwrap();
        owner.take(&Step::Append(5));
        owner.take(&Step::Sync);
        let count = owner.count;
        owner.crash(seed);
        prop_assert_eq!(owner.count, count);
        let names = owner.disk.names().unwrap().into_iter();
        let segments = names.filter(|name| name != DAMAGED).count();
        prop_assert_eq!(segments, 1, "old segments are left");
    }
}

#[test]
fn one_changed_byte_loses_only_what_comes_from_there_on() {
    let (disk, name) = sample();
    let bytes = disk.bytes(&name);
    let len = wide(bytes.len());
    for place in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[place] ^= change;
            let disk = TestDisk::default();
            disk.put(&name, &changed);
            let (_, replay) = match Journal::<Record, u32>::open_on(Box::new(disk), SMALL) {
                Ok(opened) => opened,
                Err(error) => panic!("byte {place}: {error}"),
            };
            let damage = replay.lost.as_ref().unwrap();
            assert!(damage.offset <= wide(place), "{damage}");
            assert_eq!(damage.offset + damage.len, len, "{damage}");
            if replay.snapshot.is_some() {
                // Those before are all there.
                let sound = TestDisk::default();
                let cut = usize::try_from(damage.offset).unwrap();
                sound.put(&name, &bytes[..cut]);
                assert_eq!(count(&replay), count(&open(&sound).1));
            } else {
                assert!(damage.offset < 64, "{damage}");
            }
        }
    }
}

#[test]
fn a_torn_end_is_cut_and_continued() {
    let (disk, name) = sample();
    let bytes = disk.bytes(&name);
    for len in 0..bytes.len() {
        let disk = TestDisk::default();
        disk.put(&name, &bytes[..len]);
        let (mut journal, replay) = open(&disk);
        let found = count(&replay);
        if let Some(damage) = &replay.lost {
            assert_eq!(damage.why, Why::Torn, "{damage}");
        }
        journal.append(&(found, Vec::new())).unwrap();
        journal.sync().unwrap();
        let (_, replay) = open(&disk);
        assert_eq!((count(&replay), replay.lost), (found + 1, None));
    }
}

#[test]
fn zeros_at_the_end_are_torn() {
    let (disk, name) = sample();
    let mut bytes = disk.bytes(&name);
    bytes.extend([0; 40]);
    disk.put(&name, &bytes);
    let replay = open(&disk).1;
    assert_eq!(count(&replay), 5);
    assert_eq!(replay.lost.unwrap().why, Why::Torn);
}

#[test]
fn records_of_another_segment_are_none_here() {
    let (disk, name) = sample();
    let old = disk.bytes(&name);
    let (mut journal, _) = open(&disk);
    journal.compact(&5).unwrap();
    let name = segment_name(3);
    let mut bytes = disk.bytes(&name);
    // The old blocks come back behind the new bytes, as after a crash on some file systems.
    let behind = bytes.len();
    bytes.extend(&old[behind..]);
    disk.put(&name, &bytes);
    let (_, replay) = open(&disk);
    assert_eq!((replay.snapshot, replay.records.len()), (Some(5), 0));
}

#[test]
fn a_record_counts_only_where_it_was_written() {
    let (disk, name) = sample();
    let mut bytes = disk.bytes(&name);
    let last = bytes.len() - (RECORD_HEAD_LEN + 12);
    bytes.extend_from_within(last..);
    disk.put(&name, &bytes);
    let replay = open(&disk).1;
    assert_eq!(count(&replay), 5);
    assert_eq!(replay.lost.unwrap().why, Why::Checksum);
}

#[test]
fn a_new_segment_that_can_not_be_used_leaves_the_old_one() {
    let (disk, _) = sample();
    disk.put(
        &segment_name(3),
        b"WAYSJRNL and nonsense after that, of some length",
    );
    let (mut journal, replay) = open(&disk);
    assert_eq!(count(&replay), 5);
    let damage = replay.lost.unwrap();
    assert_eq!((damage.file, damage.why), (segment_name(3), Why::Header));
    journal.compact(&5).unwrap();
    assert_eq!(disk.names().unwrap(), [DAMAGED.to_owned(), segment_name(4)]);
}

#[test]
fn a_journal_of_a_newer_build_is_left_alone() {
    let (disk, name) = sample();
    let mut bytes = disk.bytes(&name);
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..24]);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    disk.put(&name, &bytes);
    let error = Journal::<Record, u32>::open_on(Box::new(disk.clone()), SMALL).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert_eq!(disk.bytes(&name), bytes);
}

#[test]
fn a_long_record_is_refused_and_nothing_has_changed() {
    let disk = TestDisk::default();
    let (mut journal, _) = open(&disk);
    journal.append(&(0, Vec::new())).unwrap();
    let error = journal.append(&(1, vec![0; 600])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    journal.append(&(1, Vec::new())).unwrap();
    journal.sync().unwrap();
    assert_eq!(count(&open(&disk).1), 2);
}

#[test]
fn a_full_journal_takes_nothing_until_it_is_compacted() {
    let disk = TestDisk::default();
    let (mut journal, _) = open(&disk);
    let mut number = 0;
    let error = loop {
        match journal.append(&(number, vec![0; 100])) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    assert!(journal.wants_compaction());
    // Shorter, but there would be a gap.
    assert!(journal.append(&(number, Vec::new())).is_err());
    journal.compact(&(number + 1)).unwrap();
    assert!(!journal.wants_compaction());
    journal.append(&(number + 1, Vec::new())).unwrap();
}

#[test]
fn a_journal_that_can_only_be_read_is_replayed() {
    let (disk, _) = sample();
    // After the names and the segment: to continue it.
    disk.fail_in(2);
    let (mut journal, replay) = open(&disk);
    assert_eq!(count(&replay), 5);
    assert!(journal.stopped().unwrap().contains("as told"));
    assert!(journal.append(&(5, Vec::new())).is_err());
    journal.compact(&6).unwrap();
    assert_eq!(count(&open(&disk).1), 6);
}

#[test]
fn two_never_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("journal");
    let open = || TestJournal::open(&dir, SMALL);
    let first = open().unwrap();
    assert_eq!(open().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    drop(first);
    open().unwrap();
}

#[test]
fn a_directory_of_the_system_keeps_what_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("journal");
    for round in 0..4_u32 {
        let (mut journal, replay) = TestJournal::open(&dir, SMALL).unwrap();
        assert_eq!(count(&replay), round * 3);
        assert_eq!(replay.lost, None);
        journal.append(&(round * 3, vec![1; 100])).unwrap();
        journal.append(&(round * 3 + 1, vec![1; 100])).unwrap();
        journal.sync().unwrap();
        if round % 2 == 1 {
            journal.compact(&(round * 3 + 2)).unwrap();
        }
        journal.append(&(round * 3 + 2, vec![1; 100])).unwrap();
        journal.sync().unwrap();
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert_eq!(names.len(), 2, "the lock and one segment: {names:?}");
    }
}

#[test]
fn what_was_cut_off_is_kept_aside_the_latest_only() {
    let (disk, name) = sample();
    // What a crash leaves is nothing to look at.
    let whole = disk.bytes(&name);
    disk.put(&name, &whole[..whole.len() - 1]);
    let (journal, replay) = open(&disk);
    let torn = replay.lost.unwrap();
    assert_eq!((torn.why, torn.kept), (Why::Torn, None));
    assert!(!disk.names().unwrap().contains(&DAMAGED.to_owned()));
    drop(journal);

    for byte in [1, 2] {
        let mut changed = whole.clone();
        changed[whole.len() - 3] ^= byte;
        disk.put(&name, &changed);
        let (_, replay) = open(&disk);
        let damage = replay.lost.unwrap();
        assert_eq!(damage.kept.as_deref(), Some(DAMAGED));
        assert!(damage.to_string().contains("kept in the file damaged"));
        let offset = usize::try_from(damage.offset).unwrap();
        assert_eq!(disk.bytes(DAMAGED), changed[offset..]);
    }
    let others = disk.names().unwrap().into_iter();
    assert_eq!(others.filter(|name| *name != segment_name(2)).count(), 1);
}

#[test]
fn that_what_was_cut_off_can_not_be_kept_changes_nothing() {
    let (disk, name) = sample();
    let mut changed = disk.bytes(&name);
    let last = changed.len() - 3;
    changed[last] ^= 1;
    disk.put(&name, &changed);
    disk.set_room(Some(0));
    let opened = Journal::<Record, u32>::open_on(Box::new(disk.clone()), SMALL);
    let damage = opened.unwrap().1.lost.unwrap();
    assert_eq!((damage.why, damage.kept), (Why::Checksum, None));
}
