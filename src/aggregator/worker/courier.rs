//! The thread that talks with the agent: carries what the [`Outgoing`] says, and brings it what
//! comes back.
//!
//! It sleeps until there is something to do: an attack, an answer, another connection, the next
//! flush. It holds the worker's lock for moments only, and never while it waits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::core::{Process, Recipe};
use super::error::StartError;
use super::outgoing::{Say, Unsaid};
use crate::aggregator::attack::{ATTACK_TEXT_LEN_MAX, cut_to};
use crate::aggregator::lifecycle::Keeper;
use crate::aggregator::message::{
    AgentPush, AgentReply, ConfigDocument, Reports, WorkerEvent, WorkerRequest,
};
use crate::ambient;
use crate::client::{CallError, Client, ClientState, Pending, SendError};
use crate::sync::lock;

/// How long the agent may take to answer. It has to write to its journal before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the connection may take to end, when everything that matters was said.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// What has happened since the courier looked last. Each thing at most once, so it is bounded.
#[derive(Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    bell: Arc<Bell>,
    /// Sees to it that there is an agent, if it is to.
    keeper: OnceLock<Keeper>,
}

#[derive(Default)]
struct Mail {
    /// How the connection stands, if it has changed. True is always another connection.
    connected: Option<bool>,
    /// The last attack that the agent has taken.
    taken: Option<u64>,
    config: Option<ConfigDocument>,
}

/// Wakes the courier.
#[derive(Default)]
struct Bell {
    courier: OnceLock<Thread>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(courier) = self.courier.get() {
            courier.unpark();
        }
    }
}

impl Mailbox {
    /// Asks the courier to look.
    pub(crate) fn ring(&self) {
        self.bell.wake_by_ref();
    }

    fn put(&self, put: impl FnOnce(&mut Mail)) {
        put(&mut lock(&self.mail));
        self.ring();
    }

    fn put_state(&self, state: &ClientState) {
        let connected = matches!(state, ClientState::Connected { .. });
        self.put(|mail| mail.connected = Some(connected));
        if let Some(keeper) = self.keeper.get() {
            keeper.stir();
        }
    }

    pub(crate) fn end_keeper(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.end();
        }
    }

    pub(crate) fn wait_for_own_agent(&self, deadline: Instant) {
        if let Some(keeper) = self.keeper.get() {
            keeper.wait_for_own_agent(deadline);
        }
    }

    fn put_push(&self, push: AgentPush) {
        self.put(|mail| match push {
            AgentPush::AttacksTaken { number } => mail.taken = mail.taken.max(Some(number)),
            AgentPush::Config(document) => mail.config = Some(document),
        });
    }
}

/// Makes the client, and starts the thread.
pub(crate) fn start(process: &Arc<Process>, recipe: &Recipe) -> Result<(), StartError> {
    let (for_states, for_pushes) = (Arc::clone(&process.mailbox), Arc::clone(&process.mailbox));
    let mut builder = Client::builder()
        .limits(recipe.client_limits.clone())
        .on_state(move |state| for_states.put_state(&state))
        .on_push(move |push| for_pushes.put_push(push));
    for transport in &recipe.transports {
        builder = builder.transport(transport.clone());
    }
    let client = builder.start()?;
    if let Some((post, spawn)) = &recipe.agent {
        let keeper = Keeper::start(client.clone(), post.clone(), Arc::clone(spawn));
        // There is one launch.
        drop(
            process
                .mailbox
                .keeper
                .set(keeper.map_err(StartError::Thread)?),
        );
    }
    let mut courier = Courier {
        process: Arc::clone(process),
        waker: Waker::from(Arc::clone(&process.mailbox.bell)),
        flush_interval: recipe.limits.flush_interval,
        next_flush: ambient::now(),
        client: client.clone(),
        calls: Vec::new(),
    };
    let thread = thread::Builder::new()
        .name("wayside-worker".to_owned())
        .spawn(move || courier.run())
        .map_err(StartError::Thread)?;
    process.set_client(client);
    // There is one launch. What rang before is seen by the first turn, or by this unpark.
    drop(process.mailbox.bell.courier.set(thread.thread().clone()));
    process.mailbox.ring();
    Ok(())
}

struct Courier {
    process: Arc<Process>,
    client: Client<Reports>,
    waker: Waker,
    flush_interval: Duration,
    next_flush: Instant,
    calls: Vec<(Asked, Pending<Reports>)>,
}

/// What a call was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Hello,
    Batch,
    Leave,
}

/// Ends the worker also if the thread panics: nobody then waits for what won't come.
struct EndGuard(Arc<Process>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Courier {
    fn run(&mut self) {
        let guard = EndGuard(Arc::clone(&self.process));
        while let Some(deadline) = self.turn(ambient::now()) {
            thread::park_timeout(deadline.saturating_duration_since(ambient::now()));
        }
        drop(guard);
        self.calls.clear();
        self.client.begin_close(GOODBYE_TIMEOUT);
    }

    /// Does everything that can be done now. When the next turn is due; `None` if the worker has
    /// ended.
    fn turn(&mut self, now: Instant) -> Option<Instant> {
        self.open_mail(now);
        loop {
            // Also leaves the waker with the calls that were begun in the last round.
            let replies = self.take_replies(now);
            if !self.prepare(now) {
                return None;
            }
            if !self.say_all(now) && !replies {
                break;
            }
        }
        self.process.tell();
        let state = self.process.state();
        let flush = state.outgoing.wants_more().then_some(self.next_flush);
        let deadline = [flush, state.outgoing.deadline()]
            .into_iter()
            .flatten()
            .min();
        // Whatever else there is to do will wake this thread.
        Some(deadline.unwrap_or(now + Duration::from_secs(60)))
    }

    /// Lets time pass, and empties the cells if that is due. False if the worker has ended.
    fn prepare(&mut self, now: Instant) -> bool {
        let mut state = self.process.state();
        if state.ended {
            return false;
        }
        let outgoing = &mut state.outgoing;
        outgoing.handle_timeout(now);
        let due =
            now >= self.next_flush || outgoing.is_flush_asked() || self.process.fresh.is_much();
        if outgoing.wants_more() && due {
            drop(state);
            self.next_flush = now + self.flush_interval;
            self.process.empty_cells();
            state = self.process.state();
        }
        if let Some(ticket) = state.closing {
            if state.outgoing.is_flushed(ticket) {
                state.outgoing.leave();
            }
        }
        true
    }

    fn open_mail(&mut self, now: Instant) {
        let mail = std::mem::take(&mut *lock(&self.process.mailbox.mail));
        if let Some(connected) = mail.connected {
            // Those that ended with the old connection say whether anybody has seen them.
            self.take_replies(now);
            self.calls.clear();
            let mut state = self.process.state();
            if connected {
                state.outgoing.handle_connected();
            } else {
                state.outgoing.handle_lost();
            }
        }
        if let Some(number) = mail.taken {
            let mut state = self.process.state();
            state.outgoing.handle_attacks_taken(number, now);
        }
        if let Some(document) = mail.config {
            self.run_config(&document);
        }
    }

    fn run_config(&self, document: &ConfigDocument) {
        let version = document.version;
        // The application's code runs in it, so not under the lock.
        let said = match self.process.config().accept(document) {
            Ok(()) => WorkerEvent::ConfigRuns { version },
            Err(mut why) => {
                // A decoder's words may quote all of the document.
                cut_to(&mut why, ATTACK_TEXT_LEN_MAX);
                log::warn!("configuration {version} is refused: {why}");
                self.process.configs_refused.one();
                WorkerEvent::ConfigRefused { version, why }
            }
        };
        let hash = self.process.config().hash();
        self.process.state().outgoing.handle_config(hash, said);
    }

    /// True if there were any.
    fn take_replies(&mut self, now: Instant) -> bool {
        let mut replies = Vec::new();
        let mut context = Context::from_waker(&self.waker);
        self.calls.retain_mut(
            |(asked, pending)| match Pin::new(pending).poll(&mut context) {
                Poll::Pending => true,
                Poll::Ready(reply) => {
                    replies.push((*asked, reply));
                    false
                }
            },
        );
        let any = !replies.is_empty();
        for (asked, reply) in replies {
            self.take_reply(asked, reply, now);
        }
        any
    }

    fn take_reply(&self, asked: Asked, reply: Result<AgentReply, CallError>, now: Instant) {
        let mut state = self.process.state();
        let reply = match reply {
            Ok(reply) => Some(reply),
            Err(error) if asked != Asked::Leave && is_of_the_connection(&error) => {
                if asked == Asked::Batch && !error.may_have_run() {
                    state.outgoing.handle_batch_unseen();
                }
                state.outgoing.handle_lost();
                return;
            }
            Err(error) => {
                log::debug!("the agent has not answered: {error}");
                None
            }
        };
        match asked {
            Asked::Hello => {
                let config = state.outgoing.handle_hello_reply(reply, now);
                drop(state);
                if let Some(document) = config {
                    self.run_config(&document);
                }
            }
            Asked::Batch => state.outgoing.handle_batch_reply(reply, now),
            Asked::Leave => state.outgoing.handle_left(),
        }
    }

    /// True if there was anything.
    fn say_all(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let say = self.process.state().outgoing.poll_say(now);
            let Some(say) = say else {
                return any;
            };
            any = true;
            if let Err(why) = self.say(&say) {
                let mut state = self.process.state();
                state.outgoing.handle_unsaid(&say, why, now);
            }
        }
    }

    fn say(&mut self, say: &Say) -> Result<(), Unsaid> {
        match say {
            Say::Hello(request) => self.call(Asked::Hello, request),
            Say::Batch(request) => self.call(Asked::Batch, request),
            Say::Leave => self.call(Asked::Leave, &WorkerRequest::Leave),
            Say::Attack(event) => self.client.send_urgent(event).map_err(unsaid),
            Say::Config(event) => self.client.send(event).map_err(unsaid),
        }
    }

    fn call(&mut self, asked: Asked, request: &WorkerRequest) -> Result<(), Unsaid> {
        match self.client.start(request, ANSWER_TIMEOUT) {
            Ok(pending) => {
                self.calls.push((asked, pending));
                Ok(())
            }
            Err(CallError::NotSent(error)) => Err(unsaid(error)),
            Err(CallError::TooManyCalls { .. }) => Err(Unsaid::Full),
            Err(_) => Err(Unsaid::Apart),
        }
    }
}

fn is_of_the_connection(error: &CallError) -> bool {
    matches!(error, CallError::Lost { .. } | CallError::NotConnected(_))
}

fn unsaid(error: SendError) -> Unsaid {
    match error {
        SendError::TooLong { max } => Unsaid::TooLong {
            max: usize::try_from(max).unwrap_or(usize::MAX),
        },
        SendError::Full { .. } => Unsaid::Full,
        SendError::Unencodable(why) => {
            debug_assert!(false, "messages can be encoded: {why}");
            Unsaid::Full
        }
        _ => Unsaid::Apart,
    }
}
