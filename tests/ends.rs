//! The end of a peer is seen at once, also when it comes together with the last bytes.

mod support;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use support::driven::Driven;
use support::{PATIENCE, Recorder, on_every_transport};
use wayside::Limits;

/// How long the server waits for what the test has done.
const ROUND: Duration = Duration::from_millis(10);

#[test]
fn an_end_that_comes_with_the_last_bytes_is_seen() {
    on_every_transport(|place| {
        let limits = Limits {
            // Nothing but the end itself is to close the peer.
            handshake_timeout: Duration::from_secs(3600),
            ..Limits::default()
        };
        let (mut server, transport) = Driven::new(&place.transport, limits, Recorder::default());
        let connected = transport.backend().connect(transport.address());
        let mut link = connected.expect("a server listens");
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => server.turn(ROUND),
                Err(error) => panic!("{error}"),
            }
            let polled = own.poll(&mut events, Some(Duration::ZERO));
            polled.expect("a working poll");
            assert!(Instant::now() < deadline, "never connected");
        }
        drop(link);
        drop(own);
        while server.handle().counters().closed.total() == 0 {
            assert!(Instant::now() < deadline, "the end is not seen");
            server.turn(ROUND);
        }
    });
}
