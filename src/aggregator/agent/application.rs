//! An application, as the agent's program describes it.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{Answerer, answerer};
use super::detector::{Detector, RateLimit};
use crate::aggregator::source::ConfigSource;

/// An application whose workers the agent takes, and what the agent does for it.
///
/// ```
/// use std::time::Duration;
/// use wayside::aggregator::{Application, AttackWave, RateLimit};
///
/// let shop = Application::named("shop")
///     .token("correct horse battery staple")
///     .rule("login", RateLimit::new(5, Duration::from_secs(60)))
///     .detect(AttackWave::new(15, Duration::from_secs(60)))
///     .answer("greeting", |name: String| Some(format!("hello {name}")));
/// ```
#[must_use = "an agent takes it by `AgentBuilder::application`"]
pub struct Application {
    pub(crate) name: String,
    pub(crate) token: Option<String>,
    pub(crate) config: Option<Result<String, String>>,
    pub(crate) sources: Vec<Box<dyn ConfigSource>>,
    pub(crate) rules: HashMap<String, RateLimit>,
    pub(crate) detectors: Vec<Box<dyn Detector>>,
    pub(crate) answerers: HashMap<String, Answerer>,
}

impl Application {
    /// An application of this name; workers say the same one.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            token: None,
            config: None,
            sources: Vec::new(),
            rules: HashMap::new(),
            detectors: Vec::new(),
            answerers: HashMap::new(),
        }
    }

    /// Takes only workers that know this. It keeps workers of one application from being taken for
    /// another's; it keeps no secrets: whoever may connect sees the [status](crate::aggregator::status) of
    /// all applications.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The configuration to begin with: any type that JSON can hold. One that was set since, by
    /// [`Agent::set_config`](crate::aggregator::Agent::set_config) or a source, and that a journal
    /// remembers, stands above it, so that the end of an agent does not undo what was set. What an
    /// earlier build began with does not. One that can't be encoded fails the start.
    pub fn config<T: Serialize>(mut self, config: &T) -> Self {
        let json = serde_json::to_string(config);
        self.config = Some(json.map_err(|error| error.to_string()));
        self
    }

    /// Takes the configuration from here, whenever it changes: from a
    /// [file](crate::aggregator::source::ConfigFile), say. Nonsense changes nothing, is logged, and
    /// stands in [`ApplicationStatus::config_trouble`](crate::aggregator::ApplicationStatus::config_trouble).
    pub fn source(mut self, source: impl ConfigSource) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// Answers workers that ask `allow(rule, key)`. The last one of a name counts. A rule that a worker
    /// asks for and that is not here limits nothing: its policy answers, and the agent says so in its log
    /// and in [`Status::unknown_rules`](crate::aggregator::Status::unknown_rules).
    pub fn rule(mut self, name: impl Into<String>, limit: RateLimit) -> Self {
        self.rules.insert(name.into(), limit);
        self
    }

    /// Looks at what the application's workers report.
    pub fn detect(mut self, detector: impl Detector) -> Self {
        self.detectors.push(Box::new(detector));
        self
    }

    /// Answers workers that ask about this topic. It is called on the thread that all messages
    /// arrive on: what takes long belongs elsewhere.
    pub fn answer<Q, A>(
        mut self,
        topic: impl Into<String>,
        answer: impl FnMut(Q) -> Option<A> + Send + 'static,
    ) -> Self
    where
        Q: DeserializeOwned + 'static,
        A: Serialize + 'static,
    {
        self.answerers.insert(topic.into(), answerer(answer));
        self
    }
}

impl From<&str> for Application {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<String> for Application {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is nobody's business.
        f.debug_struct("Application")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
