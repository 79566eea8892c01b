use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use wayside::{EmbeddedServer, Handler, Limits, Server, Transport};

use super::Chat;

/// A server in a loop of the test's own: it counts turns instead of time, and lets things happen between
/// two of them.
pub struct Driven<H: Handler<Chat>> {
    server: EmbeddedServer<Chat, H>,
    poll: Poll,
    events: Events,
}

impl<H: Handler<Chat>> Driven<H> {
    /// At this place, and where clients reach it.
    pub fn new(transport: &Transport, limits: Limits, handler: H) -> (Self, Transport) {
        let poll = Poll::new().unwrap();
        let server = Server::builder()
            .listen(transport.clone())
            .limits(limits)
            .embed(handler, poll.registry(), Token(0), || {})
            .unwrap();
        let reached = transport.at(server.endpoints()[0].address());
        let events = Events::with_capacity(1024);
        let driven = Self {
            server,
            poll,
            events,
        };
        (driven, reached)
    }

    pub fn turn(&mut self, wait: Duration) {
        self.poll.poll(&mut self.events, Some(wait)).unwrap();
        for event in &self.events {
            self.server.handle_event(event);
        }
        self.server.turn();
    }

    /// Does what it would before it sleeps, if it stays awake for one that has asked. True if there was
    /// something to do.
    pub fn look_and_turn(&mut self) -> bool {
        let seen = self.server.look();
        if seen {
            self.server.turn();
        }
        seen
    }

    /// Drives it as long as this takes on another thread.
    pub fn meanwhile<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let working = scope.spawn(|| {
                let _done = Done(&done);
                work()
            });
            while !done.load(Ordering::SeqCst) {
                self.turn(Duration::from_millis(1));
            }
            working.join().unwrap()
        })
    }
}

/// Sets it when dropped: also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<H: Handler<Chat>> Deref for Driven<H> {
    type Target = EmbeddedServer<Chat, H>;

    fn deref(&self) -> &Self::Target {
        &self.server
    }
}

impl<H: Handler<Chat>> DerefMut for Driven<H> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.server
    }
}
