//! In a crowd of those who do nothing, stall, do not read or never stop talking, a call is answered as
//! soon as when nobody else is there.
//!
//! Turns are counted, not time: the server lives in a loop of the test's own. (Not on Windows, where
//! it takes the polls of both sides to move a byte through a pipe.)
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token};
use support::raw::{Raw, bare, framed, framed_bytes};
use support::*;
use wayside::internals::Head;
use wayside::{EmbeddedServer, Limits, Server};

/// A server, and the loop that it lives in.
struct Loop {
    server: EmbeddedServer<Chat, Recorder>,
    poll: Poll,
    events: Events,
}

impl Loop {
    fn turn(&mut self, wait: Duration) {
        self.poll.poll(&mut self.events, Some(wait)).unwrap();
        for event in &self.events {
            self.server.handle_event(event);
        }
        self.server.turn();
    }

    /// Drives the server on another thread, as long as this takes.
    fn meanwhile<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    self.turn(Duration::from_millis(1));
                }
            });
            let worked = work();
            done.store(true, Ordering::SeqCst);
            worked
        })
    }

    /// A call by this peer is answered in the turn that follows it, or in the next.
    fn expect_quick_call(&mut self, caller: &mut Raw, id: u64) {
        let timeout_ms = 60_000;
        let call = framed(Head::Request { id, timeout_ms }, &Ask::Echo(String::new()));
        assert_eq!(caller.send_some(&call), call.len());
        let answered = (0..2).any(|_| {
            self.turn(Duration::ZERO);
            caller.head_now() == Some(Head::Reply { id })
        });
        assert!(answered, "two turns have not answered the call");
    }
}

/// Never stops talking.
struct Talker {
    raw: Raw,
    at: usize,
}

impl Talker {
    /// Says as much of this as the link takes, and goes on with it the next time.
    fn talk(&mut self, words: &[u8]) {
        self.at = (self.at + self.raw.send_some(&words[self.at..])) % words.len();
    }
}

#[test]
fn a_call_is_answered_in_the_next_turns_whoever_else_is_there() {
    on_every_transport(|place| {
        let never = 10 * PATIENCE;
        let limits = Limits {
            frame_len_max: 64 * 1024,
            outbox_len_max: 256 * 1024,
            handshakes_max: 2000,
            handshake_timeout: never,
            frame_timeout: never,
            silence_timeout: never,
            stall_timeout: never,
            ..Limits::default()
        };
        let poll = Poll::new().unwrap();
        let server = Server::builder()
            .listen(place.transport.clone())
            .limits(limits)
            .embed(Recorder::default(), poll.registry(), Token(0), || {})
            .unwrap();
        let transport = place.transport.at(server.endpoints()[0].address());
        let events = Events::with_capacity(1024);
        let mut server = Loop {
            server,
            poll,
            events,
        };
        let mut caller = server.meanwhile(|| Raw::greeted(&transport));
        for id in 1..=10 {
            server.expect_quick_call(&mut caller, id);
        }

        let few = place.at_most(16);
        let handle = server.server.handle();
        let (_idle, _deaf, _stalling, mut talkers) = server.meanwhile(|| {
            let greeted = |count: usize| -> Vec<Raw> {
                (0..count).map(|_| Raw::greeted(&transport)).collect()
            };
            let accepted = || handle.counters().accepted;
            let before = accepted();
            let connect = |number| {
                let link = bare(&transport);
                // What is beyond a full backlog the system forgets, as nobody drives it.
                if number % 10 == 0 {
                    eventually("accepted", || accepted() >= before + number);
                }
                link
            };
            let count = u64::try_from(place.at_most(1000)).unwrap();
            let idle: Vec<_> = (1..=count).map(connect).collect();
            let deaf = greeted(few / 2);
            let push = "x".repeat(10_000);
            for peer in handle.peers().iter().rev().take(deaf.len()) {
                while peer.push(&push).is_ok() {}
            }
            let mut stalling = greeted(few / 2);
            let begun = &framed_bytes(&[0; 4096])[..100];
            stalling.iter_mut().for_each(|raw| raw.say(begun));
            let talkers = greeted(few / 2).into_iter();
            let talkers: Vec<_> = talkers.map(|raw| Talker { raw, at: 0 }).collect();
            (idle, deaf, stalling, talkers)
        });
        let many: Vec<u8> = (0..100)
            .flat_map(|number| framed(Head::Event, &long_note(number, 2000)))
            .collect();
        let handled = handle.counters().events;
        for id in 11..=30 {
            talkers.iter_mut().for_each(|talker| talker.talk(&many));
            server.expect_quick_call(&mut caller, id);
        }
        assert!(handle.counters().events > handled, "nobody has talked");
        let closed = handle.counters().closed;
        assert_eq!(closed.total(), 0, "{closed:?}");
    });
}
