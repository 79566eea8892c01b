//! What there is, and when it was first and last seen.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::core::Process;
use super::fresh::Fresh;
use super::handle::{Cell, Handle};
use crate::aggregator::message::Sighting;
use crate::aggregator::moment::UnixMicros;
use crate::aggregator::series::{OVERFLOW, cut_key};
use crate::counters::Count;
use crate::sync::lock;

/// What there is, and how often it was seen: routes, hosts, users, packages. Cheap to clone; all of
/// one name keep one inventory.
///
/// Of a key at most 512 bytes are looked at: longer ones that begin alike are one key.
///
/// To see a key takes, for some tens of nanoseconds, a lock that is one of eight; which one follows from
/// the key. Other threads that see keys may hold it, and the flush while it looks at what was seen. A key
/// that was seen before takes no memory. Beyond [`WorkerLimits::keys_max`] new keys are seen as the
/// key `overflow`, which has one lock more. One that was not seen for a minute's flushes makes room.
///
/// When a key was seen first and last is told of each period, not of all time: the agent forgets what it has
/// reported.
///
/// ```
/// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
/// let routes = worker.inventory("routes");
/// routes.seen("GET /users/:id");
/// routes.seen("GET /users/:id");
/// assert_eq!(worker.ledger().recorded.hits, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`WorkerLimits::keys_max`]: super::WorkerLimits::keys_max
#[derive(Clone)]
pub struct Inventory(pub(crate) Handle<InventoryCell>);

impl Inventory {
    /// This was seen just now.
    pub fn seen(&self, key: &str) {
        self.seen_times(key, 1);
    }

    /// This was seen just now, so many times.
    pub fn seen_times(&self, key: &str, hits: u64) {
        if let Some(cell) = self.0.cell() {
            cell.seen(key, hits, UnixMicros::now());
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.key()
    }
}

impl fmt::Debug for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inventory({})", self.name())
    }
}

/// So many parts, each with a lock of its own. A power of two.
const PARTS: usize = 8;
/// A key that had no hits for so many takings is forgotten.
const IDLE_MAX: u8 = 60;

/// The keys that were seen.
#[derive(Debug)]
pub(crate) struct InventoryCell {
    parts: [Mutex<HashMap<Arc<str>, Seen>>; PARTS],
    hasher: RandomState,
    /// In all parts. May exceed its bound by one for each part.
    keys: AtomicUsize,
    keys_max: usize,
    /// What went to [`OVERFLOW`].
    overflow: Mutex<Option<Seen>>,
    pub(crate) overflowed: Count,
    fresh: Arc<Fresh>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// 0 since it was last taken.
    hits: u64,
    first: UnixMicros,
    last: UnixMicros,
    idle: u8,
}

impl Seen {
    fn new(hits: u64, at: UnixMicros) -> Self {
        Self {
            hits,
            first: at,
            last: at,
            idle: 0,
        }
    }

    fn again(&mut self, hits: u64, at: UnixMicros) {
        if self.hits == 0 {
            self.first = at;
        }
        self.last = at;
        self.hits = self.hits.saturating_add(hits);
    }

    /// What it was until now. `None` if it was not seen.
    fn take(&mut self) -> Option<Self> {
        if self.hits == 0 {
            self.idle = self.idle.saturating_add(1);
            return None;
        }
        self.idle = 0;
        let taken = *self;
        self.hits = 0;
        Some(taken)
    }

    fn of(self, inventory: &str, key: &str) -> Sighting {
        Sighting {
            inventory: inventory.to_owned(),
            key: key.to_owned(),
            hits: self.hits,
            first: self.first,
            last: self.last,
        }
    }
}

impl InventoryCell {
    pub(crate) fn new(keys_max: usize, fresh: Arc<Fresh>) -> Self {
        Self {
            parts: Default::default(),
            hasher: RandomState::new(),
            keys: AtomicUsize::new(0),
            keys_max,
            overflow: Mutex::new(None),
            overflowed: Count::default(),
            fresh,
        }
    }

    pub(crate) fn seen(&self, key: &str, hits: u64, at: UnixMicros) {
        let key = cut_key(key);
        if hits == 0 {
            return;
        }
        let parts = u64::try_from(PARTS).expect("there are few");
        let part = usize::try_from(self.hasher.hash_one(key) % parts).expect("a remainder");
        let mut part = lock(&self.parts[part]);
        if let Some(seen) = part.get_mut(key) {
            if seen.hits == 0 {
                self.fresh.add(key.len());
            }
            seen.again(hits, at);
        } else if self.keys.load(Ordering::Relaxed) < self.keys_max {
            self.keys.fetch_add(1, Ordering::Relaxed);
            self.fresh.add(key.len());
            part.insert(key.into(), Seen::new(hits, at));
        } else {
            drop(part);
            self.overflowed.add(hits);
            let mut overflow = lock(&self.overflow);
            overflow
                .get_or_insert_with(|| Seen::new(0, at))
                .again(hits, at);
        }
    }

    /// Takes what was seen. Whoever records waits neither for memory nor for texts that are copied.
    pub(crate) fn take(&self, inventory: &str, into: &mut Vec<Sighting>) {
        let mut taken: Vec<(Arc<str>, Seen)> = Vec::new();
        for part in &self.parts {
            let len = lock(part).len();
            taken.reserve(len);
            let mut part = lock(part);
            let before = part.len();
            part.retain(|key, seen| {
                taken.extend(seen.take().map(|seen| (Arc::clone(key), seen)));
                seen.idle < IDLE_MAX
            });
            self.keys.fetch_sub(before - part.len(), Ordering::Relaxed);
        }
        let overflow = lock(&self.overflow).as_mut().and_then(Seen::take);
        let keys = taken.iter().map(|(key, seen)| seen.of(inventory, key));
        into.extend(keys.chain(overflow.map(|seen| seen.of(inventory, OVERFLOW))));
    }

    /// The hits to be taken.
    pub(crate) fn waiting(&self) -> u64 {
        let parts = self.parts.iter().map(|part| {
            let part = lock(part);
            let hits = part.values().map(|seen| seen.hits);
            hits.fold(0, u64::saturating_add)
        });
        let overflow = lock(&self.overflow).map_or(0, |seen| seen.hits);
        parts.fold(overflow, u64::saturating_add)
    }
}

impl Cell for InventoryCell {
    type Key = String;

    fn find(process: &Process, name: &String) -> Option<Arc<Self>> {
        Some(process.registry().inventory(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::series::KEY_LEN_MAX;

    fn cell(keys_max: usize) -> InventoryCell {
        InventoryCell::new(keys_max, Arc::new(Fresh::new(1000, Arc::default())))
    }

    fn taken(cell: &InventoryCell) -> Vec<(String, u64)> {
        let mut sightings = Vec::new();
        cell.take("routes", &mut sightings);
        let pairs = sightings.into_iter();
        let mut pairs: Vec<_> = pairs.map(|seen| (seen.key, seen.hits)).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn first_last_and_hits_are_since_the_last_taking() {
        let cell = cell(10);
        for at in [5, 6, 9] {
            cell.seen("a", 1, UnixMicros(at));
        }
        let mut sightings = Vec::new();
        cell.take("routes", &mut sightings);
        assert_eq!(sightings.len(), 1);
        let seen = &sightings[0];
        assert_eq!((seen.first.0, seen.last.0, seen.hits), (5, 9, 3));
        assert!(taken(&cell).is_empty());
        cell.seen("a", 2, UnixMicros(20));
        let mut sightings = Vec::new();
        cell.take("routes", &mut sightings);
        assert_eq!((sightings[0].first.0, sightings[0].hits), (20, 2));
    }

    #[test]
    fn a_key_is_cut_where_it_is_too_long_and_not_before() {
        let cell = cell(10);
        let route = "/users/:id".repeat(51);
        for key in [
            route.clone(),
            format!("{route}/a/1"),
            format!("{route}/a/2"),
        ] {
            cell.seen(&key, 1, UnixMicros(1));
        }
        let keys = taken(&cell);
        let expected = [(route.clone(), 1), (format!("{route}/a"), 2)];
        assert_eq!(route.len(), KEY_LEN_MAX - 2);
        assert_eq!(keys, expected);
    }

    #[test]
    fn keys_beyond_the_bound_are_seen_as_overflow_and_idle_ones_make_room() {
        let cell = cell(2);
        for (key, hits) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("a", 5)] {
            cell.seen(key, hits, UnixMicros(1));
        }
        assert_eq!(cell.waiting(), 15);
        assert_eq!(cell.overflowed.read(), 7);
        let expected = [("a", 6), ("b", 2), (OVERFLOW, 7)];
        assert_eq!(
            taken(&cell),
            expected.map(|(key, hits)| (key.to_owned(), hits))
        );
        for _ in 0..IDLE_MAX {
            cell.seen("a", 1, UnixMicros(2));
            assert_eq!(taken(&cell), [("a".to_owned(), 1)]);
        }
        cell.seen("c", 1, UnixMicros(3));
        assert_eq!(taken(&cell), [("c".to_owned(), 1)]);
    }
}
