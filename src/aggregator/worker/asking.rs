//! Questions to the agent, and what holds when it does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::core::Core;

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
        let core = self.core.current();
        let process = core.process();
        match process.allow(&self.name, key, cost, self.timeout) {
            Some(allowed) => {
                if self.policy == Policy::LastKnown {
                    process.last_known().keep(&self.name, key, allowed);
                }
                allowed
            }
            None => {
                process.count_fallback(&self.name, self.policy);
                match self.policy {
                    Policy::Open => true,
                    Policy::Closed => false,
                    Policy::LastKnown => process.last_known().find(&self.name, key).unwrap_or(true),
                }
            }
        }
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rule({}, else {})", self.name, self.policy.name())
    }
}

/// The last answers, at most so many: when a half is full the older half is forgotten.
#[derive(Debug)]
pub(crate) struct LastKnown {
    young: HashMap<(String, String), bool>,
    old: HashMap<(String, String), bool>,
    half: usize,
}

impl LastKnown {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: usize::try_from(max / 2).unwrap_or(usize::MAX),
        }
    }

    fn keep(&mut self, rule: &str, key: &str, allowed: bool) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        if self.half > 0 {
            let key = (rule.to_owned(), key.to_owned());
            self.young.insert(key, allowed);
        }
    }

    fn find(&self, rule: &str, key: &str) -> Option<bool> {
        let key = (rule.to_owned(), key.to_owned());
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answers_are_known_and_no_more_than_the_bound() {
        let mut known = LastKnown::new(10);
        for number in 0..1000 {
            known.keep("login", &number.to_string(), number % 2 == 0);
            assert!(known.young.len() + known.old.len() <= 10);
        }
        assert_eq!(known.find("login", "999"), Some(false));
        assert_eq!(known.find("login", "998"), Some(true));
        assert_eq!(known.find("login", "1"), None);
        assert_eq!(known.find("logout", "999"), None);
    }
}
