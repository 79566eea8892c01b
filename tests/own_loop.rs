//! A server and a client in one poll of the application's own, next to its other sources.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll as Progress, Waker};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use support::*;
use wayside::{
    CallError, Client, ClientState, EmbeddedClient, EmbeddedServer, Limits, Server, Transport,
};

const WAKER: Token = Token(0);
const OWN: Token = Token(1);
const CLIENT: Token = Token(2);
/// All from here on.
const SERVER: Token = Token(3);

/// Nothing but other threads and its own sources end a poll.
fn restful() -> Limits {
    Limits {
        handshake_timeout: 10 * PATIENCE,
        ping_interval: 10 * PATIENCE,
        silence_timeout: 30 * PATIENCE,
        ..Limits::default()
    }
}

/// An application with a loop of its own.
struct Application {
    poll: Poll,
    events: Events,
    server: EmbeddedServer<Chat, Recorder>,
    client: EmbeddedClient<Chat>,
    recorder: Recorder,
    /// What the application has besides.
    socket: UdpSocket,
    datagrams: u32,
}

impl Application {
    fn new(place: &Place, limits: &Limits) -> Self {
        let poll = Poll::new().unwrap();
        // A poll has one waker. Both use it.
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER).unwrap());
        let wake = || {
            let waker = Arc::clone(&waker);
            move || waker.wake().unwrap()
        };
        let recorder = Recorder::default();
        let builder = Server::builder()
            .listen(place.transport.clone())
            .limits(limits.clone());
        let server = builder.embed(recorder.clone(), poll.registry(), SERVER, wake());
        let server = server.unwrap();
        let builder = Client::builder()
            .transport(reached(place, &server))
            .limits(limits.clone());
        let client = builder.embed(poll.registry(), CLIENT, wake()).unwrap();
        let mut socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let registry = poll.registry();
        registry
            .register(&mut socket, OWN, Interest::READABLE)
            .unwrap();
        Self {
            poll,
            events: Events::with_capacity(64),
            server,
            client,
            recorder,
            socket,
            datagrams: 0,
        }
    }

    /// How long the next poll may take.
    fn timeout(&self) -> Duration {
        let timeouts = [self.server.timeout(), self.client.timeout()];
        let shortest = timeouts.into_iter().flatten().min();
        // Nobody tells this loop that a test has run out of patience.
        shortest.unwrap_or(PATIENCE).min(PATIENCE)
    }

    /// One round, as the documentation says.
    fn round(&mut self) {
        self.round_within(self.timeout());
    }

    fn round_within(&mut self, timeout: Duration) {
        self.poll.poll(&mut self.events, Some(timeout)).unwrap();
        for event in &self.events {
            if event.token() == OWN {
                while self.socket.recv(&mut [0; 16]).is_ok() {
                    self.datagrams += 1;
                }
            }
            self.server.handle_event(event);
            self.client.handle_event(event);
        }
        self.server.turn();
        self.client.turn();
    }

    fn run_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        eventually(what, || {
            self.round();
            is_so(self)
        });
    }

    /// Until there is nothing to do but to wait for others.
    fn rest(&mut self) {
        while !self.events.is_empty() || self.timeout() == Duration::ZERO {
            self.round_within(Duration::ZERO);
        }
    }

    fn connect(&mut self) -> Client<Chat> {
        let client = self.client.client();
        self.run_until("it is connected", |_| {
            matches!(client.state(), ClientState::Connected { .. })
        });
        client
    }
}

fn reached(place: &Place, server: &EmbeddedServer<Chat, Recorder>) -> Transport {
    place.transport.at(server.endpoints()[0].address())
}

#[test]
fn a_server_and_a_client_share_a_loop() {
    on_every_transport(|place| {
        let mut application = Application::new(place, &Limits::default());
        let client = application.connect();
        let ask = Ask::Echo("hello".to_owned());
        let mut pending = client.start(&ask, PATIENCE).unwrap();
        client.send(&note(1)).unwrap();
        // A task of this loop: it is looked at after each round.
        let mut context = Context::from_waker(Waker::noop());
        let mut reply = None;
        application.run_until("the reply is here", |_| {
            if let Progress::Ready(ready) = Pin::new(&mut pending).poll(&mut context) {
                reply = Some(ready.unwrap());
            }
            reply.is_some()
        });
        assert_eq!(reply.unwrap(), "hello");
        let handle = application.server.handle();
        handle.broadcast(&"all".to_owned());
        let mut push = None;
        application.run_until("the push is here", |_| {
            push = client.next_push(Duration::ZERO);
            push.is_some()
        });
        assert_eq!(push.unwrap(), "all");
        assert_eq!(application.recorder.event(), note(1));
    });
}

#[test]
fn other_threads_call_through_the_loop() {
    on_every_transport(|place| {
        let mut application = Application::new(place, &Limits::default());
        let client = application.connect();
        thread::scope(|scope| {
            for thread in 0..3 {
                let client = client.clone();
                scope.spawn(move || {
                    for call in 0..100 {
                        let text = format!("{thread}/{call}");
                        assert_eq!(echo(&client, &text), text);
                        client.send(&note(call)).unwrap();
                    }
                    client.flush(PATIENCE).unwrap();
                    client.send(&note(100)).unwrap();
                });
            }
            application.run_until("all are done", |application| {
                application.server.handle().counters().events == 303
            });
        });
        let counters = client.counters();
        assert_eq!((counters.calls, counters.replies), (303, 303));
    });
}

#[test]
fn a_loop_at_rest_is_woken_by_other_threads_and_by_its_own_sources() {
    on_every_transport(|place| {
        let mut application = Application::new(place, &restful());
        let client = application.connect();
        let address = application.socket.local_addr().unwrap();
        let recorder = application.recorder.clone();
        let handle = application.server.handle();
        for round in 1..=20 {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
                    recorder.held().reply(&"woken".to_owned()).unwrap();
                    assert_eq!(pending.wait().unwrap(), "woken");
                    handle.broadcast(&"pushed".to_owned());
                    assert_eq!(client.next_push(PATIENCE).unwrap(), "pushed");
                    // A call that the loop has to end by its clock.
                    let brief = Duration::from_millis(5);
                    let pending = client.start(&Ask::Hold, brief).unwrap();
                    let error = block_on(pending).unwrap_err();
                    assert!(matches!(error, CallError::TimedOut), "{error}");
                    drop(recorder.held());
                    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                    socket.send_to(b"datagram", address).unwrap();
                });
                application.run_until("the datagram is here", |application| {
                    application.datagrams == round
                });
            });
        }
    });
}

#[test]
fn a_loop_with_nothing_to_do_sleeps_until_the_next_ping() {
    on_every_transport(|place| {
        let limits = Limits {
            ping_interval: Duration::from_millis(200),
            silence_timeout: Duration::from_millis(1000),
            ..Limits::default()
        };
        let mut application = Application::new(place, &limits);
        let client = application.connect();
        let start = Instant::now();
        let mut rounds = 0;
        application.run_until("two silences have passed", |_| {
            rounds += 1;
            start.elapsed() > 2 * limits.silence_timeout
        });
        // Nobody took the other for dead, and each ping took a few rounds.
        assert_eq!(client.counters().opened, 1);
        assert!((5..200).contains(&rounds), "{rounds} rounds");
    });
}

#[test]
fn a_server_in_a_loop_is_shut_down_from_another_thread() {
    on_every_transport(|place| {
        let mut application = Application::new(place, &restful());
        let client = application.connect();
        for event in 0..100 {
            client.send(&note(event)).unwrap();
        }
        let (handle, recorder) = (application.server.handle(), application.recorder.clone());
        application.rest();
        thread::scope(|scope| {
            let shutdown = scope.spawn(|| handle.shutdown(PATIENCE));
            application.run_until("it has stopped", |application| {
                application.server.is_stopped()
            });
            drop(application.server);
            assert!(shutdown.join().unwrap());
        });
        let handled = recorder.take_events().into_iter();
        assert!(handled.map(|note| note.number).eq(0..100));
    });
}

#[test]
fn a_client_in_a_loop_is_closed_from_another_thread() {
    on_every_transport(|place| {
        let mut application = Application::new(place, &restful());
        let client = application.connect();
        for event in 0..100 {
            client.send(&note(event)).unwrap();
        }
        application.rest();
        thread::scope(|scope| {
            let close = scope.spawn(|| client.close(PATIENCE));
            application.run_until("it is closed", |application| application.client.is_closed());
            close.join().unwrap().unwrap();
        });
        let handled = application.recorder.take_events().into_iter();
        assert!(handled.map(|note| note.number).eq(0..100));
    });
}

#[test]
fn a_client_that_nobody_drives_any_more_tells_those_who_wait() {
    on_every_transport(|place| {
        let mut application = Application::new(place, &Limits::default());
        let client = application.connect();
        thread::scope(|scope| {
            let call = scope.spawn(|| client.call(&Ask::Hold, PATIENCE));
            application.run_until("it was asked", |application| {
                application.server.handle().counters().requests == 1
            });
            drop(application.client);
            let error = call.join().unwrap().unwrap_err();
            assert!(!matches!(error, CallError::TimedOut), "{error}");
        });
        assert!(matches!(client.state(), ClientState::Closed));
    });
}

/// A loop that stands still keeps nobody who closes its client.
#[test]
fn a_client_that_nobody_drives_can_be_closed() {
    on_every_transport(|place| {
        let application = Application::new(place, &restful());
        let client = application.client.client();
        client.send(&note(1)).unwrap();
        client.send(&note(2)).unwrap();
        let error = client.close(Duration::from_millis(10)).unwrap_err();
        assert_eq!((error.unsent, error.in_doubt), (2, 0), "{error}");
    });
}

/// Nor does it forget what became doubtful before.
#[test]
fn a_client_that_nobody_drives_any_more_counts_what_was_in_doubt() {
    on_every_transport(|place| {
        let limits = Limits {
            outbox_len_max: 256 * 1024,
            frame_len_max: 64 * 1024,
            ..restful()
        };
        let mut application = Application::new(place, &limits);
        let client = application.connect();
        // The short one has left once nothing more fits; the server has not read it.
        client.send(&note(0)).unwrap();
        while client.send(&long_note(0, 60_000)).is_ok() {}
        client.begin_close(PATIENCE);
        let Application {
            mut poll,
            mut events,
            server,
            client: mut embedded,
            ..
        } = application;
        drop(server);
        while matches!(client.state(), ClientState::Connected { .. }) {
            poll.poll(&mut events, Some(PATIENCE)).unwrap();
            events.iter().for_each(|event| embedded.handle_event(event));
            embedded.turn();
        }
        let error = client.close(Duration::from_millis(10)).unwrap_err();
        assert!(error.unsent > 0 && error.in_doubt > 0, "{error}");
        assert_eq!(error.unsent + error.in_doubt, client.counters().events);
    });
}
