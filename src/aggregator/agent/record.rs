//! What the journal holds: everything that the [`State`](super::state::State) follows from, in order.

use serde::{Deserialize, Serialize};

use super::bounds::AgentBounds;
use crate::aggregator::{
    AttackReport, Batch, ConfigDocument, Finding, Hello, UnixMicros, WorkerId,
};

/// One step of the state. Frozen once released: append variants, never change fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// An agent begins: nobody is connected, and these are the bounds from here on.
    Started { bounds: AgentBounds },
    /// There is an application of this name.
    Opened { application: String, at: UnixMicros },
    /// A worker was welcomed. Its token is not kept.
    Hello { hello: Box<Hello> },
    /// The next batch of a worker.
    Batch { whose: Whose, batch: Box<Batch> },
    /// The next attack of a worker.
    Attack {
        whose: Whose,
        report: Box<AttackReport>,
    },
    /// A worker runs this version of the configuration.
    ConfigRuns { whose: Whose, version: u64 },
    /// A worker could not decode this version.
    ConfigRefused {
        whose: Whose,
        version: u64,
        why: String,
    },
    /// A worker's connection is gone. It may come back.
    Gone { whose: Whose },
    /// A worker has ended, and said so: all of it was acknowledged.
    Left { whose: Whose },
    /// A detector has seen something.
    Found { finding: Box<Finding> },
    /// The application has another configuration.
    Config {
        application: String,
        document: ConfigDocument,
        origin: ConfigOrigin,
    },
    /// The open period ends here, and is now the heartbeat of this id.
    Freeze {
        application: String,
        id: String,
        at: UnixMicros,
    },
    /// No sink will be given the heartbeat of this id again.
    Closed {
        application: String,
        id: String,
        fate: Fate,
    },
    /// All sinks are done with the reports up to this ticket.
    Delivered { through: u64 },
    /// The report of this ticket goes to no sink any more, though some may not have had it.
    Dismissed { ticket: u64, fate: Fate },
    /// There was nothing left to do for an application, and another has its place.
    Forgotten { application: String },
}

/// A worker of an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Whose {
    pub(crate) application: String,
    pub(crate) worker: WorkerId,
}

/// Where a configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum ConfigOrigin {
    /// An agent began with it.
    #[default]
    Beginning,
    /// It was set since then, by the program or a source.
    Set,
}

/// How it ended for something that was offered to the sinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// At least one has it.
    Taken,
    /// None has it.
    Lost,
}
