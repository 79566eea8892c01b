//! Which cells there are, each once, and no more than their bounds.
//!
//! A name beyond the bound on its own series, or beyond the bound on all, counts in
//! [`Series::overflow`] of that name. A name of which there is nothing yet when all are taken counts in
//! one that all such names share: so there are never more than twice `series_max` and one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::cells::Cells;
use super::counter::CounterCell;
use super::fresh::Fresh;
use super::gauge::GaugeCell;
use super::histogram::HistogramCell;
use super::inventory::InventoryCell;
use super::limits::WorkerLimits;
use crate::aggregator::series::{OVERFLOW, Series, cut};

/// What names share that came when all series were taken.
const OTHER_NAMES: &str = "wayside.other";
/// The inventories of a worker. Further ones are one, by the name of [`OVERFLOW`].
pub(crate) const INVENTORIES_MAX: usize = 64;

/// All cells of one process.
pub(crate) struct Registry {
    pub(crate) counters: Table<CounterCell>,
    pub(crate) gauges: Table<GaugeCell>,
    pub(crate) histograms: Table<HistogramCell>,
    inventories: BTreeMap<Arc<str>, Arc<InventoryCell>>,
    keys_max: usize,
    fresh: Arc<Fresh>,
}

/// Cells of one kind.
pub(crate) struct Table<T> {
    cells: HashMap<Arc<Series>, Arc<T>>,
    /// How many series there are of a name, without its overflow.
    names: HashMap<String, usize>,
    /// The sum of those.
    total: usize,
    max: usize,
    per_name_max: usize,
    /// The times that a series was not given because of a bound.
    overflowed: u64,
    fresh: Arc<Fresh>,
}

impl<T: Default> Table<T> {
    fn new(max: u32, per_name_max: u32, fresh: &Arc<Fresh>) -> Self {
        let count = |max| usize::try_from(max).unwrap_or(usize::MAX);
        Self {
            cells: HashMap::new(),
            names: HashMap::new(),
            total: 0,
            max: count(max),
            per_name_max: count(per_name_max),
            overflowed: 0,
            fresh: Arc::clone(fresh),
        }
    }

    /// The cell of a series: the same each time.
    pub(crate) fn cell(&mut self, series: &Series) -> Arc<T> {
        if let Some(cell) = self.cells.get(series) {
            return Arc::clone(cell);
        }
        let of_name = self.names.get(&series.name).copied();
        if self.total < self.max && of_name.unwrap_or(0) < self.per_name_max {
            self.total += 1;
            self.fresh.add(series.texts_len());
            *self.names.entry(series.name.clone()).or_default() += 1;
            return self.entry(series.clone());
        }
        self.overflowed += 1;
        let name = of_name.map_or(OTHER_NAMES, |_| &series.name);
        self.entry(Series::overflow(name))
    }

    fn entry(&mut self, series: Series) -> Arc<T> {
        Arc::clone(self.cells.entry(Arc::new(series)).or_default())
    }

    fn all(&self) -> Vec<(Arc<Series>, Arc<T>)> {
        let cells = self.cells.iter();
        cells
            .map(|(series, cell)| (Arc::clone(series), Arc::clone(cell)))
            .collect()
    }

    /// Makes sure that there is a cell for a series, and says under which one it counts.
    pub(crate) fn claim(&mut self, series: &Series) -> Series {
        drop(self.cell(series));
        self.effective(series)
    }

    fn effective(&self, series: &Series) -> Series {
        if self.cells.contains_key(series) {
            series.clone()
        } else if self.names.contains_key(&series.name) {
            Series::overflow(&series.name)
        } else {
            Series::overflow(OTHER_NAMES)
        }
    }
}

impl Registry {
    pub(crate) fn new(limits: &WorkerLimits, fresh: Arc<Fresh>) -> Self {
        let (series, per_name) = (limits.series_max, limits.series_per_name_max);
        Self {
            counters: Table::new(series, per_name, &fresh),
            gauges: Table::new(series, per_name, &fresh),
            histograms: Table::new(limits.histograms_max, per_name, &fresh),
            inventories: BTreeMap::new(),
            keys_max: usize::try_from(limits.keys_max).unwrap_or(usize::MAX),
            fresh,
        }
    }

    /// The inventory of a name: the same each time.
    pub(crate) fn inventory(&mut self, name: &str) -> Arc<InventoryCell> {
        let name = self.effective_inventory(name).into();
        let new = || Arc::new(InventoryCell::new(self.keys_max, Arc::clone(&self.fresh)));
        Arc::clone(self.inventories.entry(name).or_insert_with(new))
    }

    /// Makes sure that there is an inventory for a name, and says under which one it is kept.
    pub(crate) fn claim_inventory(&mut self, name: &str) -> String {
        let name = self.effective_inventory(name).to_owned();
        drop(self.inventory(&name));
        name
    }

    fn effective_inventory<'a>(&self, name: &'a str) -> &'a str {
        let name = cut(name);
        let known = self.inventories.contains_key(name);
        if known || self.inventories.len() < INVENTORIES_MAX {
            name
        } else {
            OVERFLOW
        }
    }

    /// All cells that there are now. To look into them takes longer than anybody should wait who asks
    /// for one, so that is done without the registry.
    pub(crate) fn cells(&self) -> Cells {
        let inventories = self.inventories.iter();
        let inventories = inventories.map(|(name, cell)| (Arc::clone(name), Arc::clone(cell)));
        Cells {
            counters: self.counters.all(),
            gauges: self.gauges.all(),
            histograms: self.histograms.all(),
            inventories: inventories.collect(),
        }
    }

    /// How often a series was not given because of a bound, and how many hits of keys were not.
    pub(crate) fn overflowed(&self) -> (u64, u64) {
        let series = [
            self.counters.overflowed,
            self.gauges.overflowed,
            self.histograms.overflowed,
        ];
        let keys = self.inventories.values();
        (
            series.iter().sum(),
            keys.map(|cell| cell.overflowed.read()).sum(),
        )
    }
}

#[cfg(test)]
mod tests {
    use histogram::Histogram as Plain;

    use super::*;
    use crate::aggregator::distribution;
    use crate::aggregator::worker::cells::Taken;

    fn take(registry: &Registry) -> Taken {
        registry.fresh.begin_again();
        let mut by_way_of = Plain::with_config(&distribution::config());
        registry.cells().take(&mut by_way_of)
    }

    fn registry(series_max: u32, series_per_name_max: u32) -> Registry {
        let limits = WorkerLimits {
            series_max,
            series_per_name_max,
            ..WorkerLimits::default()
        };
        let fresh = Fresh::new(10_000, Arc::default());
        Registry::new(&limits, Arc::new(fresh))
    }

    fn counter(registry: &mut Registry, name: &str, label: u32) -> Arc<CounterCell> {
        let label = label.to_string();
        let series = Series::new(name, &[("user", &label)]);
        registry.counters.cell(&series)
    }

    #[test]
    fn the_same_series_is_the_same_cell() {
        let mut registry = registry(10, 10);
        let one = registry
            .counters
            .cell(&Series::new("a", &[("x", "1"), ("y", "2")]));
        let other = registry
            .counters
            .cell(&Series::new("a", &[("y", "2"), ("x", "1")]));
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn what_is_new_since_the_last_flush_adds_up_and_what_is_counted_on_does_not() {
        let mut registry = registry(1000, 1000);
        let rounds = |registry: &mut Registry, first: u32| {
            let mut count = 0;
            while !registry.fresh.is_much() && count < 1000 {
                counter(registry, "requests", first + count).add(1);
                registry.inventory("users").seen(
                    &(first + count).to_string(),
                    1,
                    Default::default(),
                );
                count += 1;
            }
            count
        };
        // 32 bytes each, besides the texts.
        let count = rounds(&mut registry, 0);
        assert!((80..150).contains(&count), "{count}");
        take(&registry);
        assert!(!registry.fresh.is_much());
        for _ in 0..100_000 {
            counter(&mut registry, "requests", 1).add(1);
            registry.inventory("users").seen("1", 1, Default::default());
        }
        assert!(!registry.fresh.is_much());
        // Keys that are seen again after a flush go into the next batch again.
        take(&registry);
        (0..1000).for_each(|key| {
            let key = (key % 500).to_string();
            registry
                .inventory("users")
                .seen(&key, 1, Default::default());
        });
        assert!(registry.fresh.is_much());
    }

    #[test]
    fn any_number_of_label_values_take_no_more_than_the_bound() {
        let mut registry = registry(1000, 100);
        for user in 0..100_000 {
            counter(&mut registry, "requests", user).add(1);
        }
        assert_eq!(registry.counters.cells.len(), 101);
        assert_eq!(registry.overflowed(), (99_900, 0));
        let taken = take(&registry);
        assert_eq!(taken.counters.len(), 101);
        let overflow = Series::overflow("requests");
        let of_overflow = taken
            .counters
            .iter()
            .find(|(series, _)| *series == overflow);
        assert_eq!(of_overflow.map(|(_, count)| *count), Some(99_900));
    }

    #[test]
    fn any_number_of_names_take_no_more_than_the_bound() {
        let mut registry = registry(100, 10);
        for name in 0..100_000 {
            counter(&mut registry, &format!("name{name}"), 0).add(1);
        }
        assert_eq!(registry.counters.cells.len(), 101);
        let mut by_way_of = Plain::with_config(&distribution::config());
        assert_eq!(registry.cells().waiting(&mut by_way_of).counted, 100_000);
        counter(&mut registry, "name1", 7).add(1);
        let of_name = registry
            .counters
            .effective(&Series::new("name1", &[("user", "7")]));
        assert_eq!(of_name, Series::overflow("name1"));
        assert_eq!(registry.counters.cells.len(), 102);
        assert!((0..1000).all(|name| {
            registry
                .inventory(&format!("inventory{name}"))
                .seen("a", 1, Default::default());
            registry.inventories.len() <= INVENTORIES_MAX + 1
        }));
    }
}
