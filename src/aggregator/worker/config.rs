//! The configuration, as this process runs it.
//!
//! Reading must cost next to nothing and wait for nobody. Each thread keeps the configuration that
//! it has read last, and compares one number to know whether it is still that. What it hands out are
//! counted pointers of the thread's own, so that threads that read all the time don't meet in one
//! count.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::de::DeserializeOwned;

use super::core::Process;
use super::handle::Cell;
use crate::aggregator::message::ConfigDocument;

/// The configuration as it was when it was read. It does not change while it is held.
///
/// ```
/// # let worker = wayside::aggregator::Worker::builder("shop").config(7_u32).start()?;
/// let config = worker.config();
/// assert_eq!(*config, 7);
/// assert_eq!(config.version(), None); // the agent was never reached
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot<C>(Arc<Held<C>>);

/// One for each thread that reads, so that its count is the thread's own.
struct Held<C>(Arc<Versioned<C>>);

struct Versioned<C> {
    value: C,
    version: Option<u64>,
    hash: Option<u64>,
}

impl<C> Snapshot<C> {
    /// The version. `None` if it is the default that the program was started with.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.0.0.version
    }
}

impl<C> Deref for Snapshot<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0.0.value
    }
}

impl<C> Clone for Snapshot<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: fmt::Debug> fmt::Debug for Snapshot<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        C::fmt(self, f)
    }
}

/// Turns a document into a configuration.
type Decode<C> = fn(&str) -> Result<C, String>;

/// Where the configuration of one process is.
pub(crate) struct ConfigCell<C> {
    /// Tells it from all others, for the threads' memory.
    id: u64,
    /// Rises with each change, after it.
    stamp: AtomicU64,
    current: RwLock<Arc<Versioned<C>>>,
    decode: Decode<C>,
}

/// What the rest of a worker knows of it, whatever its type.
pub(crate) trait ConfigSlot: Any + Send + Sync {
    /// Runs this from now on. Otherwise what is wrong with it; the one before stays.
    fn accept(&self, document: &ConfigDocument) -> Result<(), String>;

    /// The hash of the document that runs.
    fn hash(&self) -> Option<u64>;

    /// The version of the document that runs.
    fn version(&self) -> Option<u64>;

    /// That of a forked child, which begins with what the parent runs.
    fn for_child(&self) -> Option<Arc<dyn ConfigSlot>>;

    /// For the way back to the type.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<C: Send + Sync + 'static> ConfigCell<C> {
    fn with(current: Arc<Versioned<C>>, decode: Decode<C>) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            stamp: AtomicU64::new(0),
            current: RwLock::new(current),
            decode,
        }
    }

    /// Begins with this, and takes what `decode` makes of documents.
    pub(crate) fn new(value: C, decode: Decode<C>) -> Self {
        let versioned = Versioned {
            value,
            version: None,
            hash: None,
        };
        Self::with(Arc::new(versioned), decode)
    }

    /// What runs now.
    #[inline]
    pub(crate) fn read(&self) -> Snapshot<C> {
        let stamp = self.stamp.load(Ordering::Acquire);
        let known = MEMORY.try_with(|memory| memory.borrow().find::<C>(self.id, stamp));
        match known {
            Ok(Some(held)) => Snapshot(held),
            _ => self.read_anew(stamp),
        }
    }

    #[cold]
    fn read_anew(&self, stamp: u64) -> Snapshot<C> {
        let held = Arc::new(Held(self.current()));
        let any: Arc<dyn Any + Send + Sync> = held.clone();
        let entry = Entry {
            id: self.id,
            stamp,
            held: any,
        };
        // At the end of a thread there is no memory any more: the next read comes here again.
        let forgotten = MEMORY.try_with(|memory| memory.borrow_mut().keep(entry));
        drop(forgotten);
        Snapshot(held)
    }

    fn current(&self) -> Arc<Versioned<C>> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }
}

/// Decodes JSON as `C`.
pub(crate) fn from_json<C: DeserializeOwned>(json: &str) -> Result<C, String> {
    // The type's own code may panic over a document that it did not expect.
    let decode = AssertUnwindSafe(|| serde_json::from_str(json));
    match catch_unwind(decode) {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(_) => Err("the application's code panicked over it".to_owned()),
    }
}

impl<C: Send + Sync + 'static> ConfigSlot for ConfigCell<C> {
    fn accept(&self, document: &ConfigDocument) -> Result<(), String> {
        let versioned = Arc::new(Versioned {
            value: (self.decode)(&document.json)?,
            version: Some(document.version),
            hash: Some(document.hash),
        });
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, versioned);
        drop(current);
        self.stamp.fetch_add(1, Ordering::Release);
        // Runs the application's code, so not under the lock.
        drop(before);
        Ok(())
    }

    fn hash(&self) -> Option<u64> {
        self.current().hash
    }

    fn version(&self) -> Option<u64> {
        self.current().version
    }

    fn for_child(&self) -> Option<Arc<dyn ConfigSlot>> {
        // If the fork has come in the instant of a change, this is locked for ever in the child.
        let current = Arc::clone(&*self.current.try_read().ok()?);
        Some(Arc::new(Self::with(current, self.decode)))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<C: Send + Sync + 'static> Cell for ConfigCell<C> {
    type Key = ();

    fn find(process: &Process, (): &()) -> Option<Arc<Self>> {
        let slot = Arc::clone(process.config());
        slot.into_any().downcast().ok()
    }
}

/// How many configurations a thread remembers: those of as many workers.
const REMEMBERED: usize = 4;

thread_local! {
    static MEMORY: RefCell<Memory> = const { RefCell::new(Memory { entries: Vec::new() }) };
}

/// What a thread has read last.
struct Memory {
    entries: Vec<Entry>,
}

struct Entry {
    id: u64,
    stamp: u64,
    held: Arc<dyn Any + Send + Sync>,
}

impl Memory {
    #[inline]
    fn find<C: Send + Sync + 'static>(&self, id: u64, stamp: u64) -> Option<Arc<Held<C>>> {
        let same = |entry: &&Entry| entry.id == id && entry.stamp == stamp;
        let entry = self.entries.iter().find(same)?;
        Arc::clone(&entry.held).downcast().ok()
    }

    /// What has to go for it is handed out: dropping it runs the application's code.
    fn keep(&mut self, entry: Entry) -> Option<Entry> {
        if let Some(old) = self.entries.iter_mut().find(|old| old.id == entry.id) {
            return Some(std::mem::replace(old, entry));
        }
        let too_many = self.entries.len() >= REMEMBERED;
        let oldest = too_many.then(|| self.entries.remove(0));
        self.entries.push(entry);
        oldest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn document(version: u64, json: &str) -> ConfigDocument {
        ConfigDocument {
            version,
            hash: version * 10,
            json: json.to_owned(),
        }
    }

    #[test]
    fn a_held_snapshot_does_not_change_and_the_next_one_is_new() {
        let cell = ConfigCell::new(1_u32, from_json);
        let first = cell.read();
        cell.accept(&document(5, "2")).unwrap();
        let second = cell.read();
        assert_eq!((*first, *second), (1, 2));
        assert_eq!((first.version(), second.version()), (None, Some(5)));
        assert_eq!((cell.hash(), cell.version()), (Some(50), Some(5)));
    }

    #[test]
    fn what_can_not_be_decoded_is_refused_and_the_last_good_one_stays() {
        let cell = ConfigCell::new(1_u32, from_json);
        cell.accept(&document(1, "7")).unwrap();
        let why = cell.accept(&document(2, "\"seven\"")).unwrap_err();
        assert!(why.contains("invalid type"), "{why}");
        assert_eq!((*cell.read(), cell.version()), (7, Some(1)));
    }

    #[test]
    fn the_cells_of_many_workers_are_not_mixed_up() {
        let cells: Vec<_> = (0..20_u32).map(|n| ConfigCell::new(n, from_json)).collect();
        for _ in 0..3 {
            for (cell, n) in cells.iter().zip(0..) {
                assert_eq!(*cell.read(), n);
            }
        }
    }
}
