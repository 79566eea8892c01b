//! An agent that is the main work of its process.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::platform;
use super::post::Post;
use crate::aggregator::agent::{Agent, AgentBuilder, AgentError, Ended, UNREPORTED_MAX};
use crate::aggregator::files::Lock;
use crate::ambient;
use crate::settings::{Settings, SettingsError};

/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long one that was on threads of a program has to report what is left.
const IN_PROCESS_TIMEOUT: Duration = Duration::from_secs(2);

/// An agent with all that it needs as a process of its own: there is one of them for an application,
/// it ends on SIGTERM and SIGINT, and leaves when no worker was connected for a while.
///
/// For [`hook`](super::hook), or for a program that is the agent and nothing else:
///
/// ```no_run
/// use std::time::Duration;
/// use wayside::Settings;
/// use wayside::aggregator::Agent;
/// use wayside::aggregator::lifecycle::Resident;
/// use wayside::aggregator::sink::JsonLines;
///
/// let settings = Settings::builder().name("shop").load()?;
/// let agent = Agent::builder("shop").sink(JsonLines::stdout());
/// Resident::new(&settings, agent).stay().run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it does nothing before `run`"]
pub struct Resident {
    settings: Settings,
    agent: AgentBuilder,
    idle: Option<Duration>,
    unreported_max: Duration,
    farewell_timeout: Duration,
    predecessor_timeout: Duration,
    on_start: Option<OnStart>,
}

/// Takes the agent that runs.
type OnStart = Box<dyn FnOnce(&Arc<Agent>) + Send>;

impl Resident {
    /// This agent where these settings say, which it is given. It leaves when no worker was
    /// connected for five minutes.
    pub fn new(settings: &Settings, agent: AgentBuilder) -> Self {
        Self {
            agent: agent.settings(settings),
            settings: settings.clone(),
            idle: Some(Duration::from_secs(300)),
            unreported_max: UNREPORTED_MAX,
            farewell_timeout: Duration::from_secs(10),
            predecessor_timeout: Duration::from_secs(15),
            on_start: None,
        }
    }

    /// It leaves when no worker was connected for so long.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// How much longer it stays than idle for what not every sink has taken: an hour if nothing is said.
    pub fn unreported_max(mut self, time: Duration) -> Self {
        self.unreported_max = time;
        self
    }

    /// It never leaves by itself.
    pub fn stay(mut self) -> Self {
        self.idle = None;
        self
    }

    /// How long it has at its end to report what is left.
    pub fn farewell_timeout(mut self, timeout: Duration) -> Self {
        self.farewell_timeout = timeout;
        self
    }

    /// How long it waits for an earlier one to end, which may have reports to bring away.
    pub fn predecessor_timeout(mut self, timeout: Duration) -> Self {
        self.predecessor_timeout = timeout;
        self
    }

    /// Called once with the agent, as soon as it runs: to keep it for threads of the program's own, which
    /// give it other configurations ([`Agent::set_config`]), ask for heartbeats ([`Agent::beat`]) or end
    /// it ([`Agent::end`]). It is not called where another agent stays.
    ///
    /// ```no_run
    /// use wayside::Settings;
    /// use wayside::aggregator::Agent;
    /// use wayside::aggregator::lifecycle::Resident;
    ///
    /// let settings = Settings::builder().name("shop").load()?;
    /// Resident::new(&settings, Agent::builder("shop"))
    ///     .on_start(|agent| {
    ///         let agent = agent.clone();
    ///         std::thread::spawn(move || {
    ///             for line in std::io::stdin().lines().map_while(Result::ok) {
    ///                 agent.set_config("shop", &[line]).ok();
    ///             }
    ///         });
    ///     })
    ///     .run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_start(mut self, call: impl FnOnce(&Arc<Agent>) + Send + 'static) -> Self {
        self.on_start = Some(Box::new(call));
        self
    }

    /// Runs the agent until something ends it, and reports what is left. `None` if another one of this
    /// application is there and stays.
    ///
    /// # Errors
    /// It can't start, or could not go on; see [`ResidentError`].
    pub fn run(self) -> Result<Option<Ended>, ResidentError> {
        let (idle, farewell_timeout) = (self.idle, self.farewell_timeout);
        let unreported_max = self.unreported_max;
        let Some(running) = self.start()? else {
            return Ok(None);
        };
        let agent = &running.agent;
        let told = Arc::clone(agent);
        let signals = platform::on_end_signal(move || told.end(Ended::Shutdown));
        let signals = signals.map_err(ResidentError::Signals)?;
        let ended = match idle {
            Some(idle) => agent.wait_idle_within(idle, unreported_max),
            None => agent.wait(),
        };
        let farewell = agent.shutdown(farewell_timeout);
        if !farewell.is_complete() {
            log::warn!("the agent ends, and not all could be reported: {farewell:?}");
        }
        drop(signals);
        // Until here nobody else may have the journal and the address.
        drop(running);
        match ended {
            Ended::Failed(why) => Err(ResidentError::Failed(why)),
            ended => Ok(Some(ended)),
        }
    }

    /// Starts it without waiting for its end. `None` if another one is there and stays.
    pub(super) fn start(self) -> Result<Option<Running>, ResidentError> {
        let post = Post::of(&self.settings)?;
        let deadline = ambient::now() + self.predecessor_timeout.min(crate::limits::DURATION_MAX);
        let lock = loop {
            if let Some(lock) = post.take().map_err(ResidentError::Lock)? {
                break lock;
            }
            if ambient::now() >= deadline {
                return Ok(None);
            }
            thread::park_timeout(LOOK_INTERVAL);
        };
        let agent = Arc::new(self.agent.start()?);
        if let Some(call) = self.on_start {
            call(&agent);
        }
        Ok(Some(Running { agent, _lock: lock }))
    }
}

/// An agent, and the proof that there is no other.
pub(super) struct Running {
    agent: Arc<Agent>,
    _lock: Lock,
}

impl Drop for Running {
    /// Whoever has kept the agent has one that has ended. Only then is the lock let go.
    fn drop(&mut self) {
        self.agent.shutdown(IN_PROCESS_TIMEOUT);
    }
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident")
            .field("agent", &self.agent)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

/// Why an agent can't be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResidentError {
    /// The settings' directory can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The lock can't be taken.
    #[error("the agent's lock: {0}")]
    Lock(io::Error),
    /// The agent can't start.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Signals can't be caught.
    #[error("the agent's signals: {0}")]
    Signals(io::Error),
    /// It ran, and could not go on.
    #[error("the agent could not go on: {0}")]
    Failed(String),
}
