//! How values are spread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use histogram::{AtomicHistogram, Histogram as Plain};

use super::core::Process;
use super::handle::{Cell, Handle};
use crate::aggregator::distribution::{self, Buckets};
use crate::aggregator::series::Series;

/// How values are spread: durations, sizes. Known to within one part in 32, from 0 to `u64::MAX`.
/// Cheap to clone; all of one series record together.
///
/// To record takes a few nanoseconds, no lock and no memory. The first handle of a series takes 15
/// KiB.
///
/// ```
/// use std::time::Duration;
///
/// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
/// let duration = worker.histogram("http.duration_us");
/// duration.record(1_200);
/// duration.record_duration(Duration::from_millis(3)); // as 3000
/// assert_eq!(worker.ledger().recorded.observed, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Histogram(pub(crate) Handle<HistogramCell>);

impl Histogram {
    /// Takes a value.
    #[inline]
    pub fn record(&self, value: u64) {
        if let Some(cell) = self.0.cell() {
            cell.record(value);
        }
    }

    /// Takes a duration, as whole microseconds.
    #[inline]
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// What it is called.
    #[must_use]
    pub fn series(&self) -> &Series {
        self.0.key()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({})", self.series())
    }
}

/// The values since they were last taken.
pub(crate) struct HistogramCell(AtomicHistogram);

impl Default for HistogramCell {
    fn default() -> Self {
        Self(AtomicHistogram::with_config(&distribution::config()))
    }
}

impl HistogramCell {
    #[inline]
    fn record(&self, value: u64) {
        let recorded = self.0.increment(value);
        debug_assert!(recorded.is_ok(), "the shape takes all values");
    }

    /// Takes the values, by way of a histogram of the same shape. `None` if there are none.
    pub(crate) fn take(&self, by_way_of: &mut Plain) -> Option<Buckets> {
        // Reading all buckets costs a microsecond, and most histograms are idle most of the time.
        if self.waiting(by_way_of) == 0 {
            return None;
        }
        self.0.drain_into(by_way_of).ok()?;
        Some(Buckets::of(by_way_of))
    }

    /// How many values there are to be taken.
    pub(crate) fn waiting(&self, by_way_of: &mut Plain) -> u64 {
        let same_shape = self.0.load_into(by_way_of);
        debug_assert!(same_shape.is_ok(), "all histograms have one shape");
        let counts = by_way_of.as_slice().iter();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl Cell for HistogramCell {
    type Key = Series;

    fn find(process: &Process, series: &Series) -> Option<Arc<Self>> {
        Some(process.registry().histograms.cell(series))
    }
}
