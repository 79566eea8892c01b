//! Waiting for room: who says more than the other side takes is held up, and loses nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use support::raw::{Raw, framed};
use support::sleeper::Sleeper;
use support::*;
use wayside::internals::Head;
use wayside::{
    CallError, Client, ClientState, Failure, Handler, Limits, Peer, PushError, ReplyError,
    Responder, SendError,
};

/// An outbox that is soon full, and nobody who is closed because a test takes its time.
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

/// Long enough to wait in vain.
const SHORT: Duration = Duration::from_millis(100);

/// More bytes than any link holds, in messages of [`LEN`].
const COUNT: u64 = 500;
const LEN: usize = 30_000;

/// Sends until there is no room left, and says how many were taken.
fn fill(client: &Client<Chat>) -> u64 {
    let mut taken = 0;
    while client.send(&long_note(taken, LEN)).is_ok() {
        taken += 1;
    }
    taken
}

fn text(number: u64) -> String {
    format!("{number:08}{}", "x".repeat(LEN))
}

#[test]
fn events_in_step_with_the_server_all_arrive_in_order() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let builder = serving.builder().limits(narrow());
        let client = builder.connect(PATIENCE).unwrap();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        let taken = fill(&client);
        let full = client.counters().events_full;
        thread::scope(|scope| {
            let (about_to, is_about_to) = mpsc::channel();
            let client = &client;
            scope.spawn(move || {
                about_to.send(()).unwrap();
                for number in taken..COUNT.max(taken) {
                    let note = long_note(number, LEN);
                    client.send_within(&note, PATIENCE).unwrap();
                }
            });
            is_about_to.recv().unwrap();
            serving.recorder.unblock();
        });
        block.wait().unwrap();
        client.flush(PATIENCE).unwrap();
        let notes = serving.recorder.take_events();
        let numbers = notes.into_iter().map(|note| note.number);
        assert!(numbers.eq(0..COUNT.max(taken)));
        assert_eq!(client.counters().events_full, full);
        assert_eq!(client.counters().opened, 1);
    });
}

#[test]
fn without_a_server_there_is_room_once_there_is_one() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let builder = serving.builder().limits(Limits {
            reconnect_delay_max: Duration::from_millis(50),
            ..narrow()
        });
        let client = builder.connect(PATIENCE).unwrap();
        let transport = serving.transport.clone();
        assert!(serving.server.shutdown(PATIENCE));
        eventually("it is noticed", || {
            matches!(client.state(), ClientState::Waiting { .. })
        });
        let taken = fill(&client);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.send_within(&long_note(taken, LEN), PATIENCE));
            let again = serve_again(&transport, &Limits::default(), &serving.recorder);
            waiting.join().unwrap().unwrap();
            client.flush(PATIENCE).unwrap();
            drop(again);
        });
        let notes = serving.recorder.take_events();
        assert!(notes.into_iter().map(|note| note.number).eq(0..=taken));
    });
}

#[test]
fn waiting_for_room_ends_with_the_time_and_with_the_client() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let builder = serving.builder().limits(narrow());
        let client = builder.connect(PATIENCE).unwrap();
        let _block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        fill(&client);
        let note = long_note(0, LEN);
        // The link itself may have had room for a little more.
        let mut attempts = (0..COUNT).map(|_| client.send_within(&note, SHORT));
        let error = attempts.find_map(Result::err).unwrap();
        assert!(matches!(error, SendError::Full { .. }), "{error}");
        let many = vec![note.clone(); usize::try_from(COUNT).unwrap()];
        let error = client.send_all(&many, SHORT).unwrap_err().error;
        assert!(matches!(error, SendError::Full { .. }), "{error}");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.send_within(&note, 10 * PATIENCE));
            let many = scope.spawn(|| client.send_all(&many, 10 * PATIENCE));
            client.begin_close(Duration::ZERO);
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error, SendError::Closed), "{error}");
            let error = many.join().unwrap().unwrap_err().error;
            assert!(matches!(error, SendError::Closed), "{error}");
        });
        serving.recorder.unblock();
    });
}

#[test]
fn pushes_in_step_with_the_client_all_arrive_in_order() {
    in_every_mode(|place| {
        let serving = place.serve(narrow());
        let mut sleeper = Sleeper::connect(&serving.transport, narrow());
        let peer = serving.recorder.connected();
        let mut taken = 0;
        while peer.push(&text(taken)).is_ok() {
            taken += 1;
        }
        thread::scope(|scope| {
            let (about_to, is_about_to) = mpsc::channel();
            scope.spawn(move || {
                about_to.send(()).unwrap();
                for number in taken..COUNT.max(taken) {
                    peer.push_within(&text(number), PATIENCE).unwrap();
                }
            });
            is_about_to.recv().unwrap();
            let mut next = 0;
            sleeper.drive_until("everything has arrived", |client| {
                while let Some(push) = client.next_push(Duration::ZERO) {
                    assert_eq!(push, text(next));
                    next += 1;
                }
                next == COUNT.max(taken)
            });
        });
        assert_eq!(serving.server.counters().pushes_full, 1);
    });
}

#[test]
fn replies_in_step_with_the_client_all_arrive() {
    in_every_mode(|place| {
        let serving = place.serve(narrow());
        let client = serving.client();
        let calls: Vec<_> = (0..COUNT)
            .map(|_| client.start(&Ask::Hold, PATIENCE).unwrap())
            .collect();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..COUNT / 4 {
                        let held = serving.recorder.held();
                        held.reply_within(&text(0), PATIENCE).unwrap();
                    }
                });
            }
            for call in calls {
                assert_eq!(call.wait().unwrap(), text(0));
            }
        });
        assert_eq!(client.counters().opened, 1);
    });
}

#[test]
fn a_reply_without_room_fails_its_own_call_and_no_more() {
    in_every_mode(|place| {
        if place.writes_behind() {
            // Then waiting may help, and replies that had no room stand among those that had some.
            return;
        }
        let serving = place.serve(narrow());
        let mut sleeper = Sleeper::connect(&serving.transport, narrow());
        let client = sleeper.embedded.client();
        let calls: Vec<_> = (0..COUNT)
            .map(|_| client.start(&Ask::Hold, 10 * PATIENCE).unwrap())
            .collect();
        let mut held = Vec::new();
        sleeper.drive_until("all are there", |_| {
            let more = serving.server.counters().requests - u64::try_from(held.len()).unwrap();
            held.extend((0..more).map(|_| serving.recorder.held()));
            held.len() == calls.len()
        });
        // What has become of each, in the order they were asked.
        let mut fates = Vec::new();
        let mut held = held.into_iter();
        // Until nothing gets through, also not to who waits: the client does not read.
        while !matches!(
            fates[..],
            [.., Err(Failure::OutboxFull), Err(Failure::OutboxFull)]
        ) {
            let waits = matches!(fates.last(), Some(Err(_)));
            let next = held.next().expect("more than any link holds");
            let replied = match waits {
                true => next.reply_within(&text(0), SHORT),
                false => next.reply(&text(0)),
            };
            fates.push(match replied {
                Ok(()) => Ok(text(0)),
                Err(ReplyError::Full { .. }) => Err(Failure::OutboxFull),
                Err(other) => panic!("{other}"),
            });
        }
        // There is room to say so for all of them.
        fates.extend(held.map(|_| Err(Failure::Unanswered)));
        sleeper.drive_until("all have ended", |_| {
            calls.iter().all(wayside::Pending::is_finished)
        });
        for (call, fate) in calls.into_iter().zip(fates) {
            let end = call.wait().map_err(|error| match error {
                CallError::Failed(failure) => failure,
                other => panic!("{other}"),
            });
            assert_eq!(end, fate);
        }
        assert!(CallError::Failed(Failure::OutboxFull).may_have_run());
        assert_eq!(client.counters().opened, 1);
        assert_eq!(client.counters().closed.total(), 0);
    });
}

#[test]
fn waiting_for_room_ends_with_the_peer() {
    on_every_transport(|place| {
        let serving = place.serve(narrow());
        let sleeper = Sleeper::connect(&serving.transport, narrow());
        let peer = serving.recorder.connected();
        while peer.push(&text(0)).is_ok() {}
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                // Its last turn may make room once more.
                loop {
                    if let Err(error) = peer.push_within(&text(0), 10 * PATIENCE) {
                        break error;
                    }
                }
            });
            drop(sleeper);
            let error = waiting.join().unwrap();
            assert!(matches!(error, PushError::Gone(_)), "{error}");
        });
    });
}

#[test]
fn waiting_for_room_ends_with_the_call() {
    on_every_transport(|place| {
        // Where more waits than any link holds, the server reads on still.
        let limits = Limits {
            outbox_len_max: 64 << 20,
            stall_timeout: 2 * PATIENCE,
            silence_timeout: 2 * PATIENCE,
            ..Limits::default()
        };
        let serving = place.serve(limits);
        let mut raw = Raw::greeted(&serving.transport);
        let timeout_ms = 0;
        raw.say(&framed(Head::Request { id: 1, timeout_ms }, &Ask::Hold));
        let held = serving.recorder.held();
        let peer = serving.recorder.connected();
        for _ in 0..COUNT {
            peer.push(&text(0)).unwrap();
        }
        thread::scope(|scope| {
            let (about_to, is_about_to) = mpsc::channel();
            let waiting = scope.spawn(move || {
                about_to.send(()).unwrap();
                held.reply_within(&text(0), 10 * PATIENCE)
            });
            is_about_to.recv().unwrap();
            raw.say(&framed(Head::Cancel { id: 1 }, &()));
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error, ReplyError::Cancelled), "{error}");
        });
    });
}

/// Pushes until there is no room, although it could not get any.
struct Impatient(mpsc::Sender<PushError>);

impl Handler<Chat> for Impatient {
    fn event(&mut self, peer: &Peer<Chat>, _: Note) {
        let error = loop {
            if let Err(error) = peer.push_within(&text(0), 10 * PATIENCE) {
                break error;
            }
        };
        self.0.send(error).unwrap();
    }

    fn request(&mut self, _: &Peer<Chat>, _: Ask, _: Responder<Chat>) {}
}

#[test]
fn a_handler_is_not_held_up() {
    on_every_transport(|place| {
        let (full, is_full) = mpsc::channel();
        let (_server, transport) = place.serve_with(narrow(), Impatient(full));
        let mut sleeper = Sleeper::connect(&transport, narrow());
        sleeper.embedded.client().send(&note(0)).unwrap();
        let mut error = None;
        sleeper.drive_until("it has left", |client| client.counters().events == 1);
        eventually("it is full", || {
            error = is_full.try_recv().ok();
            error.is_some()
        });
        assert!(matches!(error, Some(PushError::Full { .. })), "{error:?}");
    });
}
