//! What workers and agents say to each other.
//!
//! Frozen once released: append variants, never change fields.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attack::AttackBody;
use super::distribution::Buckets;
use super::ledger::{DropReason, Totals};
use super::moment::UnixMicros;
use super::series::Series;
use crate::protocol::Protocol;

/// The protocol between a worker and its agent.
#[derive(Debug)]
pub enum Reports {}

impl Protocol for Reports {
    const NAME: &'static str = "wayside-reports";
    const VERSION: u32 = 1;
    type Event = WorkerEvent;
    type Request = WorkerRequest;
    type Reply = AgentReply;
    type Push = AgentPush;
}

/// A worker: one process, or a part of one. Never used twice.
///
/// For people (in JSON) it is 32 hexadecimal digits, since few readers keep numbers of 128 bits whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u128);

impl Serialize for WorkerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u128(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for WorkerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let digits = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            let number = u128::from_str_radix(&digits, 16);
            number.map(Self).map_err(serde::de::Error::custom)
        } else {
            u128::deserialize(deserializer).map(Self)
        }
    }
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The first thing that a worker says on each connection; nothing else is taken before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who it is.
    pub worker: WorkerId,
    /// The application it belongs to. Those of different names never mix.
    pub application: String,
    /// What the application's workers know, if the agent asks for it.
    pub token: Option<String>,
    /// Its process.
    pub process: u32,
    /// The last batch that an agent acknowledged; 0 is none.
    pub batch_acknowledged: u64,
    /// The last batch that was sent to any agent; 0 is none. One that is not acknowledged may have been
    /// applied by an agent that this one knows nothing of.
    pub batch_sent: u64,
    /// The last attack that an agent acknowledged; 0 is none.
    pub attack_acknowledged: u64,
    /// What an agent has acknowledged of all that was recorded.
    pub acknowledged: Totals,
    /// The hash of the configuration that it runs.
    pub config_hash: Option<u64>,
}

/// What has come together since the last batch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Counted from 1.
    pub seq: u64,
    /// The increments since the last batch.
    pub counters: Vec<(Series, u64)>,
    /// The values of gauges that have changed since the last batch.
    pub gauges: Vec<(Series, f64)>,
    /// The values observed since the last batch.
    pub histograms: Vec<(Series, Buckets)>,
    /// The keys seen since the last batch.
    pub inventories: Vec<Sighting>,
    /// All that the worker has recorded since its start: stats to the end of this batch, and attacks
    /// to now, taken or dropped.
    pub recorded: Totals,
    /// Of that, what it has dropped, by reason.
    pub dropped: Vec<(DropReason, Totals)>,
}

/// A key of an inventory that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The inventory: `routes`.
    pub inventory: String,
    /// The key: `GET /users/:id`.
    pub key: String,
    /// How often, since the last batch.
    pub hits: u64,
    /// When first since the last batch.
    pub first: UnixMicros,
    /// When last.
    pub last: UnixMicros,
}

/// An attack on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// Counted from 1 by the worker. With the worker's id it makes the attack's id.
    pub number: u64,
    /// When it happened.
    pub at: UnixMicros,
    /// What happened.
    pub body: AttackBody,
}

/// What a worker says without waiting for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerEvent {
    /// Acknowledged by [`AgentPush::AttacksTaken`].
    Attack(Box<AttackReport>),
    /// Which configuration it runs now.
    ConfigRuns {
        /// The configuration's version.
        version: u64,
    },
    /// The configuration that it could not decode.
    ConfigRefused {
        /// The configuration's version.
        version: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// What a worker waits for an answer to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerRequest {
    /// Answered by [`AgentReply::Welcome`] or [`AgentReply::Refused`].
    Hello(Hello),
    /// Answered by [`AgentReply::Taken`].
    Batch(Batch),
    /// Whether another hit of this key is within the rule. Answered by [`AgentReply::Allowed`].
    Allow {
        /// The rule's name.
        rule: String,
        /// Who is limited: a user, an address.
        key: String,
        /// How many hits this is.
        cost: u32,
    },
    /// A question of the application's own. Answered by [`AgentReply::Answer`].
    Ask {
        /// Which kind of question.
        topic: String,
        /// The question, in postcard.
        question: Vec<u8>,
    },
    /// The worker ends: all that it will ever say was acknowledged. Answered by [`AgentReply::Bye`].
    Leave,
    /// For tools: no hello is needed. Answered by [`AgentReply::Status`].
    Status,
    /// For a newer agent: give everything up to it, and end. Answered by [`AgentReply::Bye`].
    HandOver {
        /// What the newer one says of itself.
        build: String,
    },
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AgentReply {
    /// The worker is known now.
    Welcome {
        /// Whether it was known before: otherwise a batch that was sent to another agent, and never
        /// acknowledged, may have been counted by that one.
        known: bool,
        /// The last batch that is applied; 0 is none.
        batch_applied: u64,
        /// The last attack that is taken; 0 is none.
        attack_taken: u64,
        /// The configuration, if it is another than the worker runs.
        config: Option<ConfigDocument>,
    },
    /// The agent won't have it, and why.
    Refused {
        /// One line for people.
        why: String,
    },
    /// On this connection a hello has to come first.
    HelloFirst,
    /// The batch of this number, and all before, are applied, and kept as well as the agent can.
    Taken {
        /// The batch's number.
        seq: u64,
    },
    /// Whether the hit is within the limit. `None`: there is no such rule.
    Allowed(Option<bool>),
    /// The answer in postcard. `None`: nobody answers this topic.
    Answer(Option<Vec<u8>>),
    /// It is done.
    Bye,
    /// How the agent is, as JSON.
    Status(String),
}

/// What the agent says by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AgentPush {
    /// There is another configuration.
    Config(ConfigDocument),
    /// This attack, and all before, need not be kept any longer.
    AttacksTaken {
        /// The number of the last one.
        number: u64,
    },
}

/// A configuration, as the agent hands it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// Rises with each change.
    pub version: u64,
    /// Of the text: two documents of one hash are the same.
    pub hash: u64,
    /// The document, as JSON text.
    pub json: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_hexadecimal_for_people() {
        let worker = WorkerId(0xAB << 100 | 7);
        let json = serde_json::to_string(&worker).unwrap();
        assert_eq!(json, "\"00000ab0000000000000000000000007\"");
        assert_eq!(serde_json::from_str::<WorkerId>(&json).unwrap(), worker);
        assert!(serde_json::from_str::<WorkerId>("\"shop\"").is_err());
    }
}
