//! Values as a histogram that can be merged, with a known error.
//!
//! Buckets grow with the values: each power of two is cut into 32. So a value is known to within one
//! part in 32 (3.2 %), from 0 to `u64::MAX`, and any two distributions can be merged exactly.

use histogram::{Config, Histogram};
use serde::{Deserialize, Serialize};

/// Each power of two is cut into `1 << GROUPING_POWER` buckets.
const GROUPING_POWER: u8 = 5;
const MAX_VALUE_POWER: u8 = 64;
/// The width of a bucket in relation to its values, at most.
pub const RELATIVE_ERROR: f64 = 1.0 / 32.0;

/// The shape that all histograms of this crate share.
pub(crate) fn config() -> Config {
    Config::new(GROUPING_POWER, MAX_VALUE_POWER).expect("the powers are in their ranges")
}

/// The non-empty buckets of a histogram, as they travel: index and count, by rising index.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Buckets(pub Vec<(u16, u64)>);

impl Buckets {
    pub(crate) fn of(histogram: &Histogram) -> Self {
        let filled = histogram.as_slice().iter().zip(0_u16..);
        Self(
            filled
                .filter(|(count, _)| **count > 0)
                .map(|(&count, index)| (index, count))
                .collect(),
        )
    }

    /// Whether they are of the shape that all histograms share: a peer's need not be.
    pub(crate) fn is_well_formed(&self) -> bool {
        let rising = self.0.is_sorted_by(|a, b| a.0 < b.0);
        let within = |last: &(u16, u64)| usize::from(last.0) < config().total_buckets();
        rising && self.0.last().is_none_or(within)
    }

    /// Adds others. Both are well formed.
    pub(crate) fn merge(&mut self, others: &Self) {
        for &(index, count) in &others.0 {
            match self.0.binary_search_by_key(&index, |bucket| bucket.0) {
                Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
                Err(at) => self.0.insert(at, (index, count)),
            }
        }
    }

    /// The values in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        let counts = self.0.iter().map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add)
    }
}

/// Values that were added up from many histograms.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    histogram: Histogram,
}

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::with_config(&config());
        Self { histogram }
    }
}

impl Distribution {
    /// Adds buckets of another. False, and nothing is changed, if they are not of this shape.
    #[must_use]
    pub fn merge(&mut self, buckets: &Buckets) -> bool {
        if !buckets.is_well_formed() {
            return false;
        }
        let own = self.histogram.as_mut_slice();
        for (index, count) in &buckets.0 {
            let slot = &mut own[usize::from(*index)];
            *slot = slot.saturating_add(*count);
        }
        true
    }

    /// The non-empty buckets.
    #[must_use]
    pub fn buckets(&self) -> Buckets {
        Buckets::of(&self.histogram)
    }

    /// The values it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets().count()
    }

    /// The value that the given part of all values does not exceed: 0.5 is the median. Of the
    /// bucket it is in, the highest; so it is at most [`RELATIVE_ERROR`] too high. `None` when empty.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let bucket = self.histogram.quantile_bucket(part.clamp(0.0, 1.0));
        bucket.ok().flatten().map(|bucket| bucket.end())
    }
}
