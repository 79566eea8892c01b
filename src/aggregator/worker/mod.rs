//! The worker: what an application's process records, reports and asks.
//!
//! ```text
//!   builder, limits     what a worker is made of
//!   counter, gauge,     handles: what the application records with
//!   histogram, inventory
//!   handle              how a handle finds its cell, also after a fork
//!   registry            which cells there are, each once, within bounds
//!   cells               all of them at a moment, to be emptied
//!   fresh               how much of that is new since the last flush
//!   pieces              what was in the cells, cut into batches
//!   outgoing            what is to be said, and what has become of it: pure
//!   courier             the thread that talks with the agent
//!   config              the configuration, read in nanoseconds
//!   asking, last_known  questions, and what holds without an answer
//!   counters            what a worker counts of itself
//!   core                all of it in one process, and in its forks
//! ```

mod asking;
mod builder;
mod cells;
mod config;
mod core;
mod counter;
mod counters;
mod courier;
mod error;
mod fresh;
mod gauge;
mod handle;
mod histogram;
mod inventory;
mod last_known;
mod limits;
mod outgoing;
mod pieces;
mod registry;
mod stripe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::config::ConfigCell;
use self::core::Core;
use self::handle::Handle;
use crate::aggregator::attack::{Attack, AttackBody};
use crate::aggregator::ledger::{DropReason, Ledger};
use crate::aggregator::message::WorkerId;
use crate::aggregator::series::{Series, cut};

pub use asking::{Policy, Question, Rule};
pub use builder::WorkerBuilder;
pub use config::Snapshot;
pub use counter::Counter;
pub use counters::WorkerCounters;
pub use error::{AskError, CloseError, FlushError, ReportError, StartError};
pub use gauge::Gauge;
pub use histogram::Histogram;
pub use inventory::Inventory;
pub use limits::WorkerLimits;

/// One process of an application: records, reports, asks, and runs the configuration.
///
/// Cheap to clone, usable from all threads. It works with or without an agent, never blocks but in
/// what takes a timeout, and never panics into the application. What was recorded is counted exactly
/// once at the agent, for as long as the worker lives: over lost connections, agents that are killed
/// and others that follow.
///
/// When the last clone is dropped, it gives what is still to be sent [`WorkerLimits::drop_timeout`]
/// to leave, if there is an agent; [`close`](Worker::close) does the same with a time of your own and
/// says what came of it. The handles (counters and so on) may outlive it, and then record for nobody.
/// A process that ends without either (`std::process::exit`, or a worker in a `static`, which Rust never drops)
/// loses what was not sent: let it end with `close`.
///
/// A forked child is a worker of its own: it starts with nothing, and the parent's is sent by the
/// parent. All handles go on working there; the first use in the child starts its threads.
///
/// ```
/// use wayside::aggregator::{Attack, Worker};
///
/// // With .settings(&Settings::load()?)? it finds the agent; without, it records for nobody.
/// let worker = Worker::builder("shop").start()?;
/// let requests = worker.counter("http.requests");
/// requests.one();
/// worker.attack(Attack { blocked: true, ..Attack::new("sql_injection") });
///
/// let ledger = worker.ledger();
/// assert!(ledger.is_balanced());
/// assert_eq!((ledger.recorded.counted, ledger.recorded.attacks), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Worker<C: Send + Sync + 'static = ()> {
    core: Arc<Core>,
    config: Handle<ConfigCell<C>>,
}

impl<C: Send + Sync + 'static> Clone for Worker<C> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            config: self.config.clone(),
        }
    }
}

impl Worker {
    /// Starts to describe a worker of this application. Workers of different applications never mix.
    pub fn builder(application: &str) -> WorkerBuilder {
        WorkerBuilder::new(application)
    }
}

impl<C: Send + Sync + 'static> Worker<C> {
    // ---- recording ----

    /// The counter of this name. The same each time, so keep it where it is needed often.
    #[must_use]
    pub fn counter(&self, name: &str) -> Counter {
        self.counter_with(name, &[])
    }

    /// The counter of this name and these labels. Names, labels and their values are cut after
    /// [`TEXT_LEN_MAX`](crate::aggregator::TEXT_LEN_MAX) bytes, and labels beyond
    /// [`LABELS_MAX`](crate::aggregator::LABELS_MAX) left out, here and in the other kinds of series: what
    /// is the same then is one series. There are [`WorkerLimits::series_per_name_max`] of
    /// one name; beyond that it is the one of [`Series::overflow`].
    #[must_use]
    pub fn counter_with(&self, name: &str, labels: &[(&str, &str)]) -> Counter {
        let series = Series::new(name, labels);
        let core = self.core.current();
        let series = core.process().registry().counters.claim(&series);
        Counter(found(core, series))
    }

    /// The gauge of this name.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Gauge {
        self.gauge_with(name, &[])
    }

    /// The gauge of this name and these labels.
    #[must_use]
    pub fn gauge_with(&self, name: &str, labels: &[(&str, &str)]) -> Gauge {
        let series = Series::new(name, labels);
        let core = self.core.current();
        let series = core.process().registry().gauges.claim(&series);
        Gauge(found(core, series))
    }

    /// The histogram of this name.
    #[must_use]
    pub fn histogram(&self, name: &str) -> Histogram {
        self.histogram_with(name, &[])
    }

    /// The histogram of this name and these labels.
    #[must_use]
    pub fn histogram_with(&self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        let series = Series::new(name, labels);
        let core = self.core.current();
        let series = core.process().registry().histograms.claim(&series);
        Histogram(found(core, series))
    }

    /// The inventory of this name.
    #[must_use]
    pub fn inventory(&self, name: &str) -> Inventory {
        let core = self.core.current();
        let name = core.process().registry().claim_inventory(name);
        Inventory(found(core, name))
    }

    // ---- reporting ----

    /// Reports an attack at once, and keeps it until the agent has taken it. Texts beyond
    /// [`ATTACK_TEXT_LEN_MAX`](crate::aggregator::ATTACK_TEXT_LEN_MAX) bytes are cut, entries beyond
    /// [`ATTACK_ENTRIES_MAX`](crate::aggregator::ATTACK_ENTRIES_MAX) left out, and both marked. Of one that is
    /// still longer than the agent takes at a time only the kind is left, which
    /// [`WorkerCounters::attacks_shortened`] counts.
    ///
    /// Its number, which with the worker's id is its id in every report; `None` if it was dropped
    /// because too many wait for an agent, which the [`ledger`](Worker::ledger) counts.
    pub fn attack(&self, attack: Attack) -> Option<u64> {
        let body = AttackBody::Attack(Box::new(attack.bounded()));
        self.give(body).ok()
    }

    /// Reports a value of the application's own, as [`attack`](Worker::attack) does. Its kind is cut after
    /// [`TEXT_LEN_MAX`](crate::aggregator::TEXT_LEN_MAX) bytes, as names are. The value is never cut: in
    /// place of one that is longer than a message, or than the agent takes, there is
    /// [`CUT_MARK`](crate::aggregator::CUT_MARK).
    ///
    /// ```
    /// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
    /// #[derive(serde::Serialize)]
    /// struct Fraud { card: String, amount: u32 }
    ///
    /// let fraud = Fraud { card: "…4242".to_owned(), amount: 99 };
    /// assert_eq!(worker.report("fraud", &fraud)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn report<T: Serialize + ?Sized>(&self, kind: &str, event: &T) -> Result<u64, ReportError> {
        let json = serde_json::to_string(event)
            .map_err(|error| ReportError::Unencodable(error.to_string()))?;
        let kind = cut(kind).to_owned();
        self.give(AttackBody::Own { kind, json })
            .map_err(ReportError::Dropped)
    }

    fn give(&self, body: AttackBody) -> Result<u64, DropReason> {
        let len = len_of(&body);
        self.core.current().process().attack(body, len)
    }

    // ---- the configuration ----

    /// The configuration as it is now: some nanoseconds, never a word with the agent. What is held
    /// does not change, so hold it for the length of a request.
    #[inline]
    #[must_use]
    pub fn config(&self) -> Snapshot<C> {
        match self.config.cell() {
            Some(cell) => cell.read(),
            None => unreachable!("the worker is there, so it has a configuration"),
        }
    }

    /// The version of the configuration that runs. `None` if it is the default.
    #[must_use]
    pub fn config_version(&self) -> Option<u64> {
        self.core.current().process().config().version()
    }

    // ---- asking ----

    /// Whether one more of this key is within the limit of a rule, across all processes. Blocks at
    /// most for [`WorkerLimits::allow_timeout`]; without an answer [`WorkerLimits::allow_policy`]
    /// holds. So it does for a rule that the agent does not have, which the log tells once.
    /// [`rule`](Worker::rule) has both for one rule.
    ///
    /// ```
    /// # let worker = wayside::aggregator::Worker::builder("shop").start()?;
    /// if worker.allow("login", "203.0.113.7") {
    ///     // …
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn allow(&self, rule: &str, key: &str) -> bool {
        self.rule(rule).allow(key)
    }

    /// A rule, with what holds when the agent does not answer in time.
    pub fn rule(&self, name: &str) -> Rule {
        Rule::new(Arc::clone(&self.core), name)
    }

    /// Asks a question of the application's own, which a detector or the agent's program answers.
    /// Blocks at most for `timeout`. [`question`](Worker::question) has an answer for when there is none.
    ///
    /// # Errors
    /// See [`AskError`]. They are counted as [`WorkerCounters::fallbacks`].
    pub fn ask<Q, A>(&self, topic: &str, question: &Q, timeout: Duration) -> Result<A, AskError>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        asking::ask(self.core.current().process(), topic, question, timeout)
    }

    /// Questions of the application's own on this topic, with the answer that holds when the agent has none
    /// in time.
    pub fn question<A>(&self, topic: &str, otherwise: A) -> Question<A> {
        Question::new(Arc::clone(&self.core), topic, otherwise)
    }

    // ---- itself ----

    /// Who this is: random, never used twice, another one in each forked child.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.core.current().process().id()
    }

    /// What has become of everything that was recorded. It always balances.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.core.current().process().ledger()
    }

    /// What the worker has done so far.
    #[must_use]
    pub fn counters(&self) -> WorkerCounters {
        self.core.current().process().counters()
    }

    /// Blocks until the agent has acknowledged everything that was recorded before, at most for
    /// `timeout`.
    ///
    /// # Errors
    /// Not everything was. It goes on waiting.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.core.current().process().flush(timeout)
    }

    /// Sends what is left, takes leave of the agent and ends, all within `timeout`. What is recorded
    /// later is not sent.
    ///
    /// # Errors
    /// What the agent has not acknowledged.
    pub fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        self.core.current().process().close(timeout)
    }
}

impl<C: Send + Sync + 'static> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({})", self.core.current().process().id())
    }
}

/// A handle for what was just claimed.
fn found<T: handle::Cell>(core: &Arc<Core>, key: T::Key) -> Handle<T> {
    let handle = Handle::find(core, Arc::new(key));
    handle.expect("every process has cells of every kind")
}

/// What an attack takes at most, as a message.
fn len_of(body: &AttackBody) -> usize {
    /// A length in the encoding, at most.
    const LENGTH_LEN: usize = 10;
    /// Head, number, time, flags.
    const REST_LEN: usize = 64;
    let texts: usize = match body {
        AttackBody::Own { kind, json } => kind.len() + json.len() + 2 * LENGTH_LEN,
        AttackBody::Attack(attack) => attack.texts().map(|text| text.len() + LENGTH_LEN).sum(),
    };
    texts + REST_LEN
}
