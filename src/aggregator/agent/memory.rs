//! What the agent remembers with: a journal, or nothing but its own memory.
//!
//! ```text
//!   plain       no journal was asked for
//!   journaled ──── an error ────▶ degraded: as plain, loudly; each few seconds a new segment is
//!       ▲                            begun with a snapshot of all that was missed
//!       └──────── it worked ─────────┘
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::state::State;
use crate::aggregator::journal::Journal;

/// Between two attempts to take up a journal again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// The state and what keeps it.
pub(crate) struct Memory {
    pub(crate) state: State,
    journal: Option<Journal<Record, State>>,
    degraded: Option<Degraded>,
    failures: u64,
    recoveries: u64,
    last_error: Option<String>,
    /// Something was appended and not yet synced.
    unsynced: bool,
}

struct Degraded {
    retry_at: Duration,
}

/// How well the agent remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Keeping {
    /// Nothing outlives the agent, as was asked for.
    #[default]
    Memory,
    /// What was acknowledged outlives it.
    Journal,
    /// There is a journal, and it can't be written: for now nothing outlives the agent.
    Degraded,
}

impl Memory {
    pub(crate) fn new(state: State, journal: Option<Journal<Record, State>>) -> Self {
        let mut memory = Self {
            state,
            journal,
            degraded: None,
            failures: 0,
            recoveries: 0,
            last_error: None,
            unsynced: false,
        };
        let stopped = memory.journal.as_ref().and_then(Journal::stopped);
        if let Some(why) = stopped.map(str::to_owned) {
            memory.fail(Duration::ZERO, why);
        }
        memory
    }

    /// Writes a record down and takes the step.
    pub(crate) fn record(&mut self, record: Record, now: Duration) {
        let appended = self.running().map(|journal| journal.append(&record));
        self.state.apply(record);
        match appended {
            None => {}
            Some(Ok(())) => self.unsynced = true,
            // It is full, or this record is too long for it: a new segment holds the state instead.
            Some(Err(error)) if is_cured_by_compaction(&error) => self.compact(now),
            Some(Err(error)) => self.fail(now, error.to_string()),
        }
    }

    /// Returns once all that was recorded is kept as well as it can be.
    pub(crate) fn sync(&mut self, now: Duration) {
        if !std::mem::take(&mut self.unsynced) {
            return;
        }
        if let Some(journal) = self.running() {
            if let Err(error) = journal.sync() {
                self.fail(now, error.to_string());
            }
        }
    }

    /// Makes the journal shorter if it has become long, and takes it up again after an error.
    pub(crate) fn tend(&mut self, now: Duration) {
        let Some(journal) = &self.journal else {
            return;
        };
        let due = match &self.degraded {
            Some(degraded) => degraded.retry_at <= now,
            None => journal.wants_compaction(),
        };
        if due {
            self.compact(now);
        }
    }

    fn compact(&mut self, now: Duration) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        match journal.compact(&self.state) {
            Ok(()) if self.degraded.take().is_some() => {
                self.recoveries += 1;
                log::warn!(
                    "the agent's journal can be written again, and holds all that it missed"
                );
            }
            Ok(()) => {}
            Err(error) => self.fail(now, error.to_string()),
        }
    }

    /// When to tend to it without being asked.
    pub(crate) fn tend_at(&self) -> Option<Duration> {
        self.degraded.as_ref().map(|degraded| degraded.retry_at)
    }

    pub(crate) fn keeping(&self) -> Keeping {
        match (&self.journal, &self.degraded) {
            (None, _) => Keeping::Memory,
            (Some(_), None) => Keeping::Journal,
            (Some(_), Some(_)) => Keeping::Degraded,
        }
    }

    pub(crate) fn journal_len(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::len)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    pub(crate) fn recoveries(&self) -> u64 {
        self.recoveries
    }

    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    fn running(&mut self) -> Option<&mut Journal<Record, State>> {
        match self.degraded {
            None => self.journal.as_mut(),
            Some(_) => None,
        }
    }

    fn fail(&mut self, now: Duration, why: String) {
        self.failures += 1;
        if self.degraded.is_none() {
            log::warn!(
                "the agent's journal can't be written, what is acknowledged is in memory only: {why}"
            );
        }
        self.degraded = Some(Degraded {
            retry_at: now.saturating_add(RETRY_EVERY),
        });
        self.last_error = Some(why);
    }
}

fn is_cured_by_compaction(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, QuotaExceeded};
    matches!(error.kind(), InvalidInput | QuotaExceeded)
}
