//! A handler that takes its time makes nobody look silent who was only behind it in the line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use support::raw::{Raw, framed};
use support::*;
use wayside::internals::{Head, simulated};
use wayside::{Handler, Limits, Peer, Responder, Spin};

const SILENCE: Duration = Duration::from_secs(600);

/// Takes longer over the first event than a peer may be silent, by the clock of the server's thread.
struct Slow {
    recorder: Recorder,
    has_taken_long: bool,
}

impl Handler<Chat> for Slow {
    fn event(&mut self, peer: &Peer<Chat>, event: Note) {
        if !std::mem::replace(&mut self.has_taken_long, true) {
            simulated::set_now(Some(Instant::now() + 2 * SILENCE));
        }
        Handler::event(&mut self.recorder, peer, event);
    }

    fn request(&mut self, peer: &Peer<Chat>, request: Ask, responder: Responder<Chat>) {
        Handler::request(&mut self.recorder, peer, request, responder);
    }
}

fn ask(id: u64, ask: &Ask) -> Vec<u8> {
    let timeout_ms = 60_000;
    framed(Head::Request { id, timeout_ms }, ask)
}

#[test]
fn who_is_heard_behind_a_slow_handler_is_not_taken_for_silent() {
    on_every_transport(|place| {
        let limits = Limits {
            silence_timeout: SILENCE,
            ..Limits::default()
        };
        // The clock that the handler sets stands still: nobody may wait for it to pass.
        place.spin.set(Spin::Off);
        let recorder = Recorder::default();
        let slow = Slow {
            recorder: recorder.clone(),
            has_taken_long: false,
        };
        let (_server, transport) = place.serve_with(limits, slow);
        let mut blocking = Raw::greeted(&transport);
        let mut peers = [Raw::greeted(&transport), Raw::greeted(&transport)];
        // Both are to be heard in one turn.
        blocking.say(&ask(1, &Ask::Block));
        recorder.blocked();
        for peer in &mut peers {
            peer.say(&framed(Head::Event, &note(1)));
        }
        recorder.unblock();
        for peer in &mut peers {
            peer.say(&ask(1, &Ask::Echo(String::new())));
            let mut heads = std::iter::from_fn(|| peer.head());
            assert!(heads.any(|head| matches!(head, Head::Reply { .. })));
        }
    });
}
