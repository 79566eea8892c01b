//! The client's side of the loop: connects, reads, writes and keeps time for one connection.
//!
//! A driver belongs to one thread at a time: to whoever has the duty, or to the application's own
//! loop. It never blocks.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};

use crate::ambient;
use crate::client::backoff::Backoff;
use crate::client::calls::{Answer, CallId};
use crate::client::error::{CallError, CloseError, ConnectFailures, NotConnected};
use crate::client::running::OnState;
use crate::client::shared::{Outgoing, Shared, Status};
use crate::client::state::ClientState;
use crate::close::CloseReason;
use crate::envelope::{self, Head};
use crate::event_loop::is_end;
use crate::fork;
use crate::hello::Hello;
use crate::inbox::Inbox;
use crate::protocol::Protocol;
use crate::session::{Incoming, Role, Session};
use crate::spin::Looking;
use crate::transport::Transport;
use crate::turn;
use crate::wire::{self, Read, Watch};

/// What one turn may read before it is the turn of writing and of whoever waits.
const TURN_LEN_MAX: usize = 1 << 20;

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
    fn look(&mut self) -> bool {
        if self.session.is_none() || self.generation != fork::generation() {
            return false;
        }
        self.take_buffer();
        match self.shared.outgoing().wire.recv(&mut self.inbox) {
            Ok(Read::Blocked) => false,
            read => {
                self.seen = Some(read);
                true
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
        if let Some(error) = self.obey(now) {
            // What the server has sent before the link broke is still there: answers, and perhaps
            // why it left.
            let received = self.receive_all(now);
            let broken = || CloseReason::LinkFailed(Arc::new(error));
            self.lose(received.err().unwrap_or_else(broken), now);
        }
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

    // ---- connecting ----

    fn attempt(&mut self, now: Instant) {
        self.retry_at = None;
        self.shared.counters.attempts.one();
        let transport = &self.transports[self.current];
        self.short_recv_is_last = transport.backend.capabilities().short_recv_is_last;
        self.ended = false;
        let connected = transport
            .backend
            .connect(&transport.address)
            .and_then(|mut link| {
                let watch = Watch::begin(&self.registry, self.token, &mut link)?;
                Ok((link, watch))
            });
        match connected {
            Ok((link, watch)) => {
                let mut outgoing = self.shared.outgoing();
                let wire = &mut outgoing.wire;
                self.inbox.clear();
                self.session = Some(Session::new(
                    Role::Client,
                    self.hello.clone(),
                    self.shared.limits.clone(),
                    &mut wire.outbox,
                    now,
                ));
                wire.attach(link, Some(watch), now);
            }
            Err(error) => {
                let error = if error.kind() == ErrorKind::WouldBlock {
                    std::io::Error::new(error.kind(), "the server is too busy to accept")
                } else {
                    error
                };
                self.lose(CloseReason::LinkFailed(Arc::new(error)), now);
            }
        }
    }

    fn opened(&mut self, now: Instant) {
        let Some(session) = &mut self.session else {
            return;
        };
        self.opened_at = Some(now);
        self.failures = ConnectFailures::default();
        self.shared.counters.opened.one();
        let theirs = session.peer().expect("an open session knows its peer");
        let mut outgoing = self.shared.outgoing();
        let frame_len_max = theirs.frame_len_max().min(self.shared.limits.frame_len_max);
        // What was encoded for a server that takes more.
        if frame_len_max < outgoing.wire.frame_len_max {
            let len_max = usize::try_from(frame_len_max).unwrap_or(usize::MAX);
            let mut kept = 0;
            outgoing.wire.outbox.reset(|payload| {
                let fits = payload.len() <= len_max;
                kept += u64::from(fits);
                fits
            });
            let dropped = outgoing.events - kept;
            self.shared.counters.events_too_long.add(dropped);
            outgoing.events = kept;
        }
        outgoing.wire.frame_len_max = frame_len_max;
        outgoing.wire.outbox.open();
        if outgoing.closing.is_some() {
            // Told to close while there was no connection: nothing else would bring the next turn.
            session.say_goodbye(&mut outgoing.wire.outbox, now);
        }
        let endpoint = self.transports[self.current].to_string().into();
        self.shared
            .set_status(&mut outgoing, Status::Open { endpoint }, &mut self.states);
    }

    // ---- one connection ----

    /// Does what other threads have asked for. The error if a write of one has failed.
    fn obey(&mut self, now: Instant) -> Option<std::io::Error> {
        let mut outgoing = self.shared.outgoing();
        outgoing.flush_asked = false;
        if let Some(error) = outgoing.broken.take() {
            return Some(error);
        }
        if outgoing.closing.is_some() {
            if let Some(session) = self.session.as_mut().filter(|session| session.is_open()) {
                session.say_goodbye(&mut outgoing.wire.outbox, now);
            }
        }
        None
    }

    /// There is nobody else who could want the buffer.
    fn take_buffer(&mut self) {
        if !self.inbox.is_lent() {
            self.inbox.lend(&mut self.lent);
        }
    }

    fn receive_all(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.take_buffer();
        let received = self.receive(now);
        if self.inbox.is_swollen() {
            self.inbox.give_back(&mut self.lent);
        }
        received
    }

    fn exchange(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.receive_all(now)?;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let mut outgoing = self.shared.outgoing();
        let flush = |outgoing: &mut Outgoing<P::Reply>| {
            let flushed = self.shared.flush(outgoing, now);
            flushed.map_err(|error| CloseReason::LinkFailed(Arc::new(error)))
        };
        // Twice: what was written may let the farewell follow.
        for _ in 0..2 {
            session.answer(&mut outgoing.wire.outbox);
            flush(&mut outgoing)?;
        }
        if session.is_over(&mut outgoing.wire.outbox) {
            return Err(CloseReason::Finished);
        }
        if !self.more {
            let writing = outgoing.wire.writing;
            session.handle_timeout(&mut outgoing.wire.outbox, &writing, now)?;
            flush(&mut outgoing)?;
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant) -> Result<(), CloseReason> {
        let mut left = TURN_LEN_MAX;
        self.more = false;
        loop {
            let read = match self.seen.take() {
                Some(seen) => seen,
                None => self.shared.outgoing().wire.recv(&mut self.inbox),
            };
            match read {
                Ok(Read::Bytes { len, short }) => {
                    left = left.saturating_sub(len);
                    self.handle_frames(now)?;
                    if left == 0 {
                        self.more = true;
                        return Ok(());
                    }
                    if short && self.short_recv_is_last && !self.ended {
                        return Ok(());
                    }
                }
                Ok(Read::Blocked) => return Ok(()),
                Ok(Read::End) => return Err(CloseReason::PeerGone),
                Err(error) => return Err(CloseReason::LinkFailed(Arc::new(error))),
            }
        }
    }

    fn handle_frames(&mut self, now: Instant) -> Result<(), CloseReason> {
        loop {
            let Some(session) = &mut self.session else {
                return Ok(());
            };
            let Some(payload) = self.inbox.next_payload(session.frame_len_max())? else {
                session.heard(self.inbox.partial_len(), now);
                return Ok(());
            };
            match session.receive(payload)? {
                Incoming::Opened => self.opened(now),
                Incoming::Reply { id, body } => {
                    let reply = envelope::decode_body(body)?;
                    self.end_call(id, Ok(Answer::Reply(reply)));
                }
                Incoming::Failed { id, failure } => {
                    self.end_call(id, Err(CallError::Failed(failure)));
                }
                Incoming::Push(body) => {
                    let push = envelope::decode_body(body)?;
                    self.shared.counters.pushes.one();
                    let dropped = self.shared.pushes.add(push, body.len());
                    let count = u64::try_from(dropped.len()).unwrap_or(u64::MAX);
                    self.shared.counters.pushes_dropped.add(count);
                }
                Incoming::Acknowledged { id, events } => self.acknowledged(id, events)?,
                Incoming::Draining => {
                    let mut outgoing = self.shared.outgoing();
                    session.say_goodbye(&mut outgoing.wire.outbox, now);
                    self.shared
                        .set_status(&mut outgoing, Status::Draining, &mut self.states);
                }
                Incoming::Goodbye => {
                    let mut outgoing = self.shared.outgoing();
                    session.say_goodbye(&mut outgoing.wire.outbox, now);
                    if !matches!(outgoing.status, Status::Draining) {
                        self.shared
                            .set_status(&mut outgoing, Status::Draining, &mut self.states);
                    }
                }
                Incoming::Nothing
                | Incoming::Event(_)
                | Incoming::Request { .. }
                | Incoming::Cancel { .. }
                | Incoming::Sync { .. } => {}
            }
        }
    }

    fn end_call(&mut self, id: u64, result: Result<Answer<P::Reply>, CallError>) {
        let mut outgoing = self.shared.outgoing();
        let wanted = outgoing.calls.end(CallId(id), result, &mut self.wakers);
        drop(outgoing);
        if !wanted {
            self.shared.counters.replies_unwanted.one();
        }
        self.wake();
    }

    /// Wakes those whose calls have ended. Not to be called under the lock.
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    fn acknowledged(&mut self, id: u64, events: u64) -> Result<(), CloseReason> {
        let mut outgoing = self.shared.outgoing();
        if events > outgoing.events {
            return Err(CloseReason::Malformed("more events acknowledged than sent"));
        }
        // The answer to a sync waits in line, and an acknowledgement that nobody asked for may
        // have overtaken it with a higher number.
        let new = events.saturating_sub(outgoing.events_acknowledged);
        outgoing.events_acknowledged += new;
        self.shared.counters.events_acknowledged.add(new);
        if id != 0 {
            // A sync that nobody waits for any more has still told how many.
            let synced = Ok(Answer::Synced);
            outgoing.calls.end(CallId(id), synced, &mut self.wakers);
        }
        drop(outgoing);
        self.wake();
        Ok(())
    }

    // ---- the end of a connection ----

    /// After a panic in the backend: nothing more is asked of the link.
    pub(crate) fn give_up_link(&mut self, now: Instant) {
        let _turn = turn::begin();
        let link = self.shared.outgoing().wire.detach();
        wire::let_go(link);
        self.retry_at = None;
        self.lose(CloseReason::HandlerPanicked, now);
    }

    fn lose(&mut self, mut reason: CloseReason, now: Instant) {
        if let Some(session) = &self.session {
            reason = session.at_end(reason);
        }
        self.end_connection(reason, now);
        self.wake();
    }

    fn end_connection(&mut self, reason: CloseReason, now: Instant) {
        self.more = false;
        self.seen = None;
        let endpoint = self.transports[self.current].to_string();
        let shared = Arc::clone(&self.shared);
        let mut outgoing = shared.outgoing();
        let mut link = None;
        if let Some(mut session) = self.session.take() {
            session.close(&reason, &mut outgoing.wire.outbox);
            // The last word; whether it arrives makes no difference here.
            outgoing.wire.flush(now).ok();
            link = outgoing.wire.detach();
            shared.counters.closed.count(&reason);
        }
        outgoing.broken = None;
        outgoing.flush_asked = false;
        self.settle(&mut outgoing, &reason);
        self.try_again_later(&mut outgoing, endpoint.clone(), reason.clone(), now);
        drop(outgoing);
        // Never under the lock: a logger may send what it is given by this very client.
        log::debug!("{endpoint}: {reason}");
        if let Some(link) = link {
            wire::release(&self.registry, link);
        }
    }

    /// Decides what is tried next, and when.
    fn try_again_later(
        &mut self,
        outgoing: &mut Outgoing<P::Reply>,
        endpoint: String,
        reason: CloseReason,
        now: Instant,
    ) {
        let was_open = self.opened_at.take();
        self.failures.0.push((endpoint, reason));
        let next = self.current + 1;
        if was_open.is_none() && next < self.transports.len() {
            self.current = next;
            self.retry_at = Some(now);
            return;
        }
        if was_open.is_some_and(|at| now >= at + self.shared.limits.reconnect_delay_max) {
            self.backoff.reset();
        }
        self.current = 0;
        self.retry_at = Some(now + self.backoff.pause());
        let failures = std::mem::take(&mut self.failures);
        self.shared
            .set_status(outgoing, Status::Waiting(failures), &mut self.states);
    }

    /// Decides about each message of the session that has ended: still to be sent, handled, or in
    /// doubt; and about each call.
    fn settle(&mut self, outgoing: &mut Outgoing<P::Reply>, reason: &CloseReason) {
        let Outgoing { wire, calls, .. } = outgoing;
        let wakers = &mut self.wakers;
        let lost = |may_have_run| CallError::Lost {
            reason: reason.clone(),
            may_have_run,
        };
        let mut unsent = 0;
        wire.outbox.reset(|payload| {
            let (head, _) = envelope::decode_head(payload).expect("the head is one of ours");
            match head {
                Head::Event => {
                    unsent += 1;
                    return true;
                }
                Head::Request { id, .. } | Head::Sync { id } => {
                    calls.end(CallId(id), Err(lost(false)), wakers);
                }
                _ => {}
            }
            false
        });
        calls.end_each(wakers, |_, _| Some(lost(true)));
        debug_assert!(unsent <= outgoing.events, "every event is counted");
        let written = outgoing.events - unsent;
        // A server that acknowledges what it can't have read is believed, not subtracted from.
        let unacknowledged = written.saturating_sub(outgoing.events_acknowledged);
        let counters = &self.shared.counters;
        if matches!(reason, CloseReason::Finished) {
            counters.events_acknowledged.add(unacknowledged);
        } else {
            counters.events_in_doubt.add(unacknowledged);
        }
        outgoing.events = unsent;
        outgoing.events_acknowledged = 0;
    }

    // ---- time ----

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
        if let Err(error) = shared.flush(&mut outgoing, now) {
            outgoing.broken = Some(error);
            self.more = true;
        }
        drop(outgoing);
        self.wake();
    }

    fn close_if_done(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let outgoing = shared.outgoing();
        let Some(closing) = outgoing.closing else {
            return;
        };
        let over = now >= closing.deadline;
        // With nothing to send there is no reason to connect once more.
        let idle = self.opened_at.is_none() && outgoing.events == 0;
        if !(over || idle) {
            return;
        }
        drop(outgoing);
        if self.session.is_some() {
            self.lose(CloseReason::ClosedHere, now);
        }
        let mut outgoing = shared.outgoing();
        self.closed = true;
        self.retry_at = None;
        let unsent = outgoing.events;
        shared.counters.events_unsent.add(unsent);
        let in_doubt = shared.counters.events_in_doubt.read() - closing.in_doubt_before;
        outgoing.calls.end_each(&mut self.wakers, |_, _| {
            Some(CallError::NotConnected(NotConnected::Closed))
        });
        let result = if unsent + in_doubt == 0 {
            Ok(())
        } else {
            Err(CloseError { unsent, in_doubt })
        };
        shared.set_status(&mut outgoing, Status::Closed(result), &mut self.states);
        drop(outgoing);
        self.wake();
        shared.pushes.close();
    }
}
