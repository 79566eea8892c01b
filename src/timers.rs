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
