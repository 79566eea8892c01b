//! What can go wrong in a worker: one small error for each operation.

use std::io;

use crate::aggregator::ledger::{DropReason, Ledger};
use crate::client::{CallError, ConnectError};
use crate::settings::SettingsError;

/// Why a worker could not be started. None of it has to do with an agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its client could not be made.
    #[error(transparent)]
    Client(#[from] ConnectError),
    /// The system gives no thread.
    #[error("can't start the worker's thread: {0}")]
    Thread(io::Error),
    /// It is to start an agent, and has no settings.
    #[error("who starts an agent needs `settings`: in their directory the workers agree who does")]
    NoSettings,
    /// The settings' directory can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// What a worker left behind when it was closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the worker was closed and the agent has not acknowledged counters of {}, {} observations, {} \
     hits and {} attacks",
    abandoned(.ledger).counted,
    abandoned(.ledger).observed,
    abandoned(.ledger).hits,
    abandoned(.ledger).attacks
)]
#[non_exhaustive]
pub struct CloseError {
    /// What became of all that was recorded: what is meant here is dropped as
    /// [`DropReason::Abandoned`].
    pub ledger: Ledger,
}

fn abandoned(ledger: &Ledger) -> crate::aggregator::ledger::Totals {
    let dropped = ledger.dropped.get(&DropReason::Abandoned);
    dropped.copied().unwrap_or_default()
}

/// Not everything was acknowledged in time. Nothing is lost: it goes on waiting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent has not acknowledged everything in time")]
#[non_exhaustive]
pub struct FlushError {
    /// How things stood then.
    pub ledger: Ledger,
}

/// Why an event of the application's own was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The value's own `Serialize` refused, or it is nothing that JSON can express.
    #[error("the event can't be encoded: {0}")]
    Unencodable(String),
    /// It was dropped, and counted.
    #[error("the event was dropped: {0}")]
    Dropped(DropReason),
}

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The agent could not be asked, or did not answer in time.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The agent is not there, or has not accepted this worker.
    #[error("there is no agent just now")]
    NoAgent,
    /// The agent has nobody who answers this topic.
    #[error("nobody answers the topic `{0}`")]
    NobodyAnswers(String),
    /// The question could not be encoded, or the answer is not of the type asked for.
    #[error("the question or its answer is not of the type that was agreed on: {0}")]
    Mismatch(String),
}
