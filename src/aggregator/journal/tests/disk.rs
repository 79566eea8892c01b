//! A disk in memory that fails when told to, and forgets in a crash what nobody synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::aggregator::journal::disk::{Disk, DiskFile};

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct TestDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: Names,
    durable_names: Names,
    /// Changes of names that were not yet synced.
    changes: Vec<Change>,
    /// The operation that fails, counted from the next.
    fails_in: Option<u32>,
    /// How many bytes there is room for.
    room: Option<usize>,
    /// Rises with each crash: files opened before are dead.
    life: u32,
}

type Names = BTreeMap<String, usize>;
/// Names and what they lead to from now on; all of them or none.
type Change = Vec<(String, Option<usize>)>;

#[derive(Default)]
struct Content {
    live: Vec<u8>,
    /// How many of them were synced.
    durable: usize,
    /// An operation has failed: going on with it would lose what it forgot.
    failed: bool,
}

struct TestFile {
    disk: TestDisk,
    index: usize,
    life: u32,
}

impl TestDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets the operation after so many others fail, once.
    pub(crate) fn fail_in(&self, operations: u32) {
        self.state().fails_in = Some(operations);
    }

    /// Leaves room for so many bytes more, or for any.
    pub(crate) fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// No operation fails any more.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.fails_in = None;
        state.room = None;
    }

    /// The process dies, and the system lives: all that was written is there.
    pub(crate) fn end_process(&self) {
        self.state().life += 1;
    }

    /// The system dies: of what was not synced any part may be left, and garbage behind it.
    pub(crate) fn crash(&self, mut random: impl FnMut(usize) -> usize) {
        let mut state = self.state();
        let state = &mut *state;
        state.life += 1;
        state.names = state.durable_names.clone();
        for change in std::mem::take(&mut state.changes) {
            if random(2) == 0 {
                apply(&mut state.names, &change);
            }
        }
        state.durable_names = state.names.clone();
        for content in &mut state.files {
            content.failed = false;
            let unsynced = content.live.len() - content.durable;
            let kept = content.durable + random(unsynced + 1);
            let garbage = random(content.live.len() - kept + 1);
            content.live.truncate(kept + garbage);
            let value = u8::try_from(random(3) * 85).unwrap();
            content.live[kept..].fill(value);
            content.durable = content.live.len();
        }
    }

    /// What a name leads to.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].live.clone()
    }

    /// Puts a file there, synced.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let index = state.files.len();
        let (live, durable) = (bytes.to_vec(), bytes.len());
        let failed = false;
        state.files.push(Content {
            live,
            durable,
            failed,
        });
        state.names.insert(name.to_owned(), index);
        state.durable_names.insert(name.to_owned(), index);
    }
}

fn apply(names: &mut Names, change: &Change) {
    for (name, index) in change {
        match index {
            Some(index) => names.insert(name.clone(), *index),
            None => names.remove(name),
        };
    }
}

impl State {
    /// Counts an operation, which may be the one that fails.
    fn step(&mut self) -> io::Result<()> {
        match self.fails_in {
            Some(0) => {
                self.fails_in = None;
                Err(io::Error::other("the disk failed, as told"))
            }
            Some(left) => {
                self.fails_in = Some(left - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    fn index(&self, name: &str) -> io::Result<usize> {
        let index = self.names.get(name).copied();
        index.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }
}

impl Disk for TestDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.step()?;
        let index = state.index(name)?;
        Ok(state.files[index].live.clone())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        let index = state.files.len();
        state.files.push(Content::default());
        state.change(vec![(name.to_owned(), Some(index))]);
        let (disk, life) = (self.clone(), state.life);
        Ok(Box::new(TestFile { disk, index, life }))
    }

    fn resume(&self, name: &str, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        let index = state.index(name)?;
        let content = &mut state.files[index];
        content.live.truncate(usize::try_from(len).unwrap());
        content.durable = content.live.len();
        // What an earlier process could not write is read from memory, and written now.
        content.failed = false;
        let (disk, life) = (self.clone(), state.life);
        Ok(Box::new(TestFile { disk, index, life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let index = state.index(from)?;
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(index))]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.index(name)?;
        state.change(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.changes.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for TestFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        assert_eq!(state.life, self.life, "a dead process writes");
        let room = state.room.unwrap_or(usize::MAX);
        let mut result = state.step();
        let mut written = match result {
            Ok(()) => bytes.len(),
            Err(_) => bytes.len() / 2,
        };
        if written > room {
            written = room;
            result = Err(io::ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - written);
        let content = &mut state.files[self.index];
        assert!(!content.failed, "the journal goes on with what has failed");
        content.live.extend(&bytes[..written]);
        content.failed = result.is_err();
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        assert_eq!(state.life, self.life, "a dead process syncs");
        let result = state.step();
        let content = &mut state.files[self.index];
        assert!(!content.failed, "the journal goes on with what has failed");
        content.failed = result.is_err();
        if result.is_ok() {
            content.durable = content.live.len();
        }
        result
    }
}
