//! The server's loop without its poll: readiness in, system calls out.
//!
//! ```text
//!   handle_event   notes who is ready
//!   turn           accepts; visits everyone who is ready once; looks at timers and at requests of
//!                  other threads
//!   deadline       when the next turn is due without an event
//!
//!   admit    how clients come in
//!   visit    what a peer has sent is handled, what it is to read is written
//!   depart   when a peer's time is over, and how it goes
//! ```
//!
//! Fairness: a visit reads a bounded number of bytes; who has more is visited again in the next
//! round, behind everybody else. The loop owns all sessions: locks are held for one read, or for
//! what the link takes of what waits (the outbox at most), never while the handler runs.

mod admit;
mod depart;
mod visit;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::ambient;
use crate::close::CloseReason;
use crate::counters::LiveServerCounters;
use crate::event_loop::is_end;
use crate::fork;
use crate::hello::Hello;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::server::control::{Command, Control};
use crate::server::handler::Handler;
use crate::server::listening::Listening;
use crate::server::peer::{PeerKey, PeerShared};
use crate::session::Session;
use crate::spin::{Look, Looking};
use crate::timers::Timers;
use crate::turn;
use crate::wire::{Read, release};

/// What the loop alone knows of a peer.
struct Entry {
    shared: Arc<PeerShared>,
    session: Session,
    inbox: Inbox,
    /// What a spin has read: the visit that follows takes it for the first read of its own.
    seen: Option<std::io::Result<Read>>,
    /// Of the backend's [`Capabilities`](crate::backend::Capabilities).
    short_recv_is_last: bool,
    /// The peer has said all: it is read to its end.
    ended: bool,
    /// There are whole frames in the inbox: the peer had too much to read for them to be handled.
    left_over: bool,
    /// It is in the list of those to visit.
    ready: bool,
    /// `Handler::connected` was called.
    connected: bool,
    /// The soonest timer that is set for it.
    timer_at: Instant,
    /// The connection is over for us; the peer is still to read why.
    refused: Option<CloseReason>,
}

impl Entry {
    /// Whether a read that gave less than there was room for has left nothing to read.
    fn is_emptied_by_short_recv(&self) -> bool {
        self.short_recv_is_last && !self.ended && !self.left_over
    }
}

pub(crate) struct Engine<P: Protocol, H: Handler<P>> {
    handler: H,
    limits: Limits,
    hello: Hello,
    registry: Arc<Registry>,
    first_token: usize,
    listeners: Vec<Listening>,
    /// How many tokens belong to listeners, also once those are closed.
    listener_count: usize,
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    next_key: u64,
    /// Those that have not said hello, oldest first, with those that since have or are gone.
    greeting: VecDeque<(usize, PeerKey)>,
    greeting_count: usize,
    ready: VecDeque<usize>,
    timers: Timers,
    /// The buffer for reading, while nobody has it.
    lent: Vec<u8>,
    /// Who has it: whoever was visited last. Between two visits of the same peer nothing moves.
    lent_to: Option<usize>,
    partials_len: usize,
    /// Who has sent a request in this turn, the last one: it may follow up its answer with another.
    /// It stays so while something to or from it is under way in pieces, and nobody else is visited.
    asked_by: Option<usize>,
    /// Application's code was called over a message, and may have taken its time.
    has_called: bool,
    control: Arc<Control>,
    counters: Arc<LiveServerCounters>,
    /// Set once the server is asked to stop: until then peers may finish.
    stop_at: Option<Instant>,
    protocol: std::marker::PhantomData<fn() -> P>,
    wanted: Vec<usize>,
    generation: u32,
}

impl<P: Protocol, H: Handler<P>> Drop for Engine<P, H> {
    /// Peers and handles may outlive the loop: they must not keep the links of clients that nobody
    /// listens to any more.
    fn drop(&mut self) {
        // In a forked child they are the parent's.
        if self.generation == fork::generation() {
            let now = ambient::now();
            // However the loop has ended: whoever is still here could not finish.
            self.stop_at.get_or_insert(now);
            self.close_all(now);
        }
    }
}

impl<P: Protocol, H: Handler<P>> Looking for Engine<P, H> {
    /// Reads from whoever has asked last, if nobody else was visited since: it has the buffer. If not
    /// all of the answer could be written, tries that first.
    fn look(&mut self) -> Look {
        let Some(index) = self.asked_by.filter(|index| self.lent_to == Some(*index)) else {
            return Look::Nothing;
        };
        let Some(Some(entry)) = self.entries.get_mut(index) else {
            return Look::Nothing;
        };
        let mut outgoing = entry.shared.outgoing();
        if entry.refused.is_some() {
            return Look::Nothing;
        }
        let mut look = Look::Nothing;
        if outgoing.wire.writing.blocked_since.is_some() {
            look = entry.shared.write_on(&mut outgoing);
            if look == Look::Came {
                drop(outgoing);
                self.mark_ready(index);
                return look;
            }
        }
        if outgoing.paused || entry.left_over {
            return look;
        }
        let was_partial = entry.inbox.partial_len();
        let read = outgoing.wire.recv(&mut entry.inbox);
        if matches!(read, Ok(Read::Blocked)) {
            return look;
        }
        drop(outgoing);
        self.partials_len = self.partials_len - was_partial + entry.inbox.partial_len();
        entry.seen = Some(read);
        self.mark_ready(index);
        Look::Came
    }

    /// Takes note of an event. Those of others are ignored.
    fn handle_event(&mut self, event: &Event) {
        self.handle_token(event.token(), is_end(event));
    }
}

impl<P: Protocol, H: Handler<P>> Engine<P, H> {
    pub(crate) fn new(
        handler: H,
        limits: Limits,
        registry: Registry,
        first_token: usize,
        listeners: Vec<Listening>,
        control: Arc<Control>,
    ) -> std::io::Result<Self> {
        let hello = Hello::new(P::NAME, P::VERSION, &limits, ambient::fresh_number());
        let counters = Arc::clone(&control.counters);
        let mut engine = Self {
            handler,
            limits,
            hello,
            registry: Arc::new(registry),
            first_token,
            listener_count: listeners.len(),
            listeners,
            entries: Vec::new(),
            free: Vec::new(),
            next_key: 1,
            greeting: VecDeque::new(),
            greeting_count: 0,
            ready: VecDeque::new(),
            timers: Timers::default(),
            lent: Vec::new(),
            lent_to: None,
            partials_len: 0,
            asked_by: None,
            has_called: false,
            control,
            counters,
            stop_at: None,
            protocol: std::marker::PhantomData,
            wanted: Vec::new(),
            generation: fork::generation(),
        };
        for (index, listening) in engine.listeners.iter_mut().enumerate() {
            engine.registry.register(
                &mut listening.listener,
                Token(first_token + index),
                Interest::READABLE,
            )?;
        }
        Ok(engine)
    }

    pub(crate) fn handler(&self) -> &H {
        &self.handler
    }

    pub(crate) fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Takes note that the source of this token is ready, and whether what has come is all that
    /// will come.
    pub(crate) fn handle_token(&mut self, token: Token, ended: bool) {
        let Some(index) = token.0.checked_sub(self.first_token) else {
            return;
        };
        if let Some(listening) = self.listeners.get_mut(index) {
            listening.ready = true;
        } else if let Some(index) = index.checked_sub(self.listener_count) {
            if let Some(Some(entry)) = self.entries.get_mut(index) {
                entry.ended |= ended;
            }
            self.mark_ready(index);
        }
    }

    /// Does everything that can be done now, once around. See [`deadline`](Engine::deadline).
    pub(crate) fn turn(&mut self, now: Instant) {
        let _turn = turn::begin();
        let asked_before = self.asked_by.take();
        self.obey(now);
        self.accept(now);
        // A handler may take its time. Who is visited behind it is not heard before that.
        let mut later = now;
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else {
                break;
            };
            later = self.visit(index, later);
        }
        while let Some(index) = self.timers.pop_due(now) {
            later = self.handle_timer(index, later);
        }
        let goes_on = |index: &usize| self.lent_to == Some(*index) && self.is_in_the_middle(*index);
        self.asked_by = self.asked_by.or_else(|| asked_before.filter(goes_on));
    }

    /// Whether a message to or from that peer is under way in pieces.
    fn is_in_the_middle(&self, index: usize) -> bool {
        let entry = self.entries.get(index).and_then(Option::as_ref);
        entry.is_some_and(|entry| {
            entry.inbox.partial_len() > 0
                || entry.shared.outgoing().wire.writing.blocked_since.is_some()
        })
    }

    /// When the next turn is due, if no event comes before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.ready.is_empty() || self.listeners.iter().any(|l| l.is_due(now)) {
            return Some(now);
        }
        let retries = self.listeners.iter().filter_map(|l| l.retry_at);
        self.timers
            .next()
            .into_iter()
            .chain(retries)
            .chain(self.stop_at)
            .min()
    }

    /// If the last turn has left nothing to do but to wait for whoever got an answer: how long that
    /// is.
    pub(crate) fn answered_len(&self) -> Option<usize> {
        let asked_by = self.asked_by.filter(|_| self.ready.is_empty())?;
        let entry = self.entries.get(asked_by)?.as_ref()?;
        Some(entry.shared.outgoing().wire.spoken_len())
    }

    /// Whether the server was asked to stop and has.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop_at.is_some() && self.peer_count() == 0
    }

    #[cfg(feature = "internals")]
    pub(crate) fn holdings(&self) -> Holdings {
        Holdings {
            peers: self.peer_count(),
            slots: self.entries.len(),
            greeting: self.greeting_count,
            timers: self.timers.len(),
            partials_len: self.partials_len,
        }
    }

    fn peer_count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    fn mark_ready(&mut self, index: usize) {
        if let Some(Some(entry)) = self.entries.get_mut(index) {
            if !std::mem::replace(&mut entry.ready, true) {
                self.ready.push_back(index);
            }
        }
    }

    // ---- what other threads ask for ----

    fn obey(&mut self, now: Instant) {
        let mut wanted = std::mem::take(&mut self.wanted);
        self.control.attention.take(&mut wanted);
        for index in wanted.drain(..) {
            self.mark_ready(index);
        }
        self.wanted = wanted;
        if let Some(Command::Stop { deadline }) = self.control.command() {
            self.begin_stop(deadline, now);
        }
        if self.stop_at.is_some_and(|at| now >= at) {
            self.close_all(now);
        }
    }

    fn close_all(&mut self, now: Instant) {
        for index in 0..self.entries.len() {
            self.close(index, CloseReason::ClosedHere, now);
        }
    }

    fn begin_stop(&mut self, deadline: Instant, now: Instant) {
        if let Some(at) = &mut self.stop_at {
            *at = deadline.min(*at);
            return;
        }
        self.stop_at = Some(deadline);
        for listening in self.listeners.drain(..) {
            release(&self.registry, listening.listener);
        }
        for index in 0..self.entries.len() {
            let Some(entry) = &mut self.entries[index] else {
                continue;
            };
            if entry.session.is_open() {
                entry
                    .session
                    .drain(&mut entry.shared.outgoing().wire.outbox);
                self.mark_ready(index);
            } else {
                self.close(index, CloseReason::ShuttingDown, now);
            }
        }
    }
}

/// What a server holds: for tests that nothing stays behind.
#[cfg(feature = "internals")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Connections, greeted or not.
    pub peers: usize,
    /// Places for connections, free ones included.
    pub slots: usize,
    /// Connections that have not said hello.
    pub greeting: usize,
    /// Entries among the timers.
    pub timers: usize,
    /// The bytes of half-received frames.
    pub partials_len: usize,
}

/// Runs the application's code. The handler is the application's own to keep whole, and what is ours
/// is whole wherever that code is called.
fn guard<T>(counters: &LiveServerCounters, code: impl FnOnce() -> T) -> Result<T, CloseReason> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| {
        counters.handler_panics.one();
        CloseReason::HandlerPanicked
    })
}
