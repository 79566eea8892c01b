//! What the agent says of itself.

use std::sync::atomic::Ordering;

use super::Clerk;
use crate::aggregator::Moment;
use crate::aggregator::agent::status::{
    ApplicationStatus, MemoryStatus, QueueStatus, SinkStatus, Status,
};
use crate::sync::lock;

/// The workers that a status names.
const STATUS_WORKERS_MAX: usize = 1000;

impl Clerk {
    pub(super) fn status(&mut self, now: Moment) -> Status {
        let names: Vec<String> = self
            .memory
            .state
            .accounts()
            .map(|(name, _)| name.to_owned())
            .collect();
        let applications = names.into_iter();
        let applications = applications.filter_map(|name| self.application_status(name, now));
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
        }
    }

    fn application_status(&mut self, name: String, now: Moment) -> Option<ApplicationStatus> {
        let meters = self.meters(&name);
        let batches_per_second = meters.batches.per_second(now.steady);
        let attacks_per_second = meters.attacks.per_second(now.steady);
        let account = self.memory.state.account(&name)?;
        let mut workers: Vec<_> = account.workers().collect();
        let workers_known = workers.len();
        workers.sort_by_key(|(_, worker)| worker.presence.latest_first());
        workers.truncate(STATUS_WORKERS_MAX);
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
        let all = self.board.progress().into_iter();
        let statuses = all.map(|(progress, waiting)| SinkStatus {
            name: progress.name,
            waiting,
            taken: progress.taken,
            refused: progress.refused,
            failures: progress.failures,
            missed: progress.missed,
            failing_for: progress
                .failing_since
                .map(|since| now.steady.saturating_sub(since)),
            last_error: progress.last_error,
        });
        statuses.collect()
    }
}
