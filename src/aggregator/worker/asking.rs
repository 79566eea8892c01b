//! Questions to the agent, and what holds when it does not answer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::core::{Core, Process, deadline};
use super::error::AskError;
use super::last_known::Asked;
use crate::aggregator::message::{AgentReply, WorkerRequest};
use crate::aggregator::series::{Series, cut};
use crate::ambient;
use crate::client::CallError;
use crate::envelope::{self, EncodeError};
use crate::sync::lock;

/// What holds when the agent does not say in time whether something is within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Policy {
    /// It is allowed: without the agent there are no limits.
    #[default]
    Open,
    /// It is not: without the agent there is no access.
    Closed,
    /// What the agent has said of this key last. It is allowed if it never has.
    LastKnown,
}

impl Policy {
    /// As in settings and labels: `last_known`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::LastKnown => "last_known",
        }
    }
}

/// A limit that all processes share, with what holds if there is no answer. From
/// [`Worker::rule`](super::Worker::rule).
///
/// ```
/// use std::time::Duration;
/// use wayside::aggregator::Policy;
///
/// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
/// let login = worker.rule("login").policy(Policy::Closed).timeout(Duration::from_millis(20));
/// assert!(!login.allow("203.0.113.7")); // there is no agent
/// assert_eq!(worker.counters().fallbacks, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "a rule limits nothing before it is asked"]
pub struct Rule {
    core: Arc<Core>,
    name: String,
    policy: Policy,
    timeout: Duration,
}

impl Rule {
    pub(crate) fn new(core: Arc<Core>, name: &str) -> Self {
        let limits = core.limits();
        let (policy, timeout) = (limits.allow_policy, limits.allow_timeout);
        Self {
            core,
            name: name.to_owned(),
            policy,
            timeout,
        }
    }

    /// What holds if there is no answer.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to wait for one.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether one more of this key is within the limit. Blocks at most for the timeout.
    #[must_use]
    pub fn allow(&self, key: &str) -> bool {
        self.allow_cost(key, 1)
    }

    /// Whether so many more are.
    #[must_use]
    pub fn allow_cost(&self, key: &str, cost: u32) -> bool {
        let process = self.core.current().process();
        let asked = || Asked::Rule {
            name: self.name.clone(),
            key: key.to_owned(),
        };
        if let Some(allowed) = process.allow(&self.name, key, cost, self.timeout) {
            if self.policy == Policy::LastKnown {
                let answer = vec![u8::from(allowed)];
                process.last_known().keep(asked(), answer);
            }
            return allowed;
        }
        process.count_fallback(("rule", &self.name), self.policy.name());
        match self.policy {
            Policy::Open => true,
            Policy::Closed => false,
            Policy::LastKnown => process.last_known().find(&asked()) != Some(&[0]),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({}, else {})", self.name, self.policy.name())
    }
}

/// A question of the application's own, with the answer that holds if there is none in time. From
/// [`Worker::question`](super::Worker::question).
///
/// ```
/// use std::time::Duration;
///
/// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
/// let is_bot = worker.question("is_bot", false).timeout(Duration::from_millis(20)).last_known();
/// assert!(!is_bot.ask("Mozilla/5.0")); // there is no agent
/// assert_eq!(worker.counters().fallbacks, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is asked before `ask`"]
pub struct Question<A> {
    core: Arc<Core>,
    topic: String,
    otherwise: A,
    last_known: bool,
    timeout: Duration,
}

impl<A> Question<A> {
    pub(crate) fn new(core: Arc<Core>, topic: &str, otherwise: A) -> Self {
        let timeout = core.limits().allow_timeout;
        Self {
            core,
            topic: topic.to_owned(),
            otherwise,
            last_known: false,
            timeout,
        }
    }

    /// What the agent has answered last to the same question holds if there is no answer. If it never has,
    /// or so long ago that it is forgotten, the other one does.
    pub fn last_known(mut self) -> Self {
        self.last_known = true;
        self
    }

    /// How long to wait for an answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<A: Clone + DeserializeOwned> Question<A> {
    /// The agent's answer, or what holds without one. Blocks at most for the timeout.
    #[must_use]
    pub fn ask<Q: Serialize + ?Sized>(&self, question: &Q) -> A {
        let process = self.core.current().process();
        let policy = if self.last_known {
            Policy::LastKnown.name()
        } else {
            "otherwise"
        };
        let Ok(question) = encode(question) else {
            process.count_fallback(("topic", &self.topic), policy);
            return self.otherwise.clone();
        };
        let asked = || Asked::Question {
            topic: self.topic.clone(),
            question: question.clone(),
        };
        let answer = process.answer(&self.topic, question.clone(), self.timeout);
        if let Ok((answer, decoded)) = answer.and_then(with_decoded) {
            if self.last_known {
                process.last_known().keep(asked(), answer);
            }
            return decoded;
        }
        process.count_fallback(("topic", &self.topic), policy);
        let known = if self.last_known {
            let known = process.last_known();
            let answer = known.find(&asked());
            answer.and_then(|answer| envelope::decode_body(answer).ok())
        } else {
            None
        };
        known.unwrap_or_else(|| self.otherwise.clone())
    }
}

impl<A> fmt::Debug for Question<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({})", self.topic)
    }
}

/// The rules that were asked for and that no agent has, to be told of once each.
#[derive(Debug, Default)]
pub(crate) struct UnknownRules(BTreeSet<String>);

impl UnknownRules {
    /// More are not told of.
    const MAX: usize = 64;

    /// True if it is to be told of.
    fn add(&mut self, rule: &str) -> bool {
        let is_new = self.0.len() < Self::MAX && !self.0.contains(rule);
        is_new && self.0.insert(cut(rule).to_owned())
    }
}

fn with_decoded<A: DeserializeOwned>(answer: Vec<u8>) -> Result<(Vec<u8>, A), AskError> {
    let decoded = envelope::decode_body(&answer);
    let decoded = decoded.map_err(|reason| AskError::Mismatch(reason.to_string()))?;
    Ok((answer, decoded))
}

fn encode<Q: Serialize + ?Sized>(question: &Q) -> Result<Vec<u8>, AskError> {
    envelope::encode_body(question, u32::MAX).map_err(|error| {
        AskError::Mismatch(match error {
            EncodeError::Refused(error) => error.to_string(),
            EncodeError::TooLong { .. } => "it is too long".to_owned(),
        })
    })
}

/// [`Worker::ask`](super::Worker::ask), whose errors are counted as fallbacks of the caller's.
pub(super) fn ask<Q: Serialize + ?Sized, A: DeserializeOwned>(
    process: &Process,
    topic: &str,
    question: &Q,
    timeout: Duration,
) -> Result<A, AskError> {
    let answer = encode(question).and_then(|question| process.answer(topic, question, timeout));
    let decoded = answer.and_then(with_decoded);
    if decoded.is_err() {
        process.count_fallback(("topic", topic), "error");
    }
    decoded.map(|(_, decoded)| decoded)
}

impl Process {
    /// Asks the agent, once it knows this worker; by the deadline there is an answer or an error.
    fn call(
        &self,
        request: &WorkerRequest,
        timeout: Duration,
    ) -> Result<Option<AgentReply>, CallError> {
        let deadline = deadline(timeout);
        let mut state = self.state();
        while !state.outgoing.is_ready() {
            // An agent that has refused this worker does not change its mind within a question's time.
            if state.outgoing.is_refused() || !self.is_reachable() {
                return Ok(None);
            }
            state = match self.wait(state, deadline) {
                Some(state) => state,
                None => return Ok(None),
            };
        }
        drop(state);
        let Some(client) = self.client.get() else {
            return Ok(None);
        };
        let left = deadline.saturating_duration_since(ambient::now());
        match client.call(request, left)? {
            AgentReply::HelloFirst => Ok(None),
            reply => Ok(Some(reply)),
        }
    }

    /// Whether the agent allows it. `None` if it does not say, or has no such rule.
    fn allow(&self, rule: &str, key: &str, cost: u32, timeout: Duration) -> Option<bool> {
        let request = WorkerRequest::Allow {
            rule: rule.to_owned(),
            key: key.to_owned(),
            cost,
        };
        match self.call(&request, timeout) {
            Ok(Some(AgentReply::Allowed(None))) => {
                if lock(&self.unknown_rules).add(rule) {
                    log::warn!("the agent has no rule `{rule}`: the policy answers for it");
                }
                None
            }
            Ok(Some(AgentReply::Allowed(allowed))) => allowed,
            _ => None,
        }
    }

    /// The agent's answer to a question of the application's own.
    fn answer(
        &self,
        topic: &str,
        question: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, AskError> {
        let request = WorkerRequest::Ask {
            topic: topic.to_owned(),
            question,
        };
        match self.call(&request, timeout)? {
            Some(AgentReply::Answer(Some(answer))) => Ok(answer),
            Some(AgentReply::Answer(None)) => Err(AskError::NobodyAnswers(topic.to_owned())),
            Some(AgentReply::Refused { why }) => Err(AskError::Mismatch(why)),
            _ => Err(AskError::NoAgent),
        }
    }

    fn count_fallback(&self, about: (&str, &str), policy: &str) {
        self.fallbacks.one();
        let series = Series::new("wayside.fallbacks", &[about, ("policy", policy)]);
        let counter = self.registry().counters.cell(&series);
        counter.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_no_agent_has_is_told_of_once() {
        let mut unknown = UnknownRules::default();
        assert!(unknown.add("logn"));
        assert!(!unknown.add("logn"));
        let long = "x".repeat(1000);
        assert!(unknown.add(&long));
        assert!(!unknown.add(&long));
        let told = (0..1000).filter(|rule| unknown.add(&rule.to_string()));
        assert_eq!(told.count(), UnknownRules::MAX - 2);
    }
}
