//! What a server does that stays awake for the one that has asked last: between two polls it tries whether
//! more has come, or whether more of a long answer can be written. (On Unix: it takes the polls of both
//! sides to move a byte through a pipe of Windows.)
#![cfg(unix)]

mod support;

use std::time::Duration;

use support::driven::Driven;
use support::raw::{Raw, framed};
use support::{Ask, Place, Recorder, eventually, note, on_every_transport};
use wayside::Limits;
use wayside::internals::Head;

/// A server that is in the middle of an answer, which is more than any link holds, to this peer.
fn answering(place: &Place) -> (Driven<Recorder>, Recorder, Raw) {
    let recorder = Recorder::default();
    let (mut server, transport) =
        Driven::new(&place.transport, Limits::default(), recorder.clone());
    let handle = server.handle();
    let raw = server.meanwhile(|| {
        let mut raw = Raw::greeted(&transport);
        let request = Head::Request {
            id: 1,
            timeout_ms: 0,
        };
        raw.say(&framed(request, &Ask::Long(3 << 20)));
        eventually("it is asked", || handle.counters().requests == 1);
        raw
    });
    (server, recorder, raw)
}

#[test]
fn what_came_before_a_write_failed_is_handled() {
    on_every_transport(|place| {
        if place.transport.backend().capabilities().scheme == "tcp" {
            // An end with bytes unread is a reset there, which takes with it what had come.
            return;
        }
        let (mut server, recorder, mut raw) = answering(place);
        raw.say(&framed(Head::Event, &note(7)));
        drop(raw);
        // It goes on writing first, which fails.
        assert!(server.look_and_turn(), "there is something to see");
        assert_eq!(recorder.take_events(), [note(7)]);
    });
}

#[test]
fn what_waits_behind_a_long_answer_follows_it() {
    on_every_transport(|place| {
        let (mut server, _, mut raw) = answering(place);
        // The answer to the second waits until that to the first has left: one at a time.
        for id in [1, 2] {
            raw.say(&framed(Head::Ping { id }, &()));
            server.turn(Duration::from_millis(10));
        }
        let mut heard = Vec::new();
        eventually("the second answer", || {
            server.look_and_turn();
            heard.extend(raw.head_now());
            heard.contains(&Head::Pong { id: 2 })
        });
        let answers = [Head::Pong { id: 1 }, Head::Reply { id: 1 }];
        assert!(answers.iter().all(|head| heard.contains(head)), "{heard:?}");
    });
}
