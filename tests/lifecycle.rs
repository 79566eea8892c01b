//! How servers and clients come, go and come back, and what becomes of what was under way.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use mio::{Poll, Token};
use support::*;
use wayside::{
    CallError, Client, ClientState, CloseReason, ConnectError, Limits, NotConnected, SendError,
    Server,
};

/// Times that are not over, however slow the machine.
fn patient() -> Limits {
    Limits {
        reconnect_delay_min: Duration::from_millis(1),
        reconnect_delay_max: Duration::from_millis(20),
        handshake_timeout: PATIENCE,
        ..Limits::default()
    }
}

/// A client that is connected to whoever was there, and does not know yet that it is gone.
fn connected_after(client: &Client<Chat>, opened: u64) {
    eventually("the client is back", || client.counters().opened > opened);
    client.wait_connected(PATIENCE).unwrap();
}

#[test]
fn a_server_that_shuts_down_under_full_load_loses_nothing() {
    in_every_mode(|place| {
        const THREADS: u64 = 3;
        let recorder = Recorder::default();
        let mut serving = place.serve(patient());
        let transport = serving.transport.clone();
        drop(serving);
        serving = serve_again(&transport, &patient(), &recorder);
        let limits = Limits {
            frame_len_max: 16 * 1024,
            outbox_len_max: 64 * 1024,
            ..patient()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let stop = Stop::default();
        let sent = thread::scope(|scope| {
            let stopping = stop.on_drop();
            let (client, stop) = (&client, &stop);
            let send = |thread: u64| {
                let mut event = 0;
                while !stop.is_set() {
                    let note = note(thread << 32 | event);
                    match client.send(&note) {
                        Ok(()) => event += 1,
                        Err(SendError::Full { .. }) => thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
                event
            };
            let senders: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || send(thread)))
                .collect();
            for round in 1..=6 {
                let handled = serving.server.counters().events;
                eventually("events flow", || {
                    serving.server.counters().events > handled + 1000
                });
                assert!(
                    serving.server.shutdown(PATIENCE),
                    "every client could finish"
                );
                let (counters, closed) = (client.counters(), serving.server.counters().closed);
                assert_eq!(closed.for_reason("finished"), 1, "{closed:?}");
                assert_eq!(counters.events_in_doubt, 0);
                serving = serve_again(&transport, &patient(), &recorder);
                connected_after(client, round);
            }
            drop(stopping);
            senders
                .into_iter()
                .map(|sender| sender.join().unwrap())
                .collect::<Vec<u64>>()
        });
        client.close(PATIENCE).unwrap();
        let counters = client.counters();
        assert_eq!(counters.events, sent.iter().sum::<u64>());
        assert_eq!(
            counters.events, counters.events_acknowledged,
            "{counters:?}"
        );
        // Each once, and in the order of its thread, across all servers.
        let mut next = [0; 3];
        for note in recorder.take_events() {
            let thread = usize::try_from(note.number >> 32).unwrap();
            assert_eq!(note.number & 0xFFFF_FFFF, next[thread]);
            next[thread] += 1;
        }
        assert_eq!(next.to_vec(), sent);
    });
}

#[test]
fn a_server_that_shuts_down_answers_what_it_was_asked() {
    in_every_mode(|place| {
        let serving = place.serve(patient());
        let client = serving
            .builder()
            .limits(patient())
            .connect(PATIENCE)
            .unwrap();
        thread::scope(|scope| {
            let call = scope.spawn(|| client.call(&Ask::Hold, PATIENCE));
            let responder = serving.recorder.held();
            let shutdown = scope.spawn(|| serving.server.shutdown(PATIENCE));
            eventually("the client hears of it", || {
                matches!(client.state(), ClientState::Draining)
            });
            let error = client
                .call(&Ask::Echo(String::new()), PATIENCE)
                .unwrap_err();
            let why = CallError::NotConnected(NotConnected::Draining);
            assert_eq!(error.to_string(), why.to_string());
            assert!(!error.may_have_run());
            // For the next server.
            client.send(&note(7)).unwrap();
            assert!(!shutdown.is_finished());
            responder.reply(&"the last words".to_owned()).unwrap();
            assert_eq!(call.join().unwrap().unwrap(), "the last words");
            assert!(shutdown.join().unwrap());
        });
        let serving = serve_again(&serving.transport, &patient(), &Recorder::default());
        client.wait_connected(PATIENCE).unwrap();
        assert_eq!(serving.recorder.event().number, 7);
    });
}

#[test]
fn a_server_that_shuts_down_cuts_off_who_takes_too_long_and_says_so() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let responder = serving.recorder.held();
        assert!(!serving.server.shutdown(Duration::from_millis(30)));
        let error = pending.wait().unwrap_err();
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
        responder.reply(&String::new()).unwrap_err();
        let reason = serving.recorder.disconnected();
        assert!(matches!(reason, CloseReason::ClosedHere), "{reason}");
    });
}

#[test]
fn a_shutdown_that_a_client_did_not_finish_in_is_not_called_complete() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let _responder = serving.recorder.held();
        thread::scope(|scope| {
            let shutdown = scope.spawn(|| serving.server.shutdown(PATIENCE));
            eventually("the client hears of it", || {
                matches!(client.state(), ClientState::Draining)
            });
            client.close(Duration::ZERO).ok();
            assert!(
                !shutdown.join().unwrap(),
                "the client has gone without a goodbye"
            );
        });
        pending.wait().unwrap_err();
    });
}

#[test]
fn a_shutdown_may_be_given_all_the_time_there_is() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let _client = serving.client();
        assert!(serving.server.shutdown(Duration::MAX));
        // A second one finds nothing to do.
        assert!(serving.server.shutdown(Duration::MAX));
    });
}

#[test]
fn a_shutdown_of_a_server_that_never_ran_returns() {
    in_every_mode(|place| {
        let builder = Server::<Chat>::builder().listen(place.transport.clone());
        let server = builder.bind(Recorder::default()).unwrap();
        let handle = server.handle();
        thread::scope(|scope| {
            let shutdown = scope.spawn(|| handle.shutdown(PATIENCE));
            drop(server);
            assert!(shutdown.join().unwrap());
        });
        assert!(handle.shutdown(PATIENCE));
    });
}

#[test]
fn a_client_that_closes_has_flushed() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        for event in 0..1000 {
            client.send(&note(event)).unwrap();
        }
        client.close(PATIENCE).unwrap();
        let handled = serving.recorder.take_events();
        assert!(handled.into_iter().map(|note| note.number).eq(0..1000));
        let counters = client.counters();
        assert_eq!(counters.events_acknowledged, 1000);
        assert_eq!(counters.closed.for_reason("finished"), 1);
        eventually("the server has seen the end", || {
            serving.server.counters().closed.for_reason("finished") == 1
        });
        assert!(matches!(client.state(), ClientState::Closed));
        // Once more changes nothing.
        client.close(PATIENCE).unwrap();
        let error = client.call(&Ask::Hold, PATIENCE).unwrap_err();
        assert!(
            matches!(error, CallError::NotConnected(NotConnected::Closed)),
            "{error}"
        );
    });
}

#[test]
fn a_client_that_closes_waits_for_its_calls() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let pending = client.start(&Ask::Hold, PATIENCE).unwrap();
        let responder = serving.recorder.held();
        thread::scope(|scope| {
            let close = scope.spawn(|| client.close(PATIENCE));
            eventually("it takes nothing new", || {
                client.send(&note(1)) == Err(SendError::Closed)
            });
            responder.reply(&"in time".to_owned()).unwrap();
            close.join().unwrap().unwrap();
        });
        assert_eq!(pending.wait().unwrap(), "in time");
    });
}

#[test]
fn a_dropped_client_has_flushed() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        for event in 0..1000 {
            client.send(&note(event)).unwrap();
        }
        drop(client);
        let mut handled = Vec::new();
        let reason = serving.recorder.wait_for(|happened| match happened {
            Happened::Event(_, note) => {
                handled.push(note.number);
                None
            }
            Happened::Disconnected(_, reason) => Some(reason.clone()),
            _ => None,
        });
        assert!(matches!(reason, CloseReason::Finished), "{reason}");
        assert!(handled.into_iter().eq(0..1000));
    });
}

#[test]
fn a_dropped_client_does_not_wait_for_a_server_that_is_not_there() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let builder = serving.builder();
        drop(serving);
        let client = builder.start().unwrap();
        eventually("it has tried", || {
            matches!(client.state(), ClientState::Waiting { .. })
        });
        client.send(&note(1)).unwrap();
        let start = Instant::now();
        drop(client);
        // Its own patience with a server that is there is a second.
        assert!(start.elapsed() < Duration::from_millis(900));
    });
}

#[test]
fn a_client_shows_how_things_stand() {
    in_every_mode(|place| {
        let serving = place.serve(patient());
        let (transport, builder) = (serving.transport.clone(), serving.builder());
        drop(serving);
        let client = builder.limits(patient()).start().unwrap();
        let waiting = || match client.state() {
            ClientState::Waiting { failures } => {
                let (endpoint, reason) = failures.iter().next().unwrap();
                assert_eq!(endpoint, transport.to_string());
                Some(reason.clone())
            }
            _ => None,
        };
        eventually("there is nobody", || {
            waiting().is_some_and(|reason| matches!(reason, CloseReason::LinkFailed(_)))
        });
        let serving = serve_again(&transport, &patient(), &Recorder::default());
        client.wait_connected(PATIENCE).unwrap();
        match client.state() {
            ClientState::Connected { endpoint } => assert_eq!(endpoint, transport.to_string()),
            state => panic!("{state}"),
        }
        // It comes back at once, so this one stops listening first.
        drop(serving);
        eventually("it is gone", || waiting().is_some());
        client.close(PATIENCE).unwrap();
        assert!(matches!(client.state(), ClientState::Closed));
        assert_eq!(client.state().to_string(), "closed");
    });
}

#[test]
fn a_lost_call_says_whether_it_may_have_run() {
    in_every_mode(|place| {
        let serving = place.serve(patient());
        let limits = Limits {
            frame_len_max: 64 * 1024,
            outbox_len_max: 32 << 20,
            ..patient()
        };
        let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
        let peer = serving.recorder.connected();
        let written = client.start(&Ask::Block, PATIENCE).unwrap();
        serving.recorder.blocked();
        // More than any link holds, so what is behind it is not written.
        for event in 0..500 {
            client.send(&long_note(event, 60_000)).unwrap();
        }
        let waiting = client.start(&Ask::Hold, PATIENCE).unwrap();
        peer.close();
        serving.recorder.unblock();
        let error = written.wait().unwrap_err();
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
        assert!(error.may_have_run());
        let error = waiting.wait().unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Lost {
                    may_have_run: false,
                    ..
                }
            ),
            "{error}"
        );
        assert!(!error.may_have_run());
        // The events behind which it waited arrive all the same, by the next connection.
        connected_after(&client, 1);
        assert_eq!(echo(&client, "again"), "again");
        client.close(PATIENCE).unwrap();
    });
}

#[test]
fn a_call_without_a_connection_fails_at_once() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        drop(serving);
        eventually("the client notices", || {
            matches!(client.state(), ClientState::Waiting { .. })
        });
        let error = client.call(&Ask::Hold, 10 * PATIENCE).unwrap_err();
        assert!(
            matches!(error, CallError::NotConnected(NotConnected::Waiting(_))),
            "{error}"
        );
        assert!(!error.may_have_run());
        let counters = client.counters();
        assert_eq!((counters.calls, counters.calls_refused), (0, 1));
    });
}

#[test]
fn a_client_comes_back_to_a_server_that_comes_back() {
    in_every_mode(|place| {
        let mut serving = place.serve(patient());
        let client = serving
            .builder()
            .limits(patient())
            .connect(PATIENCE)
            .unwrap();
        for round in 1..=10 {
            assert_eq!(echo(&client, "here"), "here");
            let transport = serving.transport.clone();
            if round % 2 == 0 {
                // Without a goodbye.
                serving.server.peers()[0].close();
            }
            drop(serving);
            serving = serve_again(&transport, &patient(), &Recorder::default());
            connected_after(&client, round);
        }
        assert_eq!(echo(&client, "here"), "here");
        assert!(client.counters().opened >= 11);
    });
}

#[test]
fn attempts_to_connect_slow_down_but_do_not_stop() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let builder = serving.builder();
        drop(serving);
        let start = Instant::now();
        let client = builder.limits(hasty()).start().unwrap();
        eventually("it goes on trying", || client.counters().attempts >= 10);
        // Nine pauses of at least a half of 5, 10, 20, 40, then 50 ms.
        assert!(start.elapsed() >= Duration::from_micros(162_500));
    });
}

#[test]
fn waiting_for_a_connection_ends_in_time_and_says_what_was_tried() {
    in_every_mode(|place| {
        let serving = place.serve(Limits::default());
        let (builder, endpoint) = (serving.builder(), serving.transport.to_string());
        drop(serving);
        let client = builder.start().unwrap();
        eventually("it has tried", || {
            matches!(client.state(), ClientState::Waiting { .. })
        });
        let error = client
            .wait_connected(Duration::from_millis(20))
            .unwrap_err();
        assert!(error.to_string().contains(&endpoint), "{error}");
        let ConnectError::TimedOut { waited, why } = error else {
            panic!("{error}");
        };
        assert_eq!(waited, Duration::from_millis(20));
        assert!(matches!(why, NotConnected::Waiting(_)), "{why}");
        client.close(PATIENCE).ok();
        let error = client.wait_connected(PATIENCE).unwrap_err();
        assert!(matches!(error, ConnectError::Closed), "{error}");
    });
}

#[test]
fn a_server_takes_who_came_before_it_ran() {
    in_every_mode(|place| {
        let builder = Server::<Chat>::builder().listen(place.transport.clone());
        let server = builder.bind(Recorder::default()).unwrap();
        let transport = place.transport.at(server.endpoints()[0].address());
        let builder = Client::<Chat>::builder().transport(transport);
        let client = builder.limits(patient()).start().unwrap();
        let error = client
            .wait_connected(Duration::from_millis(20))
            .unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::TimedOut {
                    why: NotConnected::Connecting,
                    ..
                }
            ),
            "{error}"
        );
        client.send(&note(1)).unwrap();
        let _running = server.spawn().unwrap();
        client.wait_connected(PATIENCE).unwrap();
        client.flush(PATIENCE).unwrap();
        assert_eq!(client.counters().attempts, 1);
    });
}

/// A server that its application forgets about, but not its peers and handles.
#[test]
fn a_server_that_is_dropped_lets_go_of_its_clients() {
    in_every_mode(|place| {
        let recorder = Recorder::default();
        let poll = Poll::new().unwrap();
        let builder = Server::<Chat>::builder().listen(place.transport.clone());
        let mut server = builder
            .embed(recorder.clone(), poll.registry(), Token(0), || {})
            .unwrap();
        let transport = place.transport.at(server.endpoints()[0].address());
        // Nothing but the end of the link tells it in time.
        let limits = Limits {
            ping_interval: 10 * PATIENCE,
            silence_timeout: 30 * PATIENCE,
            ..patient()
        };
        let builder = Client::<Chat>::builder().transport(transport);
        let client = builder.limits(limits).start().unwrap();
        let mut poll = poll;
        let mut events = mio::Events::with_capacity(16);
        eventually("it is connected", || {
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            events.iter().for_each(|event| server.handle_event(event));
            server.turn();
            matches!(client.state(), ClientState::Connected { .. })
        });
        let (peer, handle) = (recorder.connected(), server.handle());
        drop(server);
        let reason = recorder.disconnected();
        assert!(matches!(reason, CloseReason::ClosedHere), "{reason}");
        eventually("the client notices", || {
            // On Windows a pipe ends for its peer with the next poll: see `Link`.
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            !matches!(client.state(), ClientState::Connected { .. })
        });
        assert!(handle.peers().is_empty());
        assert!(!handle.shutdown(PATIENCE), "the client could not finish");
        peer.push(&String::new()).unwrap_err();
    });
}
