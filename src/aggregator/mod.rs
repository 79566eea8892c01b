//! Stats, attacks and configuration for all processes of an application.
//!
//! Each process has a worker, one process on the host has the agent; see docs/aggregator.md for who
//! owns what.

mod agent;
mod attack;
mod distribution;
mod files;
pub mod journal;
mod ledger;
pub mod lifecycle;
mod message;
mod moment;
mod readable;
mod report;
mod series;
pub mod sink;
pub mod source;
mod worker;

pub use agent::{
    Agent, AgentBounds, AgentBuilder, AgentError, Application, ApplicationStatus, AttackWave,
    Detector, Ended, Farewell, Keeping, MemoryStatus, QueueStatus, RateLimit, SetConfigError,
    Sight, SinkStatus, Status, StatusError, status,
};
pub use attack::{
    ATTACK_ENTRIES_MAX, ATTACK_TEXT_LEN_MAX, Attack, AttackBody, AttackRequest, CUT_MARK,
};
pub use distribution::{Buckets, Distribution, RELATIVE_ERROR};
pub use ledger::{DropReason, Ledger, Totals};
pub use message::*;
pub use moment::{Moment, UnixMicros};
pub use report::{
    AttackNotice, Count, Finding, Heartbeat, Level, Listing, Report, Spread, WorkerReport,
};
pub use series::{KEY_LEN_MAX, LABELS_MAX, OVERFLOW, Series, TEXT_LEN_MAX};
pub use worker::{
    AskError, CloseError, Counter, FlushError, Gauge, Histogram, Inventory, Policy, Question,
    ReportError, Rule, Snapshot, StartError, Worker, WorkerBuilder, WorkerCounters, WorkerLimits,
};
