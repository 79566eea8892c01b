//! What one peer may have of a turn, when there is always more to read of it.
//!
//! No link of a real transport is that fast for certain: one of a backend of the test's own makes up what it
//! gives. (Not on Windows, where it takes the polls of both sides to move a byte through a pipe.)
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use support::driven::Driven;
use support::raw::{Raw, framed};
use support::*;
use wayside::backend::{Backend, Capabilities, Link, Listener};
use wayside::internals::Head;
use wayside::{Limits, PeerId, Transport};

/// As the page of guarantees has it.
const VISIT_LEN_MAX: usize = 256 * 1024;

/// Beyond that even the endless one has nothing more, so that a turn that does not end by itself is seen to.
const GIVEN_LEN_MAX: usize = 64 * VISIT_LEN_MAX;

/// What the endless link was asked for.
#[derive(Default)]
struct Given {
    /// It has begun: until then it is like any other.
    begun: AtomicBool,
    /// The bytes that it has given.
    len: AtomicUsize,
    /// The longest buffer that it was to fill.
    buffer_len: AtomicUsize,
}

/// Passes everything on to another backend, but for what the first link has to read once the test says so.
struct Endless {
    inner: Transport,
    given: Arc<Given>,
}

impl Backend for Endless {
    fn capabilities(&self) -> Capabilities {
        self.inner.backend().capabilities()
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(EndlessListener {
            inner: self.inner.backend().bind(address)?,
            given: Some(Arc::clone(&self.given)),
        }))
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        self.inner.backend().connect(address)
    }
}

struct EndlessListener {
    inner: Box<dyn Listener>,
    /// For the first link.
    given: Option<Arc<Given>>,
}

impl Listener for EndlessListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let inner = self.inner.accept()?;
        let Some(given) = self.given.take() else {
            return Ok(inner);
        };
        let words = framed(Head::Event, &long_note(1, 1000));
        Ok(Box::new(EndlessLink {
            inner,
            given,
            words,
            at: 0,
        }))
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

struct EndlessLink {
    inner: Box<dyn Link>,
    given: Arc<Given>,
    /// Said again and again.
    words: Vec<u8>,
    /// How much of them was given the last time.
    at: usize,
}

impl Link for EndlessLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let given = &self.given;
        if !given.begun.load(Ordering::SeqCst) {
            return self.inner.recv(buffer);
        }
        if given.len.load(Ordering::SeqCst) >= GIVEN_LEN_MAX {
            return Err(ErrorKind::WouldBlock.into());
        }
        let words = self.words.iter().cycle().skip(self.at);
        buffer
            .iter_mut()
            .zip(words)
            .for_each(|(to, from)| *to = *from);
        self.at = (self.at + buffer.len()) % self.words.len();
        given.len.fetch_add(buffer.len(), Ordering::SeqCst);
        given.buffer_len.fetch_max(buffer.len(), Ordering::SeqCst);
        Ok(buffer.len())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.send(bytes)
    }

    fn peer(&self) -> PeerId {
        self.inner.peer()
    }
}

/// The sources of both are those of what they pass on.
macro_rules! watched_as_inner {
    ($($wrapper:ty)*) => {$(
        impl Source for $wrapper {
            fn register(
                &mut self,
                registry: &Registry,
                token: Token,
                wanted: Interest,
            ) -> io::Result<()> {
                self.inner.register(registry, token, wanted)
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: Token,
                wanted: Interest,
            ) -> io::Result<()> {
                self.inner.reregister(registry, token, wanted)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                self.inner.deregister(registry)
            }
        }
    )*};
}
watched_as_inner!(EndlessListener EndlessLink);

/// A turn, and what it has read of the endless link: its share at most.
fn share(server: &mut Driven<Recorder>, wait: Duration, given: &Given) -> usize {
    let before = given.len.load(Ordering::SeqCst);
    server.turn(wait);
    let read = given.len.load(Ordering::SeqCst) - before;
    let max = VISIT_LEN_MAX + given.buffer_len.load(Ordering::SeqCst);
    assert!(read <= max, "{read} bytes in a turn, its share were {max}");
    read
}

#[test]
fn of_a_peer_that_always_has_more_a_turn_reads_its_share_and_others_are_answered() {
    on_every_transport(|place| {
        let given = Arc::new(Given::default());
        let endless = Endless {
            inner: place.transport.clone(),
            given: Arc::clone(&given),
        };
        let transport = Transport::new(endless, place.transport.address());
        let (mut server, _) = Driven::new(&transport, Limits::default(), Recorder::default());
        let transport = place.transport.at(server.endpoints()[0].address());
        let (mut talker, mut caller) =
            server.meanwhile(|| (Raw::greeted(&transport), Raw::greeted(&transport)));
        given.begun.store(true, Ordering::SeqCst);
        // By this the server sees that there is something to read.
        talker.say(&framed(Head::Event, &note(1)));
        eventually("it is read", || {
            share(&mut server, Duration::from_millis(1), &given) > 0
        });
        for id in 1..=5 {
            let timeout_ms = 60_000;
            let call = framed(Head::Request { id, timeout_ms }, &Ask::Echo(String::new()));
            assert_eq!(caller.send_some(&call), call.len());
            let answered = (0..2).any(|_| {
                let read = share(&mut server, Duration::ZERO, &given);
                assert!(read >= VISIT_LEN_MAX, "no more than {read} bytes");
                caller.head_now() == Some(Head::Reply { id })
            });
            assert!(answered, "two turns have not answered the call");
        }
    });
}
