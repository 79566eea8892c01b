//! The book that has to balance: recorded = applied + dropped + pending.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How much was recorded, in units that need no counting of their own. All sums stop at `u64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// The sum of all increments of all counters.
    pub counted: u64,
    /// The values that histograms took.
    pub observed: u64,
    /// The hits of inventories' keys.
    pub hits: u64,
    /// Attacks.
    pub attacks: u64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// What is left of this without the other; never less than nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            counted: with(self.counted, other.counted),
            observed: with(self.observed, other.observed),
            hits: with(self.hits, other.hits),
            attacks: with(self.attacks, other.attacks),
        }
    }
}

/// Why something that was recorded will not be in any report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropReason {
    /// The worker held as many attacks as it may hold unacknowledged.
    QueueFull,
    /// It alone was longer than a message may be.
    TooLong,
    /// An agent that kept it in memory only was killed before it had reported it.
    AgentLost,
    /// The agent refused it: not within the bounds, or not in its order.
    Refused,
    /// No sink took it within the bound of what is kept for sinks.
    SinkBound,
    /// The worker ended before its agent could be reached.
    Abandoned,
    /// It was sent to an agent that has not acknowledged it, and the one that there is now does not know
    /// whether it was counted. It is not sent again, so that nothing is counted twice.
    InDoubt,
}

impl DropReason {
    /// As in reports: `queue_full`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLong => "too_long",
            Self::AgentLost => "agent_lost",
            Self::Refused => "refused",
            Self::SinkBound => "sink_bound",
            Self::Abandoned => "abandoned",
            Self::InDoubt => "in_doubt",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What became of everything that one worker, or all of them, recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// All that was recorded so far.
    pub recorded: Totals,
    /// What was added up by the agent.
    pub applied: Totals,
    /// What will never be, and why.
    pub dropped: BTreeMap<DropReason, Totals>,
    /// What is on its way.
    pub pending: Totals,
}

impl Ledger {
    /// Whether recorded = applied + dropped + pending, to the last unit.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let accounted = self.applied.plus(self.dropped_total()).plus(self.pending);
        self.recorded == accounted
    }

    /// All that was dropped, for whatever reason.
    #[must_use]
    pub fn dropped_total(&self) -> Totals {
        let each = self.dropped.values().copied();
        each.fold(Totals::default(), Totals::plus)
    }

    /// Counts something as dropped.
    pub fn drop_for(&mut self, reason: DropReason, what: Totals) {
        if !what.is_zero() {
            let entry = self.dropped.entry(reason).or_default();
            *entry = entry.plus(what);
        }
    }

    /// What is left of this without the other, which was a part of it.
    #[must_use]
    pub fn minus(mut self, other: &Self) -> Self {
        self.recorded = self.recorded.minus(other.recorded);
        self.applied = self.applied.minus(other.applied);
        self.pending = self.pending.minus(other.pending);
        for (reason, what) in &other.dropped {
            if let Some(entry) = self.dropped.get_mut(reason) {
                *entry = entry.minus(*what);
            }
        }
        self.dropped.retain(|_, what| !what.is_zero());
        self
    }

    /// Both together: the ledger of several workers.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.recorded = self.recorded.plus(other.recorded);
        self.applied = self.applied.plus(other.applied);
        self.pending = self.pending.plus(other.pending);
        for (&reason, &what) in &other.dropped {
            self.drop_for(reason, what);
        }
        self
    }
}
