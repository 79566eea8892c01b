//! What only grows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Process;
use super::handle::{Cell, Handle};
use super::stripe::{Padded, STRIPES, stripe};
use crate::aggregator::series::Series;

/// Counts what happens: requests, errors, bytes. Cheap to clone; all of one series count together.
///
/// To count takes a few nanoseconds, no lock and no memory, whatever other threads count and
/// whether the agent is there or not.
///
/// ```
/// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
/// let requests = worker.counter("http.requests");
/// requests.one();
/// requests.add(2);
/// let gets = worker.counter_with("http.requests", &[("method", "GET")]);
/// gets.one();
/// assert_eq!(worker.ledger().recorded.counted, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Counter(pub(crate) Handle<CounterCell>);

impl Counter {
    /// One more.
    #[inline]
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    #[inline]
    pub fn add(&self, count: u64) {
        if let Some(cell) = self.0.cell() {
            cell.add(count);
        }
    }

    /// What it is called: beyond the bounds on the number of series it is [`Series::overflow`] that
    /// counts.
    #[must_use]
    pub fn series(&self) -> &Series {
        self.0.key()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counter({})", self.series())
    }
}

/// The increments since they were last taken, by thread.
#[derive(Debug, Default)]
pub(crate) struct CounterCell([Padded; STRIPES]);

impl CounterCell {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0[stripe()].0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes the increments. Each is taken once, whatever happens at the same time.
    pub(crate) fn take(&self) -> u64 {
        let stripes = self.0.iter().map(|Padded(stripe)| {
            // Most are empty most of the time, and reading does not take the line from its owner.
            match stripe.load(Ordering::Relaxed) {
                0 => 0,
                _ => stripe.swap(0, Ordering::Relaxed),
            }
        });
        stripes.fold(0, u64::saturating_add)
    }

    /// What there is to be taken.
    pub(crate) fn waiting(&self) -> u64 {
        let stripes = self.0.iter();
        stripes.fold(0, |sum, Padded(stripe)| {
            sum.saturating_add(stripe.load(Ordering::Relaxed))
        })
    }
}

impl Cell for CounterCell {
    type Key = Series;

    fn find(process: &Process, series: &Series) -> Option<Arc<Self>> {
        Some(process.registry().counters.cell(series))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_many_threads_count_is_taken_once() {
        let cell = CounterCell::default();
        let mut taken = 0;
        thread::scope(|scope| {
            let threads = [1_u64, 2, 3].map(|count| {
                let cell = &cell;
                scope.spawn(move || (0..20_000).for_each(|_| cell.add(count)))
            });
            while threads.iter().any(|thread| !thread.is_finished()) {
                taken += cell.take();
            }
        });
        taken += cell.take();
        assert_eq!(taken, 20_000 * 6);
        assert_eq!(cell.waiting(), 0);
    }
}
