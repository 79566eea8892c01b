//! How an agent is: for programs as values, for tools as JSON, for people as a table.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::memory::Keeping;
use crate::aggregator::{
    AgentReply, Ledger, Reports, UnixMicros, WorkerId, WorkerReport, WorkerRequest,
};
use crate::client::{Client, ConnectError};
use crate::settings::{Settings, SettingsError};

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The agent's process.
    pub process: u32,
    /// The version of this crate that it was built with.
    pub version: String,
    /// Since when it runs.
    pub since: UnixMicros,
    /// When this was said.
    pub at: UnixMicros,
    /// The connections that have said hello as a worker.
    pub connected: usize,
    /// What it remembers with.
    pub memory: MemoryStatus,
    /// What waits for it to be taken.
    pub queue: QueueStatus,
    /// The applications, by name.
    pub applications: Vec<ApplicationStatus>,
    /// The sinks, in their order.
    pub sinks: Vec<SinkStatus>,
    /// Messages before a hello, and hellos that were refused.
    pub refused: u64,
    /// Why a hello was refused last.
    pub last_refused: Option<String>,
    /// Questions of `allow` about rules that the application does not have here: misspelt, say. The
    /// worker's policy answers them.
    #[serde(default)]
    pub unknown_rules: u64,
    /// The last such rule.
    #[serde(default)]
    pub last_unknown_rule: Option<String>,
}

/// What an agent remembers with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// How well.
    pub keeping: Keeping,
    /// The bytes of the journal's present segment.
    pub journal_len: u64,
    /// How often the journal could not be written.
    pub failures: u64,
    /// How often it could again.
    pub recoveries: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// What could not be read when the agent began.
    pub lost: Option<String>,
}

/// What waits for the agent to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Now.
    pub waiting: usize,
    /// At most so far.
    pub waiting_max: usize,
    /// What found it full. It is sent again.
    pub refused: u64,
}

/// One application.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApplicationStatus {
    /// Its name.
    pub name: String,
    /// Workers: those that are connected first, then those that went last. At most a thousand of all
    /// applications together, and to tools as many as a message holds.
    pub workers: Vec<WorkerReport>,
    /// All workers that are remembered.
    pub workers_known: usize,
    /// Of all workers since the agent's memory began.
    pub ledger: Ledger,
    /// The version of its configuration.
    pub config: Option<u64>,
    /// What is wrong with the source of its configuration, which stays as it was.
    pub config_trouble: Option<String>,
    /// Batches a second, over the last ten.
    pub batches_per_second: f64,
    /// Attacks a second, over the last ten.
    pub attacks_per_second: f64,
    /// Counters, histograms and keys of inventories in the open period.
    pub series: usize,
    /// Attacks and findings that wait for the sinks.
    pub reports_waiting: usize,
    /// The heartbeat that waits for the sinks.
    pub heartbeat_waiting: Option<String>,
    /// Between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Entries that went to an overflow series or key.
    pub overflowed: u64,
    /// Values of gauges that had no room.
    pub gauges_left_out: u64,
    /// Workers that were forgotten.
    pub workers_forgotten: u64,
    /// Reports that no sink took.
    pub reports_lost: u64,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkStatus {
    /// What it calls itself.
    pub name: String,
    /// Attacks and findings that wait for it.
    pub waiting: usize,
    /// What it took.
    pub taken: u64,
    /// What it will never take.
    pub refused: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Heartbeats that went by while it failed or hung for long, because others had taken them.
    pub missed: u64,
    /// Attacks and findings beyond the bound of what waits, which were let go of before it had them.
    /// Another sink may have them.
    #[serde(default)]
    pub reports_missed: u64,
    /// How long it has failed without a success.
    pub failing_for: Option<Duration>,
    /// How long it has been at what it was given last.
    #[serde(default)]
    pub busy_for: Option<Duration>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl Status {
    /// The application of this name.
    #[must_use]
    pub fn application(&self, name: &str) -> Option<&ApplicationStatus> {
        let mut all = self.applications.iter();
        all.find(|application| application.name == name)
    }
}

impl ApplicationStatus {
    /// The worker of this id, if it is remembered.
    #[must_use]
    pub fn worker(&self, worker: WorkerId) -> Option<&WorkerReport> {
        self.workers.iter().find(|known| known.worker == worker)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uptime = Duration::from_micros(self.at.0.saturating_sub(self.since.0));
        writeln!(
            f,
            "agent {} (wayside {}), up {}s, {} workers connected, {} waiting (at most {}), {} refused",
            self.process,
            self.version,
            uptime.as_secs(),
            self.connected,
            self.queue.waiting,
            self.queue.waiting_max,
            self.queue.refused,
        )?;
        if let Some(rule) = &self.last_unknown_rule {
            writeln!(
                f,
                "UNKNOWN RULES asked for {} times, last: {rule}",
                self.unknown_rules
            )?;
        }
        writeln!(f, "{}", self.memory)?;
        for sink in &self.sinks {
            writeln!(f, "{sink}")?;
        }
        for application in &self.applications {
            write!(f, "{application}")?;
        }
        Ok(())
    }
}

impl fmt::Display for MemoryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keeping {
            Keeping::Memory => write!(f, "memory: no journal"),
            Keeping::Journal => write!(f, "memory: journal of {} bytes", self.journal_len),
            Keeping::Degraded => write!(f, "memory: JOURNAL FAILS, nothing outlives the agent"),
        }?;
        if self.failures > 0 {
            write!(f, ", failed {} times", self.failures)?;
        }
        match &self.last_error {
            Some(error) => write!(f, ", last: {error}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sink {}: {} waiting, {} taken, {} refused, {} failures",
            self.name, self.waiting, self.taken, self.refused, self.failures
        )?;
        if self.missed + self.reports_missed > 0 {
            let (beats, reports) = (self.missed, self.reports_missed);
            write!(f, ", missed {beats} heartbeats and {reports} reports")?;
        }
        if let Some(time) = self.failing_for {
            write!(f, ", FAILING for {}s", time.as_secs())?;
        }
        if let Some(time) = self.busy_for.filter(|time| time.as_secs() > 0) {
            write!(f, ", BUSY for {}s", time.as_secs())?;
        }
        match &self.last_error {
            Some(error) => write!(f, ", last: {error}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for ApplicationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = version(self.config);
        writeln!(
            f,
            "\n{}: config {config}, {:.1} batches/s, {:.1} attacks/s, {} series, {} reports waiting",
            self.name,
            self.batches_per_second,
            self.attacks_per_second,
            self.series,
            self.reports_waiting,
        )?;
        if let Some(why) = &self.config_trouble {
            writeln!(f, "  its configuration stays as it is: {why}")?;
        }
        writeln!(
            f,
            "  {:32} {:>8} {:5} {:>10} {:>12} {:>12} {:>10} {:>10}",
            "worker", "process", "there", "config", "recorded", "applied", "dropped", "pending"
        )?;
        for worker in &self.workers {
            let there = if worker.connected { "yes" } else { "gone" };
            let id = worker.worker.to_string();
            let config = version(worker.config);
            write!(f, "  {id:32} {:>8} {there:5} {config:>10}", worker.process)?;
            columns(f, &worker.ledger)?;
            if let Some((version, why)) = &worker.config_refused {
                writeln!(f, "    refused config {version}: {why}")?;
            }
        }
        let more = self.workers_known.saturating_sub(self.workers.len());
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        write!(f, "  {:32} {:>8} {:5} {:>10}", "all", "", "", "")?;
        columns(f, &self.ledger)?;
        for (reason, what) in &self.ledger.dropped {
            writeln!(f, "    dropped, {reason}: {}", units(*what))?;
        }
        Ok(())
    }
}

fn columns(f: &mut fmt::Formatter<'_>, ledger: &Ledger) -> fmt::Result {
    writeln!(
        f,
        " {:>12} {:>12} {:>10} {:>10}{}",
        units(ledger.recorded),
        units(ledger.applied),
        units(ledger.dropped_total()),
        units(ledger.pending),
        if ledger.is_balanced() {
            ""
        } else {
            "  NOT BALANCED"
        },
    )
}

/// All units together: a table has little room.
fn units(totals: crate::aggregator::Totals) -> u64 {
    let each = [totals.counted, totals.observed, totals.hits, totals.attacks];
    each.into_iter().fold(0, u64::saturating_add)
}

fn version(version: Option<u64>) -> String {
    version.map_or_else(|| "-".to_owned(), |version| version.to_string())
}

/// Asks the agent of these settings how it is. For tools: the caller need not be a worker.
///
/// # Errors
/// See [`StatusError`].
pub fn status(settings: &Settings, timeout: Duration) -> Result<Status, StatusError> {
    let builder = Client::<Reports>::builder().settings(settings)?;
    let client = builder.connect(timeout)?;
    let reply = client.call(&WorkerRequest::Status, timeout)?;
    match reply {
        AgentReply::Status(json) => Ok(serde_json::from_str(&json)?),
        other => Err(StatusError::Unexpected(format!("{other:?}"))),
    }
}

/// Why an agent could not be asked how it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The settings don't say where it is.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Nobody is there.
    #[error("no agent answers: {0}")]
    Connect(#[from] ConnectError),
    /// It did not answer.
    #[error("the agent does not say: {0}")]
    Call(#[from] crate::client::CallError),
    /// Its answer is of another version.
    #[error("the agent's status can't be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It said something else.
    #[error("the agent answered something else: {0}")]
    Unexpected(String),
}
