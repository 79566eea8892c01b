//! A period: what has come together since the last heartbeat, and how it becomes the next.
//!
//! Invariants: no map is longer than its bound and the overflow entries; sums saturate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounds::{AgentBounds, count};
use crate::aggregator::{
    Batch, Buckets, Count, Distribution, KEY_LEN_MAX, Listing, OVERFLOW, Series, Sighting, Spread,
    TEXT_LEN_MAX, Totals, UnixMicros,
};

/// Overflow series of different names, beyond the bound on all others. Those of further names share
/// one.
const OVERFLOW_NAMES_MAX: usize = 64;

/// What all workers of an application have done since the last heartbeat was frozen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Period {
    pub(crate) from: UnixMicros,
    counters: BTreeMap<Series, u64>,
    histograms: BTreeMap<Series, Buckets>,
    keys: BTreeMap<(String, String), Seen>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    hits: u64,
    first: UnixMicros,
    last: UnixMicros,
}

/// What became of a batch's stats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Added {
    /// Added up.
    pub(crate) applied: Totals,
    /// Not of a form that can be added up.
    pub(crate) refused: Totals,
    /// Entries that went to an overflow series or key.
    pub(crate) overflowed: u64,
}

impl Period {
    pub(crate) fn starting(from: UnixMicros) -> Self {
        Self {
            from,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.histograms.is_empty() && self.keys.is_empty()
    }

    /// Counters, histograms and keys.
    pub(crate) fn series_count(&self) -> usize {
        self.counters.len() + self.histograms.len() + self.keys.len()
    }

    /// Adds everything but the gauges, which are the worker's.
    pub(crate) fn add(&mut self, batch: &mut Batch, bounds: &AgentBounds) -> Added {
        let mut added = Added::default();
        for (series, value) in batch.counters.drain(..) {
            self.add_count(series, value, bounds, &mut added);
        }
        for (series, buckets) in batch.histograms.drain(..) {
            self.add_values(series, &buckets, bounds, &mut added);
        }
        for sighting in batch.inventories.drain(..) {
            self.add_sighting(sighting, bounds, &mut added);
        }
        added
    }

    fn add_count(&mut self, series: Series, value: u64, bounds: &AgentBounds, added: &mut Added) {
        let what = Totals {
            counted: value,
            ..Totals::default()
        };
        if !series.is_bounded() {
            added.refused = added.refused.plus(what);
            return;
        }
        let max = count(bounds.counters_max);
        let sum = entry(&mut self.counters, series, max, &mut added.overflowed);
        *sum = sum.saturating_add(value);
        added.applied = added.applied.plus(what);
    }

    fn add_values(
        &mut self,
        series: Series,
        buckets: &Buckets,
        bounds: &AgentBounds,
        added: &mut Added,
    ) {
        let what = Totals {
            observed: buckets.count(),
            ..Totals::default()
        };
        if !series.is_bounded() || !buckets.is_well_formed() {
            added.refused = added.refused.plus(what);
            return;
        }
        let max = count(bounds.histograms_max);
        entry(&mut self.histograms, series, max, &mut added.overflowed).merge(buckets);
        added.applied = added.applied.plus(what);
    }

    fn add_sighting(&mut self, sighting: Sighting, bounds: &AgentBounds, added: &mut Added) {
        let what = Totals {
            hits: sighting.hits,
            ..Totals::default()
        };
        if sighting.inventory.len() > TEXT_LEN_MAX || sighting.key.len() > KEY_LEN_MAX {
            added.refused = added.refused.plus(what);
            return;
        }
        let mut place = (sighting.inventory, sighting.key);
        let max = count(bounds.keys_max);
        if !self.keys.contains_key(&place) && self.keys.len() >= max {
            added.overflowed += 1;
            place.1 = OVERFLOW.to_owned();
            if !self.keys.contains_key(&place) && self.keys.len() >= max + OVERFLOW_NAMES_MAX {
                place.0 = OVERFLOW.to_owned();
            }
        }
        let seen = self.keys.entry(place).or_insert(Seen {
            hits: 0,
            first: sighting.first,
            last: sighting.last,
        });
        seen.hits = seen.hits.saturating_add(sighting.hits);
        seen.first = seen.first.min(sighting.first);
        seen.last = seen.last.max(sighting.last);
        added.applied = added.applied.plus(what);
    }

    /// The lists of a heartbeat.
    pub(crate) fn into_lists(self) -> (Vec<Count>, Vec<Spread>, Vec<Listing>) {
        let counts = self.counters.into_iter();
        let counts = counts.map(|(series, value)| Count { series, value });
        let spreads = self.histograms.into_iter();
        let spreads = spreads.map(|(series, buckets)| spread(series, buckets));
        let listings = self.keys.into_iter();
        let listings = listings.map(|((inventory, key), seen)| Listing {
            inventory,
            key,
            hits: seen.hits,
            first: seen.first,
            last: seen.last,
        });
        (counts.collect(), spreads.collect(), listings.collect())
    }
}

/// Finds the place of a series, or that of the overflow that stands for it.
fn entry<'a, V: Default>(
    map: &'a mut BTreeMap<Series, V>,
    series: Series,
    max: usize,
    overflowed: &mut u64,
) -> &'a mut V {
    if map.len() < max || map.contains_key(&series) {
        return map.entry(series).or_default();
    }
    *overflowed += 1;
    let of_its_name = Series::overflow(&series.name);
    if map.len() < max + OVERFLOW_NAMES_MAX || map.contains_key(&of_its_name) {
        return map.entry(of_its_name).or_default();
    }
    map.entry(Series::overflow(OVERFLOW)).or_default()
}

/// The percentiles of what was observed.
fn spread(series: Series, buckets: Buckets) -> Spread {
    let mut distribution = Distribution::default();
    // What is in a period is of the right form.
    let merged = distribution.merge(&buckets);
    debug_assert!(merged);
    let at = |part| distribution.quantile(part).unwrap_or(0);
    Spread {
        series,
        count: buckets.count(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        buckets,
    }
}
