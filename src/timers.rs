//! One deadline for each of many things, most of which are put off again and again.
//!
//! A deadline that moves later costs nothing: the old entry is looked at when it is due, and put
//! back. Only one that moves nearer adds an entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    pub(crate) fn push(&mut self, at: Instant, index: usize) {
        self.heap.push(Reverse((at, index)));
    }

    /// The next entry that is due by `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let due = self.next().is_some_and(|at| at <= now);
        if due {
            self.heap.pop().map(|Reverse((_, index))| index)
        } else {
            None
        }
    }

    #[cfg(feature = "internals")]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Each entry comes once, when it is due and not before, the earliest first.
        #[test]
        fn entries_come_when_they_are_due(
            entries in prop::collection::vec(0_u64..50, 0..40),
            steps in prop::collection::vec(0_u64..10, 0..20),
        ) {
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            let mut timers = Timers::default();
            for (index, seconds) in entries.iter().enumerate() {
                timers.push(at(*seconds), index);
            }
            let mut waiting: Vec<_> = entries.iter().copied().enumerate().collect();
            waiting.sort_by_key(|(index, seconds)| (*seconds, *index));
            let mut now = 0;
            for step in steps {
                now += step;
                while let Some(index) = timers.pop_due(at(now)) {
                    let (expected, seconds) = waiting.remove(0);
                    prop_assert_eq!(index, expected);
                    prop_assert!(seconds <= now);
                }
                let next = waiting.first().map(|(_, seconds)| at(*seconds));
                prop_assert_eq!(timers.next(), next);
                prop_assert!(next.is_none_or(|next| next > at(now)));
            }
        }
    }
}
