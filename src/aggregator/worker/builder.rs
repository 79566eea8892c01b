//! Which application a worker belongs to, where its agent is, and within which bounds.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Worker;
use super::config::{ConfigCell, from_json};
use super::core::{Core, Recipe};
use super::error::StartError;
use super::handle::Handle;
use super::limits::{Section, WorkerLimits};
use crate::aggregator::lifecycle::{Post, Spawn};
use crate::aggregator::series::cut;
use crate::limits::{DURATION_MAX, Limits};
use crate::settings::{Settings, SettingsError};
use crate::transport::Transport;

/// Describes a worker. From [`Worker::builder`].
#[must_use = "nothing is recorded before `start`"]
pub struct WorkerBuilder<C = ()> {
    recipe: Recipe,
    config: ConfigCell<C>,
    settings: Option<Settings>,
    agent: Option<Spawn>,
    own: Own,
}

/// What the program says itself: it stands above the settings, whichever came first.
#[derive(Default)]
struct Own {
    token: Option<String>,
    limits: Option<WorkerLimits>,
    client_limits: Option<Limits>,
}

impl WorkerBuilder<()> {
    pub(crate) fn new(application: &str) -> Self {
        Self {
            recipe: Recipe {
                application: cut(application).to_owned(),
                token: None,
                transports: Vec::new(),
                client_limits: Limits::default(),
                limits: WorkerLimits::default(),
                agent: None,
            },
            // Who has no type for configurations runs any.
            config: ConfigCell::new((), |_| Ok(())),
            settings: None,
            agent: None,
            own: Own::default(),
        }
    }
}

impl<C: Send + Sync + 'static> WorkerBuilder<C> {
    /// Takes the transports of the settings, their limits, and the section `[worker]`: its keys are
    /// the fields of [`WorkerLimits`], and `token`. What the program says of one of these itself, before
    /// or after, stands above it.
    ///
    /// # Errors
    /// The first mistake in `[worker]`; or the directory that the addresses derive from can't be
    /// used.
    pub fn settings(mut self, settings: &Settings) -> Result<Self, SettingsError> {
        let section: Section = settings.section("worker")?;
        self.recipe.limits = section.limits();
        if self.recipe.limits.flush_interval.is_zero() {
            return Err(settings.reject("worker.flush_interval", "must be longer than nothing"));
        }
        self.recipe.token = section.token;
        self.recipe.transports.extend(settings.transports()?);
        self.recipe.client_limits = settings.limits().clone();
        self.settings = Some(settings.clone());
        Ok(self)
    }

    /// The agent is here, if it can't be reached at the endpoints that were named before.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.recipe.transports.push(transport);
        self
    }

    /// Starts an agent when there is none, and again when it is gone: one for all workers, whoever
    /// is first. Needs [`settings`](WorkerBuilder::settings), in whose directory they agree who it is.
    ///
    /// ```no_run
    /// use wayside::Settings;
    /// use wayside::aggregator::{Agent, Worker, lifecycle, sink::JsonLines};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     lifecycle::hook(|| {
    ///         let agent = Agent::builder("shop").sink(JsonLines::stdout());
    ///         Ok(lifecycle::Resident::new(&Settings::load()?, agent))
    ///     });
    ///     let worker = Worker::builder("shop")
    ///         .settings(&Settings::load()?)?
    ///         .agent(lifecycle::Spawn::this_program().log("agent.log"))
    ///         .start()?;
    ///     worker.counter("starts").one();
    ///     Ok(())
    /// }
    /// ```
    pub fn agent(mut self, spawn: Spawn) -> Self {
        self.agent = Some(spawn);
        self
    }

    /// What the agent asks its workers for, if it does.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.own.token = Some(token.into());
        self
    }

    /// Takes these bounds instead of the default ones, and of those of the settings.
    pub fn limits(mut self, limits: WorkerLimits) -> Self {
        self.own.limits = Some(limits);
        self
    }

    /// Takes these bounds for the connection instead of the default ones, and of those of the settings.
    pub fn client_limits(mut self, limits: Limits) -> Self {
        self.own.client_limits = Some(limits);
        self
    }

    /// The type of the application's configuration, and what it is until the agent has said
    /// something else. The agent's document is JSON, decoded as that type; one that can't be decoded
    /// is refused, which the agent is told, and the last good one stays.
    ///
    /// ```
    /// use std::collections::BTreeSet;
    /// use serde::Deserialize;
    /// use wayside::aggregator::Worker;
    ///
    /// #[derive(Default, Deserialize)]
    /// #[serde(default)]
    /// struct Firewall {
    ///     blocked_users: BTreeSet<String>,
    /// }
    ///
    /// let worker = Worker::builder("shop").config(Firewall::default()).start()?;
    /// assert!(!worker.config().blocked_users.contains("mallory"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn config<D>(self, default: D) -> WorkerBuilder<D>
    where
        D: DeserializeOwned + Send + Sync + 'static,
    {
        WorkerBuilder {
            recipe: self.recipe,
            config: ConfigCell::new(default, from_json),
            settings: self.settings,
            agent: self.agent,
            own: self.own,
        }
    }

    /// Makes the worker. It reaches for its agent in the background, and works without one.
    ///
    /// # Errors
    /// See [`StartError`]: nothing that has to do with an agent.
    pub fn start(self) -> Result<Worker<C>, StartError> {
        let mut recipe = self.recipe;
        recipe.token = self.own.token.or(recipe.token);
        recipe.limits = self.own.limits.unwrap_or(recipe.limits);
        recipe.client_limits = self.own.client_limits.unwrap_or(recipe.client_limits);
        // Nothing less would leave time for anything else, and nothing more can be added to a time.
        let interval_min = std::time::Duration::from_millis(1);
        let interval = &mut recipe.limits.flush_interval;
        *interval = (*interval).clamp(interval_min, DURATION_MAX);
        if let Some(spawn) = self.agent {
            let settings = self.settings.ok_or(StartError::NoSettings)?;
            recipe.agent = Some((Post::of(&settings)?, Arc::new(spawn)));
        }
        let core = Core::start(Arc::new(recipe), Arc::new(self.config))?;
        let config = Handle::find(&core, Arc::new(()));
        Ok(Worker {
            config: config.expect("it was made with a configuration of this type"),
            core,
        })
    }
}

impl<C> fmt::Debug for WorkerBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("application", &self.recipe.application)
            .field("transports", &self.recipe.transports)
            .field(
                "limits",
                self.own.limits.as_ref().unwrap_or(&self.recipe.limits),
            )
            .finish_non_exhaustive()
    }
}
