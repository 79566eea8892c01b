//! What the agent hands to its sinks.

use serde::{Deserialize, Serialize};

use super::attack::AttackBody;
use super::distribution::Buckets;
use super::ledger::Ledger;
use super::message::WorkerId;
use super::moment::UnixMicros;
use super::series::Series;

/// One thing for a sink to take. Given again with the same id until it is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Report {
    /// What has come together since the last heartbeat.
    Heartbeat(Heartbeat),
    /// What a worker reported with `attack`.
    Attack(AttackNotice),
    /// What a detector saw across all workers.
    Finding(Finding),
}

impl Report {
    /// What tells it from all others; the same each time it is given.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Heartbeat(heartbeat) => &heartbeat.id,
            Self::Attack(attack) => &attack.id,
            Self::Finding(finding) => &finding.id,
        }
    }
}

/// What all workers of one application have done in a period.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The same whenever it is tried again.
    pub id: String,
    /// The application.
    pub application: String,
    /// When the period began: where the last one that was taken ended.
    pub from: UnixMicros,
    /// When it ended.
    pub to: UnixMicros,
    /// The increments of this period.
    pub counters: Vec<Count>,
    /// The values at its end.
    pub gauges: Vec<Level>,
    /// The values observed in this period.
    pub histograms: Vec<Spread>,
    /// The keys seen in this period.
    pub inventories: Vec<Listing>,
    /// Who took part, and what became of what they recorded since their start.
    pub workers: Vec<WorkerReport>,
    /// Of all workers together, those that have gone included, since the agent's memory began.
    pub ledger: Ledger,
}

/// A counter's increments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Which counter.
    pub series: Series,
    /// Of all workers together.
    pub value: u64,
}

/// A gauge's values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Which gauge.
    pub series: Series,
    /// Of all workers that are there, together.
    pub sum: f64,
    /// The lowest of a worker.
    pub min: f64,
    /// The highest of a worker.
    pub max: f64,
    /// How many workers have it.
    pub workers: u64,
}

/// A histogram's values. Each percentile is at most 1/32 too high.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Which histogram.
    pub series: Series,
    /// The values of all workers together.
    pub count: u64,
    /// Half of them are not above.
    pub p50: u64,
    /// Nine of ten are not above.
    pub p90: u64,
    /// All but one of a hundred are not above.
    pub p99: u64,
    /// All but one of a thousand are not above.
    pub p999: u64,
    /// None is above.
    pub max: u64,
    /// What it all comes from, to be merged with others.
    pub buckets: Buckets,
}

/// A key of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which inventory.
    pub inventory: String,
    /// Which key.
    pub key: String,
    /// How often it was seen in this period.
    pub hits: u64,
    /// When first in this period.
    pub first: UnixMicros,
    /// When last.
    pub last: UnixMicros,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Which worker.
    pub worker: WorkerId,
    /// Its process.
    pub process: u32,
    /// Whether it is connected.
    pub connected: bool,
    /// The version of the configuration that it runs, if it has said so.
    pub config: Option<u64>,
    /// The configuration that it refused, and why; until it runs that one or a later one.
    pub config_refused: Option<(u64, String)>,
    /// What became of all that it has recorded since its start.
    pub ledger: Ledger,
}

/// An attack, as sinks get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttackNotice {
    /// `<worker>-<number>`: the same whenever it is given again.
    pub id: String,
    /// The application.
    pub application: String,
    /// The worker that reported it.
    pub worker: WorkerId,
    /// Counted from 1 by that worker: sinks get them in this order.
    pub number: u64,
    /// When it happened, by the worker's wall clock.
    pub at: UnixMicros,
    /// What happened.
    pub body: AttackBody,
}

/// What a detector has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The same whenever it is given again.
    pub id: String,
    /// The application.
    pub application: String,
    /// The detector: `attack_wave`.
    pub detector: String,
    /// Who or what was seen: an address.
    pub key: String,
    /// When.
    pub at: UnixMicros,
    /// One line for people.
    pub text: String,
}
