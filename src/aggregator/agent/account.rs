//! What the agent keeps of one application. Nothing of it is ever mixed with another's.
//!
//! Invariants: at most one period is frozen; the total ledger is the sum of those of the workers
//! that are remembered and of those that are not, less what went to no sink.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bounds::{AgentBounds, count};
use super::period::Period;
use super::record::{ConfigOrigin, Fate};
use super::waiting::{Ticketed, Waiting, kept};
use super::workers::{Gauged, Order, Presence, Worker};
use crate::aggregator::{
    AttackNotice, AttackReport, Batch, ConfigDocument, DropReason, Finding, Heartbeat, Hello,
    Ledger, Level, Report, Series, Totals, UnixMicros, WorkerId, WorkerReport,
};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    workers: BTreeMap<WorkerId, Worker>,
    /// Of workers that are forgotten.
    forgotten: Ledger,
    /// Of those, the ones that may come back: where they stood.
    faded: BTreeMap<WorkerId, Worker>,
    /// Stats of heartbeats that no sink took.
    unsent: Totals,
    open: Period,
    frozen: Option<Frozen>,
    waiting: Waiting,
    config: Option<ConfigDocument>,
    config_origin: ConfigOrigin,
    /// Gauges of all workers.
    gauges: usize,
    /// Periods that were closed.
    periods: u64,
    /// Workers that went.
    gone: u64,
    pub(crate) spilled: Spilled,
}

/// What did not find a place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Spilled {
    /// Entries that were added to an overflow series or key.
    pub(crate) entries: u64,
    /// Values of gauges that were left out.
    pub(crate) gauges: u64,
    /// Workers that were forgotten.
    pub(crate) workers: u64,
    /// Reports that went to no sink.
    pub(crate) reports: u64,
}

/// A heartbeat that is on its way to the sinks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Frozen {
    #[serde(with = "kept")]
    report: Arc<Report>,
    totals: Totals,
}

impl Account {
    pub(crate) fn starting(from: UnixMicros) -> Self {
        Self {
            open: Period::starting(from),
            ..Self::default()
        }
    }

    // What it takes.

    /// Nobody is connected any more: the agent that they were connected to has ended.
    pub(crate) fn disconnect_all(&mut self) {
        let all: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in all {
            self.worker_gone(worker);
        }
    }

    /// Whether a worker can be welcomed: it is known, or there is room for it.
    pub(crate) fn has_room_for(&self, worker: WorkerId, bounds: &AgentBounds) -> bool {
        self.workers.contains_key(&worker)
            || self.workers.len() < count(bounds.workers_max)
            || self.workers.values().any(|known| !known.is_connected())
    }

    pub(crate) fn greet(&mut self, hello: &Hello, bounds: &AgentBounds) {
        if !self.has_room_for(hello.worker, bounds) {
            return;
        }
        // Before others fade into its place.
        let faded = self.faded.remove(&hello.worker);
        if let Some(worker) = &faded {
            // It counts for itself again.
            self.forgotten = std::mem::take(&mut self.forgotten).minus(&worker.ledger());
        }
        if !self.workers.contains_key(&hello.worker) {
            while self.workers.len() >= count(bounds.workers_max) && self.forget_first(bounds) {}
        }
        let worker = self
            .workers
            .entry(hello.worker)
            .or_insert_with(|| faded.unwrap_or_else(|| Worker::new(hello)));
        worker.greet(hello, self.config.as_ref());
    }

    /// Whether it is known here what became of all that a worker ever sent.
    pub(crate) fn knows(&self, hello: &Hello) -> bool {
        let present = self.workers.get(&hello.worker);
        let known = present.or_else(|| self.faded.get(&hello.worker));
        known.is_some_and(|worker| worker.is_known_up_to(hello))
    }

    pub(crate) fn take_batch(&mut self, worker: WorkerId, mut batch: Batch, bounds: &AgentBounds) {
        let room = count(bounds.gauges_max).saturating_sub(self.gauges);
        let Some(known) = self.workers.get_mut(&worker) else {
            return;
        };
        if known.batch_order(batch.seq) != Order::Next {
            return;
        }
        let gauges = std::mem::take(&mut batch.gauges);
        let Gauged { added, left_out } = known.set_gauges(gauges, bounds, room);
        self.gauges += added;
        self.spilled.gauges += left_out;
        let sums = self.open.add(&mut batch, bounds);
        self.spilled.entries += sums.overflowed;
        known.batch_taken(&batch, sums.applied, sums.refused);
    }

    /// Takes the next attack of a worker. False if it is not the next one.
    pub(crate) fn take_attack(
        &mut self,
        application: String,
        worker: WorkerId,
        report: AttackReport,
        ticket: u64,
    ) -> bool {
        let Some(known) = self.workers.get_mut(&worker) else {
            return false;
        };
        if known.attack_order(report.number) != Order::Next {
            return false;
        }
        known.attack_taken(report.number);
        let notice = AttackNotice {
            id: attack_id(worker, report.number),
            application,
            worker,
            number: report.number,
            at: report.at,
            body: report.body,
        };
        self.waiting.push(ticket, Report::Attack(notice));
        true
    }

    pub(crate) fn take_finding(&mut self, finding: Finding, ticket: u64) {
        self.waiting.push(ticket, Report::Finding(finding));
    }

    pub(crate) fn config_runs(&mut self, worker: WorkerId, version: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.config_runs(version);
        }
    }

    pub(crate) fn config_refused(&mut self, worker: WorkerId, version: u64, why: String) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.config_refused(version, why);
        }
    }

    pub(crate) fn set_config(&mut self, document: ConfigDocument, origin: ConfigOrigin) {
        self.config = Some(document);
        self.config_origin = origin;
    }

    pub(crate) fn worker_gone(&mut self, worker: WorkerId) {
        let Some(worker) = self.workers.get_mut(&worker) else {
            return;
        };
        if worker.is_connected() {
            self.gone += 1;
            worker.took_part = true;
            worker.presence = Presence::Gone {
                order: self.gone,
                periods: self.periods,
            };
            self.gauges -= worker.clear_gauges();
        }
    }

    /// As gone, and nothing more will come of it.
    pub(crate) fn worker_left(&mut self, worker: WorkerId) {
        self.worker_gone(worker);
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.abandon();
            worker.left = true;
        }
    }

    /// Forgets the worker that has gone first. False if there is none.
    fn forget_first(&mut self, bounds: &AgentBounds) -> bool {
        let gone = self.workers.iter().filter(|known| !known.1.is_connected());
        let first = gone
            .min_by_key(|known| known.1.presence)
            .map(|known| *known.0);
        first.is_some_and(|worker| self.forget(worker, bounds))
    }

    fn forget(&mut self, worker: WorkerId, bounds: &AgentBounds) -> bool {
        let Some(mut known) = self.workers.remove(&worker) else {
            return false;
        };
        known.abandon();
        self.forgotten = std::mem::take(&mut self.forgotten).plus(&known.ledger());
        self.spilled.workers += 1;
        if !known.left {
            self.faded.insert(worker, known);
        }
        while self.faded.len() > count(bounds.returns_max) {
            let first = self.faded.iter().min_by_key(|known| known.1.presence);
            let Some(first) = first.map(|known| *known.0) else {
                break;
            };
            self.faded.remove(&first);
        }
        true
    }

    // Periods.

    /// Ends the open period. Does nothing while another is frozen.
    pub(crate) fn freeze(&mut self, application: &str, id: String, at: UnixMicros) {
        if self.frozen.is_some() {
            return;
        }
        // The wall clock may have been set back.
        let to = at.max(self.open.from);
        let period = std::mem::replace(&mut self.open, Period::starting(to));
        let from = period.from;
        let (counters, histograms, inventories) = period.into_lists();
        let totals = Totals {
            counted: sum(counters.iter().map(|count| count.value)),
            observed: sum(histograms.iter().map(|spread| spread.count)),
            hits: sum(inventories.iter().map(|listing| listing.hits)),
            attacks: 0,
        };
        let heartbeat = Heartbeat {
            id,
            application: application.to_owned(),
            from,
            to,
            counters,
            gauges: self.levels(),
            histograms,
            inventories,
            workers: self.reports_of_those_who_took_part(),
            ledger: self.ledger(),
        };
        self.rest_workers();
        let report = Arc::new(Report::Heartbeat(heartbeat));
        self.frozen = Some(Frozen { report, totals });
    }

    /// The gauges of all workers that are there.
    fn levels(&self) -> Vec<Level> {
        let mut levels: BTreeMap<&Series, Level> = BTreeMap::new();
        let there = self.workers.values().filter(|worker| worker.is_connected());
        for (series, &value) in there.flat_map(Worker::gauges) {
            let level = levels.entry(series).or_insert_with(|| Level {
                series: series.clone(),
                sum: 0.0,
                min: value,
                max: value,
                workers: 0,
            });
            level.sum += value;
            level.min = level.min.min(value);
            level.max = level.max.max(value);
            level.workers += 1;
        }
        levels.into_values().collect()
    }

    fn reports_of_those_who_took_part(&self) -> Vec<WorkerReport> {
        let all = self.workers.iter();
        all.filter(|(_, worker)| worker.is_connected() || worker.took_part)
            .map(|(&id, worker)| worker.report(id))
            .collect()
    }

    /// A new period begins.
    fn rest_workers(&mut self) {
        for worker in self.workers.values_mut() {
            worker.took_part = false;
        }
    }

    /// The heartbeat of this id goes to no sink any more.
    pub(crate) fn close(&mut self, id: &str, fate: Fate, bounds: &AgentBounds) {
        let Some(frozen) = self.frozen.take_if(|frozen| frozen.report.id() == id) else {
            return;
        };
        if fate == Fate::Lost {
            self.unsent = self.unsent.plus(frozen.totals);
            self.spilled.reports += 1;
        }
        self.periods += 1;
        let kept_since = self.periods.checked_sub(u64::from(bounds.gone_periods));
        let is_over = |worker: &Worker| match worker.presence {
            Presence::Connected => false,
            // What it did last is in a period that is closed.
            Presence::Gone { periods, .. } => {
                !worker.took_part && kept_since.is_some_and(|since| periods < since)
            }
        };
        let all = self.workers.iter();
        let over: Vec<WorkerId> = all
            .filter(|(_, worker)| is_over(worker))
            .map(|(&id, _)| id)
            .collect();
        for worker in over {
            self.forget(worker, bounds);
        }
    }

    // Reports.

    pub(crate) fn delivered(&mut self, through: u64) {
        self.waiting.remove_through(through);
    }

    pub(crate) fn dismiss(&mut self, ticket: u64, fate: Fate) {
        let Some(whose) = self.waiting.remove(ticket) else {
            return;
        };
        if fate == Fate::Taken {
            return;
        }
        self.spilled.reports += 1;
        match whose.map(|worker| self.workers.get_mut(&worker)) {
            // Findings are in no ledger: no worker recorded them.
            None => {}
            Some(Some(worker)) => worker.attack_withheld(),
            Some(None) => {
                if let Some(worker) = whose.and_then(|worker| self.faded.get_mut(&worker)) {
                    worker.attack_withheld();
                }
                let attack = super::workers::ONE_ATTACK;
                self.forgotten.applied = self.forgotten.applied.minus(attack);
                self.forgotten.drop_for(DropReason::SinkBound, attack);
            }
        }
    }

    /// The report that has to go, if there are more than there may be.
    pub(crate) fn over_bound(&self, bounds: &AgentBounds, spared: &[u64]) -> Option<u64> {
        let over = self.waiting.count() > count(bounds.reports_max)
            || self.waiting.len() > bounds.reports_len_max;
        if !over {
            return None;
        }
        // The last one may be as large as it likes.
        let older = self.waiting.count().saturating_sub(1);
        let mut candidates = self.waiting.since(0).take(older).map(|known| known.ticket);
        candidates.find(|ticket| !spared.contains(ticket))
    }

    // What it says.

    pub(crate) fn worker(&self, worker: WorkerId) -> Option<&Worker> {
        self.workers.get(&worker)
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(&id, worker)| (id, worker))
    }

    pub(crate) fn config(&self) -> Option<&ConfigDocument> {
        self.config.as_ref()
    }

    /// Whether the configuration was set while an agent ran, and is not what one began with.
    pub(crate) fn config_was_set(&self) -> bool {
        self.config.is_some() && self.config_origin == ConfigOrigin::Set
    }

    /// The heartbeat that is on its way.
    pub(crate) fn frozen(&self) -> Option<&Arc<Report>> {
        self.frozen.as_ref().map(|frozen| &frozen.report)
    }

    pub(crate) fn open(&self) -> &Period {
        &self.open
    }

    /// Whether a heartbeat now would say anything new.
    pub(crate) fn has_news(&self) -> bool {
        let of_worker = |worker: &Worker| worker.is_connected() || worker.took_part;
        !self.open.is_empty() || self.workers.values().any(of_worker)
    }

    /// Whether nobody is connected, and nothing is on its way to the sinks or will be.
    pub(crate) fn is_done(&self) -> bool {
        !self.has_news() && self.frozen.is_none() && self.waiting.count() == 0
    }

    /// The periods since its last worker has gone.
    pub(crate) fn periods_alone(&self) -> u64 {
        let gone = self.workers.values().map(|worker| match worker.presence {
            Presence::Connected => self.periods,
            Presence::Gone { periods, .. } => periods,
        });
        self.periods - gone.max().unwrap_or(0).min(self.periods)
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    pub(crate) fn reports_since(&self, ticket: u64) -> impl Iterator<Item = &Ticketed> {
        self.waiting.since(ticket)
    }

    /// Of all workers, also those that are forgotten.
    pub(crate) fn ledger(&self) -> Ledger {
        let each = self.workers.values().map(Worker::ledger);
        let mut ledger = each.fold(self.forgotten.clone(), |sum, one| sum.plus(&one));
        ledger.applied = ledger.applied.minus(self.unsent);
        ledger.drop_for(DropReason::SinkBound, self.unsent);
        ledger
    }
}

/// The same whenever the worker says it again.
fn attack_id(worker: WorkerId, number: u64) -> String {
    format!("{worker}-{number}")
}

fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_back_turns_no_period_around() {
        let mut account = Account::starting(UnixMicros(100));
        let mut ends = Vec::new();
        for (id, at) in [("a", 50), ("b", 120), ("c", 0), ("d", 130)] {
            account.freeze("shop", id.to_owned(), UnixMicros(at));
            let Some(Report::Heartbeat(heartbeat)) = account.frozen().map(|report| &**report)
            else {
                panic!("no heartbeat is frozen");
            };
            ends.push((heartbeat.from.0, heartbeat.to.0));
            account.close(id, Fate::Taken, &AgentBounds::default());
        }
        assert_eq!(ends, [(100, 100), (100, 120), (120, 120), (120, 130)]);
    }
}
