//! What the agent knows of one worker, and the book it keeps of it.
//!
//! ```text
//!   taken    all that was acknowledged to it: only grows
//!          = applied            what is, was or will be in a report
//!          + own drops          what was acknowledged and is not: refused, lost, withheld
//!   said     what it says it has recorded, and what of that it has dropped itself
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounds::{AgentBounds, count};
use crate::aggregator::{
    Batch, ConfigDocument, DropReason, Hello, Ledger, Series, Totals, WorkerId, WorkerReport,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) process: u32,
    pub(crate) presence: Presence,
    /// It has taken leave: it won't come back.
    pub(crate) left: bool,
    /// The last batch that is applied.
    pub(crate) batch_applied: u64,
    /// Batches up to this one may have been applied by an agent that we know nothing of: as long as they
    /// are not settled, we can't say that one was not, however often the worker says hello.
    unsure_through: u64,
    /// The last attack that is taken.
    pub(crate) attack_taken: u64,
    /// All that was acknowledged, to this worker, by this or an earlier agent.
    taken: Totals,
    applied: Totals,
    own_drops: BTreeMap<DropReason, Totals>,
    /// By its last batch.
    said: Totals,
    said_drops: BTreeMap<DropReason, Totals>,
    gauges: BTreeMap<Series, f64>,
    config: Option<u64>,
    config_refused: Option<(u64, String)>,
    /// It has done something in the open period.
    pub(crate) took_part: bool,
}

/// Whether a worker is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Presence {
    Connected,
    /// It may come back.
    Gone {
        /// Counts all that went, to tell who went first.
        order: u64,
        /// The periods that were closed when it went.
        periods: u64,
    },
}

impl Presence {
    /// To sort by: who is there, then who went last.
    pub(crate) fn latest_first(self) -> u64 {
        match self {
            Self::Connected => 0,
            Self::Gone { order, .. } => u64::MAX - order,
        }
    }
}

/// Where something with a number stands in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Next,
    /// It was taken before.
    Again,
    /// The ones between are missing.
    Gap {
        expected: u64,
    },
}

impl Order {
    fn of(number: u64, last: u64) -> Self {
        // The numbers of a worker that lies end at the last one.
        let expected = last.saturating_add(1);
        if number <= last {
            Self::Again
        } else if number == expected {
            Self::Next
        } else {
            Self::Gap { expected }
        }
    }
}

impl Worker {
    /// A worker that was not known, or not any more.
    pub(crate) fn new(hello: &Hello) -> Self {
        Self {
            process: hello.process,
            presence: Presence::Connected,
            left: false,
            batch_applied: 0,
            unsure_through: hello.batch_sent,
            attack_taken: 0,
            taken: Totals::default(),
            applied: Totals::default(),
            own_drops: BTreeMap::new(),
            said: Totals::default(),
            said_drops: BTreeMap::new(),
            gauges: BTreeMap::new(),
            config: None,
            config_refused: None,
            took_part: true,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.presence == Presence::Connected
    }

    /// It has said hello. What an agent has acknowledged to it and we don't know of is lost.
    pub(crate) fn greet(&mut self, hello: &Hello, config: Option<&ConfigDocument>) {
        self.presence = Presence::Connected;
        self.left = false;
        // It is back.
        self.own_drops.remove(&DropReason::Abandoned);
        self.process = hello.process;
        self.took_part = true;
        let mut lost = Totals::default();
        let unknown = hello.acknowledged.minus(self.taken);
        if hello.batch_acknowledged > self.batch_applied {
            self.batch_applied = hello.batch_acknowledged;
            self.unsure_through = hello.batch_sent;
            lost = Totals {
                attacks: 0,
                ..unknown
            };
        }
        if hello.attack_acknowledged > self.attack_taken {
            self.attack_taken = hello.attack_acknowledged;
            lost.attacks = unknown.attacks;
        }
        self.taken = self.taken.plus(lost);
        self.drop_own(DropReason::AgentLost, lost);
        let same = config.filter(|document| hello.config_hash == Some(document.hash));
        self.config = None;
        if let Some(document) = same {
            self.config_runs(document.version);
        }
    }

    /// Whether it is known here what became of all that it ever sent.
    pub(crate) fn is_known_up_to(&self, hello: &Hello) -> bool {
        self.batch_applied >= hello.batch_acknowledged.max(self.unsure_through)
    }

    pub(crate) fn batch_order(&self, seq: u64) -> Order {
        Order::of(seq, self.batch_applied)
    }

    pub(crate) fn attack_order(&self, number: u64) -> Order {
        Order::of(number, self.attack_taken)
    }

    /// The next batch was added up, so much of it could not be.
    pub(crate) fn batch_taken(&mut self, batch: &Batch, applied: Totals, refused: Totals) {
        self.batch_applied = batch.seq;
        self.taken = self.taken.plus(applied).plus(refused);
        self.applied = self.applied.plus(applied);
        self.drop_own(DropReason::Refused, refused);
        self.said = batch.recorded;
        self.said_drops.clear();
        for &(reason, what) in &batch.dropped {
            let entry = self.said_drops.entry(reason).or_default();
            *entry = entry.plus(what);
        }
        self.took_part = true;
    }

    pub(crate) fn attack_taken(&mut self, number: u64) {
        self.attack_taken = number;
        self.taken = self.taken.plus(ONE_ATTACK);
        self.applied = self.applied.plus(ONE_ATTACK);
        self.took_part = true;
    }

    /// An attack that was taken goes to no sink.
    pub(crate) fn attack_withheld(&mut self) {
        self.applied = self.applied.minus(ONE_ATTACK);
        self.drop_own(DropReason::SinkBound, ONE_ATTACK);
    }

    /// Sets gauges; how many had no room, and how many there are more than before.
    pub(crate) fn set_gauges(
        &mut self,
        gauges: Vec<(Series, f64)>,
        bounds: &AgentBounds,
        room: usize,
    ) -> Gauged {
        let before = self.gauges.len();
        let max = count(bounds.worker_gauges_max).min(before + room);
        let mut left_out = 0;
        for (series, value) in gauges {
            if let Some(known) = self.gauges.get_mut(&series) {
                *known = value;
            } else if series.is_bounded() && self.gauges.len() < max {
                self.gauges.insert(series, value);
            } else {
                left_out += 1;
            }
        }
        Gauged {
            added: self.gauges.len() - before,
            left_out,
        }
    }

    pub(crate) fn gauges(&self) -> &BTreeMap<Series, f64> {
        &self.gauges
    }

    /// Forgets the gauges, as a worker that comes back says them again; how many there were.
    pub(crate) fn clear_gauges(&mut self) -> usize {
        std::mem::take(&mut self.gauges).len()
    }

    pub(crate) fn config_runs(&mut self, version: u64) {
        self.config = Some(version);
        // What it runs is not older: it refuses nothing any more.
        self.config_refused
            .take_if(|(refused, _)| *refused <= version);
    }

    pub(crate) fn config_refused(&mut self, version: u64, why: String) {
        if self.config.is_none_or(|runs| runs < version) {
            self.config_refused = Some((version, why));
        }
    }

    /// Nothing more will come of it: what is on its way never arrives.
    pub(crate) fn abandon(&mut self) {
        let pending = self.ledger().pending;
        self.drop_own(DropReason::Abandoned, pending);
    }

    fn drop_own(&mut self, reason: DropReason, what: Totals) {
        if !what.is_zero() {
            let entry = self.own_drops.entry(reason).or_default();
            *entry = entry.plus(what);
        }
    }

    /// Always balanced: attacks arrive by themselves, and may be ahead of what the last batch says.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger {
            applied: self.applied,
            dropped: self.said_drops.clone(),
            ..Ledger::default()
        };
        for (&reason, &what) in &self.own_drops {
            ledger.drop_for(reason, what);
        }
        ledger.dropped.retain(|_, what| !what.is_zero());
        let known = ledger.applied.plus(ledger.dropped_total());
        ledger.pending = self.said.minus(known);
        ledger.recorded = known.plus(ledger.pending);
        ledger
    }

    pub(crate) fn report(&self, worker: WorkerId) -> WorkerReport {
        WorkerReport {
            worker,
            process: self.process,
            connected: self.is_connected(),
            config: self.config,
            config_refused: self.config_refused.clone(),
            ledger: self.ledger(),
        }
    }
}

/// What became of gauges.
pub(crate) struct Gauged {
    pub(crate) added: usize,
    pub(crate) left_out: u64,
}

pub(crate) const ONE_ATTACK: Totals = Totals {
    counted: 0,
    observed: 0,
    hits: 0,
    attacks: 1,
};
