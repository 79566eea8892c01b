//! Calls: each ends once, in the way that is true, whatever happens to the others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::*;
use wayside::{
    CallError, Client, CloseReason, Failure, Handler, Limits, Never, Peer, Pending, Protocol,
    ReplyError, Responder, SendError,
};

/// Long enough to be sent, short enough to wait for.
const BRIEF: Duration = Duration::from_millis(50);

/// Room for thousands of calls.
fn roomy() -> Limits {
    Limits {
        calls_max: 10_000,
        ..Limits::default()
    }
}

/// Nothing but what the test does wakes anybody: a lost wake-up stays lost.
fn quiet() -> Limits {
    Limits {
        ping_interval: 10 * PATIENCE,
        silence_timeout: 30 * PATIENCE,
        stall_timeout: 30 * PATIENCE,
        frame_timeout: 30 * PATIENCE,
        ..roomy()
    }
}

/// Hands every request to the test, with the duty to answer it.
struct Collector(mpsc::Sender<(String, Responder<Chat>)>);

impl Handler<Chat> for Collector {
    fn event(&mut self, _: &Peer<Chat>, _: Note) {}

    fn request(&mut self, _: &Peer<Chat>, request: Ask, responder: Responder<Chat>) {
        let Ask::Echo(text) = request else {
            panic!("only echoes are asked of this handler");
        };
        self.0.send((text, responder)).unwrap();
    }
}

#[test]
fn thousands_of_calls_from_many_threads_are_answered_in_any_order() {
    in_every_mode(|place| {
        const THREADS: usize = 4;
        const CALLS: usize = 750;
        let (collector, collected) = mpsc::channel();
        let (server, transport) = place.serve_with(roomy(), Collector(collector));
        let builder = Client::<Chat>::builder()
            .transport(transport)
            .limits(roomy());
        let client = builder.connect(PATIENCE).unwrap();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let client = &client;
                scope.spawn(move || {
                    let text = |call| format!("{thread}/{call}");
                    let begin = |call| client.start(&Ask::Echo(text(call)), PATIENCE).unwrap();
                    let pending: Vec<Pending<Chat>> = (0..CALLS).map(begin).collect();
                    for (call, pending) in pending.into_iter().enumerate() {
                        assert_eq!(pending.wait().unwrap(), text(call));
                    }
                });
            }
            // All are in flight before the first is answered.
            let receive = |_| collected.recv_timeout(PATIENCE).unwrap();
            let mut requests: Vec<_> = (0..THREADS * CALLS).map(receive).collect();
            requests
                .sort_by_key(|(text, _)| text.bytes().fold(0, |n, b| scramble(n ^ u64::from(b))));
            let half = requests.split_off(requests.len() / 2);
            for requests in [requests, half] {
                scope.spawn(|| {
                    for (text, responder) in requests {
                        responder.reply(&text).unwrap();
                    }
                });
            }
        });
        let all = u64::try_from(THREADS * CALLS).unwrap();
        let counters = client.counters();
        assert_eq!((counters.calls, counters.replies), (all, all));
        assert_eq!((counters.calls_failed, counters.replies_unwanted), (0, 0));
        let counters = server.counters();
        assert_eq!((counters.requests, counters.replies), (all, all));
    });
}

#[test]
fn a_call_without_an_answer_in_time_is_over_on_both_sides() {
    in_every_mode(|place| {
        // One open call on either side: what stays behind is in the way of the next.
        let limits = Limits {
            calls_max: 1,
            ..Limits::default()
        };
        let serving = place.serve(limits.clone());
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        for round in 1..=5 {
            let error = client.call(&Ask::Hold, BRIEF).unwrap_err();
            assert!(matches!(error, CallError::TimedOut), "{error}");
            assert!(error.may_have_run());
            let responder = serving.recorder.held();
            eventually("the server hears that nobody waits", || {
                !responder.is_wanted()
            });
            assert_eq!(serving.server.counters().cancelled, round);
            let error = responder.reply(&"late".to_owned()).unwrap_err();
            assert!(matches!(error, ReplyError::Cancelled), "{error}");
            assert_eq!(serving.server.counters().replies_unwanted, round);
            assert_eq!(echo(&client, "next"), "next");
            assert_eq!(client.counters().calls_failed, round);
        }
    });
}

#[test]
fn a_reply_on_its_way_when_the_time_is_over_is_counted_as_unwanted() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        // The request reaches the server before its withdrawal does, and so is answered.
        let error = client
            .call(&Ask::Echo("late".to_owned()), BRIEF)
            .unwrap_err();
        assert!(matches!(error, CallError::TimedOut), "{error}");
        serving.recorder.unblock();
        block.wait().unwrap();
        // Behind the late reply on the same link.
        echo(&client, "next");
        assert_eq!(client.counters().replies_unwanted, 1);
        assert_eq!(serving.server.counters().cancelled, 0);
    });
}

#[test]
fn a_future_is_over_at_its_deadline() {
    in_every_mode(|place| {
        let serving = place.serve(quiet());
        let client = serving.builder().limits(quiet()).connect(PATIENCE).unwrap();
        let timeouts = [3, 1, 2].map(|times| times * BRIEF);
        let begin = |timeout| client.start(&Ask::Hold, timeout).unwrap();
        for ended in block_on(join_all(timeouts.map(begin))) {
            let error = ended.unwrap_err();
            assert!(matches!(error, CallError::TimedOut), "{error}");
        }
    });
}

#[test]
fn a_dropped_call_is_withdrawn() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let responder = serving.recorder.held();
        assert!(responder.is_wanted());
        drop(pending);
        eventually("the server hears of it", || !responder.is_wanted());
        assert_eq!(serving.server.counters().cancelled, 1);
        assert_eq!(client.counters().calls_failed, 1);
    });
}

#[test]
fn a_call_dropped_after_its_answer_counts_as_answered() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let pending = client
            .start(&Ask::Echo("one".to_owned()), PATIENCE)
            .unwrap();
        // Answered in order, so the first answer is here once the second is.
        echo(&client, "two");
        drop(pending);
        let counters = client.counters();
        assert_eq!((counters.replies, counters.calls_failed), (2, 0));
        assert_eq!(serving.server.counters().cancelled, 0);
    });
}

#[test]
fn a_responder_answers_from_another_thread() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let recorder = serving.recorder.clone();
        let answering = thread::spawn(move || recorder.held().reply(&"from afar".to_owned()));
        assert_eq!(client.call(&Ask::Hold, PATIENCE).unwrap(), "from afar");
        answering.join().unwrap().unwrap();
    });
}

#[test]
fn a_responder_that_is_let_go_fails_the_call() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let error = client.call(&Ask::LetGo, PATIENCE).unwrap_err();
        assert!(
            matches!(error, CallError::Failed(Failure::Unanswered)),
            "{error}"
        );
        assert!(error.may_have_run());
        assert_eq!(serving.server.counters().failed, 1);
        assert_eq!(echo(&client, "next"), "next");
    });
}

#[test]
fn messages_that_are_too_long_concern_nothing_else() {
    in_every_mode(|place| {
        let limits = Limits {
            frame_len_max: 4096,
            ..Limits::default()
        };
        let serving = place.serve(limits);
        let client = serving.client();
        let error = client.call(&Ask::Long(5000), PATIENCE).unwrap_err();
        assert!(
            matches!(error, CallError::Failed(Failure::ReplyUnencodable)),
            "{error}"
        );
        // The limit of the server holds for the client as well.
        let error = client
            .call(&Ask::Echo("x".repeat(5000)), PATIENCE)
            .unwrap_err();
        let too_long = CallError::NotSent(SendError::TooLong { max: 4096 });
        assert_eq!(error.to_string(), too_long.to_string());
        assert!(!error.may_have_run());
        assert_eq!(echo(&client, "next"), "next");
        let counters = client.counters();
        assert_eq!((counters.calls, counters.calls_refused), (2, 1));
        assert_eq!(counters.opened, 1);
    });
}

#[test]
fn a_client_keeps_no_more_calls_open_than_its_limit() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let limits = Limits {
            calls_max: 2,
            ..Limits::default()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let first = client.start(&Ask::Hold, PATIENCE).unwrap();
        let _second = client.start(&Ask::Hold, PATIENCE).unwrap();
        let error = client.start(&Ask::Hold, PATIENCE).unwrap_err();
        assert!(
            matches!(error, CallError::TooManyCalls { max: 2 }),
            "{error}"
        );
        assert!(!error.may_have_run());
        serving.recorder.held().reply(&"one".to_owned()).unwrap();
        assert_eq!(first.wait().unwrap(), "one");
        assert_eq!(echo(&client, "next"), "next");
    });
}

#[test]
fn a_server_takes_no_more_calls_of_a_client_than_its_limit() {
    in_every_mode(|place| {
        let limits = Limits {
            calls_max: 2,
            ..Limits::default()
        };
        let serving = place.serve(limits);
        let (client, other) = (serving.client(), serving.client());
        let first = client.start(&Ask::Hold, PATIENCE).unwrap();
        let _second = client.start(&Ask::Hold, PATIENCE).unwrap();
        let error = client.call(&Ask::Hold, PATIENCE).unwrap_err();
        assert!(
            matches!(error, CallError::Failed(Failure::TooManyCalls)),
            "{error}"
        );
        assert!(!error.may_have_run());
        assert_eq!(echo(&other, "another client"), "another client");
        serving.recorder.held().reply(&"one".to_owned()).unwrap();
        assert_eq!(first.wait().unwrap(), "one");
        assert_eq!(echo(&client, "next"), "next");
    });
}

#[test]
fn a_panic_of_the_handler_closes_the_peer_it_was_over_and_no_other() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let (client, other) = (serving.client(), serving.client());
        let error = client.call(&Ask::Panic, PATIENCE).unwrap_err();
        let CallError::Lost { reason, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            matches!(reason, CloseReason::ByPeer("handler_panicked")),
            "{reason}"
        );
        assert!(error.may_have_run());
        let reason = serving.recorder.disconnected();
        assert!(matches!(reason, CloseReason::HandlerPanicked), "{reason}");
        assert_eq!(echo(&other, "still here"), "still here");
        assert_eq!(other.counters().opened, 1);
        client.wait_connected(PATIENCE).unwrap();
        assert_eq!(echo(&client, "again"), "again");
        assert_eq!(serving.server.counters().handler_panics, 1);
    });
}

#[test]
fn short_calls_go_on_while_another_thread_waits_in_a_long_one() {
    in_every_mode(|place| {
        let serving = place.serve(quiet());
        let client = serving.builder().limits(quiet()).connect(PATIENCE).unwrap();
        for _ in 0..20 {
            thread::scope(|scope| {
                let long = scope.spawn(|| client.call(&Ask::Hold, PATIENCE).unwrap());
                let responder = serving.recorder.held();
                let short = scope.spawn(|| {
                    for call in 0..20 {
                        let text = call.to_string();
                        assert_eq!(echo(&client, &text), text);
                    }
                });
                short.join().unwrap();
                responder.reply(&"at last".to_owned()).unwrap();
                assert_eq!(long.join().unwrap(), "at last");
            });
        }
    });
}

#[test]
fn blocking_callers_and_futures_share_a_client() {
    in_every_mode(|place| {
        let serving = place.serve(roomy());
        let client = serving.builder().limits(roomy()).connect(PATIENCE).unwrap();
        thread::scope(|scope| {
            for thread in 0..3 {
                let client = &client;
                scope.spawn(move || {
                    for call in 0..200 {
                        let text = format!("{thread}/{call}");
                        assert_eq!(echo(client, &text), text);
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..5 {
                    let text = |call: usize| format!("future {round}/{call}");
                    let begin = |call| client.start(&Ask::Echo(text(call)), PATIENCE).unwrap();
                    let replies = block_on(join_all((0..300).map(begin)));
                    for (call, reply) in replies.into_iter().enumerate() {
                        assert_eq!(reply.unwrap(), text(call));
                    }
                }
            });
        });
        let counters = client.counters();
        assert_eq!((counters.calls, counters.replies), (2100, 2100));
    });
}

/// Threads that call, await, give up, send and listen, all at once and then all over again.
///
/// Between two rounds everybody waits for everybody. With nothing else to wake it, a caller whose
/// wake-up is lost keeps all others waiting, until its time is over and its call has failed.
#[test]
fn no_wake_up_is_lost_between_callers() {
    // More of them by hand: `ROUNDS=20000 cargo test --release --test calls`.
    let rounds = std::env::var("ROUNDS").map_or(100, |rounds| rounds.parse().unwrap());
    in_every_mode(|place| {
        const THREADS: u64 = 5;
        let (collector, collected) = mpsc::channel::<(String, Responder<Chat>)>();
        let (server, transport) = place.serve_with(quiet(), Collector(collector));
        let builder = Client::<Chat>::builder()
            .transport(transport)
            .limits(quiet());
        let client = builder.connect(PATIENCE).unwrap();
        let barrier = std::sync::Barrier::new(usize::try_from(THREADS).unwrap());
        let answering = thread::spawn(move || {
            for (number, (text, responder)) in collected.into_iter().enumerate() {
                // Some take a little, some even longer than the background thread naps.
                let long = scramble(u64::try_from(number).unwrap()) % 16;
                if long < 2 {
                    spin_for(Duration::from_micros(400 + long * 6000));
                }
                // Some have been withdrawn.
                drop(responder.reply(&text));
            }
        });
        let act = |thread: u64, round: u64| {
            let text = format!("{thread}/{round}");
            let ask = Ask::Echo(text.clone());
            match scramble(round * THREADS + thread) % 8 {
                0..=2 => assert_eq!(client.call(&ask, PATIENCE).unwrap(), text),
                3 => {
                    let begin = |_| client.start(&ask, PATIENCE).unwrap();
                    for reply in block_on(join_all((0..5).map(begin))) {
                        assert_eq!(reply.unwrap(), text);
                    }
                }
                4 => drop(client.start(&ask, PATIENCE).unwrap()),
                5 => client.flush(PATIENCE).unwrap(),
                6 => {
                    for number in 0..20 {
                        client.send(&note(number)).unwrap();
                    }
                    client.flush(PATIENCE).unwrap();
                }
                _ => {
                    server.broadcast(&text);
                    let push = client.next_push(PATIENCE).unwrap();
                    assert!(push.ends_with(&format!("/{round}")));
                }
            }
        };
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (barrier, act) = (&barrier, &act);
                scope.spawn(move || {
                    for round in 0..rounds {
                        // The others must not wait for ever for one that failed.
                        let result = catch_unwind(AssertUnwindSafe(|| act(thread, round)));
                        barrier.wait();
                        result.unwrap_or_else(|_| panic!("in round {round}"));
                    }
                });
            }
        });
        client.close(PATIENCE).unwrap();
        let counters = client.counters();
        assert_eq!(counters.opened, 1);
        assert_eq!(counters.calls, counters.replies + counters.calls_failed);
        drop(server);
        answering.join().unwrap();
    });
}

/// Events that are packed leave by whoever drives: it must notice them also when it was about to
/// sleep, and nobody waits for them.
#[test]
fn an_event_leaves_whoever_drives() {
    in_every_mode(|place| {
        let serving = place.serve(quiet());
        let client = serving.builder().limits(quiet()).connect(PATIENCE).unwrap();
        let mut sent = 0;
        let mut send_some = || {
            for _ in 0..200 {
                for _ in 0..3 {
                    client.send(&note(sent)).unwrap();
                    sent += 1;
                }
                eventually("all are handled", || {
                    serving.server.counters().events == sent
                });
            }
        };
        // The background thread drives.
        send_some();
        thread::scope(|scope| {
            // A caller drives, and goes back to sleep each time that something has come.
            let long = scope.spawn(|| client.call(&Ask::Hold, PATIENCE).unwrap());
            let responder = serving.recorder.held();
            send_some();
            responder.reply(&"at last".to_owned()).unwrap();
            assert_eq!(long.join().unwrap(), "at last");
        });
        send_some();
    });
}

fn spin_for(time: Duration) {
    let end = std::time::Instant::now() + time;
    while std::time::Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// A waker that uses the client when it is woken, as an executor that runs tasks inline would.
struct Busybody {
    client: Client<Chat>,
    /// Dropped on waking, as a task that is cancelled would.
    other: Mutex<Option<Pending<Chat>>>,
    woken: AtomicBool,
}

impl Wake for Busybody {
    fn wake(self: Arc<Self>) {
        self.client.send(&note(1)).unwrap();
        drop(self.other.lock().unwrap().take());
        self.woken.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_may_use_the_client() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let busybody = || {
            Arc::new(Busybody {
                client: client.clone(),
                other: Mutex::new(Some(client.start(&Ask::Hold, PATIENCE).unwrap())),
                woken: AtomicBool::new(false),
            })
        };
        let endings: [(Ask, Duration); 3] = [
            (Ask::Echo(String::new()), PATIENCE),
            (Ask::Hold, BRIEF),
            (Ask::Panic, PATIENCE),
        ];
        for (ask, timeout) in endings {
            let waker = busybody();
            let mut pending = client.start(&ask, timeout).unwrap();
            let polled = Pin::new(&mut pending)
                .poll(&mut Context::from_waker(&Waker::from(Arc::clone(&waker))));
            if polled.is_pending() {
                eventually("the waker is called", || waker.woken.load(Ordering::SeqCst));
            }
        }
    });
}

/// Messages with a mind of their own.
struct Touchy;

impl Protocol for Touchy {
    const NAME: &'static str = "touchy";
    const VERSION: u32 = 1;
    type Event = Bomb;
    type Request = Bomb;
    type Reply = Bomb;
    type Push = Never;
}

/// Panics while it is encoded or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bomb {
    Dud,
    PanicsInEncoding,
    PanicsInDecoding,
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(*self, Self::PanicsInEncoding, "as the test asked");
        (*self == Self::PanicsInDecoding).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        assert!(!bool::deserialize(deserializer)?, "as the test asked");
        Ok(Self::Dud)
    }
}

/// Answers each request with the next of these.
struct Bomber(Vec<Bomb>);

impl Handler<Touchy> for Bomber {
    fn event(&mut self, _: &Peer<Touchy>, _: Bomb) {}

    fn request(&mut self, _: &Peer<Touchy>, _: Bomb, responder: Responder<Touchy>) {
        let bomb = self.0.remove(0);
        let answering = thread::spawn(move || responder.reply(&bomb));
        // It has panicked, or the client is gone: the client says which.
        drop(answering.join());
    }
}

#[test]
fn what_was_taken_before_a_panic_in_encoding_leaves_without_being_asked() {
    in_every_mode(|place| {
        let (server, transport) = place.serve_with(Limits::default(), Bomber(Vec::new()));
        let builder = Client::<Touchy>::builder().transport(transport);
        // Nothing else wakes anybody up who would write.
        let limits = Limits {
            ping_interval: 2 * PATIENCE,
            silence_timeout: 5 * PATIENCE,
            ..Limits::default()
        };
        let client = builder.limits(limits).connect(PATIENCE).unwrap();
        for round in 1..=10 {
            let events = [Bomb::Dud, Bomb::Dud, Bomb::PanicsInEncoding, Bomb::Dud];
            let result = catch_unwind(AssertUnwindSafe(|| client.send_all(&events, PATIENCE)));
            assert!(result.is_err());
            eventually("they arrive", || server.counters().events == 2 * round);
        }
        client.flush(PATIENCE).unwrap();
        assert_eq!(client.counters().events_acknowledged, 20);
    });
}

#[test]
fn a_panic_in_encoding_or_decoding_costs_one_message_or_one_connection() {
    in_every_mode(|place| {
        let replies = vec![Bomb::PanicsInEncoding, Bomb::PanicsInDecoding, Bomb::Dud];
        let (server, transport) = place.serve_with(Limits::default(), Bomber(replies));
        let builder = Client::<Touchy>::builder().transport(transport);
        // A call that stays behind is in the way of the next.
        let limits = Limits {
            calls_max: 1,
            ..Limits::default()
        };
        let client = builder.limits(limits).connect(PATIENCE).unwrap();
        let call = |bomb: Bomb| {
            client.wait_connected(PATIENCE).unwrap();
            client.call(&bomb, PATIENCE)
        };
        // Ours while it is encoded: it is the caller's own.
        let result = catch_unwind(AssertUnwindSafe(|| call(Bomb::PanicsInEncoding)));
        assert!(result.is_err());
        let result = catch_unwind(AssertUnwindSafe(|| client.send(&Bomb::PanicsInEncoding)));
        assert!(result.is_err());
        // The server's: while it is encoded, then while it is decoded here.
        let error = call(Bomb::Dud).unwrap_err();
        assert!(
            matches!(error, CallError::Failed(Failure::Unanswered)),
            "{error}"
        );
        let error = call(Bomb::Dud).unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Lost {
                    may_have_run: true,
                    ..
                }
            ),
            "{error}"
        );
        // Ours while it is decoded there.
        let error = call(Bomb::PanicsInDecoding).unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Lost {
                    may_have_run: true,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(call(Bomb::Dud).unwrap(), Bomb::Dud);
        assert_eq!(client.counters().opened, 3);
        let closed = server.counters().closed;
        assert_eq!(closed.for_reason("handler_panicked"), 1);
    });
}

#[test]
fn a_dropped_client_ends_the_calls_of_other_threads() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let ended = AtomicU32::new(0);
        let pending: Vec<_> = (0..3)
            .map(|_| client.start(&Ask::Hold, PATIENCE).unwrap())
            .collect();
        let _held = serving.recorder.held();
        drop(client);
        for pending in pending {
            let error = pending.wait().unwrap_err();
            assert!(!matches!(error, CallError::TimedOut), "{error}");
            ended.fetch_add(1, Ordering::SeqCst);
        }
        assert_eq!(ended.into_inner(), 3);
    });
}
