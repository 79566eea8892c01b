//! Events: in order, each once, and every one accounted for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use support::*;
use wayside::{CallError, Client, ClientCounters, ClientState, CloseError, Limits, SendError};

/// The number of a thread's event.
fn number(thread: u64, event: u64) -> u64 {
    thread << 32 | event
}

/// Fails unless the numbers of each thread are in order, none twice.
fn assert_in_order(notes: &[Note]) {
    let mut last = std::collections::BTreeMap::new();
    for note in notes {
        let (thread, event) = (note.number >> 32, note.number & 0xFFFF_FFFF);
        let before = last.insert(thread, event);
        assert!(
            before.is_none_or(|before| before < event),
            "thread {thread}: {event} behind {before:?}"
        );
    }
}

/// Every event that a closed client took is one of these.
fn assert_balanced(counters: &ClientCounters) {
    let accounted = counters.events_acknowledged
        + counters.events_in_doubt
        + counters.events_too_long
        + counters.events_unsent;
    assert_eq!(counters.events, accounted, "{counters:?}");
}

/// A client whose outbox a test can fill.
fn narrow() -> Limits {
    Limits {
        frame_len_max: 64 * 1024,
        outbox_len_max: 200 * 1024,
        ..Limits::default()
    }
}

/// A client with more to send than any link holds, however it grows meanwhile.
fn overflowing() -> Limits {
    Limits {
        outbox_len_max: 32 << 20,
        ..narrow()
    }
}

/// Has some threads send so many events each by one client; all of them arrive, once and in each
/// thread's order.
fn all_arrive(place: &Place, threads: u64, events: u64, send: impl Fn(&Client<Chat>, u64) + Sync) {
    let serving = place.serve(Limits::default());
    let client = serving
        .builder()
        .limits(narrow())
        .connect(PATIENCE)
        .unwrap();
    thread::scope(|scope| {
        for thread in 0..threads {
            let (client, send) = (&client, &send);
            scope.spawn(move || send(client, thread));
        }
    });
    client.flush(PATIENCE).unwrap();
    let notes = serving.recorder.take_events();
    assert_eq!(u64::try_from(notes.len()).unwrap(), threads * events);
    assert_in_order(&notes);
    assert_eq!(client.counters().events_acknowledged, threads * events);
    assert_eq!(client.counters().opened, 1);
}

#[test]
fn events_of_many_threads_arrive_once_and_in_each_threads_order() {
    in_every_mode(|place| {
        all_arrive(place, 4, 5000, |client, thread| {
            for event in 0..5000 {
                // Most are short, some as long as many buffers are.
                let len = match scramble(event) % 100 {
                    0 => 20_000,
                    len => usize::try_from(len).unwrap(),
                };
                send_surely(client, &long_note(number(thread, event), len));
            }
        });
    });
}

#[test]
fn many_at_once_arrive_once_and_in_order_beside_those_of_others() {
    in_every_mode(|place| {
        all_arrive(place, 3, 5000, |client, thread| {
            let event = |event| long_note(number(thread, event), 100);
            let events: Vec<_> = (0..5000).map(event).collect();
            // None, one, a few, and more than the outbox holds.
            let mut rest = events.as_slice();
            for count in [0, 1, 10, 2000] {
                let (some, others) = rest.split_at(count);
                client.send_all(some, PATIENCE).unwrap();
                rest = others;
            }
            for event in &rest[..100] {
                client.send_within(event, PATIENCE).unwrap();
            }
            client.send_all(&rest[100..], PATIENCE).unwrap();
            assert_eq!(client.counters().events_full, 0);
        });
    });
}

#[test]
fn many_wait_for_room_one_by_one_where_there_is_little() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        // Room for the longest, and hardly for another one.
        let limits = Limits {
            outbox_len_max: 64 * 1024 + 8,
            ..narrow()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let events: Vec<_> = (0..200)
            .map(|number| {
                long_note(
                    number,
                    [10, 65_000, 30_000][usize::try_from(number % 3).unwrap()],
                )
            })
            .collect();
        client.send_all(&events, PATIENCE).unwrap();
        client.flush(PATIENCE).unwrap();
        assert!(serving.recorder.take_events() == events);
        assert_eq!(client.counters().events_full, 0);
    });
}

#[test]
fn of_many_those_before_the_one_that_is_refused_are_taken() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(narrow())
            .connect(PATIENCE)
            .unwrap();
        let mut events: Vec<_> = (0..1000).map(|number| long_note(number, 500)).collect();
        events[700].text = "x".repeat(100_000);
        let error = client.send_all(&events, PATIENCE).unwrap_err();
        assert_eq!(error.sent, 700);
        assert!(
            matches!(error.error, SendError::TooLong { max: 65536 }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.ends_with("the 700 events before it were taken"),
            "{text}"
        );
        client.send_all(&events[701..], PATIENCE).unwrap();
        client.flush(PATIENCE).unwrap();
        let notes = serving.recorder.take_events().into_iter();
        assert!(notes.map(|note| note.number).eq((0..700).chain(701..1000)));
        assert_eq!(client.counters().events, 999);
        assert_eq!(client.counters().events_refused, 1);

        // With no time to wait, as many as there is room for.
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        let long = vec![long_note(1, 60_000); 500];
        let error = client.send_all(&long, Duration::ZERO).unwrap_err();
        assert!(matches!(error.error, SendError::Full { .. }), "{error}");
        assert!((1..500).contains(&error.sent), "{error}");
        serving.recorder.unblock();
        block.wait().unwrap();
        client.flush(PATIENCE).unwrap();
        assert_eq!(serving.recorder.take_events().len(), error.sent);
        client.close(PATIENCE).unwrap();
        let closed = client.send_all(&events, PATIENCE).unwrap_err();
        assert_eq!((closed.sent, closed.error), (0, SendError::Closed));
        client.send_all(&[], PATIENCE).unwrap();
    });
}

#[test]
fn a_flush_returns_once_everything_before_it_is_handled() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        for round in 1..=50 {
            for event in 0..10 {
                client.send(&note(event)).unwrap();
            }
            client.send_urgent(&note(10)).unwrap();
            client.flush(PATIENCE).unwrap();
            assert_eq!(serving.recorder.take_events().len(), 11);
            assert_eq!(client.counters().events_acknowledged, 11 * round);
        }
    });
}

#[test]
fn flushes_and_a_stream_of_events_get_along() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(narrow())
            .connect(PATIENCE)
            .unwrap();
        let stop = Stop::default();
        thread::scope(|scope| {
            let _stop = stop.on_drop();
            scope.spawn(|| {
                let mut event = 0;
                while !stop.is_set() {
                    send_surely(&client, &note(event));
                    event += 1;
                }
            });
            for _ in 0..10 {
                client.flush(PATIENCE).unwrap();
            }
        });
        client.flush(PATIENCE).unwrap();
        let counters = client.counters();
        assert_eq!(counters.events, counters.events_acknowledged);
        assert_eq!(counters.opened, 1);
    });
}

#[test]
fn a_flush_that_runs_out_of_time_says_so() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        client.send(&note(1)).unwrap();
        client.flush(Duration::from_millis(20)).unwrap_err();
        assert_eq!(client.counters().events_acknowledged, 0);
        serving.recorder.unblock();
        block.wait().unwrap();
        client.flush(PATIENCE).unwrap();
        assert_eq!(client.counters().events_acknowledged, 1);
    });
}

#[test]
fn a_full_outbox_hands_the_event_back() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(narrow())
            .connect(PATIENCE)
            .unwrap();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        let mut taken = 0;
        let error = loop {
            match client.send(&long_note(taken, 10_000)) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        let SendError::Full { len, max } = error else {
            panic!("{error}");
        };
        assert_eq!(max, narrow().outbox_len_max);
        assert!(len <= max && len + 11_000 > max, "{len} of {max}");
        assert_eq!(client.counters().events_full, 1);
        serving.recorder.unblock();
        block.wait().unwrap();
        client.flush(PATIENCE).unwrap();
        let numbers = serving
            .recorder
            .take_events()
            .into_iter()
            .map(|note| note.number);
        assert!(
            numbers.eq(0..taken),
            "what was taken arrives, what was handed back does not"
        );
    });
}

#[test]
fn a_full_outbox_can_be_flushed() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(narrow())
            .connect(PATIENCE)
            .unwrap();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        let mut taken = 0;
        while client.send(&long_note(taken, 1000)).is_ok() {
            taken += 1;
        }
        thread::scope(|scope| {
            let flush = scope.spawn(|| client.flush(PATIENCE));
            // There is an end to this room, too.
            eventually("the room is used up", || {
                let flushed = client.flush(Duration::ZERO);
                matches!(flushed, Err(CallError::NotSent(SendError::Full { .. })))
            });
            serving.recorder.unblock();
            // It may have come too late for its room, but never too early for its answer.
            if flush.join().unwrap().is_ok() {
                assert_eq!(client.counters().events_acknowledged, taken);
            }
        });
        block.wait().unwrap();
        // The answer may have come before the room.
        eventually("there is room again", || client.flush(PATIENCE).is_ok());
        assert_eq!(client.counters().events_acknowledged, taken);
    });
}

#[test]
fn urgent_events_overtake_all_others() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(overflowing())
            .connect(PATIENCE)
            .unwrap();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        let mut bulk = 0;
        while client.send(&long_note(bulk, 60_000)).is_ok() {
            bulk += 1;
        }
        // Behind a lane that is as full as it gets.
        let urgent = [number(1, 0), number(1, 1)];
        for number in urgent {
            client.send_urgent(&note(number)).unwrap();
        }
        serving.recorder.unblock();
        block.wait().unwrap();
        client.flush(PATIENCE).unwrap();
        let notes = serving.recorder.take_events();
        assert_in_order(&notes);
        let position = |number| notes.iter().position(|note| note.number == number).unwrap();
        // At most the one that had been begun was in between.
        let overtaken = position(bulk - 1) - position(urgent[1]);
        assert!(overtaken >= 2, "only {overtaken} of {bulk} were overtaken");
        assert_eq!(u64::try_from(notes.len()).unwrap(), bulk + 2);
    });
}

#[test]
fn events_before_there_is_a_server_arrive_once_there_is() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let (transport, builder) = (serving.transport.clone(), serving.builder());
        drop(serving);
        let client = builder.limits(hasty()).start().unwrap();
        for event in 0..1000 {
            client.send(&note(event)).unwrap();
        }
        let serving = serve_again(&transport, &hasty(), &Recorder::default());
        client.wait_connected(PATIENCE).unwrap();
        client.flush(PATIENCE).unwrap();
        let numbers = serving
            .recorder
            .take_events()
            .into_iter()
            .map(|note| note.number);
        assert!(numbers.eq(0..1000));
    });
}

#[test]
fn events_while_the_server_is_away_arrive_once() {
    in_every_mode(|place| {
        let recorder = Recorder::default();
        let mut serving = place.serve(hasty());
        let client = serving.builder().limits(hasty()).connect(PATIENCE).unwrap();
        for round in 0..5 {
            let transport = serving.transport.clone();
            drop(serving);
            eventually("the client notices", || {
                !matches!(client.state(), ClientState::Connected { .. })
            });
            for event in 0..100 {
                client.send(&note(round * 100 + event)).unwrap();
            }
            serving = serve_again(&transport, &hasty(), &recorder);
            client.wait_connected(PATIENCE).unwrap();
        }
        client.flush(PATIENCE).unwrap();
        let numbers = recorder.take_events().into_iter().map(|note| note.number);
        assert!(numbers.eq(0..500));
        client.close(PATIENCE).unwrap();
        assert_eq!(client.counters().events_in_doubt, 0);
        assert_balanced(&client.counters());
    });
}

#[test]
fn an_event_that_is_too_long_is_handed_back() {
    in_every_mode(|place| {
        let limits = Limits {
            frame_len_max: 4096,
            ..Limits::default()
        };
        let serving = place.serve(limits);
        let client = serving.client();
        let error = client.send(&long_note(0, 4096)).unwrap_err();
        assert_eq!(error, SendError::TooLong { max: 4096 });
        client.send(&long_note(1, 4000)).unwrap();
        client.close(PATIENCE).unwrap();
        assert_eq!(serving.recorder.event().number, 1);
        assert_eq!(client.send(&note(2)), Err(SendError::Closed));
        let counters = client.counters();
        assert_eq!((counters.events, counters.events_refused), (1, 2));
        assert_eq!(counters.events_full, 0);
        assert_balanced(&counters);
    });
}

#[test]
fn events_that_the_server_found_later_takes_no_more_are_dropped_and_counted() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let (transport, builder) = (serving.transport.clone(), serving.builder());
        drop(serving);
        let client = builder.limits(hasty()).start().unwrap();
        for event in 0..10 {
            let len = if event % 2 == 0 { 100 } else { 5000 };
            client.send(&long_note(event, len)).unwrap();
        }
        client.send_urgent(&long_note(10, 5000)).unwrap();
        let limits = Limits {
            frame_len_max: 4096,
            ..hasty()
        };
        let serving = serve_again(&transport, &limits, &Recorder::default());
        client.wait_connected(PATIENCE).unwrap();
        client.close(PATIENCE).unwrap();
        let numbers = serving
            .recorder
            .take_events()
            .into_iter()
            .map(|note| note.number);
        assert!(numbers.eq([0, 2, 4, 6, 8]));
        assert_eq!(client.counters().events_too_long, 6);
        assert_balanced(&client.counters());
    });
}

#[test]
fn events_on_their_way_when_the_connection_is_cut_are_in_doubt() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let limits = Limits {
            outbox_len_max: 256 * 1024,
            frame_len_max: 64 * 1024,
            ..Limits::default()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let peer = serving.recorder.connected();
        for event in 0..10 {
            client.send(&note(event)).unwrap();
        }
        // What was sent before has left then, and is not acknowledged.
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        while client.send(&long_note(10, 60_000)).is_ok() {}
        peer.close();
        serving.recorder.unblock();
        block.wait().unwrap_err();
        client.wait_connected(PATIENCE).unwrap();
        client.close(PATIENCE).unwrap();
        let counters = client.counters();
        assert!(counters.events_in_doubt >= 10, "{counters:?}");
        assert_balanced(&counters);
    });
}

#[test]
fn what_a_closed_client_leaves_behind_is_counted() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving
            .builder()
            .limits(overflowing())
            .connect(PATIENCE)
            .unwrap();
        let block = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        // A short one fits into any transport, the last of the long ones into none.
        client.send(&note(0)).unwrap();
        while client.send(&long_note(0, 60_000)).is_ok() {}
        let error = client.close(Duration::from_millis(500)).unwrap_err();
        let CloseError {
            unsent, in_doubt, ..
        } = error;
        assert!(unsent > 0 && in_doubt > 0, "{error}");
        let counters = client.counters();
        assert_eq!(counters.events, unsent + in_doubt);
        assert_eq!(
            (counters.events_unsent, counters.events_in_doubt),
            (unsent, in_doubt)
        );
        assert_eq!(client.send(&note(1)), Err(SendError::Closed));
        serving.recorder.unblock();
        block.wait().unwrap_err();
    });
}

/// Connections are cut again and again under threads that send. Afterwards every event is
/// accounted for, none was handled twice, and those that were lost had been in doubt.
#[test]
fn the_counters_balance_whatever_happens_to_the_connections() {
    in_every_mode(|place| {
        const THREADS: u64 = 3;
        let serving = place.serve(hasty());
        let limits = Limits {
            outbox_len_max: 256 * 1024,
            frame_len_max: 64 * 1024,
            ..hasty()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let stop = Stop::default();
        thread::scope(|scope| {
            let _stop = stop.on_drop();
            for thread in 0..THREADS {
                let (client, stop) = (&client, &stop);
                scope.spawn(move || {
                    let mut event = 0;
                    while !stop.is_set() {
                        let note = long_note(number(thread, event), 200);
                        let sent = if scramble(event) % 8 == 0 {
                            client.send_urgent(&note)
                        } else {
                            client.send(&note)
                        };
                        match sent {
                            Ok(()) => event += 1,
                            Err(SendError::Full { .. }) => thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            for cut in 0..15 {
                eventually("the client is back and sends", || {
                    client.counters().opened > cut
                        && serving.server.counters().events > 500 * (cut + 1)
                        && !serving.server.peers().is_empty()
                });
                for peer in serving.server.peers() {
                    peer.close();
                }
            }
        });
        // What the last cut has put in doubt may be so only now: either result is right.
        drop(client.close(PATIENCE));
        let counters = client.counters();
        assert_balanced(&counters);
        assert_eq!(counters.events_unsent, 0);
        let handled = serving.recorder.take_events();
        let distinct: BTreeSet<u64> = handled.iter().map(|note| note.number).collect();
        assert_eq!(distinct.len(), handled.len(), "no event is handled twice");
        let handled = u64::try_from(handled.len()).unwrap();
        let (sure, doubtful) = (counters.events_acknowledged, counters.events_in_doubt);
        assert!(
            sure <= handled && handled <= sure + doubtful,
            "{handled}, {counters:?}"
        );
    });
}
