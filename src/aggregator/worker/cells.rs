//! All cells of a process at a moment: emptied, or counted, without a lock that whoever records, reports
//! or asks could wait for.

use std::sync::Arc;

use histogram::Histogram as Plain;

use super::counter::CounterCell;
use super::gauge::GaugeCell;
use super::histogram::HistogramCell;
use super::inventory::InventoryCell;
use crate::aggregator::distribution::Buckets;
use crate::aggregator::ledger::Totals;
use crate::aggregator::message::Sighting;
use crate::aggregator::series::Series;

/// A cell, and what it is found by.
type Found<T> = (Arc<Series>, Arc<T>);

/// From [`Registry::cells`](super::registry::Registry::cells).
pub(crate) struct Cells {
    pub(super) counters: Vec<Found<CounterCell>>,
    pub(super) gauges: Vec<Found<GaugeCell>>,
    pub(super) histograms: Vec<Found<HistogramCell>>,
    pub(super) inventories: Vec<(Arc<str>, Arc<InventoryCell>)>,
}

/// What was taken out of all cells.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    pub(crate) counters: Vec<(Series, u64)>,
    pub(crate) gauges: Vec<(Series, f64)>,
    pub(crate) histograms: Vec<(Series, Buckets)>,
    pub(crate) inventories: Vec<Sighting>,
}

impl Cells {
    /// Takes what has come together, by way of a histogram of the shape that all share.
    pub(crate) fn take(&self, by_way_of: &mut Plain) -> Taken {
        let counters = self.counters.iter().filter_map(|(series, cell)| {
            let count = cell.take();
            (count > 0).then(|| (Series::clone(series), count))
        });
        let gauges = self.gauges.iter();
        let gauges =
            gauges.filter_map(|(series, cell)| Some((Series::clone(series), cell.take()?)));
        let histograms = self.histograms.iter().filter_map(|(series, cell)| {
            let buckets = cell.take(by_way_of)?;
            Some((Series::clone(series), buckets))
        });
        let mut taken = Taken {
            counters: counters.collect(),
            gauges: gauges.collect(),
            histograms: histograms.collect(),
            inventories: Vec::new(),
        };
        for (name, cell) in &self.inventories {
            cell.take(name, &mut taken.inventories);
        }
        taken
    }

    /// What there is to be taken. Gauges amount to nothing.
    pub(crate) fn waiting(&self, by_way_of: &mut Plain) -> Totals {
        let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::saturating_add);
        let histograms = self.histograms.iter();
        Totals {
            counted: sum(&mut self.counters.iter().map(|(_, cell)| cell.waiting())),
            observed: sum(&mut histograms.map(|(_, cell)| cell.waiting(by_way_of))),
            hits: sum(&mut self.inventories.iter().map(|(_, cell)| cell.waiting())),
            attacks: 0,
        }
    }

    /// Whether a gauge has changed since it was taken.
    pub(crate) fn have_gauges(&self) -> bool {
        self.gauges.iter().any(|(_, cell)| cell.is_new())
    }

    /// Lets all gauges be taken once more.
    pub(crate) fn untake_gauges(&self) {
        self.gauges.iter().for_each(|(_, cell)| cell.untake());
    }
}
