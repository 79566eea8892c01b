//! Peers that break every rule, over every transport: each is closed for the reason that the docs
//! name, counted under that name, and does not concern the others.
//!
//! Each test has a well-behaved client that goes on calling while the hostile ones are there, with
//! only that one time limit short that the test is about.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says what it was about"
)]

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use support::raw::{Raw, RawServer, bare, framed, framed_bytes, hello};
use support::*;
use wayside::backend::Link;
use wayside::internals::{Head, Hello};
use wayside::{
    CallError, Client, ClientState, CloseReason, ConnectError, Limits, NotConnected, Protocol,
    SendError,
};

/// Short enough to wait for, long enough not to hit a client that is only slow to be scheduled.
const SHORT: Duration = Duration::from_millis(250);

/// Between two bytes of those that trickle.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls that a well-behaved client makes while others misbehave.
const CALLS: usize = 20;

/// A server, a client that behaves, and what is known of both.
struct Scene {
    serving: Serving,
    good: Client<Chat>,
}

impl Scene {
    fn new(place: &Place, limits: Limits) -> Self {
        let serving = place.serve(limits);
        let good = serving.client();
        Self { serving, good }
    }

    fn connect(&self) -> Raw {
        Raw::connect(&self.serving.transport)
    }

    fn greeted(&self) -> Raw {
        Raw::greeted(&self.serving.transport)
    }

    /// Connections that do nothing, which the server has seen. Not all at once: what is beyond a
    /// full backlog the system forgets, as nobody drives it.
    fn idle(&self, count: u64) -> Vec<Box<dyn Link>> {
        let accepted = || self.serving.server.counters().accepted;
        let before = accepted();
        let connect = |number| {
            let link = bare(&self.serving.transport);
            // A mailbox of queues holds ten.
            if number % 10 == 0 {
                eventually("accepted", || accepted() >= before + number);
            }
            link
        };
        let links = (1..=count).map(connect).collect();
        eventually("accepted", || accepted() == before + count);
        links
    }

    fn closed(&self, reason: &str) -> u64 {
        self.serving.server.counters().closed.for_reason(reason)
    }

    fn closed_total(&self) -> u64 {
        self.serving.server.counters().closed.total()
    }

    /// Others' calls go on.
    fn others_go_on(&self) {
        for number in 0..CALLS {
            let text = number.to_string();
            assert_eq!(echo(&self.good, &text), text);
        }
    }

    /// Waits until `count` peers were closed for this reason, and nobody for another; the client
    /// that behaves is still on its first connection.
    fn expect_closed(&self, reason: &str, count: u64) {
        eventually(reason, || self.closed(reason) >= count);
        self.others_go_on();
        let counters = self.serving.server.counters();
        let closed: Vec<_> = counters.closed.iter().collect();
        assert_eq!(closed, [(reason, count)]);
        assert_eq!(self.good.counters().opened, 1);
        assert_eq!(self.serving.server.peers().len(), 1);
        assert_eq!(counters.handler_panics, 0);
    }
}

/// Default bounds, but for the times, none of which is over during a test, and for the difference
/// that the test is about.
fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let never = PATIENCE * 10;
    let mut limits = Limits {
        handshake_timeout: never,
        silence_timeout: never,
        frame_timeout: never,
        stall_timeout: never,
        ..Limits::default()
    };
    change(&mut limits);
    limits.check().unwrap();
    limits
}

fn request(id: u64, ask: &Ask) -> Vec<u8> {
    let timeout_ms = 60_000;
    framed(Head::Request { id, timeout_ms }, ask)
}

// ---- those that say nothing, or not enough ----

#[test]
fn who_connects_and_stays_silent_is_closed_after_the_handshake_timeout() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.handshake_timeout = SHORT));
        // One that proves its key, where the transport wants that, and one that does not.
        let mut quiet = scene.connect();
        let _dead = bare(&scene.serving.transport);
        scene.others_go_on();
        quiet.until_end();
        scene.expect_closed("handshake_timeout", 2);
        let reason = scene.serving.recorder.refused();
        assert!(
            matches!(reason, CloseReason::HandshakeTimeout(SHORT)),
            "{reason}"
        );
    });
}

#[test]
fn half_a_hello_does_not_put_the_handshake_timeout_off() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.handshake_timeout = SHORT));
        let mut raw = scene.connect();
        raw.say(&1000_u32.to_le_bytes());
        // A byte now and then, of more than fit into the time, which counts from the connection.
        while scene.closed_total() == 0 {
            raw.send(&[0]);
            assert!(scene.good.next_push(PAUSE).is_none());
        }
        scene.expect_closed("handshake_timeout", 1);
    });
}

#[test]
fn a_header_without_its_frame_is_closed_after_the_handshake_timeout() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.handshake_timeout = SHORT));
        let mut raw = scene.connect();
        raw.say(&100_u32.to_le_bytes());
        scene.others_go_on();
        scene.expect_closed("handshake_timeout", 1);
    });
}

#[test]
fn a_frame_that_is_begun_and_not_finished_is_closed_after_the_frame_timeout() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.frame_timeout = SHORT));
        let mut raw = scene.greeted();
        raw.say(&100_u32.to_le_bytes());
        scene.others_go_on();
        scene.expect_closed("frame_stalled", 1);
    });
}

#[test]
fn a_trickle_of_bytes_does_not_put_the_frame_timeout_off() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.frame_timeout = SHORT));
        let mut raw = scene.greeted();
        raw.say(&(1_u32 << 20).to_le_bytes());
        while scene.closed_total() == 0 {
            raw.send(&[0]);
            echo(&scene.good, "meanwhile");
        }
        scene.expect_closed("frame_stalled", 1);
    });
}

#[test]
fn a_trickle_that_is_in_time_is_served() {
    on_every_transport(|place| {
        let scene = Scene::new(place, Limits::default());
        let mut raw = scene.connect();
        let session = [
            framed(Head::Hello, &hello()),
            framed(Head::Event, &note(7)),
            framed(Head::Goodbye, &()),
        ];
        for byte in session.concat() {
            raw.say(&[byte]);
        }
        assert_eq!(scene.serving.recorder.event(), note(7));
        assert_eq!(raw.head(), Some(Head::Welcome));
        assert_eq!(raw.head(), Some(Head::Ack { id: 0, events: 1 }));
        assert_eq!(raw.head(), Some(Head::Goodbye));
        raw.say(&framed(Head::Farewell, &()));
        assert_eq!(raw.head(), None);
        scene.expect_closed("finished", 1);
    });
}

#[test]
fn who_falls_silent_after_the_hello_is_closed_after_the_silence_timeout() {
    on_every_transport(|place| {
        // The client that behaves learns of the short silence from the hello, and pings more often.
        let short = limits(|limits| {
            limits.silence_timeout = SHORT * 4;
            limits.ping_interval = SHORT;
        });
        let scene = Scene::new(place, short);
        let _raw = scene.greeted();
        scene.others_go_on();
        scene.expect_closed("silent", 1);
    });
}

// ---- those that say too much ----

#[test]
fn four_gibibytes_announced_are_refused_by_the_header() {
    on_every_transport(|place| {
        let scene = Scene::new(place, Limits::default());
        for greeted in [false, true] {
            let mut raw = if greeted {
                scene.greeted()
            } else {
                scene.connect()
            };
            raw.say(&u32::MAX.to_le_bytes());
            scene.others_go_on();
            scene.expect_closed("frame_too_long", 1 + u64::from(greeted));
        }
    });
}

#[test]
fn before_the_hello_a_stranger_gets_room_for_a_hello_only() {
    on_every_transport(|place| {
        let scene = Scene::new(place, Limits::default());
        let mut raw = scene.connect();
        raw.say(&4096_u32.to_le_bytes());
        scene.expect_closed("frame_too_long", 1);
    });
}

#[test]
fn random_bytes_are_closed_and_nobody_else_is() {
    let seed = match std::env::var("WAYSIDE_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    };
    eprintln!("WAYSIDE_SEED={seed}");
    on_every_transport(|place| {
        let mut random = seed;
        let mut next = move || {
            // Knuth's; the upper bits are random enough here.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            u8::try_from(random >> 56).unwrap()
        };
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.handshake_timeout = SHORT;
                limits.frame_timeout = SHORT;
            }),
        );
        let rounds = 40;
        for round in 0..rounds {
            let mut raw = if round % 2 == 0 {
                scene.connect()
            } else {
                scene.greeted()
            };
            let mut bytes: Vec<u8> = (0..512).map(|_| next()).collect();
            if round % 4 >= 2 {
                // Short frames, so that more than the header is looked at.
                bytes[0] %= 64;
                bytes[1..4].fill(0);
            }
            // It may be closed before all is sent.
            raw.send(&bytes);
            raw.until_end();
            echo(&scene.good, "meanwhile");
        }
        eventually("all closed", || scene.closed_total() == rounds);
        scene.others_go_on();
        let counters = scene.serving.server.counters();
        for (reason, _) in counters.closed.iter() {
            let expected = [
                "not_wayside",
                "frame_too_long",
                "malformed",
                "undecodable",
                "frame_stalled",
                "handshake_timeout",
                "by_peer",
            ];
            assert!(expected.contains(&reason), "{reason}");
        }
        assert_eq!(scene.good.counters().opened, 1);
    });
}

// ---- those that break the protocol ----

/// What a peer with a session says, and the reason it is closed for.
fn breaches() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let held = request(1, &Ask::Hold);
    let goodbye = framed(Head::Goodbye, &());
    let event = framed(Head::Event, &note(1));
    let mut trailing = vec![3];
    trailing.extend_from_slice(&[1, 1, b'x', 0]);
    vec![
        ("hello twice", framed(Head::Hello, &hello()), "malformed"),
        ("an unknown head", framed_bytes(&[100]), "malformed"),
        ("an empty frame", framed_bytes(&[]), "malformed"),
        (
            "a reply to nothing",
            framed(Head::Reply { id: 5 }, "text"),
            "malformed",
        ),
        (
            "a push to the server",
            framed(Head::Push, "text"),
            "malformed",
        ),
        (
            "an acknowledgement of nothing",
            framed(Head::Ack { id: 1, events: 9 }, &()),
            "malformed",
        ),
        (
            "a drain to the server",
            framed(Head::Drain, &()),
            "malformed",
        ),
        (
            "the number of an open call",
            [held.clone(), held.clone()].concat(),
            "malformed",
        ),
        (
            "a message after the goodbye",
            [held.clone(), goodbye.clone(), event].concat(),
            "malformed",
        ),
        (
            "goodbye twice",
            [held.clone(), goodbye.clone(), goodbye].concat(),
            "malformed",
        ),
        (
            "a farewell before any goodbye",
            [held, framed(Head::Farewell, &())].concat(),
            "malformed",
        ),
        (
            "bytes behind the message",
            framed_bytes(&trailing),
            "undecodable",
        ),
        ("half a message", framed_bytes(&[3, 1]), "undecodable"),
        ("an abort", framed(Head::Abort { code: 7 }, &()), "by_peer"),
        (
            "an abort for a reason of the future",
            framed(Head::Abort { code: u32::MAX }, &()),
            "by_peer",
        ),
    ]
}

#[test]
fn each_breach_of_the_protocol_closes_the_peer_and_no_other() {
    on_every_transport(|place| {
        for (what, bytes, reason) in breaches() {
            eprintln!("{what}");
            let scene = Scene::new(place, Limits::default());
            let mut raw = scene.greeted();
            raw.say(&bytes);
            raw.until_end();
            scene.expect_closed(reason, 1);
        }
    });
}

#[test]
fn what_is_no_hello_is_not_wayside() {
    on_every_transport(|place| {
        let scene = Scene::new(place, Limits::default());
        let strange = [
            framed_bytes(b"GET / HTTP/1.1\r\n\r\n"),
            framed(Head::Event, &note(1)),
            framed(Head::Welcome, &hello()),
            framed_bytes(&[0, b'W', b'A', b'Y']),
        ];
        for (count, bytes) in (1..).zip(&strange) {
            let mut raw = scene.connect();
            raw.say(bytes);
            raw.until_end();
            let reason = scene.serving.recorder.refused();
            assert!(matches!(reason, CloseReason::NotWayside), "{reason}");
            scene.expect_closed("not_wayside", count);
        }
    });
}

#[test]
fn another_protocol_is_refused_with_both_names_and_the_reason_is_counted() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|_| {}));
        let other = Hello::new("other", 3, &Limits::default(), 1);
        let mut raw = scene.connect();
        raw.say(&framed(Head::Hello, &other));
        assert!(matches!(raw.head(), Some(Head::Refuse { code: 4 })));
        // It may hang on for as long as the handshake may take, but does not count as a peer.
        assert_eq!(scene.serving.server.peers().len(), 1);
        drop(raw);
        scene.expect_closed("protocol_mismatch", 1);

        // One that leaves without waiting for the refusal is forgotten as fast, also if the server
        // hears of both at once.
        let hello = framed(Head::Hello, &other);
        let mut raw = scene.connect();
        raw.say(&hello[..8]);
        eventually("accepted", || scene.serving.server.counters().accepted == 3);
        let pending = scene.good.start(&Ask::Block, PATIENCE).unwrap();
        scene.serving.recorder.blocked();
        raw.say(&hello[8..]);
        drop(raw);
        scene.serving.recorder.unblock();
        drop(pending);
        scene.expect_closed("protocol_mismatch", 2);
    });
}

// ---- those that don't read ----

#[test]
fn a_peer_that_does_not_read_its_replies_is_paused_then_closed() {
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.stall_timeout = SHORT;
                limits.outbox_len_max = 1 << 20;
                limits.frame_len_max = 1 << 19;
            }),
        );
        let mut raw = scene.greeted();
        let calls: Vec<u8> = (0..1000)
            .flat_map(|id| request(id, &Ask::Long(100_000)))
            .collect();
        raw.flood(&calls);
        scene.expect_closed("not_reading", 1);
    });
}

#[test]
fn pushes_to_a_peer_that_does_not_read_are_handed_back_and_others_get_theirs() {
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.stall_timeout = SHORT;
                limits.outbox_len_max = 1 << 20;
                limits.frame_len_max = 1 << 19;
            }),
        );
        let good_key = scene.serving.server.peers()[0].key();
        let _raw = scene.greeted();
        let text = "x".repeat(100_000);
        let mut handed_back = 0;
        while scene.closed_total() == 0 {
            let broadcast = scene.serving.server.broadcast(&text);
            for (key, _) in &broadcast.failed {
                assert_ne!(*key, good_key);
                handed_back += 1;
            }
            assert_eq!(scene.good.next_push(PATIENCE).unwrap(), text);
        }
        assert_eq!(scene.serving.server.counters().pushes_full, handed_back);
        scene.expect_closed("not_reading", 1);
    });
}

#[test]
fn floods_without_reading_end_in_the_stall_timeout() {
    let sync_flood: Vec<u8> = (0..1000)
        .flat_map(|id| framed(Head::Sync { id }, &()))
        .collect();
    let call_flood: Vec<u8> = (0..1000)
        .flat_map(|id| request(id, &Ask::Echo("text".to_owned())))
        .collect();
    on_every_transport(|place| {
        for flood in [&sync_flood, &call_flood] {
            let scene = Scene::new(place, limits(|limits| limits.stall_timeout = SHORT));
            let mut raw = scene.greeted();
            std::thread::scope(|scope| {
                let flooding = scope.spawn(|| raw.flood(flood));
                scene.others_go_on();
                drop(flooding);
            });
            scene.expect_closed("not_reading", 1);
        }
    });
}

/// At most one pong waits at any time, so pings without end lead to nothing but work.
#[test]
fn a_flood_of_pings_gains_nothing() {
    let pings: Vec<u8> = (0..1000)
        .flat_map(|id| framed(Head::Ping { id }, &()))
        .collect();
    on_every_transport(|place| {
        let scene = Scene::new(place, Limits::default());
        let mut raw = scene.greeted();
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| {
                for _ in 0..200 {
                    raw.say(&pings);
                }
                // All are read, or the last would not be answered.
                raw.say(&framed(Head::Ping { id: 5000 }, &()));
                (1..)
                    .find(|_| raw.head() == Some(Head::Pong { id: 5000 }))
                    .unwrap()
            });
            scene.others_go_on();
            let pongs = flooding.join().unwrap();
            assert!(pongs < 200_000 / 10, "{pongs}");
        });
        drop(raw);
        scene.expect_closed("peer_gone", 1);
    });
}

/// It always has more to say, which must not put off that it does not listen.
#[test]
fn a_flood_of_events_does_not_put_the_stall_timeout_off() {
    let events: Vec<u8> = (0..1000)
        .flat_map(|number| framed(Head::Event, &note(number)))
        .collect();
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.stall_timeout = SHORT;
                limits.outbox_len_max = 256 << 20;
            }),
        );
        let mut raw = scene.greeted();
        let peer = scene.serving.server.peers().pop().unwrap();
        // More than any socket takes, and less than half of what may wait.
        let long = "x".repeat(1 << 20);
        for _ in 0..32 {
            // On a busy machine the time is over while we are at it.
            peer.push(&long).ok();
        }
        raw.flood(&events);
        scene.expect_closed("not_reading", 1);
    });
}

#[test]
fn calls_beyond_the_limit_fail_and_the_session_goes_on() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.calls_max = 3));
        let mut raw = scene.greeted();
        for id in 1..=5 {
            raw.say(&request(id, &Ask::Hold));
        }
        for id in 4..=5 {
            let Some(Head::Failed { id: failed, .. }) = raw.head() else {
                panic!("call {id} did not fail");
            };
            assert_eq!(failed, id);
        }
        scene.others_go_on();
        for _ in 1..=3 {
            scene
                .serving
                .recorder
                .held()
                .reply(&"late".to_owned())
                .unwrap();
            assert!(matches!(raw.head(), Some(Head::Reply { .. })));
        }
        drop(raw);
        scene.expect_closed("peer_gone", 1);
    });
}

/// The handler may still be at work on a call that was withdrawn: it counts until it is done, or a
/// peer could pile up any amount of work.
#[test]
fn calls_that_are_withdrawn_count_until_the_handler_lets_go_of_them() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.calls_max = 3));
        let mut raw = scene.greeted();
        for id in 1..=100 {
            raw.say(&request(id, &Ask::Hold));
            raw.say(&framed(Head::Cancel { id }, &()));
        }
        for _ in 4..=100 {
            assert!(matches!(raw.head(), Some(Head::Failed { .. })));
        }
        assert_eq!(scene.serving.server.counters().requests, 3);
        for _ in 1..=3 {
            drop(scene.serving.recorder.held());
        }
        raw.say(&request(101, &Ask::Echo("again".to_owned())));
        assert_eq!(raw.head(), Some(Head::Reply { id: 101 }));
        drop(raw);
        scene.expect_closed("peer_gone", 1);
    });
}

/// Replies to what came in one read may be longer than the outbox: the server takes the calls as
/// fast as the client takes the answers.
#[test]
fn a_burst_of_calls_with_long_replies_is_answered_to_a_peer_that_reads() {
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.outbox_len_max = 1 << 20;
                limits.frame_len_max = 1 << 19;
            }),
        );
        let mut raw = scene.greeted();
        let calls: Vec<u8> = (1..=200)
            .flat_map(|id| request(id, &Ask::Long(100_000)))
            .collect();
        raw.say_listening(&calls);
        for id in 1..=200 {
            assert_eq!(raw.head(), Some(Head::Reply { id }));
        }
        drop(raw);
        scene.expect_closed("peer_gone", 1);
    });
}

/// Pings wait behind what the server does not read while the client has so much to read: a client
/// that reads slowly, but reads, is not dead.
#[test]
fn a_peer_that_reads_slowly_is_not_taken_for_silent() {
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.silence_timeout = SHORT * 2;
                limits.ping_interval = SHORT / 2;
                limits.outbox_len_max = 64 << 20;
            }),
        );
        let mut raw = scene.greeted();
        let peer = scene.serving.server.peers().pop().unwrap();
        let text = "x".repeat(1 << 20);
        for _ in 0..60 {
            peer.push(&text).unwrap();
        }
        // Reads one, then waits until a silence timeout has come and gone: the time is told by the
        // server's verdict on another that says nothing at all.
        for count in 1..=3 {
            raw.say(&framed(Head::Ping { id: count }, &()));
            assert_eq!(raw.head(), Some(Head::Push));
            let _silent = scene.greeted();
            eventually("the other is closed", || scene.closed("silent") == count);
        }
        assert_eq!(scene.closed_total(), 3);
        for id in 4..=60 {
            // Once it is listened to again, it has to be heard.
            raw.say_listening(&framed(Head::Ping { id }, &()));
            loop {
                match raw.head() {
                    Some(Head::Push) => break,
                    Some(Head::Pong { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        scene.others_go_on();
    });
}

// ---- those that are many ----

#[test]
fn a_thousand_connections_that_do_nothing_keep_nobody_out() {
    if under_wine("takes minutes for so many connections") {
        return;
    }
    on_every_transport(|place| {
        let count = place.at_most(1000);
        let kept = u32::try_from(count / 4).unwrap().min(64);
        let scene = Scene::new(place, limits(|limits| limits.handshakes_max = kept));
        let (count, kept) = (u64::try_from(count).unwrap(), u64::from(kept));
        let idle = scene.idle(count);
        scene.others_go_on();
        let late = scene.serving.client();
        echo(&late, "I got in");
        // All but the last of them are gone, long before the handshake timeout; the late one has taken
        // the place of one, if it was not counted out by then.
        eventually("the oldest are closed", || {
            scene.closed("handshakes_crowded") >= count - kept
        });
        assert!(scene.closed("handshakes_crowded") <= count - kept + 1);
        drop(idle);
        eventually("all are forgotten", || scene.closed_total() == count);
        assert_eq!(scene.serving.server.peers().len(), 2);
    });
}

#[test]
fn a_thousand_idle_connections_within_the_limits_delay_nobody() {
    if under_wine("takes minutes for so many connections") {
        return;
    }
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.handshakes_max = 2000;
                limits.handshake_timeout = PATIENCE * 10;
            }),
        );
        let count = u64::try_from(place.at_most(1000)).unwrap();
        let idle = scene.idle(count);
        scene.others_go_on();
        echo(&scene.serving.client(), "I got in");
        eventually("that one has gone", || scene.closed("finished") == 1);
        assert_eq!(scene.closed_total(), 1);
        drop(idle);
        eventually("all are forgotten", || scene.closed_total() == count + 1);
    });
}

#[test]
fn one_peer_too_many_is_turned_away_and_gets_in_when_another_leaves() {
    on_every_transport(|place| {
        let scene = Scene::new(place, limits(|limits| limits.peers_max = 3));
        let second = scene.serving.client();
        let third = scene.serving.client();
        let fourth = scene.serving.builder().start().unwrap();
        let reason = scene.serving.recorder.refused();
        assert!(
            matches!(reason, CloseReason::Crowded { max: 3 }),
            "{reason}"
        );
        assert!(scene.closed("crowded") > 0);
        scene.others_go_on();
        eventually("the fourth knows", || {
            matches!(fourth.state(), ClientState::Waiting { .. })
        });
        let call = fourth.call(&Ask::LetGo, PATIENCE).unwrap_err();
        assert!(matches!(call, CallError::NotConnected(_)), "{call}");
        drop(second);
        fourth.wait_connected(PATIENCE).unwrap();
        assert_eq!(echo(&fourth, "in"), "in");
        echo(&third, "still");
        assert_eq!(scene.good.counters().opened, 1);
    });
}

/// The limits on strangers and on peers may be set to any values: strangers never count more than
/// those who want to talk.
#[test]
fn strangers_make_room_when_the_server_is_full_of_them() {
    on_every_transport(|place| {
        let serving = place.serve(limits(|limits| {
            limits.peers_max = 3;
            limits.handshake_timeout = PATIENCE * 10;
        }));
        let _idle: Vec<_> = (0..10).map(|_| bare(&serving.transport)).collect();
        let client = serving.client();
        echo(&client, "I got in");
        assert!(serving.server.counters().closed.for_reason("crowded") >= 1);
    });
}

/// Whoever has kept its half of a frame back longest makes room, not whoever comes next.
#[test]
fn half_frames_beyond_the_limit_cost_those_that_hold_them_longest() {
    on_every_transport(|place| {
        let scene = Scene::new(
            place,
            limits(|limits| {
                limits.frame_len_max = 100_000;
                limits.partial_len_max = 250_000;
                limits.frame_timeout = PATIENCE * 10;
            }),
        );
        let mut begun = framed(Head::Event, &"x".repeat(95_000));
        begun.truncate(90_000);
        let mut hoarders = Vec::new();
        for count in 1..=5 {
            let mut raw = scene.greeted();
            raw.say(&begun);
            hoarders.push(raw);
            // Handled in order with what was said just before, as far as one turn goes.
            scene.others_go_on();
            let full = scene.closed("partials_full");
            assert!(full <= count, "{full}");
        }
        eventually("the first are closed", || {
            scene.closed("partials_full") == 3
        });
        // A long message of one that behaves is taken.
        let long = Note {
            number: 1,
            text: "x".repeat(80_000),
        };
        scene.good.send(&long).unwrap();
        scene.good.flush(PATIENCE).unwrap();
        assert_eq!(scene.serving.recorder.event(), long);
        for raw in &mut hoarders[..3] {
            raw.until_end();
        }
        assert_eq!(scene.good.counters().opened, 1);
    });
}

// ---- a hostile server ----

/// A client of a hostile server that tries again soon.
fn client_of(server: &RawServer, change: impl FnOnce(&mut Limits)) -> Client<Chat> {
    Client::builder()
        .transport(server.transport.clone())
        .limits(limits(|limits| {
            limits.reconnect_delay_min = Duration::from_millis(1);
            limits.reconnect_delay_max = Duration::from_millis(10);
            change(limits);
        }))
        .start()
        .unwrap()
}

/// Waits until the client has closed a connection for this reason, and for no other.
fn expect_client_closed(client: &Client<Chat>, reason: &str) {
    eventually(reason, || client.counters().closed.for_reason(reason) > 0);
    let counters = client.counters();
    let closed: Vec<_> = counters.closed.iter().map(|(name, _)| name).collect();
    assert_eq!(closed, [reason]);
}

#[test]
fn a_client_tells_what_is_wrong_with_a_server_that_is_none() {
    on_every_transport(|place| {
        let greetings = [
            (framed_bytes(b"HTTP/1.1 200 OK\r\n\r\n"), "not_wayside"),
            (u32::MAX.to_le_bytes().to_vec(), "frame_too_long"),
            (0_u32.to_le_bytes().to_vec(), "malformed"),
            (framed(Head::Push, "text"), "not_wayside"),
            (framed(Head::Welcome, &()), "not_wayside"),
            (framed(Head::Abort { code: 15 }, &()), "by_peer"),
        ];
        for (greeting, reason) in greetings {
            eprintln!("{reason}");
            let mut server = RawServer::bind(&place.transport);
            let client = client_of(&server, |_| {});
            let mut raw = server.accept();
            raw.say(&greeting);
            expect_client_closed(&client, reason);
            let error = client.call(&Ask::LetGo, PATIENCE).unwrap_err();
            assert!(!error.may_have_run(), "{error}");
            // It tries again, and takes a better answer.
            drop(raw);
            let _welcome = server.welcome();
            client.wait_connected(PATIENCE).unwrap();
            drop(server);
        }
    });
}

#[test]
fn a_server_that_never_welcomes_is_given_up_and_tried_again() {
    on_every_transport(|place| {
        let mut server = RawServer::bind(&place.transport);
        let client = client_of(&server, |limits| limits.handshake_timeout = SHORT);
        let mut mute = server.accept();
        assert_eq!(mute.head(), Some(Head::Hello));
        let error = client.wait_connected(SHORT / 4).unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
        expect_client_closed(&client, "handshake_timeout");
        let _again = server.accept();
    });
}

/// A client with a session to a hostile server.
fn session(place: &Place, change: impl FnOnce(&mut Limits)) -> (RawServer, Raw, Client<Chat>) {
    let mut server = RawServer::bind(&place.transport);
    let client = client_of(&server, change);
    let raw = server.welcome();
    client.wait_connected(PATIENCE).unwrap();
    (server, raw, client)
}

#[test]
fn each_breach_of_a_server_ends_the_session_and_its_calls() {
    let breaches: [(&str, Vec<u8>, &str); 9] = [
        (
            "welcome twice",
            framed(Head::Welcome, &hello()),
            "malformed",
        ),
        ("an event", framed(Head::Event, &note(1)), "malformed"),
        (
            "more acknowledged than sent",
            framed(Head::Ack { id: 0, events: 100 }, &()),
            "malformed",
        ),
        (
            "a farewell before any goodbye",
            framed(Head::Farewell, &()),
            "malformed",
        ),
        (
            "a huge frame",
            u32::MAX.to_le_bytes().to_vec(),
            "frame_too_long",
        ),
        ("an unknown head", framed_bytes(&[99, 1, 2]), "malformed"),
        ("half a push", framed_bytes(&[8, 100]), "undecodable"),
        (
            "a reply that is no text",
            framed_bytes(&[5, 1, 200, 200]),
            "undecodable",
        ),
        ("an abort", framed(Head::Abort { code: 17 }, &()), "by_peer"),
    ];
    on_every_transport(|place| {
        for (what, bytes, reason) in &breaches {
            eprintln!("{what}");
            let (_server, mut raw, client) = session(place, |_| {});
            client.send(&note(1)).unwrap();
            assert_eq!(raw.head(), Some(Head::Event));
            let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
            assert!(matches!(raw.head(), Some(Head::Request { .. })));
            raw.say(bytes);
            let error = pending.wait().unwrap_err();
            assert!(
                matches!(&error, CallError::Lost { reason: why, may_have_run: true } if why.name() == *reason),
                "{error}"
            );
            expect_client_closed(&client, reason);
            let counters = client.counters();
            let events = (counters.events_acknowledged, counters.events_in_doubt);
            assert_eq!(events, (0, 1), "{what}");
        }
    });
}

/// The answer to a flush waits behind replies; an acknowledgement that nobody asked for does not.
#[test]
fn an_acknowledgement_that_was_overtaken_by_a_higher_one_is_no_breach() {
    on_every_transport(|place| {
        let (_server, mut raw, client) = session(place, |_| {});
        for number in 0..2 {
            client.send(&note(number)).unwrap();
            assert_eq!(raw.head(), Some(Head::Event));
        }
        raw.say(&framed(Head::Ack { id: 0, events: 2 }, &()));
        raw.say(&framed(Head::Ack { id: 0, events: 1 }, &()));
        // What comes behind them is still heard.
        raw.say(&framed(Head::Push, "heard"));
        assert_eq!(client.next_push(PATIENCE).unwrap(), "heard");
        assert_eq!(client.counters().events_acknowledged, 2);
    });
}

/// The numbers are the server's to claim, and must not upset the client's own arithmetic.
#[test]
fn a_server_that_acknowledges_what_it_never_read_does_no_harm() {
    on_every_transport(|place| {
        let (mut server, mut raw, client) = session(place, |_| {});
        let long = Note {
            number: 0,
            text: "x".repeat(1 << 20),
        };
        let mut sent = 0;
        // Until some wait behind a link that nobody reads.
        while client.send(&long).is_ok() {
            sent += 1;
        }
        raw.say(&framed(
            Head::Ack {
                id: 0,
                events: sent,
            },
            &(),
        ));
        eventually("it is believed", || {
            client.counters().events_acknowledged == sent
        });
        drop(raw);
        drop(server.welcome());
        let _raw = server.welcome();
        client.wait_connected(PATIENCE).unwrap();
        let counters = client.counters();
        assert!(counters.events_in_doubt <= sent, "{counters:?}");
    });
}

#[test]
fn replies_that_nobody_asked_for_are_counted_and_ignored() {
    on_every_transport(|place| {
        let (_server, mut raw, client) = session(place, |_| {});
        for id in [0, 1, 1 << 32, u64::MAX] {
            raw.say(&framed(Head::Reply { id }, "unasked"));
            let failure = wayside::Failure::Unanswered;
            raw.say(&framed(Head::Failed { id, failure }, &()));
            raw.say(&framed(Head::Ack { id, events: 0 }, &()));
            raw.say(&framed(Head::Pong { id }, &()));
        }
        eventually("all are counted", || {
            client.counters().replies_unwanted == 8
        });
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let Some(Head::Request { id, .. }) = raw.head() else {
            panic!("not the request");
        };
        raw.say(&framed(Head::Reply { id }, "asked"));
        raw.say(&framed(Head::Reply { id }, "twice"));
        assert_eq!(pending.wait().unwrap(), "asked");
        eventually("all are counted", || {
            client.counters().replies_unwanted == 9
        });
        assert_eq!(client.counters().closed.total(), 0);
    });
}

#[test]
fn endless_pushes_drop_the_oldest_and_the_client_can_be_closed() {
    on_every_transport(|place| {
        let (_server, mut raw, client) = session(place, |limits| limits.pushes_max = 10);
        let mut count = 0_u64;
        while client.counters().pushes_dropped < 1000 {
            count += 1;
            raw.say(&framed(Head::Push, &count.to_string()));
        }
        let pushes: Vec<_> = std::iter::from_fn(|| client.next_push(Duration::ZERO)).collect();
        assert!(pushes.len() >= 10);
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| raw.flood(&framed(Head::Push, "more")));
            // It does not say goodbye back; the client does not wait longer than it was told.
            client.close(SHORT).unwrap();
            drop(flooding);
        });
        assert!(matches!(client.state(), ClientState::Closed));
    });
}

#[test]
fn a_server_that_stops_reading_is_left_after_the_stall_timeout() {
    on_every_transport(|place| {
        let (_server, _raw, client) = session(place, |limits| limits.stall_timeout = SHORT);
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let long = Note {
            number: 0,
            text: "x".repeat(1 << 20),
        };
        let full = loop {
            if let Err(error) = client.send(&long) {
                break error;
            }
        };
        assert!(matches!(full, SendError::Full { .. }), "{full}");
        let error = pending.wait().unwrap_err();
        let CallError::Lost { reason, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(reason.name(), "not_reading");
        expect_client_closed(&client, "not_reading");
    });
}

#[test]
fn a_server_that_falls_silent_is_left_after_the_silence_timeout() {
    on_every_transport(|place| {
        let (_server, mut raw, client) = session(place, |limits| {
            limits.ping_interval = SHORT / 4;
            limits.silence_timeout = SHORT;
        });
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let error = pending.wait().unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Lost {
                    reason: CloseReason::Silent(_),
                    may_have_run: true
                }
            ),
            "{error}"
        );
        assert!(matches!(raw.head(), Some(Head::Request { .. })));
        assert!(matches!(raw.head(), Some(Head::Ping { .. })));
        assert_eq!(raw.until_end(), Some(Head::Abort { code: 8 }));
    });
}

/// With values in its hello that make no sense, or as little as possible.
#[test]
fn a_server_with_extreme_limits_gets_a_session_or_a_reason() {
    on_every_transport(|place| {
        let extreme = Limits {
            frame_len_max: 1024,
            silence_timeout: Duration::ZERO,
            ..Limits::default()
        };
        let mut server = RawServer::bind(&place.transport);
        let client = client_of(&server, |_| {});
        // Sent before there is a connection, for a server that takes it.
        let long = Note {
            number: 1,
            text: "x".repeat(10_000),
        };
        client.send(&long).unwrap();
        client.send(&note(2)).unwrap();
        let mut raw = server.welcome_with(&Hello::new(Chat::NAME, Chat::VERSION, &extreme, 1));
        let mut heads =
            std::iter::from_fn(|| raw.head()).filter(|head| *head != Head::Ping { id: 1 });
        assert_eq!(heads.next(), Some(Head::Event));
        client.wait_connected(PATIENCE).unwrap();
        assert_eq!(client.counters().events_too_long, 1);

        let short = Limits {
            frame_len_max: 10,
            ..Limits::default()
        };
        let mut server = RawServer::bind(&place.transport.at(other_address(place)));
        let client = client_of(&server, |_| {});
        let _raw = server.welcome_with(&Hello::new(Chat::NAME, Chat::VERSION, &short, 1));
        expect_client_closed(&client, "malformed");
        let error = client.call(&Ask::LetGo, PATIENCE).unwrap_err();
        assert!(
            matches!(
                error,
                CallError::NotConnected(NotConnected::Waiting(_) | NotConnected::Connecting)
            ),
            "{error}"
        );
    });
}

/// A second address of the place's transport.
fn other_address(place: &Place) -> String {
    let address = place.transport.address();
    match place.transport.backend().bind(address) {
        // One that the system chooses.
        Ok(_) => address.to_owned(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            format!("{address}2")
        }
    }
}
