//! A worker at work in one process, and what becomes of it after a fork.
//!
//! A forked child has the parent's memory but none of its threads, and locks may be held by nobody.
//! So the child touches nothing of it: the first use in the child finds another generation, and
//! makes a [`Process`] of its own from the same [`Recipe`]. What the parent had still to send it
//! sends itself.
//!
//! Locks, in the order in which they are taken: the way from the cells, the state, the registry, the parts
//! of an inventory. The first is held for as long as all cells are emptied or counted, so nothing that an
//! application does without naming a time takes it. The others are held for moments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use histogram::Histogram as Plain;

use super::asking::UnknownRules;
use super::config::ConfigSlot;
use super::counters::WorkerCounters;
use super::courier::{self, GOODBYE_TIMEOUT, Mailbox};
use super::error::{CloseError, FlushError, StartError};
use super::fresh::Fresh;
use super::last_known::LastKnown;
use super::limits::WorkerLimits;
use super::outgoing::{Identity, Outgoing, Tally};
use super::pieces;
use super::registry::Registry;
use crate::aggregator::attack::AttackBody;
use crate::aggregator::distribution;
use crate::aggregator::ledger::{DropReason, Ledger, Totals};
use crate::aggregator::lifecycle::{Post, Spawn};
use crate::aggregator::message::{Hello, Reports, WorkerId};
use crate::aggregator::moment::UnixMicros;
use crate::client::{Client, ClientState};
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
        let is_to_come = self.process.is_reachable() || self.recipe.agent.is_some();
        let timeout = if is_to_come && !self.process.state().outgoing.is_refused() {
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
    /// The way from the cells to the outgoing: whoever has it sees each number in one of the two. It goes
    /// by way of a histogram.
    emptying: Mutex<Plain>,
    state: Mutex<State>,
    /// Something was acknowledged, or the worker has ended.
    changed: Condvar,
    pub(crate) mailbox: Arc<Mailbox>,
    config: Arc<dyn ConfigSlot>,
    pub(super) client: OnceLock<Client<Reports>>,
    last_known: Mutex<LastKnown>,
    pub(super) unknown_rules: Mutex<UnknownRules>,
    pub(super) fallbacks: Count,
    pub(crate) configs_refused: Count,
}

/// What needs the lock.
pub(crate) struct State {
    pub(crate) outgoing: Outgoing,
    /// The ticket of the last flush.
    pub(crate) closing: Option<u64>,
    pub(crate) ended: bool,
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
            emptying: Mutex::new(Plain::with_config(&distribution::config())),
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
            unknown_rules: Mutex::default(),
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
    pub(super) fn is_reachable(&self) -> bool {
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

    pub(crate) fn ledger(&self) -> Ledger {
        // Nothing goes from the cells to the outgoing meanwhile.
        let mut by_way_of = lock(&self.emptying);
        let cells = self.registry().cells();
        let waiting = cells.waiting(&mut by_way_of);
        let mut ledger = self.state().outgoing.ledger();
        ledger.recorded = ledger.recorded.plus(waiting);
        ledger.pending = ledger.pending.plus(waiting);
        ledger
    }

    /// Whether everything that was recorded is acknowledged, or dropped.
    fn is_settled(&self) -> bool {
        let mut by_way_of = lock(&self.emptying);
        let cells = self.registry().cells();
        !cells.have_gauges()
            && cells.waiting(&mut by_way_of).is_zero()
            && self.state().outgoing.is_empty()
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
    pub(crate) fn empty_cells(&self) {
        let mut by_way_of = lock(&self.emptying);
        if !self.state().ended {
            self.move_cells(&mut by_way_of);
        }
    }

    /// Looking into all cells and cutting what was in them may take many milliseconds: nobody waits for it
    /// who records, reports or asks.
    fn move_cells(&self, by_way_of: &mut Plain) {
        let taking = self.state().outgoing.begin_taking();
        self.fresh.begin_again();
        let cells = self.registry().cells();
        if taking.gauges_again {
            cells.untake_gauges();
        }
        let cut = pieces::cut(cells.take(by_way_of), taking.message_len_max);
        self.state().outgoing.handle_taken_out(&taking, cut);
    }

    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let deadline = deadline(timeout);
        // Without an agent nobody would say so.
        if self.is_settled() {
            return Ok(());
        }
        let mut state = self.state();
        let ticket = state.outgoing.ask_flush();
        self.mailbox.ring();
        while !state.outgoing.is_flushed(ticket) {
            state = match self.wait(state, deadline) {
                Some(state) => state,
                None if self.is_settled() => return Ok(()),
                None => {
                    let ledger = self.ledger();
                    return Err(FlushError { ledger });
                }
            };
        }
        Ok(())
    }

    /// Waits for a change. `None` if the time is over, or there won't be one.
    pub(super) fn wait<'a>(
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
        let has_left = self.leave(deadline);
        self.end();
        let ledger = self.ledger();
        if has_left {
            self.say_goodbye(deadline);
            self.mailbox.wait_for_own_agent(deadline);
        }
        if ledger.dropped.contains_key(&DropReason::Abandoned) {
            return Err(CloseError { ledger });
        }
        Ok(())
    }

    /// Sends what is left, and takes leave. True if the agent has heard it.
    fn leave(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        if state.closing.is_none() {
            state.closing = Some(state.outgoing.ask_flush());
        }
        self.mailbox.ring();
        while !state.outgoing.has_left() {
            state = match self.wait(state, deadline) {
                Some(state) => state,
                None => return self.state().outgoing.has_left(),
            };
        }
        true
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
    pub(crate) fn end(&self) {
        let mut by_way_of = lock(&self.emptying);
        if std::mem::replace(&mut self.state().ended, true) {
            return;
        }
        self.move_cells(&mut by_way_of);
        self.state().outgoing.abandon();
        self.mailbox.ring();
        self.mailbox.end_keeper();
        self.tell();
    }
}

/// Longer messages would keep others waiting.
const MESSAGE_LEN_MAX: u32 = 1 << 20;

pub(super) fn deadline(timeout: Duration) -> Instant {
    ambient::now() + timeout.min(DURATION_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::aggregator::attack::Attack;
    use crate::aggregator::worker::Worker;

    #[test]
    fn nobody_waits_for_the_cells_to_be_emptied() {
        let worker = Worker::builder("shop").start().expect("nothing can fail");
        let routes = worker.inventory("routes");
        // As long as it takes.
        let process = Arc::clone(worker.core.current().process());
        let emptying = lock(&process.emptying);
        let (sender, done) = mpsc::channel();
        let of_thread = worker.clone();
        let thread = thread::spawn(move || {
            let worker = of_thread;
            worker.counter_with("requests", &[("method", "GET")]).one();
            worker.gauge("open").set(1.0);
            worker.histogram("us").record(7);
            routes.seen("GET /");
            worker.inventory("hosts").seen("localhost");
            assert_eq!(worker.attack(Attack::new("x")), Some(1));
            assert!(worker.allow("login", "eve"));
            assert_eq!(worker.question("echo", 7).ask(&1), 7);
            assert_eq!(worker.counters().fallbacks, 2);
            assert!(worker.config_version().is_none());
            sender.send(()).ok();
        });
        let patience = Duration::from_secs(60);
        assert_eq!(done.recv_timeout(patience), Ok(()));
        drop(emptying);
        thread.join().expect("it has done all of it");
        let recorded = worker.ledger().recorded;
        // Requests and fallbacks; in the cells, or reported.
        assert_eq!((recorded.counted, recorded.attacks), (3, 1));
    }
}
