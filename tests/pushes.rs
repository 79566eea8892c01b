//! Pushes: from the server to one client or to all, never at the cost of the server.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use support::sleeper::Sleeper;
use support::*;
use wayside::{CloseReason, Limits, PushError};

/// Bounds that a test reaches quickly, and no time that is over while it does.
fn narrow() -> Limits {
    Limits {
        frame_len_max: 64 * 1024,
        outbox_len_max: 256 * 1024,
        pushes_max: 1_000_000,
        stall_timeout: 2 * PATIENCE,
        silence_timeout: 2 * PATIENCE,
        ..Limits::default()
    }
}

fn text(number: u32, len: usize) -> String {
    format!("{number:08}{}", "x".repeat(len))
}

#[test]
fn a_push_reaches_the_client_it_is_for() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let first = serving.client();
        let peer = serving.recorder.connected();
        let second = serving.client();
        peer.push(&"one".to_owned()).unwrap();
        let found = serving.server.peer(peer.key()).unwrap();
        found.push_urgent(&"two".to_owned()).unwrap();
        assert_eq!(first.next_push(PATIENCE).unwrap(), "one");
        assert_eq!(first.next_push(PATIENCE).unwrap(), "two");
        serving.server.broadcast(&"all".to_owned());
        assert_eq!(second.next_push(PATIENCE).unwrap(), "all");
    });
}

#[test]
fn a_broadcast_reaches_every_client() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let clients: Vec<_> = (0..5).map(|_| serving.client()).collect();
        for round in 0..100 {
            let broadcast = serving.server.broadcast(&text(round, 0));
            assert_eq!((broadcast.sent, broadcast.failed.len()), (5, 0));
        }
        let broadcast = serving.server.broadcast_urgent(&"last".to_owned());
        assert_eq!(broadcast.sent, 5);
        for client in &clients {
            let pushes: Vec<String> = client.pushes().take(101).collect();
            let mut bulk = pushes.iter().filter(|push| *push != "last");
            assert!((0..100).all(|round| *bulk.next().unwrap() == text(round, 0)));
        }
    });
}

#[test]
fn pushes_sent_while_a_request_is_handled_arrive_before_its_reply() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let texts: Vec<String> = (0..10).map(|number| text(number, 0)).collect();
        client.call(&Ask::PushMe(texts.clone()), PATIENCE).unwrap();
        assert_eq!(client.counters().pushes, 10);
        let pushes: Vec<String> = client.pushes().take(10).collect();
        assert_eq!(pushes, texts);
    });
}

#[test]
fn the_iterator_ends_when_the_client_is_closed() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        thread::scope(|scope| {
            let counting = scope.spawn(|| client.pushes().count());
            for number in 0..10 {
                serving.server.broadcast(&text(number, 0));
            }
            // Behind the pushes on the same link.
            echo(&client, "all are here");
            client.close(PATIENCE).unwrap();
            assert_eq!(counting.join().unwrap(), 10);
        });
        assert_eq!(client.next_push(PATIENCE), None);
    });
}

#[test]
fn a_callback_gets_every_push_in_order_and_may_panic() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let (sender, received) = mpsc::channel();
        let builder = serving.builder().on_push(move |push: String| {
            sender.send(push.clone()).unwrap();
            assert!(!push.ends_with('!'), "as the test asked");
        });
        let client = builder.connect(PATIENCE).unwrap();
        let texts = ["one", "two!", "three", "four!", "five"].map(str::to_owned);
        for text in &texts {
            serving.server.broadcast(text);
        }
        for text in texts {
            assert_eq!(received.recv_timeout(PATIENCE).unwrap(), text);
        }
        assert_eq!(client.counters().callback_panics, 2);
    });
}

#[test]
fn with_a_callback_nothing_else_gets_a_push() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let (sender, received) = mpsc::channel();
        let builder = serving.builder().on_push(move |push: String| {
            sender.send(push).unwrap();
        });
        let client = builder.connect(PATIENCE).unwrap();
        thread::scope(|scope| {
            // At once, although none has come.
            scope.spawn(|| assert_eq!(client.next_push(2 * PATIENCE), None));
            scope.spawn(|| assert_eq!(client.pushes().next(), None));
        });
        serving.server.broadcast(&"one".to_owned());
        assert_eq!(received.recv_timeout(PATIENCE).unwrap(), "one");
    });
}

#[test]
fn of_pushes_that_nobody_takes_the_oldest_are_dropped_and_counted() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let limits = Limits {
            pushes_max: 4,
            ..Limits::default()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        for number in 0..10 {
            serving.server.broadcast(&text(number, 0));
        }
        echo(&client, "all are here");
        let counters = client.counters();
        assert_eq!((counters.pushes, counters.pushes_dropped), (10, 6));
        let left: Vec<String> = client.pushes().take(4).collect();
        assert_eq!(left, [6, 7, 8, 9].map(|number| text(number, 0)));
    });
}

#[test]
fn a_push_to_a_client_that_is_gone_says_so() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let peer = serving.recorder.connected();
        client.close(PATIENCE).unwrap();
        serving.recorder.disconnected();
        let error = peer.push(&"too late".to_owned()).unwrap_err();
        assert!(
            matches!(error, PushError::Gone(CloseReason::Finished)),
            "{error}"
        );
        assert!(serving.server.peer(peer.key()).is_none());
        assert_eq!(serving.server.broadcast(&"nobody".to_owned()).sent, 0);
        let counters = serving.server.counters();
        assert_eq!((counters.pushes, counters.pushes_refused), (0, 1));
    });
}

#[test]
fn a_push_that_is_too_long_is_handed_back() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(narrow())
            .connect(PATIENCE)
            .unwrap();
        let peer = serving.recorder.connected();
        // The limit of the client holds for the server as well.
        let error = peer.push(&text(0, 70_000)).unwrap_err();
        assert!(
            matches!(error, PushError::TooLong { max: 65_536 }),
            "{error}"
        );
        peer.push(&text(1, 60_000)).unwrap();
        assert_eq!(client.next_push(PATIENCE).unwrap(), text(1, 60_000));
        let counters = serving.server.counters();
        assert_eq!((counters.pushes, counters.pushes_refused), (1, 1));
    });
}

#[test]
fn a_client_that_does_not_read_fills_its_own_outbox_only() {
    in_every_mode(|place| {
        let serving = place.serve(narrow());
        let mut sleeper = Sleeper::connect(&serving.transport, narrow());
        let peer = serving.recorder.connected();
        let awake = serving.client();
        let mut taken = 0;
        let error = loop {
            match peer.push(&text(taken, 1000)) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        let PushError::Full { len, max } = error else {
            panic!("{error}");
        };
        assert!(
            len <= max && max == narrow().outbox_len_max,
            "{len} of {max}"
        );
        assert_eq!(serving.server.counters().pushes_full, 1);
        // Nobody else notices.
        let broadcast = serving.server.broadcast(&text(0, 1000));
        assert_eq!((broadcast.sent, broadcast.failed.len()), (1, 1));
        assert_eq!(broadcast.failed[0].0, peer.key());
        assert_eq!(awake.next_push(PATIENCE).unwrap(), text(0, 1000));
        assert_eq!(echo(&awake, "undisturbed"), "undisturbed");
        // Nor is anything lost.
        let mut next = 0;
        sleeper.drive_until("everything has arrived", |client| {
            while let Some(push) = client.next_push(Duration::ZERO) {
                assert_eq!(push, text(next, 1000));
                next += 1;
            }
            next == taken
        });
        assert_eq!(sleeper.embedded.client().counters().pushes_dropped, 0);
        peer.push(&"there is room again".to_owned()).unwrap();
    });
}

#[test]
fn urgent_pushes_overtake_all_others() {
    in_every_mode(|place| {
        // More than any link holds, however it grows meanwhile.
        let limits = Limits {
            outbox_len_max: 32 << 20,
            ..narrow()
        };
        let serving = place.serve(limits);
        let mut sleeper = Sleeper::connect(&serving.transport, narrow());
        let peer = serving.recorder.connected();
        let mut bulk = 0;
        while peer.push(&text(bulk, 60_000)).is_ok() {
            bulk += 1;
        }
        peer.push_urgent(&"urgent".to_owned()).unwrap();
        let mut pushes = Vec::new();
        sleeper.drive_until("everything has arrived", |client| {
            while let Some(push) = client.next_push(Duration::ZERO) {
                pushes.push(push);
            }
            pushes.len() > usize::try_from(bulk).unwrap()
        });
        let position = |wanted: &str| pushes.iter().position(|push| push.starts_with(wanted));
        let overtaken = position(&text(bulk - 1, 0)).unwrap() - position("urgent").unwrap();
        // At most the one that had been begun was in between.
        assert!(overtaken >= 2, "only {overtaken} of {bulk} were overtaken");
    });
}
