//! An event loop for tests: does what the contract lets a caller rely on, and no more.
//!
//! Invariant: between two polls nothing is tried except on an event, or when the test itself asks
//! (which a caller may do at any time). Whatever waits then waits for an edge.

use std::io;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::Fixture;
use super::random::{Random, seed};
use super::watchdog::Watchdog;
use crate::backend::{Link, Listener};

/// How long a wait for an event may take. Far more than any machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest piece that is given to `send`, or room that is given to `recv`.
const PIECE_LEN_MAX: usize = 1 << 17;

/// Turns that see events but no progress: readiness without cause is allowed, within reason.
const IDLE_TURNS_MAX: u32 = 1_000_000;

/// How often a link is tried in a row without an event.
const TRIES: usize = 20;

/// Turns after which what still comes is taken for readiness without cause.
const SETTLING_TURNS_MAX: u32 = 100;

/// A link and what is to become of it.
pub(super) struct End {
    link: Option<Box<dyn Link>>,
    /// Whether it receives what comes.
    pub(super) listening: bool,
    outgoing: Vec<u8>,
    sent: usize,
    pub(super) received: Vec<u8>,
    /// How receiving ended: `None` for `Ok(0)`.
    pub(super) ended: Option<Option<io::Error>>,
    /// Why sending failed.
    pub(super) broken: Option<io::Error>,
    /// An event has said that nothing more will come than what has.
    told_of_end: bool,
}

impl End {
    /// Bytes that wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// The link.
    ///
    /// # Panics
    /// If the test has dropped it.
    pub(super) fn link(&mut self) -> &mut dyn Link {
        &mut **self.link.as_mut().expect("the test has not dropped it")
    }
}

/// Links and listeners of one test, in one poll.
pub(super) struct Rig {
    pub(super) number: &'static str,
    pub(super) seed: u64,
    pub(super) random: Random,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    listeners: Vec<Box<dyn Listener>>,
    pub(super) ends: Vec<End>,
    /// What `accept` gave, in that order: positions in `ends`.
    pub(super) accepted: Vec<usize>,
    /// Tokens of the events of the last poll.
    pub(super) woken: Vec<usize>,
    /// Whether a read that gives less than there was room for is taken for the last.
    trusts_short_reads: bool,
    _watchdog: Watchdog,
}

/// Tokens of listeners come after those of links.
const LISTENERS: usize = 1 << 20;

impl Rig {
    pub(super) fn new(number: &'static str) -> Self {
        let seed = seed();
        Self {
            number,
            seed,
            random: Random::new(seed),
            poll: Poll::new().expect("the system gives a poll"),
            events: Events::with_capacity(256),
            buffer: vec![0; PIECE_LEN_MAX],
            listeners: Vec::new(),
            ends: Vec::new(),
            accepted: Vec::new(),
            woken: Vec::new(),
            trusts_short_reads: false,
            _watchdog: Watchdog::over(number),
        }
    }

    /// From now on reads as a session does for which the backend claims `short_recv_is_last`.
    pub(super) fn trust_short_reads(&mut self) {
        self.trusts_short_reads = true;
    }

    /// Fails the test.
    pub(super) fn fail(&self, problem: &str) -> ! {
        panic!("{}: {problem} (WAYSIDE_SEED={})", self.number, self.seed);
    }

    /// Fails the test unless the condition holds.
    pub(super) fn check(&self, holds: bool, problem: &str) {
        if !holds {
            self.fail(problem);
        }
    }

    /// Binds a fresh address and registers the listener. Gives its place and what to connect to.
    pub(super) fn bind(&mut self, fixture: &Fixture) -> (usize, String) {
        let address = (fixture.fresh)();
        match fixture.backend.bind(&address) {
            Ok(listener) => {
                let address = listener.address();
                (self.add_listener(listener), address)
            }
            Err(error) => self.fail(&format!("bind to the fresh address {address}: {error}")),
        }
    }

    pub(super) fn add_listener(&mut self, mut listener: Box<dyn Listener>) -> usize {
        let place = self.listeners.len();
        let token = Token(LISTENERS + place);
        let registry = self.poll.registry();
        if let Err(error) = listener.register(registry, token, Interest::READABLE) {
            self.fail(&format!("registering a listener: {error}"));
        }
        self.listeners.push(listener);
        place
    }

    pub(super) fn listener(&mut self, place: usize) -> &mut dyn Listener {
        &mut *self.listeners[place]
    }

    /// Drops the only listener.
    pub(super) fn drop_listener(&mut self) {
        self.listeners.clear();
    }

    /// Connects, and adds the link. A backlog that is full for now is emptied meanwhile.
    pub(super) fn connect(&mut self, fixture: &Fixture, address: &str) -> usize {
        loop {
            match fixture.backend.connect(address) {
                Ok(link) => return self.add(link),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_all();
                }
                Err(error) => self.fail(&format!("connect to {address}: {error}")),
            }
        }
    }

    /// Registers a link, and tries it once.
    pub(super) fn add(&mut self, mut link: Box<dyn Link>) -> usize {
        let place = self.ends.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = link.register(registry, Token(place), interest) {
            self.fail(&format!("registering a link: {error}"));
        }
        self.ends.push(End {
            link: Some(link),
            listening: true,
            outgoing: Vec::new(),
            sent: 0,
            received: Vec::new(),
            ended: None,
            broken: None,
            told_of_end: false,
        });
        self.serve(place);
        place
    }

    /// Takes a link out of the poll and puts it back.
    pub(super) fn register_again(&mut self, place: usize, meanwhile: impl FnOnce(&mut Self)) {
        let Some(mut link) = self.ends[place].link.take() else {
            self.fail("the test has dropped the link");
        };
        let registry = self.poll.registry();
        if let Err(error) = link.deregister(registry) {
            self.fail(&format!("deregistering a link: {error}"));
        }
        meanwhile(self);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = link.register(registry, Token(place), interest) {
            self.fail(&format!("registering a link again: {error}"));
        }
        self.ends[place].link = Some(link);
    }

    /// Watches a link for both interests, or for reading alone.
    pub(super) fn watch_for_room(&mut self, place: usize, wanted: bool) {
        let Some(link) = self.ends[place].link.as_mut() else {
            self.fail("the test has dropped the link");
        };
        let interest = if wanted {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        if let Err(error) = link.reregister(self.poll.registry(), Token(place), interest) {
            self.fail(&format!("registering a link for {interest:?}: {error}"));
        }
    }

    /// Two ends of one connection, client first, that have heard each other: whatever handshake
    /// there is, is over. Others may be waiting at the same listener.
    pub(super) fn pair(&mut self, fixture: &Fixture, address: &str) -> (usize, usize) {
        let client = self.connect(fixture, address);
        let name = format!("client {client}").into_bytes();
        self.send(client, &name);
        let heard = |rig: &Self| {
            let mut servers = rig.accepted.iter().copied();
            servers.find(|&server| rig.ends[server].received == name)
        };
        self.until("a client is accepted and heard", |rig| heard(rig).is_some());
        let Some(server) = heard(self) else {
            self.fail("what was heard is heard no more");
        };
        self.ends[server].received.clear();
        self.greet(client, server);
        (client, server)
    }

    /// One byte each way, then forgotten.
    pub(super) fn greet(&mut self, one: usize, other: usize) {
        self.send(one, b"1");
        self.send(other, b"2");
        self.until("a first byte has come each way", |rig| {
            rig.ends[one].received.len() == 1 && rig.ends[other].received.len() == 1
        });
        self.check(
            self.ends[one].received == b"2",
            "another byte came than was sent",
        );
        self.check(
            self.ends[other].received == b"1",
            "another byte came than was sent",
        );
        self.ends[one].received.clear();
        self.ends[other].received.clear();
    }

    /// Gives an end something to send, and tries.
    pub(super) fn send(&mut self, place: usize, bytes: &[u8]) {
        let end = &mut self.ends[place];
        end.outgoing.drain(..end.sent);
        end.sent = 0;
        end.outgoing.extend_from_slice(bytes);
        self.serve(place);
    }

    /// Lets an end listen again, and tries.
    pub(super) fn listen(&mut self, place: usize) {
        self.ends[place].listening = true;
        self.serve(place);
    }

    /// Drops a link.
    pub(super) fn drop_link(&mut self, place: usize) {
        self.ends[place].link = None;
    }

    /// Polls until the condition holds.
    pub(super) fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..IDLE_TURNS_MAX {
            if condition(self) {
                return;
            }
            self.turn(what);
        }
        self.fail(&format!("events come and come, but not this: {what}"));
    }

    /// Waits for events and acts on them.
    pub(super) fn turn(&mut self, what: &str) {
        self.poll(PATIENCE);
        if self.woken.is_empty() {
            self.fail(&format!("no event within {PATIENCE:?}, awaited: {what}"));
        }
        self.act();
    }

    /// Waits so long for events, and notes them.
    fn poll(&mut self, patience: Duration) {
        loop {
            match self.poll.poll(&mut self.events, Some(patience)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(&format!("poll: {error}")),
                Ok(()) => break,
            }
        }
        self.woken = self.events.iter().map(|event| event.token().0).collect();
        for event in self.events.iter().filter(|event| is_end(event)) {
            if let Some(end) = self.ends.get_mut(event.token().0) {
                end.told_of_end = true;
            }
        }
    }

    /// Does what the events of the last poll call for.
    fn act(&mut self) {
        for token in self.woken.clone() {
            match token.checked_sub(LISTENERS) {
                Some(place) => self.accept(place),
                None => self.serve(token),
            }
        }
    }

    /// Tries an end again and again, without an event.
    pub(super) fn try_often(&mut self, place: usize) {
        for _ in 0..TRIES {
            self.serve(place);
        }
    }

    /// Acts on the events that are there by now, until there are none. Links that report readiness
    /// without cause may always have one.
    pub(super) fn settle(&mut self) {
        for _ in 0..SETTLING_TURNS_MAX {
            self.poll(Duration::ZERO);
            if self.woken.is_empty() {
                return;
            }
            self.act();
        }
    }

    fn accept_all(&mut self) {
        for place in 0..self.listeners.len() {
            self.accept(place);
        }
    }

    /// Accepts until `WouldBlock`.
    pub(super) fn accept(&mut self, place: usize) {
        loop {
            let Some(listener) = self.listeners.get_mut(place) else {
                return;
            };
            match listener.accept() {
                Ok(link) => {
                    let end = self.add(link);
                    self.accepted.push(end);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if concerns_one_peer(&error) => {}
                Err(error) => self.fail(&format!("accept: {error}")),
            }
        }
    }

    /// Receives until `WouldBlock`, or a read that is trusted to be the last; then sends until
    /// `WouldBlock`: both on any event, see L3.
    pub(super) fn serve(&mut self, place: usize) {
        let end = &mut self.ends[place];
        let Some(link) = end.link.as_mut() else {
            return;
        };
        while end.listening && end.ended.is_none() {
            let room = self.random.size(PIECE_LEN_MAX);
            match link.recv(&mut self.buffer[..room]) {
                Ok(0) => end.ended = Some(None),
                Ok(len) => {
                    end.received.extend_from_slice(&self.buffer[..len]);
                    if self.trusts_short_reads && len < room && !end.told_of_end {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => end.ended = Some(Some(error)),
            }
        }
        while end.sent < end.outgoing.len() && end.broken.is_none() {
            let rest = &end.outgoing[end.sent..];
            let piece = &rest[..self.random.size(PIECE_LEN_MAX).min(rest.len())];
            match link.send(piece) {
                Ok(0) => panic!("{}: send took none of {} bytes", self.number, piece.len()),
                Ok(len) => end.sent += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => end.broken = Some(error),
            }
        }
    }
}

/// Those errors of `accept` after which the next peer may get in (A5).
fn concerns_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Whether an event says that nothing more will come.
fn is_end(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}
