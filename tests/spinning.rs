//! Whether waits spin or sleep changes nothing but the time they take: nobody starves while others
//! drive without a pause.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::*;
use wayside::{CallError, Client, Limits, SendError};

/// Pings are due again and again in the time that the test takes; a busy machine is no reason to
/// believe a peer dead.
fn lively() -> Limits {
    Limits {
        ping_interval: Duration::from_millis(100),
        silence_timeout: Duration::from_secs(2),
        ..Limits::default()
    }
}

#[test]
fn nobody_starves_while_callers_drive_without_a_pause() {
    in_every_mode(|place| {
        let serving = place.serve(lively());
        let connect = || serving.builder().limits(lively()).connect(PATIENCE);
        let busy = connect().unwrap();
        let peer = serving.recorder.connected();
        // Says nothing of itself: it lives by its pings, and by the answers to them.
        let quiet = connect().unwrap();
        let stop = Stop::default();
        thread::scope(|scope| {
            let _stop = stop.on_drop();
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.is_set() {
                        assert_eq!(echo(&busy, "again"), "again");
                    }
                });
            }
            let begun = Instant::now();
            let mut number = 0;
            // Longer than a client may be silent.
            while begun.elapsed() < Duration::from_millis(2500) {
                number += 1;
                busy.send_urgent(&note(number)).unwrap();
                assert_eq!(serving.recorder.event(), note(number));
                let text = format!("push {number}");
                if number % 2 == 0 {
                    peer.push_urgent(&text).unwrap();
                } else {
                    peer.push(&text).unwrap();
                }
                assert_eq!(busy.next_push(PATIENCE), Some(text));
                // A timer of a client whose driver is busy.
                let brief = Duration::from_millis(20);
                let silence = busy.call(&Ask::Hold, brief);
                assert!(matches!(silence, Err(CallError::TimedOut)), "{silence:?}");
                drop(serving.recorder.held());
                // Somebody new.
                let newcomer = connect().unwrap();
                assert_eq!(echo(&newcomer, "me too"), "me too");
            }
        });
        for client in [&busy, &quiet] {
            assert_eq!(client.counters().opened, 1, "the connection has lasted");
        }
        assert_eq!(echo(&quiet, "still there"), "still there");
    });
}

/// Calls again and again, also while there is no room for a call.
fn call_without_a_pause(client: &Client<Chat>, stop: &Stop) {
    let again = Ask::Echo("again".to_owned());
    while !stop.is_set() {
        match client.call(&again, PATIENCE) {
            Ok(text) => assert_eq!(text, "again"),
            Err(CallError::NotSent(SendError::Full { .. })) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn urgent_messages_overtake_while_callers_drive_without_a_pause() {
    const CALLERS: u64 = 2;
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let limits = Limits {
            outbox_len_max: 4 << 20,
            frame_len_max: 64 * 1024,
            ..Limits::default()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let stop = Stop::default();
        thread::scope(|scope| {
            let _stop = stop.on_drop();
            for _ in 0..CALLERS {
                scope.spawn(|| call_without_a_pause(&client, &stop));
            }
            for _ in 0..3 {
                // The server stands still, and one of those who wait for it drives.
                let block = client.start(&Ask::Block, PATIENCE).unwrap();
                serving.recorder.blocked();
                eventually("all callers wait", || {
                    let counters = client.counters();
                    let ended = counters.replies + counters.calls_failed;
                    counters.calls == ended + CALLERS + 1
                });
                let mut bulk = 0;
                while client.send(&long_note(bulk, 60_000)).is_ok() {
                    bulk += 1;
                }
                let urgent = note(bulk);
                client.send_urgent(&urgent).unwrap();
                serving.recorder.unblock();
                block.wait().unwrap();
                client.flush(PATIENCE).unwrap();
                let notes = serving.recorder.take_events();
                let position = |number| notes.iter().position(|note| note.number == number);
                let urgent_at = position(urgent.number).unwrap();
                let overtaken = notes.len() - 1 - urgent_at;
                // At most the one that had been begun was in between.
                assert!(overtaken >= 10, "{overtaken} of {bulk} were overtaken");
                assert_eq!(u64::try_from(notes.len()).unwrap(), bulk + 1);
            }
        });
        assert_eq!(client.counters().opened, 1, "the connection has lasted");
    });
}
