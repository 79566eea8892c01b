//! The client's side of the loop: connects, reads, writes and keeps time for one connection.
//!
//! ```text
//!   connect    from an attempt to an open session, and when the next attempt is
//!   exchange   what has come is read and handed on, what waits is written
//!   end        what becomes of messages and calls when a connection ends, or the client
//! ```
//!
//! A driver belongs to one thread at a time: to whoever has the duty, or to the application's own
//! loop. It never blocks.

mod connect;
mod end;
mod exchange;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};

use crate::ambient;
use crate::client::backoff::Backoff;
use crate::client::error::ConnectFailures;
use crate::client::running::OnState;
use crate::client::shared::{Outgoing, Shared};
use crate::client::state::ClientState;
use crate::event_loop::is_end;
use crate::fork;
use crate::hello::Hello;
use crate::inbox::Inbox;
use crate::protocol::Protocol;
use crate::session::Session;
use crate::spin::{Look, Looking};
use crate::transport::Transport;
use crate::turn;
use crate::wire::Read;

pub(crate) struct Driver<P: Protocol> {
    shared: Arc<Shared<P>>,
    registry: Arc<Registry>,
    token: Token,
    transports: Vec<Transport>,
    hello: Hello,
    session: Option<Session>,
    inbox: Inbox,
    lent: Vec<u8>,
    /// What a spin has read: the turn that follows takes it for the first read of its own.
    seen: Option<std::io::Result<Read>>,
    /// The transport that is or was tried last.
    current: usize,
    /// What came of those that were tried before in this round.
    failures: ConnectFailures,
    /// When to try the next one; `None` while there is a session.
    retry_at: Option<Instant>,
    opened_at: Option<Instant>,
    backoff: Backoff,
    /// The last turn has left something to read.
    more: bool,
    /// Of the backend's [`Capabilities`](crate::backend::Capabilities).
    short_recv_is_last: bool,
    /// The server has said all: it is read to its end.
    ended: bool,
    closed: bool,
    generation: u32,
    /// Whose calls have ended, to be woken once the lock is let go.
    wakers: Vec<Waker>,
    on_state: Option<OnState>,
    /// What `on_state` is still to be called with, once the lock is let go.
    states: Vec<ClientState>,
}

impl<P: Protocol> Drop for Driver<P> {
    /// Whoever waits for something that only a driver brings is told that it won't come.
    fn drop(&mut self) {
        if !self.closed && self.generation == fork::generation() {
            self.shared.begin_close(Duration::ZERO);
            self.turn(ambient::now());
        }
    }
}

impl<P: Protocol> Looking for Driver<P> {
    fn look(&mut self) -> Look {
        if self.session.is_none() || self.generation != fork::generation() {
            return Look::Nothing;
        }
        self.take_buffer();
        let mut look = Look::Nothing;
        let mut outgoing = self.shared.outgoing();
        if outgoing.wire.writing.blocked_since.is_some() {
            // The rest of a long message: the poll would tell late that there is room.
            match self.shared.flush(&mut outgoing, ambient::now()) {
                Ok(0) => {}
                Ok(_) => look = Look::WroteOn,
                Err(_) => return Look::Came,
            }
        }
        match outgoing.wire.recv(&mut self.inbox) {
            Ok(Read::Blocked) => look,
            read => {
                self.seen = Some(read);
                Look::Came
            }
        }
    }

    /// Takes note of an event. Those of others are ignored.
    fn handle_event(&mut self, event: &Event) {
        self.ended |= event.token() == self.token && is_end(event);
    }
}

impl<P: Protocol> Driver<P> {
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        registry: Registry,
        token: Token,
        transports: Vec<Transport>,
        on_state: Option<OnState>,
        now: Instant,
    ) -> Self {
        let epoch = ambient::fresh_number();
        let limits = &shared.limits;
        // The lower half of a random number is random.
        let seed = u64::try_from(epoch & u128::from(u64::MAX)).expect("64 bits are left");
        Self {
            hello: Hello::new(P::NAME, P::VERSION, limits, epoch),
            backoff: Backoff::new(limits.reconnect_delay_min, limits.reconnect_delay_max, seed),
            shared,
            registry: Arc::new(registry),
            token,
            transports,
            session: None,
            inbox: Inbox::default(),
            lent: Vec::new(),
            seen: None,
            current: 0,
            failures: ConnectFailures::default(),
            retry_at: Some(now),
            opened_at: None,
            more: false,
            short_recv_is_last: false,
            ended: false,
            closed: false,
            generation: fork::generation(),
            wakers: Vec::new(),
            on_state,
            states: Vec::new(),
        }
    }

    #[cfg(feature = "internals")]
    pub(crate) fn handle_end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Whether the client is closed: there is nothing left to drive.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Does everything that can be done now.
    pub(crate) fn turn(&mut self, now: Instant) {
        // In a forked child this is the parent's, and nothing of it may be touched.
        if self.closed || self.generation != fork::generation() {
            return;
        }
        let _turn = turn::begin();
        self.obey(now);
        // A round of attempts that fail at once needs no turn for each.
        for _ in 0..self.transports.len() {
            if self.retry_at.is_some_and(|at| now >= at) {
                self.attempt(now);
            }
        }
        if self.session.is_some() {
            if let Err(reason) = self.exchange(now) {
                self.lose(reason, now);
            }
        }
        self.expire(now);
        self.close_if_done(now);
        self.tell_states();
    }

    /// Calls the application with what has become of the connection. Not to be called under the
    /// lock.
    fn tell_states(&mut self) {
        for state in self.states.drain(..) {
            let Some(on_state) = &self.on_state else {
                continue;
            };
            let call = AssertUnwindSafe(|| on_state(state));
            if catch_unwind(call).is_err() {
                self.shared.counters.callback_panics.one();
            }
        }
    }

    /// When the next turn is due, if no event comes before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.closed || self.generation != fork::generation() {
            return None;
        }
        if self.more {
            return Some(now);
        }
        let mut outgoing = self.shared.outgoing();
        let session = self
            .session
            .as_ref()
            .map(|session| session.deadline(&outgoing.wire.writing));
        let closing = outgoing.closing.map(|closing| closing.deadline);
        let call = outgoing.calls.earliest_deadline();
        let deadline = [session, closing, call, self.retry_at]
            .into_iter()
            .flatten()
            .min();
        outgoing.sleeps_until = deadline;
        deadline
    }

    fn expire(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut outgoing = shared.outgoing();
        if outgoing.calls.earliest_deadline().is_none_or(|at| now < at) {
            return;
        }
        let mut expired = Vec::new();
        let Outgoing { calls, .. } = &mut *outgoing;
        calls.expire(now, &mut self.wakers, |id| expired.push(id));
        for id in expired {
            outgoing.cancel(id);
        }
        if shared.flush(&mut outgoing, now).is_err() {
            self.more = true;
        }
        drop(outgoing);
        self.wake();
    }
}
