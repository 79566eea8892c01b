//! An agent that runs.

use std::fmt;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::application::Application;
use super::board::Board;
use super::builder::AgentBuilder;
use super::ended::{Ended, Idle, Vitals};
use super::farewell::Farewell;
use super::status::Status;
use super::tray::{Order, Task, Tray};
use super::watcher::Watcher;
use crate::aggregator::Reports;
use crate::ambient;
use crate::endpoint::Endpoint;
use crate::server::ServerThread;
use crate::sync::lock;

/// How long its clerk may take to answer. It is at the disk at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a dropped agent has to report what is left.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the clerk may take, beyond the time for reports, to say what is left.
const FAREWELL_GRACE: Duration = Duration::from_secs(1);
/// How long sinks that are not at work may take to be dropped.
const SINK_GRACE: Duration = Duration::from_millis(100);
/// How often to look whether they are.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// How long an idle agent stays for what its sinks have not taken, if nothing else is said.
pub(crate) const UNREPORTED_MAX: Duration = Duration::from_secs(3600);

/// The one process of a host that adds up, remembers, detects and reports what the workers say.
///
/// ```
/// use std::time::Duration;
/// use wayside::aggregator::sink::{Sink, SinkError};
/// use wayside::aggregator::{Agent, Application, RateLimit, Report};
///
/// struct Print;
///
/// impl Sink for Print {
///     fn name(&self) -> &str {
///         "print"
///     }
///
///     fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
///         println!("{report:?}");
///         Ok(())
///     }
/// }
///
/// # #[cfg(feature = "tcp")] {
/// # let folder = tempfile::tempdir()?;
/// # let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
/// # let place = wayside::Transport::new(tcp, "127.0.0.1:0");
/// let shop = Application::named("shop").rule("login", RateLimit::new(5, Duration::from_secs(60)));
/// let agent = Agent::builder(shop)
///     .sink(Print)
/// #   .listen(place)
///     .start()?;
///
/// agent.set_config("shop", &["203.0.113.7"])?;
/// println!("{}", agent.status());
/// assert!(agent.shutdown(Duration::from_secs(5)).is_complete());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it shuts it down, with two seconds to report what is left.
#[must_use = "dropping it shuts the agent down"]
pub struct Agent {
    pub(super) tray: Arc<Tray>,
    board: Arc<Board>,
    vitals: Arc<Vitals>,
    server: ServerThread<Reports>,
    clerk: Mutex<Option<JoinHandle<()>>>,
    couriers: Mutex<Vec<JoinHandle<()>>>,
    _watchers: Vec<Watcher>,
}

impl Agent {
    /// Starts to describe the agent of an application: its name is enough.
    pub fn builder(application: impl Into<Application>) -> AgentBuilder {
        AgentBuilder::new(application.into())
    }

    pub(crate) fn new(
        tray: Arc<Tray>,
        board: Arc<Board>,
        vitals: Arc<Vitals>,
        server: ServerThread<Reports>,
        clerk: JoinHandle<()>,
        couriers: Vec<JoinHandle<()>>,
        watchers: Vec<Watcher>,
    ) -> Self {
        Self {
            tray,
            board,
            vitals,
            server,
            clerk: Mutex::new(Some(clerk)),
            couriers: Mutex::new(couriers),
            _watchers: watchers,
        }
    }

    /// Where it listens, as it turned out.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.server.endpoints()
    }

    /// Gives an application another configuration: any type that JSON can hold. It is pushed to all its
    /// workers at once. The version that it has: another than before only if it differs.
    ///
    /// # Errors
    /// See [`SetConfigError`].
    pub fn set_config<T: Serialize + ?Sized>(
        &self,
        application: &str,
        config: &T,
    ) -> Result<u64, SetConfigError> {
        let json = serde_json::to_string(config);
        self.set_config_json(application, json.map_err(SetConfigError::Encode)?)
    }

    /// As [`set_config`](Agent::set_config), for a configuration that is JSON already.
    ///
    /// # Errors
    /// See [`SetConfigError`].
    pub fn set_config_json(&self, application: &str, json: String) -> Result<u64, SetConfigError> {
        let (answer, answered) = mpsc::channel();
        self.order(Order::Config {
            application: application.to_owned(),
            json,
            answer,
        });
        let answered = answered.recv_timeout(ANSWER_TIMEOUT);
        let set = answered.map_err(|_| SetConfigError::Ended)?;
        set.map_err(SetConfigError::Refused)
    }

    /// From now on an application's heartbeats are so far apart.
    pub fn set_heartbeat(&self, application: &str, interval: Duration) {
        self.order(Order::Interval {
            application: application.to_owned(),
            interval,
        });
    }

    /// Sends a heartbeat of each application, as soon as the last one is taken.
    pub fn beat(&self) {
        self.order(Order::Beat);
    }

    /// How it is. Of an agent that has ended there is nothing to say.
    #[must_use]
    pub fn status(&self) -> Status {
        let (answer, answered) = mpsc::channel();
        self.order(Order::Status(answer));
        answered.recv_timeout(ANSWER_TIMEOUT).unwrap_or_default()
    }

    /// Waits until something ends it: another agent that takes over, say. It still has to be
    /// [shut down](Agent::shutdown) then.
    pub fn wait(&self) -> Ended {
        self.vitals.wait(None, || {})
    }

    /// As [`wait`](Agent::wait); also ends it when no worker was connected for so long. What there is
    /// goes to the sinks then, and the agent stays until they have it, an hour at most.
    pub fn wait_idle(&self, idle: Duration) -> Ended {
        self.wait_idle_within(idle, UNREPORTED_MAX)
    }

    pub(crate) fn wait_idle_within(&self, after: Duration, unreported_max: Duration) -> Ended {
        let idle = Idle {
            after,
            unreported_max,
        };
        self.vitals.wait(Some(idle), || self.beat())
    }

    /// Has [`wait`](Agent::wait) return, from another thread.
    pub fn end(&self, why: Ended) {
        self.vitals.end(why);
    }

    /// Waits until something ends it, then shuts it down with ten seconds to report what is left.
    pub fn run(self) -> (Ended, Farewell) {
        let ended = self.wait();
        (ended, self.shutdown(Duration::from_secs(10)))
    }

    /// Takes no new connections, lets workers finish, reports what is left, ends. What could not be
    /// reported in time is in the farewell.
    pub fn shutdown(&self, timeout: Duration) -> Farewell {
        let deadline = ambient::now() + timeout.min(crate::limits::DURATION_MAX);
        let Some(clerk) = lock(&self.clerk).take() else {
            return Farewell::default();
        };
        // The other half is for the sinks.
        let finished = self.server.shutdown(timeout / 2);
        let (answer, answered) = mpsc::channel();
        self.order(Order::Finish {
            deadline,
            why: Ended::Shutdown,
            answer,
        });
        let left = deadline.saturating_duration_since(ambient::now());
        let farewell = match answered.recv_timeout(left + FAREWELL_GRACE) {
            Ok(farewell) => {
                // It has nothing more to do; a panic of it was logged.
                clerk.join().ok();
                self.wait_for_sinks(deadline);
                farewell
            }
            // It has panicked, or is at a disk that does not answer, and is left behind.
            Err(_) => Farewell {
                unanswered: true,
                ..Farewell::default()
            },
        };
        Farewell {
            clients_cut: !finished,
            ..farewell
        }
    }

    /// What a sink does when it is dropped is done before the process can end. One that hangs is left
    /// behind.
    fn wait_for_sinks(&self, deadline: Instant) {
        let couriers = std::mem::take(&mut *lock(&self.couriers));
        let deadline = deadline.max(ambient::now() + SINK_GRACE);
        while couriers.iter().any(|courier| !courier.is_finished()) && ambient::now() < deadline {
            thread::park_timeout(LOOK_INTERVAL);
        }
    }

    fn order(&self, order: Order) {
        self.tray.push_always(Task::Here(order));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown(DROP_TIMEOUT);
        self.board.end();
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

/// Why a configuration was not set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetConfigError {
    /// It can't be encoded as JSON.
    #[error("it can't be encoded as JSON: {0}")]
    Encode(serde_json::Error),
    /// The agent won't have it.
    #[error("{0}")]
    Refused(String),
    /// The agent has ended.
    #[error("the agent has ended")]
    Ended,
}
