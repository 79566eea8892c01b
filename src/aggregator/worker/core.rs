//! A worker at work in one process, and what becomes of it after a fork.
//!
//! A forked child has the parent's memory but none of its threads, and locks may be held by nobody.
//! So the child touches nothing of it: the first use in the child finds another generation, and
//! makes a [`Process`] of its own from the same [`Recipe`]. What the parent had still to send it
//! sends itself.
//!
//! Locks, in the order in which they are taken: the state, the registry, the parts of an inventory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::asking::{LastKnown, Policy};
use super::config::ConfigSlot;
use super::courier::{self, GOODBYE_TIMEOUT, Mailbox};
use super::error::{CloseError, FlushError, StartError};
use super::fresh::Fresh;
use super::limits::WorkerLimits;
use super::outgoing::{Identity, Outgoing, Tally};
use super::registry::Registry;
use crate::aggregator::attack::AttackBody;
use crate::aggregator::ledger::{DropReason, Ledger, Totals};
use crate::aggregator::lifecycle::{Post, Spawn};
use crate::aggregator::message::{AgentReply, Hello, Reports, WorkerId, WorkerRequest};
use crate::aggregator::moment::UnixMicros;
use crate::aggregator::series::Series;
use crate::client::{CallError, Client, ClientState};
use crate::counters::Count;
use crate::limits::{DURATION_MAX, Limits};
use crate::sync::lock;
use crate::transport::Transport;
use crate::{ambient, fork};

/// What a worker is made of.
pub(crate) struct Recipe {
    pub(crate) application: String,
    pub(crate) token: Option<String>,
    pub(crate) transports: Vec<Transport>,
    pub(crate) client_limits: Limits,
    pub(crate) limits: WorkerLimits,
    /// Where the agent is to be, and what to start if it is not.
    pub(crate) agent: Option<(Post, Arc<Spawn>)>,
}

/// A worker, in this process and in those that are forked from it.
pub(crate) struct Core {
    generation: u32,
    process: Arc<Process>,
    recipe: Arc<Recipe>,
    launched: AtomicBool,
    /// The worker of a forked child. Set in an instant: a fork within that instant, by another
    /// thread, would leave it half set in the grandchild.
    child: OnceLock<Arc<Core>>,
}

impl Core {
    pub(crate) fn start(
        recipe: Arc<Recipe>,
        config: Arc<dyn ConfigSlot>,
    ) -> Result<Arc<Self>, StartError> {
        let core = Self::new(recipe, config);
        core.launch()?;
        Ok(core)
    }

    fn new(recipe: Arc<Recipe>, config: Arc<dyn ConfigSlot>) -> Arc<Self> {
        Arc::new(Self {
            generation: fork::generation(),
            process: Arc::new(Process::new(&recipe, config)),
            recipe,
            launched: AtomicBool::new(false),
            child: OnceLock::new(),
        })
    }

    /// Starts the threads, once.
    fn launch(&self) -> Result<(), StartError> {
        if self.launched.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        if self.recipe.transports.is_empty() {
            log::warn!("a worker has no transport: what it records goes nowhere");
            return Ok(());
        }
        courier::start(&self.process, &self.recipe)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    pub(crate) fn limits(&self) -> &WorkerLimits {
        &self.recipe.limits
    }

    /// The worker of this process.
    #[inline]
    pub(crate) fn current(self: &Arc<Self>) -> &Arc<Self> {
        if self.generation == fork::generation_once_armed() {
            self
        } else {
            self.in_child()
        }
    }

    #[cold]
    fn in_child(self: &Arc<Self>) -> &Arc<Self> {
        if self.child.get().is_none() {
            // Without its configuration it would not be the application's worker any more; that
            // is only locked if the fork has come in the instant of a change.
            let config = self.process.config.for_child();
            let config = config.unwrap_or_else(|| Arc::clone(&self.process.config));
            let child = Self::new(Arc::clone(&self.recipe), config);
            // If another thread was first, this one has not begun anything.
            drop(self.child.set(child));
        }
        let Some(child) = self.child.get() else {
            return self;
        };
        // Without threads it records, and what it has recorded is abandoned at its end.
        if let Err(error) = child.launch() {
            log::error!("the worker of a forked child can't start: {error}");
        }
        child.current()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            // Of the parent: kept for ever instead of being taken apart in the state that the fork
            // found it in.
            std::mem::forget(Arc::clone(&self.process));
            return;
        }
        let timeout = if self.process.is_reachable() || self.recipe.agent.is_some() {
            self.recipe.limits.drop_timeout
        } else {
            Duration::ZERO
        };
        if let Err(error) = self.process.close(timeout) {
            log::warn!("{error}");
        }
    }
}

/// All of a worker that belongs to one process.
pub(crate) struct Process {
    id: WorkerId,
    registry: Mutex<Registry>,
    /// How much there is in the cells that was not there at the last flush.
    pub(crate) fresh: Arc<Fresh>,
    state: Mutex<State>,
    /// Something was acknowledged, or the worker has ended.
    changed: Condvar,
    pub(crate) mailbox: Arc<Mailbox>,
    config: Arc<dyn ConfigSlot>,
    client: OnceLock<Client<Reports>>,
    last_known: Mutex<LastKnown>,
    fallbacks: Count,
    pub(crate) configs_refused: Count,
}

/// What needs the lock. It is held for as long as it takes to empty all cells.
pub(crate) struct State {
    pub(crate) outgoing: Outgoing,
    /// The ticket of the last flush.
    pub(crate) closing: Option<u64>,
    pub(crate) ended: bool,
}

/// What a worker has done so far in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WorkerCounters {
    /// Times that it has introduced itself to an agent: one for each connection, or more.
    pub hellos: u64,
    /// Times that an agent would not have it.
    pub hellos_refused: u64,
    /// Batches that were sent, those that were sent again included.
    pub batches_sent: u64,
    /// Batches that an agent has applied.
    pub batches_taken: u64,
    /// Attacks that were sent, those that were sent again included.
    pub attacks_sent: u64,
    /// Attacks that an agent has taken.
    pub attacks_taken: u64,
    /// Attacks of which only the kind was sent, because the agent takes no messages so long.
    pub attacks_shortened: u64,
    /// Times that a series was asked for beyond the bounds, and another one was given.
    pub series_overflowed: u64,
    /// Hits of keys beyond the bound, which count for the key `overflow`.
    pub keys_overflowed: u64,
    /// Questions of [`Worker::allow`](super::Worker::allow) that a policy has answered.
    pub fallbacks: u64,
    /// Configurations that could not be decoded.
    pub configs_refused: u64,
}

impl Process {
    fn new(recipe: &Recipe, config: Arc<dyn ConfigSlot>) -> Self {
        let id = WorkerId(ambient::fresh_number());
        let limits = &recipe.limits;
        let message_len_max = recipe.client_limits.frame_len_max.min(MESSAGE_LEN_MAX);
        let count = |max| usize::try_from(max).unwrap_or(usize::MAX);
        let mailbox = Arc::new(Mailbox::default());
        let flush_len = usize::try_from(limits.flush_len.0).unwrap_or(usize::MAX);
        let fresh = Arc::new(Fresh::new(flush_len, Arc::clone(&mailbox)));
        let outgoing = Outgoing::new(Identity {
            hello: Hello {
                worker: id,
                application: recipe.application.clone(),
                token: recipe.token.clone(),
                process: std::process::id(),
                batch_acknowledged: 0,
                batch_sent: 0,
                attack_acknowledged: 0,
                acknowledged: Totals::default(),
                config_hash: config.hash(),
            },
            attacks_max: count(limits.attacks_max),
            attacks_len_max: usize::try_from(limits.attacks_len_max.0).unwrap_or(usize::MAX),
            message_len_max: count(message_len_max),
        });
        Self {
            id,
            registry: Mutex::new(Registry::new(limits, Arc::clone(&fresh))),
            fresh,
            state: Mutex::new(State {
                outgoing,
                closing: None,
                ended: false,
            }),
            changed: Condvar::new(),
            mailbox,
            config,
            client: OnceLock::new(),
            last_known: Mutex::new(LastKnown::new(limits.last_known_max)),
            fallbacks: Count::default(),
            configs_refused: Count::default(),
        }
    }

    pub(crate) fn id(&self) -> WorkerId {
        self.id
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn config(&self) -> &Arc<dyn ConfigSlot> {
        &self.config
    }

    pub(crate) fn last_known(&self) -> MutexGuard<'_, LastKnown> {
        lock(&self.last_known)
    }

    pub(crate) fn set_client(&self, client: Client<Reports>) {
        // There is one launch.
        drop(self.client.set(client));
    }

    /// Tells those who wait to look again.
    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }

    /// Whether there is an agent, as far as is known: it is there, or the first attempt to reach it
    /// is under way.
    fn is_reachable(&self) -> bool {
        self.client.get().is_some_and(|client| {
            matches!(
                client.state(),
                ClientState::Connecting | ClientState::Connected { .. }
            )
        })
    }

    // ---- attacks ----

    pub(crate) fn attack(&self, body: AttackBody, len: usize) -> Result<u64, DropReason> {
        let at = UnixMicros::now();
        let mut state = self.state();
        if state.ended {
            state.outgoing.drop_attack(DropReason::Abandoned);
            return Err(DropReason::Abandoned);
        }
        let number = state.outgoing.add_attack(at, body, len)?;
        drop(state);
        self.mailbox.ring();
        Ok(number)
    }

    // ---- the book ----

    /// Under the lock of the state nothing can be between the cells and the outgoing.
    pub(crate) fn ledger(&self) -> Ledger {
        let state = self.state();
        self.ledger_of(&state)
    }

    fn ledger_of(&self, state: &State) -> Ledger {
        let waiting = self.registry().waiting();
        let mut ledger = state.outgoing.ledger();
        ledger.recorded = ledger.recorded.plus(waiting);
        ledger.pending = ledger.pending.plus(waiting);
        ledger
    }

    pub(crate) fn counters(&self) -> WorkerCounters {
        let Tally {
            hellos,
            hellos_refused,
            batches_said,
            batches_taken,
            attacks,
        } = self.state().outgoing.tally();
        let (series_overflowed, keys_overflowed) = self.registry().overflowed();
        WorkerCounters {
            hellos,
            hellos_refused,
            batches_sent: batches_said,
            batches_taken,
            attacks_sent: attacks.said,
            attacks_taken: attacks.taken,
            attacks_shortened: attacks.shortened,
            series_overflowed,
            keys_overflowed,
            fallbacks: self.fallbacks.read(),
            configs_refused: self.configs_refused.read(),
        }
    }

    // ---- flush and close ----

    /// Empties the cells into the outgoing.
    pub(crate) fn empty_cells(&self, state: &mut State) {
        let mut registry = self.registry();
        if state.outgoing.take_welcomed() {
            registry.untake_gauges();
        }
        let taken = registry.take();
        drop(registry);
        state.outgoing.handle_taken_out(taken);
    }

    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let deadline = deadline(timeout);
        let mut state = self.state();
        let ticket = state.outgoing.ask_flush();
        self.mailbox.ring();
        while !state.outgoing.is_flushed(ticket) {
            let ledger = self.ledger_of(&state);
            if ledger.pending.is_zero() {
                return Ok(());
            }
            state = match self.wait(state, deadline) {
                Some(state) => state,
                None => return Err(FlushError { ledger }),
            };
        }
        Ok(())
    }

    /// Waits for a change. `None` if the time is over, or there won't be one.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Option<MutexGuard<'a, State>> {
        let left = deadline.saturating_duration_since(ambient::now());
        if left == Duration::ZERO || state.ended || self.client.get().is_none() {
            return None;
        }
        let waited = self.changed.wait_timeout(state, left);
        Some(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(crate) fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        let deadline = deadline(timeout);
        let mut state = self.state();
        if state.closing.is_none() {
            state.closing = Some(state.outgoing.ask_flush());
        }
        self.mailbox.ring();
        while !state.outgoing.has_left() {
            state = match self.wait(state, deadline) {
                Some(state) => state,
                None => {
                    state = self.state();
                    break;
                }
            };
        }
        let has_left = state.outgoing.has_left();
        self.end(&mut state);
        let ledger = self.ledger_of(&state);
        drop(state);
        if has_left {
            self.say_goodbye(deadline);
            self.mailbox.wait_for_own_agent(deadline);
        }
        if ledger.dropped.contains_key(&DropReason::Abandoned) {
            return Err(CloseError { ledger });
        }
        Ok(())
    }

    /// Ends the connection in order, before the process can end: an agent that shuts down would
    /// take it for a client that was cut off. Whether it does changes nothing of what was sent.
    fn say_goodbye(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(ambient::now());
        if let Some(client) = self.client.get() {
            client.close(left.min(GOODBYE_TIMEOUT)).ok();
        }
    }

    /// Gives up what is still there.
    pub(crate) fn end(&self, state: &mut State) {
        if !state.ended {
            state.ended = true;
            self.empty_cells(state);
            state.outgoing.abandon();
            self.mailbox.ring();
            self.mailbox.end_keeper();
            self.tell();
        }
    }

    // ---- questions ----

    /// Asks the agent, once it knows this worker; by the deadline there is an answer or an error.
    pub(crate) fn ask(
        &self,
        request: &WorkerRequest,
        timeout: Duration,
    ) -> Result<Option<AgentReply>, CallError> {
        let deadline = deadline(timeout);
        let mut state = self.state();
        while !state.outgoing.is_ready() {
            if !self.is_reachable() {
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
    pub(crate) fn allow(
        &self,
        rule: &str,
        key: &str,
        cost: u32,
        timeout: Duration,
    ) -> Option<bool> {
        let request = WorkerRequest::Allow {
            rule: rule.to_owned(),
            key: key.to_owned(),
            cost,
        };
        match self.ask(&request, timeout) {
            Ok(Some(AgentReply::Allowed(allowed))) => allowed,
            _ => None,
        }
    }

    pub(crate) fn count_fallback(&self, rule: &str, policy: Policy) {
        self.fallbacks.one();
        let labels = [("rule", rule), ("policy", policy.name())];
        let series = Series::new("wayside.fallbacks", &labels);
        let counter = self.registry().counters.cell(&series);
        counter.add(1);
    }
}

/// Longer messages would keep others waiting.
const MESSAGE_LEN_MAX: u32 = 1 << 20;

fn deadline(timeout: Duration) -> Instant {
    ambient::now() + timeout.min(DURATION_MAX)
}
