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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregator::distribution::{Distribution, RELATIVE_ERROR};

    const PARTS: &[f64] = &[0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0];

    /// Of all sizes: most numbers of 64 bits are large.
    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift);
        prop::collection::vec(value, 1..400)
    }

    /// The value that stands at that part of all, in their order.
    fn exact(sorted: &[u64], part: f64) -> u64 {
        let count = f64::from(u32::try_from(sorted.len()).expect("few"));
        let rank = (0..sorted.len()).find(|rank| {
            let rank = f64::from(u32::try_from(rank + 1).expect("few"));
            rank >= part * count
        });
        sorted[rank.expect("no part is more than all")]
    }

    fn taken(values: &[u64]) -> Vec<Buckets> {
        let cell = HistogramCell::default();
        let mut by_way_of = Plain::with_config(&distribution::config());
        // In two takings.
        let (first, second) = values.split_at(values.len() / 2);
        let takings = [first, second].map(|values| {
            values.iter().for_each(|value| cell.record(*value));
            let waiting = cell.waiting(&mut by_way_of);
            assert_eq!(waiting, u64::try_from(values.len()).expect("few"));
            cell.take(&mut by_way_of)
        });
        assert_eq!(cell.take(&mut by_way_of), None);
        takings.into_iter().flatten().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_many_have_recorded_is_merged_within_the_stated_error(
            of_workers in prop::collection::vec(values(), 1..5), backwards: bool,
        ) {
            let mut parts: Vec<Buckets> = of_workers.iter().flat_map(|values| taken(values)).collect();
            if backwards {
                parts.reverse();
            }
            let mut all = Distribution::default();
            let mut buckets = Buckets::default();
            for part in &parts {
                prop_assert!(all.merge(part));
                buckets.merge(part);
            }
            prop_assert_eq!(&all.buckets(), &buckets);
            prop_assert!(buckets.is_well_formed());
            let mut sorted = of_workers.concat();
            sorted.sort_unstable();
            prop_assert_eq!(all.count(), u64::try_from(sorted.len())?);
            for part in PARTS {
                let exact = exact(&sorted, *part);
                let said = all.quantile(*part).expect("it is not empty");
                prop_assert!(said >= exact, "{said} for {exact} at {part}");
                // Small numbers are exact, and so is one in 32 of the others, rounded up.
                let most = u128::from(exact) + u128::from(exact) / 32;
                prop_assert!(u128::from(said) <= most, "{said} for {exact} at {part}");
            }
        }
    }

    #[test]
    fn the_stated_error_is_the_one_that_is_tested() {
        assert!((RELATIVE_ERROR - 1.0 / 32.0).abs() < f64::EPSILON);
        assert_eq!(Distribution::default().quantile(0.5), None);
    }
}
