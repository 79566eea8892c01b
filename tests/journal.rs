//! The journal on real file systems that are full, or can only be read. Needs root, for mounts.
#![cfg(all(feature = "aggregator", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "says what was skipped")]

#[cfg(feature = "tcp")]
mod agents;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use wayside::aggregator::journal::{Journal, JournalLimits, Replay};

type TestJournal = Journal<Vec<u8>, u32>;

/// A file system of half a megabyte.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None` where mounting is not permitted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs"]);
        let status = mount.arg(folder.path()).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("skipped: no file system can be mounted");
            return None;
        }
        Some(Self { folder })
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn remount(&self, how: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{how}")]);
        assert!(mount.arg(self.folder.path()).status().unwrap().success());
    }

    fn open(&self) -> (TestJournal, Replay<Vec<u8>, u32>) {
        TestJournal::open(&self.dir(), JournalLimits::default()).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At worst it stays, for the system to take away with the machine.
        Command::new("umount").arg(self.folder.path()).status().ok();
    }
}

#[test]
fn a_full_disk_stops_it_until_there_is_room() {
    let Some(disk) = Disk::mount() else { return };
    // Someone else has much of it.
    let filler = disk.folder.path().join("filler");
    fs::write(&filler, vec![0; 100 << 10]).unwrap();
    let (mut journal, _) = disk.open();
    let mut synced = 0;
    let error = loop {
        let appended = journal.append(&vec![7; 4000]);
        match appended.and_then(|()| journal.sync()) {
            Ok(()) => synced += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(synced > 50, "{synced}");
    assert!(journal.append(&Vec::new()).is_err());
    assert!(journal.stopped().is_some());
    // What was synced is there, and what is left of the last record is cut off.
    drop(journal);
    let (mut journal, replay) = disk.open();
    assert_eq!(replay.records.len(), synced);
    // A new segment needs room beside the old one; the end that was cut off may have left some.
    if let Err(error) = journal.compact(&1) {
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    fs::remove_file(&filler).unwrap();
    journal.compact(&1).unwrap();
    journal.append(&vec![8]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    let (_, replay) = disk.open();
    assert_eq!((replay.snapshot, replay.records), (Some(1), vec![vec![8]]));
}

#[test]
fn one_that_can_only_be_read_is_replayed_and_taken_up_later() {
    let Some(disk) = Disk::mount() else { return };
    let (mut journal, _) = disk.open();
    journal.append(&vec![7]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    disk.remount("ro");
    let (mut journal, replay) = disk.open();
    assert_eq!(replay.records, [vec![7]]);
    assert!(journal.stopped().is_some());
    assert!(journal.compact(&1).is_err());
    disk.remount("rw");
    journal.compact(&1).unwrap();
    assert_eq!(journal.stopped(), None);
    journal.append(&vec![8]).unwrap();
    journal.sync().unwrap();
    drop(journal);
    assert_eq!(disk.open().1.records, [vec![8]]);
}

/// A whole agent, with a disk that fills while it runs.
#[cfg(feature = "tcp")]
#[test]
fn an_agent_goes_on_without_its_disk_and_takes_it_up_again() {
    use agents::*;
    use wayside::aggregator::{AgentReply, Keeping, Totals};

    let Some(disk) = Disk::mount() else { return };
    let start = || Rig::start(|builder| builder.journal(disk.dir()));
    let rig = start();
    let memory = || rig.agent.status().memory;
    let mut worker = rig.worker(1);
    worker.hello();
    assert_eq!(worker.send_batch(1, 1), AgentReply::Taken { seq: 1 });
    assert_eq!(memory().keeping, Keeping::Journal);
    // Somebody else takes all that is left.
    let filler = disk.folder.path().join("filler");
    let mut len = 400 << 10;
    while len > 0 && fs::write(&filler, vec![0; len]).is_err() {
        len -= 4 << 10;
    }
    let mut seq = 1;
    while memory().keeping == Keeping::Journal {
        seq += 1;
        assert!(seq < 100_000, "the disk never fills");
        // Acknowledged all the same.
        assert_eq!(worker.send_batch(seq, 1), AgentReply::Taken { seq });
    }
    let degraded = memory();
    assert_eq!(degraded.keeping, Keeping::Degraded);
    assert!(
        degraded.failures > 0 && degraded.last_error.is_some(),
        "{degraded:?}"
    );
    fs::remove_file(filler).unwrap();
    eventually("there is a journal again", || {
        memory().keeping == Keeping::Journal
    });
    assert_eq!(memory().recoveries, 1);
    // All that it missed is in it.
    drop(rig);
    let rig = start();
    let mut worker = Bare {
        client: rig.worker(1).client,
        ..worker
    };
    worker.batch_acknowledged = seq;
    worker.acknowledged = Totals {
        counted: seq,
        ..Totals::default()
    };
    assert_eq!(worker.hello(), (seq, 0));
    assert!(worker.known);
    let ledger = &rig.agent.status().applications[0].ledger;
    assert_eq!((ledger.applied.counted, ledger.dropped.len()), (seq, 0));
}
