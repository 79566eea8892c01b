//! What an agent keeps at most.

use serde::{Deserialize, Serialize};

/// What an agent keeps at most, for each application unless it says otherwise. Whatever is beyond a
/// bound is counted, never lost silently.
///
/// ```
/// use wayside::aggregator::AgentBounds;
///
/// let bounds = AgentBounds {
///     counters_max: 1000,
///     ..AgentBounds::default()
/// };
/// assert_eq!(bounds.workers_max, 4096);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentBounds {
    /// Applications, where any may come ([`any_application`]).
    ///
    /// [`any_application`]: super::AgentBuilder::any_application
    pub applications_max: u32,
    /// Workers that are remembered, connected or gone. One more takes the place of the one that has
    /// gone first; if all are connected it is refused.
    pub workers_max: u32,
    /// A worker that has gone is named in the status for so many periods.
    pub gone_periods: u32,
    /// Of the workers that have gone without a farewell, and are named no more, so many are known again
    /// should they come back. To one beyond that the agent says that it does not know it, and what may
    /// have been counted already is not counted again: see [`DropReason::InDoubt`].
    ///
    /// [`DropReason::InDoubt`]: crate::aggregator::DropReason::InDoubt
    pub returns_max: u32,
    /// Counters in one period. One more is added to the series `overflow` of its name.
    pub counters_max: u32,
    /// Histograms in one period, likewise.
    pub histograms_max: u32,
    /// Keys of inventories in one period. One more is added to the key `overflow` of its inventory.
    pub keys_max: u32,
    /// Gauges of one worker. One more is left out, and counted.
    pub worker_gauges_max: u32,
    /// Gauges of all workers together, likewise.
    pub gauges_max: u32,
    /// Attacks and findings that wait for the sinks. One more takes the place of the oldest, which
    /// is counted as dropped for `sink_bound`.
    pub reports_max: u32,
    /// The bytes of those, about.
    pub reports_len_max: u64,
}

impl Default for AgentBounds {
    fn default() -> Self {
        Self {
            applications_max: 64,
            workers_max: 4096,
            gone_periods: 1440,
            returns_max: 16_384,
            counters_max: 10_000,
            histograms_max: 2_000,
            keys_max: 10_000,
            worker_gauges_max: 1_000,
            gauges_max: 20_000,
            reports_max: 100_000,
            reports_len_max: 64 << 20,
        }
    }
}

/// As a length to compare with. Only on a machine of 16 bits it could be cut.
pub(super) fn count(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}
