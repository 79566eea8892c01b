//! What goes up and down.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Process;
use super::handle::{Cell, Handle};
use crate::aggregator::series::Series;

/// A value as it is now: connections, the length of a queue, a temperature. Cheap to clone; all of
/// one series set the same value.
///
/// What is not a finite number is ignored.
///
/// ```
/// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
/// let open = worker.gauge("db.connections");
/// open.set(3.0);
/// open.add(-1.0);
/// assert_eq!(open.value(), Some(2.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Gauge(pub(crate) Handle<GaugeCell>);

impl Gauge {
    /// It is this now.
    #[inline]
    pub fn set(&self, value: f64) {
        if let Some(cell) = self.0.cell() {
            cell.set(value);
        }
    }

    /// It is so much more now, or less. At first it is 0.
    pub fn add(&self, difference: f64) {
        if let Some(cell) = self.0.cell() {
            cell.add(difference);
        }
    }

    /// What it is now. `None` before it was first set in this process.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.0.cell()?.value()
    }

    /// What it is called.
    #[must_use]
    pub fn series(&self) -> &Series {
        self.0.key()
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gauge({})", self.series())
    }
}

/// The bits of a value that is no number: not set yet.
const UNSET: u64 = u64::MAX;

/// The value, and the one that was taken last.
#[derive(Debug)]
pub(crate) struct GaugeCell {
    now: AtomicU64,
    taken: AtomicU64,
}

impl Default for GaugeCell {
    fn default() -> Self {
        Self {
            now: AtomicU64::new(UNSET),
            taken: AtomicU64::new(UNSET),
        }
    }
}

impl GaugeCell {
    #[inline]
    fn set(&self, value: f64) {
        if value.is_finite() {
            self.now.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    fn add(&self, difference: f64) {
        let sum = |bits| {
            let sum = number(bits).unwrap_or(0.0) + difference;
            sum.is_finite().then(|| sum.to_bits())
        };
        // What would not be finite is ignored.
        self.now
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
            .ok();
    }

    fn value(&self) -> Option<f64> {
        number(self.now.load(Ordering::Relaxed))
    }

    /// The value, if it is another than the one that was taken last.
    pub(crate) fn take(&self) -> Option<f64> {
        let now = self.now.load(Ordering::Relaxed);
        let before = self.taken.swap(now, Ordering::Relaxed);
        (now != before).then(|| number(now)).flatten()
    }

    /// Whether there is something to take.
    pub(crate) fn is_new(&self) -> bool {
        let now = self.now.load(Ordering::Relaxed);
        now != UNSET && now != self.taken.load(Ordering::Relaxed)
    }

    /// Lets the value be taken once more: whoever took it has forgotten it.
    pub(crate) fn untake(&self) {
        self.taken.store(UNSET, Ordering::Relaxed);
    }
}

fn number(bits: u64) -> Option<f64> {
    (bits != UNSET).then(|| f64::from_bits(bits))
}

impl Cell for GaugeCell {
    type Key = Series;

    fn find(process: &Process, series: &Series) -> Option<Arc<Self>> {
        Some(process.registry().gauges.cell(series))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_when_it_has_changed() {
        let cell = GaugeCell::default();
        assert_eq!(cell.take(), None);
        assert!(!cell.is_new());
        cell.add(1.5);
        assert!(cell.is_new());
        assert_eq!(cell.take(), Some(1.5));
        assert!(!cell.is_new());
        cell.set(f64::NAN);
        cell.add(f64::INFINITY);
        cell.set(1.5);
        assert_eq!(cell.take(), None);
        cell.untake();
        assert_eq!(cell.take(), Some(1.5));
    }
}
