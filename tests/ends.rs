//! The end of a peer is seen at once, also when it comes together with the last bytes.

mod support;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
#[cfg(unix)]
use support::raw::{Raw, framed};
#[cfg(unix)]
use support::{Ask, note};
use support::{Chat, PATIENCE, Recorder, on_every_transport};
#[cfg(unix)]
use wayside::internals::Head;
use wayside::{EmbeddedServer, Limits, Server};

/// A server that the test drives, so that it can let things happen between two polls.
struct Driven {
    poll: Poll,
    events: Events,
    server: EmbeddedServer<Chat, Recorder>,
}

impl Driven {
    fn round(&mut self) {
        let timeout = Some(Duration::from_millis(10));
        let polled = self.poll.poll(&mut self.events, timeout);
        polled.expect("a working poll");
        for event in &self.events {
            self.server.handle_event(event);
        }
        self.server.turn();
    }
}

#[test]
fn an_end_that_comes_with_the_last_bytes_is_seen() {
    on_every_transport(|place| {
        let poll = Poll::new().expect("a poll");
        let server = Server::builder()
            .listen(place.transport.clone())
            .limits(Limits {
                // Nothing but the end itself is to close the peer.
                handshake_timeout: Duration::from_secs(3600),
                ..Limits::default()
            })
            .embed(Recorder::default(), poll.registry(), Token(0), || {})
            .expect("a free place");
        let mut driven = Driven {
            poll,
            events: Events::with_capacity(16),
            server,
        };
        let address = driven.server.endpoints()[0].address().to_owned();
        let backend = place.transport.backend();
        let mut link = backend.connect(&address).expect("a server listens");
        // Some links move nothing before they have a poll of their own, and end with it.
        let mut own = Poll::new().expect("a poll");
        let mut events = Events::with_capacity(4);
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = own.registry().register(&mut link, Token(0), both);
        registered.expect("a link can be registered");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match link.send(b"he") {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => driven.round(),
                Err(error) => panic!("{error}"),
            }
            let polled = own.poll(&mut events, Some(Duration::ZERO));
            polled.expect("a working poll");
            assert!(Instant::now() < deadline, "never connected");
        }
        drop(link);
        drop(own);
        while driven.server.handle().counters().closed.total() == 0 {
            assert!(Instant::now() < deadline, "the end is not seen");
            driven.round();
        }
    });
}

/// On Unix: elsewhere what a pipe had taken may go with it.
#[cfg(unix)]
#[test]
fn what_came_before_a_write_failed_is_handled() {
    on_every_transport(|place| {
        if place.transport.backend().capabilities().scheme == "tcp" {
            // An end with bytes unread is a reset there, which takes with it what had come.
            return;
        }
        let poll = Poll::new().expect("a poll");
        let recorder = Recorder::default();
        let server = Server::builder()
            .listen(place.transport.clone())
            .embed(recorder.clone(), poll.registry(), Token(0), || {})
            .expect("a free place");
        let mut driven = Driven {
            poll,
            events: Events::with_capacity(16),
            server,
        };
        let transport = place.transport.at(driven.server.endpoints()[0].address());
        let mut raw = std::thread::scope(|scope| {
            let greeting = scope.spawn(|| {
                let mut raw = Raw::greeted(&transport);
                let (id, timeout_ms) = (1, 0);
                // The answer is more than any link holds.
                let request = Head::Request { id, timeout_ms };
                raw.say(&framed(request, &Ask::Long(3 << 20)));
                raw
            });
            while !greeting.is_finished() || driven.server.handle().counters().requests == 0 {
                driven.round();
            }
            greeting.join().expect("a greeted peer")
        });
        raw.say(&framed(Head::Event, &note(7)));
        drop(raw);
        // As a server does that stays awake: it goes on writing first, which fails.
        assert!(driven.server.look(), "there is something to see");
        driven.server.turn();
        assert_eq!(recorder.take_events(), [note(7)]);
    });
}
