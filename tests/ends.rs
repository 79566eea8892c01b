//! The end of a peer is seen at once, also when it comes together with the last bytes.

mod support;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use support::{Chat, PATIENCE, Recorder, on_every_transport};
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
