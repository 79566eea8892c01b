//! What the agent remembers with: a journal, or nothing but its own memory.
//!
//! ```text
//!   plain       no journal was asked for
//!   journaled ──── an error ────▶ degraded: as plain, loudly; each few seconds a new segment is
//!       ▲                            begun with a snapshot of all that was missed
//!       └──────── it worked ─────────┘
//! ```
//!
//! A journal that can't even be opened, on a disk that is full or read-only, is degraded from the
//! start, and opened again each few seconds, until it turns out to be an earlier agent's.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::state::State;
use crate::aggregator::journal::{Journal, Replay};

/// Between two attempts to take up a journal again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Opens the journal that was asked for.
pub(crate) type Open =
    Box<dyn FnMut() -> io::Result<(Journal<Record, State>, Replay<Record, State>)> + Send>;

/// The state and what keeps it.
pub(crate) struct Memory {
    pub(crate) state: State,
    journal: Option<Journal<Record, State>>,
    /// A journal was asked for, and could not be opened yet.
    missing: Option<Open>,
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
            missing: None,
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

    /// Nothing of an earlier agent, and a journal that can't be opened now.
    pub(crate) fn without(open: Open, error: &io::Error) -> Self {
        let mut memory = Self::new(State::default(), None);
        memory.missing = Some(open);
        memory.fail(Duration::ZERO, error.to_string());
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
        if self.missing.is_some() && self.tend_at().is_some_and(|at| at <= now) {
            return self.find(now);
        }
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

    /// Tries once more to open the journal. One that holds an earlier agent's memory came too late:
    /// it can't be joined to what this agent has taken meanwhile, and is left for the next one.
    fn find(&mut self, now: Duration) {
        let Some(open) = &mut self.missing else {
            return;
        };
        match open() {
            Ok((journal, replay)) if replay.snapshot.is_none() && replay.records.is_empty() => {
                self.missing = None;
                self.journal = Some(journal);
                self.compact(now);
            }
            Ok(_) => {
                // Nothing that we do will change that.
                self.missing = None;
                let why = "it holds what an earlier agent knew, and this one began without it";
                self.fail(now, why.to_owned());
            }
            Err(error) => self.fail(now, error.to_string()),
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
        let can_be_mended = self.missing.is_some() || self.journal.is_some();
        let degraded = self.degraded.as_ref().filter(|_| can_be_mended);
        degraded.map(|degraded| degraded.retry_at)
    }

    pub(crate) fn keeping(&self) -> Keeping {
        match (&self.journal, &self.degraded) {
            (_, Some(_)) => Keeping::Degraded,
            (None, None) => Keeping::Memory,
            (Some(_), None) => Keeping::Journal,
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

fn is_cured_by_compaction(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, QuotaExceeded};
    matches!(error.kind(), InvalidInput | QuotaExceeded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::aggregator::UnixMicros;
    use crate::aggregator::journal::JournalLimits;

    fn opened(application: &str) -> Record {
        Record::Opened {
            application: application.to_owned(),
            at: UnixMicros(1),
        }
    }

    /// The disk is read-only twice, then it is not.
    fn opening(directory: std::path::PathBuf) -> Open {
        let mut left = 2;
        Box::new(move || {
            if left > 0 {
                left -= 1;
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
            Journal::open(&directory, JournalLimits::default())
        })
    }

    #[test]
    fn a_journal_that_could_not_be_opened_is_taken_up_when_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let mut open = opening(folder.path().join("journal"));
        let error = open().err().unwrap();
        let mut memory = Memory::without(open, &error);
        assert_eq!(memory.keeping(), Keeping::Degraded);
        memory.record(opened("shop"), Duration::ZERO);
        memory.tend(Duration::ZERO);
        assert_eq!(memory.failures(), 1, "it is not tried again at once");
        memory.tend(RETRY_EVERY);
        assert_eq!(
            (memory.failures(), memory.keeping()),
            (2, Keeping::Degraded)
        );
        memory.tend(2 * RETRY_EVERY);
        assert_eq!(
            (memory.recoveries(), memory.keeping()),
            (1, Keeping::Journal)
        );
        memory.record(opened("cafe"), 2 * RETRY_EVERY);
        memory.sync(2 * RETRY_EVERY);
        let kept = memory.state.clone();
        drop(memory);

        let journal = Journal::<Record, State>::open(
            &folder.path().join("journal"),
            JournalLimits::default(),
        );
        let (_, replay) = journal.unwrap();
        let mut state = replay.snapshot.unwrap();
        replay
            .records
            .into_iter()
            .for_each(|record| state.apply(record));
        assert_eq!(state, kept);
    }

    #[test]
    fn a_journal_with_the_memory_of_an_earlier_agent_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("journal");
        let (mut journal, _) =
            Journal::<Record, State>::open(&directory, JournalLimits::default()).unwrap();
        journal.append(&opened("shop")).unwrap();
        journal.sync().unwrap();
        drop(journal);

        let mut open = opening(directory.clone());
        let error = open().err().unwrap();
        let mut memory = Memory::without(open, &error);
        for attempt in 1..5 {
            memory.tend(attempt * RETRY_EVERY);
        }
        // It can't be opened twice, then it is seen what it is, and left alone.
        assert_eq!((memory.failures(), memory.tend_at()), (3, None));
        assert_eq!(
            (memory.recoveries(), memory.keeping()),
            (0, Keeping::Degraded)
        );
        drop(memory);
        let (_, replay) =
            Journal::<Record, State>::open(&directory, JournalLimits::default()).unwrap();
        assert_eq!(replay.records, [opened("shop")]);
    }
}
