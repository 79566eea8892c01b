//! What the agent says of itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Clerk;
use crate::aggregator::Moment;
use crate::aggregator::agent::status::{
    ApplicationStatus, MemoryStatus, QueueStatus, SinkStatus, Status,
};
use crate::sync::lock;

impl Clerk {
    /// As JSON that fits into a message, with as many workers as that allows.
    pub(super) fn status_json(&mut self, now: Moment) -> String {
        let mut workers_max = super::STATUS_WORKERS_MAX;
        loop {
            let json = serde_json::to_string(&self.status(workers_max, now));
            let json = json.expect("a status is texts and numbers");
            if json.len() <= self.text_len_max || workers_max == 0 {
                return json;
            }
            workers_max /= 4;
        }
    }

    /// With so many workers of all applications together.
    pub(super) fn status(&mut self, workers_max: usize, now: Moment) -> Status {
        let mut workers_left = workers_max;
        let names: Vec<String> = self
            .memory
            .state
            .accounts()
            .map(|(name, _)| name.to_owned())
            .collect();
        let applications = names.into_iter();
        let applications = applications.filter_map(|name| {
            let status = self.application_status(name, workers_left, now)?;
            workers_left -= status.workers.len();
            Some(status)
        });
        let applications = applications.collect();
        let level = self.tray.level();
        Status {
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            at: now.unix,
            connected: self.desks.present.len(),
            memory: MemoryStatus {
                keeping: self.memory.keeping(),
                journal_len: self.memory.journal_len(),
                failures: self.memory.failures(),
                recoveries: self.memory.recoveries(),
                last_error: self.memory.last_error().map(str::to_owned),
                lost: self.lost.clone(),
            },
            queue: QueueStatus {
                waiting: level.waiting,
                waiting_max: level.waiting_max,
                refused: level.refused,
            },
            applications,
            sinks: self.sink_statuses(now),
            refused: self.refusals.count.load(Ordering::Relaxed),
            last_refused: lock(&self.refusals.last).clone(),
            unknown_rules: self.refusals.unknown_rules.load(Ordering::Relaxed),
            last_unknown_rule: lock(&self.refusals.last_unknown_rule).clone(),
        }
    }

    fn application_status(
        &mut self,
        name: String,
        workers_max: usize,
        now: Moment,
    ) -> Option<ApplicationStatus> {
        let meters = self.meters(&name);
        let batches_per_second = meters.batches.per_second(now.steady);
        let attacks_per_second = meters.attacks.per_second(now.steady);
        let account = self.memory.state.account(&name)?;
        let mut workers: Vec<_> = account.workers().collect();
        let workers_known = workers.len();
        workers.sort_by_key(|(_, worker)| worker.presence.latest_first());
        workers.truncate(workers_max);
        let workers = workers.into_iter();
        Some(ApplicationStatus {
            workers: workers.map(|(id, worker)| worker.report(id)).collect(),
            workers_known,
            ledger: account.ledger(),
            config: account.config().map(|document| document.version),
            config_trouble: self.desks.config_trouble.get(&name).cloned(),
            batches_per_second,
            attacks_per_second,
            series: account.open().series_count(),
            reports_waiting: account.waiting().count(),
            heartbeat_waiting: account.frozen().map(|report| report.id().to_owned()),
            heartbeat_interval: self.beats.interval(&name),
            overflowed: account.spilled.entries,
            gauges_left_out: account.spilled.gauges,
            workers_forgotten: account.spilled.workers,
            reports_lost: account.spilled.reports,
            name,
        })
    }

    fn sink_statuses(&self, now: Moment) -> Vec<SinkStatus> {
        let since = |at: Option<Duration>| at.map(|at| now.steady.saturating_sub(at));
        let all = self.board.progress().into_iter();
        let statuses = all.map(|(progress, waiting)| SinkStatus {
            name: progress.name,
            waiting,
            taken: progress.taken,
            refused: progress.refused,
            failures: progress.failures,
            missed: progress.missed,
            reports_missed: progress.reports_missed,
            failing_for: since(progress.failing_since),
            busy_for: since(progress.busy_since),
            last_error: progress.last_error,
        });
        statuses.collect()
    }
}
