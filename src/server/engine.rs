//! The server's loop without its poll: readiness in, system calls out.
//!
//! ```text
//!   handle_event   notes who is ready
//!   turn           accepts; visits everyone who is ready once; looks at timers and at requests of
//!                  other threads
//!   deadline       when the next turn is due without an event
//! ```
//!
//! Fairness: a visit reads a bounded number of bytes; who has more is visited again in the next
//! round, behind everybody else. The loop owns all sessions: locks are held for single system
//! calls only, never while the application's code runs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::ambient;
use crate::backend::Link;
use crate::close::CloseReason;
use crate::counters::LiveServerCounters;
use crate::encoded::Encoded;
use crate::envelope::{self, Failure, Head};
use crate::event_loop::is_end;
use crate::fork;
use crate::hello::Hello;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::outbox::{Lane, Outbox};
use crate::protocol::Protocol;
use crate::server::TIMEOUT_MAX;
use crate::server::control::{Command, Control};
use crate::server::handler::Handler;
use crate::server::listening::{Accepted, Listening};
use crate::server::peer::{Peer, PeerKey, PeerShared};
use crate::server::responder::Responder;
use crate::session::{Incoming, Role, Session};
use crate::spin::Looking;
use crate::timers::Timers;
use crate::wire::{Read, Watch, Wire};

/// What one visit may read before it is the others' turn.
const VISIT_LEN_MAX: usize = 256 * 1024;

/// Accepted in one turn before it is the others' turn.
const ACCEPTS_MAX: usize = 64;

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
    asked_by: Option<usize>,
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
            self.close_all(ambient::now());
        }
    }
}

impl<P: Protocol, H: Handler<P>> Looking for Engine<P, H> {
    /// Reads from whoever has asked last, if nobody else was visited since: it has the buffer.
    fn look(&mut self) -> bool {
        let Some(index) = self.asked_by.filter(|index| self.lent_to == Some(*index)) else {
            return false;
        };
        let Some(Some(entry)) = self.entries.get_mut(index) else {
            return false;
        };
        let mut outgoing = entry.shared.outgoing();
        if outgoing.paused || entry.left_over || entry.refused.is_some() {
            return false;
        }
        let was_partial = entry.inbox.partial_len();
        let read = outgoing.wire.recv(&mut entry.inbox);
        if matches!(read, Ok(Read::Blocked)) {
            return false;
        }
        drop(outgoing);
        self.partials_len = self.partials_len - was_partial + entry.inbox.partial_len();
        entry.seen = Some(read);
        self.mark_ready(index);
        true
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
        self.asked_by = None;
        self.obey(now);
        self.accept(now);
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else {
                break;
            };
            self.visit(index, now);
        }
        while let Some(index) = self.timers.pop_due(now) {
            self.handle_timer(index, now);
        }
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

    /// Whether the last turn has left nothing to do but to wait for whoever got an answer.
    pub(crate) fn expects_more(&self) -> bool {
        self.asked_by.is_some() && self.ready.is_empty()
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
        for mut listening in self.listeners.drain(..) {
            deregister(&self.registry, &mut listening.listener);
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

    // ---- accepting ----

    fn accept(&mut self, now: Instant) {
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_MAX {
                if !self.listeners[index].is_due(now) {
                    break;
                }
                match self.listeners[index].accept(now) {
                    Accepted::Link(link) => self.admit(link, index, now),
                    Accepted::Nobody => {}
                    Accepted::Refused(error) => {
                        self.counters.refused.one();
                        log::info!("{}: {error}", self.listeners[index].endpoint);
                    }
                    Accepted::Failed { error, first } => {
                        self.counters.accept_failures.one();
                        if first {
                            let endpoint = &self.listeners[index].endpoint;
                            log::warn!("{endpoint}: can't accept for now: {error}");
                        }
                    }
                }
            }
        }
    }

    fn admit(&mut self, mut link: Box<dyn Link>, listener: usize, now: Instant) {
        self.counters.accepted.one();
        let reason = CloseReason::Crowded {
            max: self.limits.peers_max,
        };
        if self.is_full() {
            // Nobody who only waits keeps out someone who may have something to say.
            if let Some(stranger) = self.oldest_stranger() {
                self.close(stranger, reason.clone(), now);
            }
        }
        if self.is_full() {
            self.turn_away(link, &reason, now);
            return;
        }
        let index = self.free.last().copied().unwrap_or(self.entries.len());
        let token = Token(self.first_token + self.listener_count + index);
        let watch = match Watch::begin(&self.registry, token, &mut link) {
            Ok(watch) => watch,
            Err(error) => {
                let reason = CloseReason::LinkFailed(Arc::new(error));
                self.counters.closed.count(&reason);
                return;
            }
        };
        let limits = &self.limits;
        let mut wire = Wire::new(limits.outbox_len_max, limits.frame_len_max, now);
        let session = Session::new(
            Role::Server,
            self.hello.clone(),
            limits.clone(),
            &mut wire.outbox,
            now,
        );
        wire.attach(link, Some(watch), now);
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        let timer_at = session.deadline(&wire.writing);
        let entry = Entry {
            shared: Arc::new(PeerShared::new(
                key,
                index,
                Arc::clone(&self.listeners[listener].endpoint),
                wire,
                Arc::clone(&self.counters),
                Arc::clone(&self.control.attention),
            )),
            session,
            inbox: Inbox::default(),
            seen: None,
            short_recv_is_last: self.listeners[listener].short_recv_is_last,
            ended: false,
            left_over: false,
            ready: false,
            connected: false,
            timer_at,
            refused: None,
        };
        if self.free.pop().is_none() {
            self.entries.push(Some(entry));
        } else {
            self.entries[index] = Some(entry);
        }
        self.timers.push(timer_at, index);
        self.greeting.push_back((index, key));
        self.greeting_count += 1;
        self.mark_ready(index);
        self.shed_strangers(now);
    }

    /// Says the reason to a link that gets no session, as far as it takes it at once.
    fn turn_away(&self, link: Box<dyn Link>, reason: &CloseReason, now: Instant) {
        let mut wire = Wire::new(self.limits.outbox_len_max, self.limits.frame_len_max, now);
        let mut session = Session::new(
            Role::Server,
            self.hello.clone(),
            self.limits.clone(),
            &mut wire.outbox,
            now,
        );
        wire.attach(link, None, now);
        session.close(reason, &mut wire.outbox);
        self.counters.closed.count(reason);
        if let Err(error) = wire.flush(now) {
            log::debug!("a peer that was turned away did not hear why: {error}");
        }
    }

    fn is_full(&self) -> bool {
        let max = usize::try_from(self.limits.peers_max).unwrap_or(usize::MAX);
        self.peer_count() >= max
    }

    /// Closes the oldest of those that have not said hello, while there are too many.
    fn shed_strangers(&mut self, now: Instant) {
        let max = self.limits.handshakes_max;
        while let Some(index) = self.oldest_stranger() {
            if u32::try_from(self.greeting_count).is_ok_and(|count| count <= max) {
                break;
            }
            self.close(index, CloseReason::HandshakesCrowded { max }, now);
        }
    }

    /// Of those that have not said hello, the one that has waited longest.
    fn oldest_stranger(&mut self) -> Option<usize> {
        while let Some(&(index, key)) = self.greeting.front() {
            let entry = self.entries[index].as_ref();
            if entry.is_some_and(|entry| entry.shared.key() == key && !entry.session.is_open()) {
                return Some(index);
            }
            self.greeting.pop_front();
        }
        None
    }

    // ---- one peer ----

    /// Reads what has come, handles it, and writes what is to be said.
    fn visit(&mut self, index: usize, now: Instant) {
        let Some(mut entry) = self.entries.get_mut(index).and_then(Option::take) else {
            return;
        };
        entry.ready = false;
        let timer_at = entry.timer_at;
        let result = self.exchange(&mut entry, now);
        let again = matches!(result, Ok(More::Yes));
        self.entries[index] = Some(entry);
        match result {
            Ok(_) => {
                self.set_timer(index, timer_at);
                if again {
                    self.mark_ready(index);
                }
            }
            Err(reason) => self.close(index, reason, now),
        }
        while self.partials_len > self.limits.partial_len_max {
            let max = self.limits.partial_len_max;
            self.close(
                self.oldest_partial(index),
                CloseReason::PartialsFull { max },
                now,
            );
        }
    }

    /// The peer that has kept its part of a frame back longest: those that only happen to be in the
    /// middle of one must not pay for it. If there is none, `visited`, which has left the most over.
    fn oldest_partial(&self, visited: usize) -> usize {
        (0..self.entries.len())
            .filter_map(|index| {
                let since = self.entries[index].as_ref()?.session.partial_since()?;
                Some((since, index))
            })
            .min()
            .map_or(visited, |(_, index)| index)
    }

    fn exchange(&mut self, entry: &mut Entry, now: Instant) -> Result<More, CloseReason> {
        let was_partial = entry.inbox.partial_len();
        self.lend_to(entry);
        let received = self.receive(entry, now);
        if entry.inbox.is_swollen() {
            self.take_back(&mut entry.inbox);
        }
        self.partials_len = self.partials_len - was_partial + entry.inbox.partial_len();
        self.finish_visit(entry, received?, now)
    }

    fn lend_to(&mut self, entry: &mut Entry) {
        let index = entry.shared.index;
        if self.lent_to == Some(index) {
            return;
        }
        if let Some(other) = self.lent_to.and_then(|other| self.entries[other].as_mut()) {
            other.inbox.give_back(&mut self.lent);
        }
        entry.inbox.lend(&mut self.lent);
        self.lent_to = Some(index);
    }

    fn take_back(&mut self, inbox: &mut Inbox) {
        inbox.give_back(&mut self.lent);
        self.lent_to = None;
    }

    fn receive(&mut self, entry: &mut Entry, now: Instant) -> Result<More, CloseReason> {
        let mut left = VISIT_LEN_MAX;
        loop {
            let read = {
                let mut outgoing = entry.shared.outgoing();
                if let Some(reason) = outgoing.doomed.take() {
                    return Err(entry.session.at_end(reason));
                }
                outgoing.corked = true;
                outgoing.paused = outgoing.wire.is_choked();
                if outgoing.paused {
                    entry.session.excuse(now);
                    return Ok(More::No);
                }
                if entry.left_over {
                    Ok(Read::Bytes {
                        len: 0,
                        short: true,
                    })
                } else if let Some(seen) = entry.seen.take() {
                    seen
                } else {
                    outgoing.wire.recv(&mut entry.inbox)
                }
            };
            match read {
                Ok(Read::Bytes { len, short }) => {
                    left = left.saturating_sub(len);
                    entry.left_over = self.handle_frames(entry, now)?;
                    let partial_len = match entry.left_over {
                        true => 0,
                        false => entry.inbox.partial_len(),
                    };
                    entry.session.heard(partial_len, now);
                    if left == 0 {
                        return Ok(More::Yes);
                    }
                    if short && entry.is_emptied_by_short_recv() {
                        return Ok(More::No);
                    }
                }
                Ok(Read::Blocked) => return Ok(More::No),
                Ok(Read::End) => return Err(entry.session.at_end(CloseReason::PeerGone)),
                Err(error) => {
                    let reason = CloseReason::LinkFailed(Arc::new(error));
                    return Err(entry.session.at_end(reason));
                }
            }
        }
    }

    /// Handles the whole frames in the inbox. True if some are left, because the peer has to read
    /// first what the others have led to: answers are bounded by the outbox, not by the requests
    /// that fit into one read.
    fn handle_frames(&mut self, entry: &mut Entry, now: Instant) -> Result<bool, CloseReason> {
        // Around all of them at once: what is caught closes the peer, and nothing more of it is read.
        let counters = Arc::clone(&self.counters);
        guard(&counters, || self.handle_each(entry, now))?
    }

    fn handle_each(&mut self, entry: &mut Entry, now: Instant) -> Result<bool, CloseReason> {
        let Entry {
            shared,
            session,
            inbox,
            connected,
            ..
        } = entry;
        let peer = Peer::of(Arc::clone(shared));
        while let Some(payload) = inbox.next_payload(session.frame_len_max())? {
            match session.receive(payload)? {
                Incoming::Event(body) => {
                    self.counters.events.one_alone();
                    self.handler.event_encoded(&peer, Encoded::new(body))?;
                }
                Incoming::Request { id, timeout, body } => {
                    self.asked_by = Some(shared.index);
                    let deadline = now + timeout.min(TIMEOUT_MAX);
                    if let Some(responder) = self.take_call(shared, id, deadline)? {
                        let request = Encoded::new(body);
                        self.handler.request_encoded(&peer, request, responder)?;
                    }
                    if shared.outgoing().wire.is_choked() {
                        return Ok(true);
                    }
                }
                Incoming::Cancel { id } => {
                    if shared.outgoing().calls.remove(&id) {
                        self.counters.cancelled.one();
                    }
                }
                Incoming::Sync { id } => {
                    let ack = session.acknowledgement(id);
                    let mut outgoing = shared.outgoing();
                    let appended = outgoing.wire.append(Lane::Bulk, ack, &());
                    let max = self.limits.outbox_len_max;
                    appended.map_err(|_| CloseReason::OutboxFull { max })?;
                    if outgoing.wire.is_choked() {
                        return Ok(true);
                    }
                }
                Incoming::Opened => {
                    self.open(shared, session);
                    *connected = true;
                    self.handler.connected(&peer);
                }
                Incoming::Goodbye => shared.outgoing().ending = true,
                Incoming::Nothing
                | Incoming::Reply { .. }
                | Incoming::Failed { .. }
                | Incoming::Push(_)
                | Incoming::Acknowledged { .. }
                | Incoming::Draining => {}
            }
        }
        Ok(false)
    }

    /// The client is greeted back, and known to other threads from now on.
    fn open(&mut self, shared: &Arc<PeerShared>, session: &mut Session) {
        self.counters.opened.one();
        self.greeting_count -= 1;
        let mut outgoing = shared.outgoing();
        let theirs = session.peer().expect("an open session knows its peer");
        let wire = &mut outgoing.wire;
        wire.frame_len_max = theirs.frame_len_max().min(self.limits.frame_len_max);
        let identity = wire.link().map(|link| link.peer()).unwrap_or_default();
        shared.greet(identity, theirs.epoch());
        session.welcome(&mut wire.outbox);
        wire.outbox.open();
        if self.stop_at.is_some() {
            session.drain(&mut wire.outbox);
        }
        drop(outgoing);
        self.control.add_peer(Arc::clone(shared));
    }

    /// Enters a request into the calls of the peer, or fails it.
    fn take_call(
        &self,
        shared: &Arc<PeerShared>,
        id: u64,
        deadline: Instant,
    ) -> Result<Option<Responder<P>>, CloseReason> {
        let mut outgoing = shared.outgoing();
        if outgoing.calls_at_work >= self.limits.calls_max {
            let head = Head::Failed {
                id,
                failure: Failure::TooManyCalls,
            };
            let max = self.limits.outbox_len_max;
            let appended = outgoing.wire.append(Lane::Bulk, head, &());
            appended.map_err(|_| CloseReason::OutboxFull { max })?;
            self.counters.failed.one();
            return Ok(None);
        }
        if !outgoing.calls.insert(id) {
            return Err(CloseReason::Malformed("the number of an open call again"));
        }
        outgoing.calls_at_work += 1;
        self.counters.requests.one();
        Ok(Some(Responder::new(Arc::clone(shared), id, deadline)))
    }

    /// Says what the session has to say, writes, and looks whether the session is over.
    fn finish_visit(
        &mut self,
        entry: &mut Entry,
        more: More,
        now: Instant,
    ) -> Result<More, CloseReason> {
        let mut outgoing = entry.shared.outgoing();
        outgoing.corked = false;
        if let Some(reason) = outgoing.doomed.take() {
            return Err(entry.session.at_end(reason));
        }
        if outgoing.ending && outgoing.calls.is_empty() && !outgoing.said_goodbye {
            outgoing.said_goodbye = true;
            entry.session.say_goodbye(&mut outgoing.wire.outbox, now);
        }
        // Twice: what was written may let the farewell follow.
        for _ in 0..2 {
            entry.session.answer(&mut outgoing.wire.outbox);
            let flushed = outgoing.wire.flush(now);
            if let Err(error) = flushed {
                let reason = CloseReason::LinkFailed(Arc::new(error));
                return Err(entry.session.at_end(reason));
            }
        }
        if entry.session.is_over(&mut outgoing.wire.outbox) {
            return Err(CloseReason::Finished);
        }
        // Choked and now relieved: what came meanwhile has had its edge already.
        let relieved = outgoing.paused && !outgoing.wire.is_choked();
        entry.timer_at = entry
            .timer_at
            .min(entry.session.deadline(&outgoing.wire.writing));
        Ok(if relieved { More::Yes } else { more })
    }

    // ---- time ----

    fn set_timer(&mut self, index: usize, before: Instant) {
        if let Some(Some(entry)) = self.entries.get(index) {
            if entry.timer_at < before {
                self.timers.push(entry.timer_at, index);
            }
        }
    }

    fn handle_timer(&mut self, index: usize, now: Instant) {
        let due = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.timer_at <= now);
        if !self.entries.get(index).is_some_and(due) {
            return;
        }
        // What has come but was not yet read counts as a sign of life. Whoever is ready has been
        // visited in this turn, and has more: that must not put the other limits off.
        if self.entries[index]
            .as_ref()
            .is_some_and(|entry| !entry.ready)
        {
            self.visit(index, now);
        }
        let Some(entry) = &mut self.entries[index] else {
            return;
        };
        let shared = Arc::clone(&entry.shared);
        let mut outgoing = shared.outgoing();
        if outgoing.paused {
            entry.session.excuse(now);
        }
        let writing = outgoing.wire.writing;
        let wire = &mut outgoing.wire;
        let timeout = entry
            .session
            .handle_timeout(&mut wire.outbox, &writing, now);
        wire.outbox.shrink();
        entry.timer_at = entry.session.deadline(&writing);
        let timer_at = entry.timer_at;
        drop(outgoing);
        match timeout {
            Ok(()) => self.timers.push(timer_at, index),
            Err(reason) => self.close(index, reason, now),
        }
    }

    // ---- the end of a peer ----

    fn close(&mut self, index: usize, reason: CloseReason, now: Instant) {
        let Some(entry) = self.entries.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let shared = Arc::clone(&entry.shared);
        let mut outgoing = shared.outgoing();
        let stays = entry.session.close(&reason, &mut outgoing.wire.outbox);
        let flushed = outgoing.wire.flush(now);
        if stays && flushed.is_ok() {
            // The refusal is on its way: the link goes when the peer lets go of it.
            entry.refused = Some(reason);
            return;
        }
        let link = outgoing.wire.detach();
        count_unsent(&mut outgoing.wire.outbox, &self.counters);
        outgoing.calls.clear();
        outgoing.corked = false;
        let reason = entry.refused.take().unwrap_or(reason);
        outgoing.ended = Some(reason.clone());
        drop(outgoing);
        if let Some(mut link) = link {
            deregister(&self.registry, &mut link);
        }
        let mut entry = self.entries[index].take().expect("it was there above");
        self.free.push(index);
        self.partials_len -= entry.inbox.partial_len();
        if self.lent_to == Some(index) {
            self.take_back(&mut entry.inbox);
        }
        if !entry.session.is_open() {
            self.greeting_count -= 1;
        }
        self.counters.closed.count(&reason);
        if self.stop_at.is_some() && entry.connected && !matches!(reason, CloseReason::Finished) {
            self.control.unfinished.one();
        }
        self.control.remove_peer(entry.shared.key());
        // A descriptor is free again.
        for listening in &mut self.listeners {
            listening.retry_at = None;
        }
        if entry.connected {
            let peer = Peer::of(entry.shared);
            // The peer is gone already: after a panic there is nothing more to close.
            guard(&self.counters, || self.handler.disconnected(&peer, &reason)).ok();
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

/// Whether a visit left something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// Runs the application's code. The handler is the application's own to keep whole, and what is ours
/// is whole wherever that code is called.
fn guard<T>(counters: &LiveServerCounters, code: impl FnOnce() -> T) -> Result<T, CloseReason> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|_| {
        counters.handler_panics.one();
        CloseReason::HandlerPanicked
    })
}

/// Empties the outbox of a peer that is gone. What a push says is lost with it, but not silently; a
/// call that has no reply ends with an error at the client.
fn count_unsent(outbox: &mut Outbox, counters: &LiveServerCounters) {
    outbox.reset(|payload| {
        if let Ok((Head::Push, _)) = envelope::decode_head(payload) {
            counters.pushes_unsent.one();
        }
        false
    });
}

fn deregister(registry: &Registry, source: &mut impl mio::event::Source) {
    // A source that can't be deregistered is dropped next, which deregisters it as well.
    if let Err(error) = registry.deregister(source) {
        log::debug!("deregistering failed: {error}");
    }
}
