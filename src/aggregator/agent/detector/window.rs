//! How often something happened lately, for many keys.
//!
//! A window is cut into [`SLOTS`] slots. A hit counts for at least the window and at most one slot
//! longer, so a limit is never exceeded within any window. Time that goes back stands still.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregator::series::CharBoundary;

/// The precision: a hit may count for a part in so many of the window longer than it must.
pub(super) const SLOTS: u32 = 32;

/// Hits of one key: by slot, those that still count. The slots rise.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    /// Forgets what does not count any more; the hits that do.
    pub(super) fn at(&mut self, slot: u64) -> u64 {
        while let Some(&(oldest, hits)) = self.slots.front() {
            if slot.saturating_sub(oldest) <= u64::from(SLOTS) {
                break;
            }
            self.sum -= hits;
            self.slots.pop_front();
        }
        self.sum
    }

    pub(super) fn add(&mut self, slot: u64, hits: u64) {
        // What would not fit into a sum is beyond every limit already.
        let hits = hits.min(u64::MAX - self.sum);
        self.sum += hits;
        match self.slots.back_mut() {
            Some(last) if last.0 >= slot => last.1 += hits,
            _ => self.slots.push_back((slot, hits)),
        }
    }
}

/// Cuts time into slots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slotting {
    slot_nanos: u128,
}

impl Slotting {
    pub(super) fn of(window: Duration) -> Self {
        // Rounded up: never shorter than was asked for.
        let slot_nanos = window.as_nanos().div_ceil(u128::from(SLOTS)).max(1);
        Self { slot_nanos }
    }

    pub(super) fn slot(self, now: Duration) -> u64 {
        u64::try_from(now.as_nanos() / self.slot_nanos).unwrap_or(u64::MAX)
    }
}

/// The longest key that is kept as it came.
const KEY_LEN_MAX: usize = 256;

/// Something for each of a bounded number of keys. When one more comes, the key goes that was not
/// touched for longest. Of a long key the beginning is kept, and a hash that nobody can foresee.
#[derive(Debug)]
pub(super) struct Keyed<V> {
    entries: HashMap<Arc<str>, (u64, V)>,
    /// By when they were touched last.
    touched: BTreeMap<u64, Arc<str>>,
    touches: u64,
    max: usize,
    pub(super) evicted: u64,
}

impl<V: Default> Keyed<V> {
    /// At least one key is kept.
    pub(super) fn new(max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            touched: BTreeMap::new(),
            touches: 0,
            max: max.max(1),
            evicted: 0,
        }
    }

    pub(super) fn touch(&mut self, key: &str) -> &mut V {
        self.touches += 1;
        let key = &*self.bounded(key);
        let known = self.entries.get_key_value(key);
        let (key, before) = match known {
            Some((key, (before, _))) => (Arc::clone(key), Some(*before)),
            None => (Arc::from(key), None),
        };
        match before {
            Some(before) => drop(self.touched.remove(&before)),
            None if self.entries.len() >= self.max => self.evict(),
            None => {}
        }
        self.touched.insert(self.touches, Arc::clone(&key));
        let entry = self.entries.entry(key).or_insert_with(|| (0, V::default()));
        entry.0 = self.touches;
        &mut entry.1
    }

    /// Longer than any key that is kept as it came, so it is none of those.
    fn bounded<'a>(&self, key: &'a str) -> Cow<'a, str> {
        if key.len() <= KEY_LEN_MAX {
            return Cow::Borrowed(key);
        }
        let hash = self.entries.hasher().hash_one(key);
        let kept = &key[..key.floor_char_boundary_at(KEY_LEN_MAX)];
        Cow::Owned(format!("{kept}#{hash:016x}"))
    }

    fn evict(&mut self) {
        if let Some((_, oldest)) = self.touched.pop_first() {
            self.entries.remove(&oldest);
            self.evicted += 1;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_that_was_not_touched_for_longest_goes_first() {
        let mut keyed = Keyed::<u32>::new(2);
        *keyed.touch("a") += 1;
        *keyed.touch("b") += 1;
        *keyed.touch("a") += 1;
        *keyed.touch("c") += 1;
        assert_eq!((keyed.len(), keyed.evicted), (2, 1));
        assert_eq!(*keyed.touch("a"), 2);
        assert_eq!(*keyed.touch("b"), 0, "it begins anew");
    }

    #[test]
    fn of_long_keys_little_is_kept_and_no_two_are_taken_for_one() {
        let mut keyed = Keyed::<u32>::new(1000);
        let long = |ending: &str| "é".repeat(40_000) + ending;
        for ending in ["a", "b", ""] {
            *keyed.touch(&long(ending)) += 1;
            *keyed.touch(&long(ending)) += 1;
        }
        *keyed.touch(&"e".repeat(KEY_LEN_MAX)) += 2;
        *keyed.touch(&"e".repeat(KEY_LEN_MAX + 1)) += 2;
        assert_eq!(keyed.len(), 5);
        for (key, (_, touched)) in &keyed.entries {
            assert!(key.len() <= KEY_LEN_MAX + 17, "{}", key.len());
            assert_eq!(*touched, 2);
        }
    }
}
