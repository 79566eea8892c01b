//! Whether waits spin or sleep changes nothing but the time they take: nobody starves while others
//! drive without a pause.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::*;
use wayside::{CallError, Limits};

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
