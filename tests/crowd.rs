//! In a crowd of those who do nothing, stall, do not read or never stop talking, a call is answered as
//! soon as when nobody else is there, and those who never stop talking are heard equally.
//!
//! Turns are counted, not time: the server lives in a loop of the test's own. (Not on Windows, where
//! it takes the polls of both sides to move a byte through a pipe.)
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::driven::Driven;
use support::raw::{Raw, bare, framed, framed_bytes};
use support::*;
use wayside::internals::Head;
use wayside::{Handler, Limits, Peer, Responder};

/// Nobody's time is ever over.
fn patient() -> Limits {
    let never = 10 * PATIENCE;
    Limits {
        frame_len_max: 64 * 1024,
        outbox_len_max: 256 * 1024,
        handshakes_max: 2000,
        handshake_timeout: never,
        frame_timeout: never,
        silence_timeout: never,
        stall_timeout: never,
        ..Limits::default()
    }
}

/// A call by this peer is answered in the turn that follows it, or in the next.
fn expect_quick_call(server: &mut Driven<Recorder>, caller: &mut Raw, id: u64) {
    let timeout_ms = 60_000;
    let call = framed(Head::Request { id, timeout_ms }, &Ask::Echo(String::new()));
    assert_eq!(caller.send_some(&call), call.len());
    let answered = (0..2).any(|_| {
        server.turn(Duration::ZERO);
        caller.head_now() == Some(Head::Reply { id })
    });
    assert!(answered, "two turns have not answered the call");
}

/// Never stops talking.
struct Talker {
    raw: Raw,
    at: usize,
}

impl Talker {
    /// Says as much of this as the link takes, up to its end, and goes on with it the next time. Gives
    /// how much that was.
    fn talk(&mut self, words: &[u8]) -> usize {
        let said_len = self.raw.send_some(&words[self.at..]);
        self.at = (self.at + said_len) % words.len();
        said_len
    }
}

#[test]
fn a_call_is_answered_in_the_next_turns_whoever_else_is_there() {
    on_every_transport(|place| {
        let (mut server, transport) = Driven::new(&place.transport, patient(), Recorder::default());
        let mut caller = server.meanwhile(|| Raw::greeted(&transport));
        for id in 1..=10 {
            expect_quick_call(&mut server, &mut caller, id);
        }

        let few = place.at_most(16);
        let many_idle = u64::try_from(place.at_most(1000)).unwrap();
        let handle = server.handle();
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
            let idle: Vec<_> = (1..=many_idle).map(connect).collect();
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
            for talker in &mut talkers {
                talker.talk(&many);
            }
            expect_quick_call(&mut server, &mut caller, id);
        }
        assert!(handle.counters().events > handled, "nobody has talked");
        let closed = handle.counters().closed;
        assert_eq!(closed.total(), 0, "{closed:?}");
    });
}

/// Says the same again and again, and goes on as soon as it was heard.
struct Chatterer {
    talker: Talker,
    words: Vec<u8>,
    said_len: usize,
    /// How often it was heard.
    heard: usize,
}

impl Chatterer {
    /// More than a visit reads, if the link takes it.
    const AHEAD_LEN: usize = 512 * 1024;

    fn new(raw: Raw, number: u64, len: usize) -> Self {
        Self {
            talker: Talker { raw, at: 0 },
            words: framed(Head::Event, &long_note(number, len)),
            said_len: 0,
            heard: 0,
        }
    }

    fn go_on(&mut self) {
        while self.said_len < self.heard * self.words.len() + Self::AHEAD_LEN {
            let said_len = self.talker.talk(&self.words);
            self.said_len += said_len;
            if said_len == 0 {
                return;
            }
        }
    }
}

/// Lets each go on that it hears: in the middle of the visit, which so never comes to the end of what
/// there is.
#[derive(Default)]
struct Listener {
    chatterers: Vec<Chatterer>,
    /// How often it does so: a visit without a bound ends, too.
    left: usize,
}

impl Handler<Chat> for Listener {
    fn event(&mut self, _: &Peer<Chat>, note: Note) {
        let chatterer = &mut self.chatterers[usize::try_from(note.number).unwrap()];
        chatterer.heard += 1;
        if self.left > 0 {
            self.left -= 1;
            chatterer.go_on();
        }
    }

    fn request(&mut self, _: &Peer<Chat>, _: Ask, _: Responder<Chat>) {}
}

/// So many who never stop talking, over so many turns.
fn chatter(place: &Place, count: usize, turns: usize) {
    let (mut server, transport) = Driven::new(&place.transport, patient(), Listener::default());
    let raws =
        server.meanwhile(|| -> Vec<Raw> { (0..count).map(|_| Raw::greeted(&transport)).collect() });
    // A small link must hold a whole one, or nobody is heard in the middle of a visit.
    let capabilities = place.transport.backend().capabilities();
    let len = capabilities.peers_stock_max.map_or(16_000, |_| 400);
    let mut chatterers: Vec<_> = raws
        .into_iter()
        .zip(0..)
        .map(|(raw, number)| Chatterer::new(raw, number, len))
        .collect();
    chatterers.iter_mut().for_each(Chatterer::go_on);
    let listener = server.handler_mut();
    // Four times what all visits may read.
    listener.left = count * turns * 4 * Chatterer::AHEAD_LEN / len;
    listener.chatterers = chatterers;
    for _ in 0..turns {
        server.turn(Duration::ZERO);
    }
    let listener = server.handler();
    let heard = || listener.chatterers.iter().map(|chatterer| chatterer.heard);
    let (least, most) = (heard().min().unwrap(), heard().max().unwrap());
    assert!(
        least * 5 >= most * 4 && least >= turns,
        "of {count} in {turns} turns the least was heard {least} times, the most {most} times"
    );
    assert!(listener.left > 0, "they have stopped talking");
}

#[test]
fn those_who_never_stop_talking_are_heard_equally() {
    on_every_transport(|place| {
        for count in [8, 64] {
            chatter(place, place.at_most(count), 6);
        }
    });
}
