//! How sessions between a real server and real clients begin, over every transport.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use support::*;
use wayside::{Client, ClientState, CloseReason, ConnectError, Limits, Protocol, ProtocolId};

#[test]
fn calls_events_and_pushes_arrive() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        assert_eq!(echo(&client, "hello"), "hello");
        client.send(&note(1)).unwrap();
        assert_eq!(serving.recorder.event(), note(1));
        serving.server.broadcast(&"all".to_owned());
        assert_eq!(client.next_push(PATIENCE).unwrap(), "all");
        client.close(PATIENCE).unwrap();
    });
}

#[test]
fn an_end_that_was_begun_comes_without_anybody_waiting() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        let pending = client.start(&Ask::Echo("last".to_owned()), PATIENCE);
        let pending = pending.unwrap();
        eventually("the call has ended", || pending.is_finished());
        assert_eq!(pending.wait().unwrap(), "last");
        client.send(&note(1)).unwrap();
        client.begin_close(PATIENCE);
        assert_eq!(serving.recorder.event(), note(1));
        eventually("the client is closed", || {
            matches!(client.state(), ClientState::Closed)
        });
        client.close(PATIENCE).unwrap();
        serving.server.begin_shutdown(Duration::MAX);
        assert!(serving.server.shutdown(PATIENCE));
    });
}

#[test]
fn every_connection_is_told_to_who_asked_for_states() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let (sender, states) = std::sync::mpsc::channel();
        let tell = move |state: ClientState| {
            let panics = matches!(state, ClientState::Waiting { .. });
            sender.send(state).unwrap();
            assert!(!panics, "as the test wants");
        };
        let client = serving.builder().on_state(tell).start().unwrap();
        let next = || states.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(next(), ClientState::Connected { .. }));
        // From the thread that waits for an answer as well as from the client's own.
        assert_eq!(echo(&client, "hello"), "hello");
        let Serving {
            server,
            recorder,
            transport,
            ..
        } = serving;
        drop(server);
        while !matches!(next(), ClientState::Waiting { .. }) {}
        let serving = serve_again(&transport, &Limits::default(), &recorder);
        while !matches!(next(), ClientState::Connected { .. }) {}
        assert_eq!(echo(&client, "hello again"), "hello again");
        assert!(client.counters().callback_panics > 0);
        client.close(PATIENCE).unwrap();
        while !matches!(next(), ClientState::Closed) {}
        drop(serving);
    });
}

/// A later version of the chat.
struct Chat2;

impl Protocol for Chat2 {
    const NAME: &'static str = Chat::NAME;
    const VERSION: u32 = 2;
    type Event = Note;
    type Request = Ask;
    type Reply = String;
    type Push = String;
}

/// Another protocol, of the same version.
struct Talk;

impl Protocol for Talk {
    const NAME: &'static str = "talk";
    const VERSION: u32 = Chat::VERSION;
    type Event = Note;
    type Request = Ask;
    type Reply = String;
    type Push = String;
}

fn id<P: Protocol>() -> ProtocolId {
    ProtocolId {
        name: P::NAME.to_owned(),
        version: P::VERSION,
    }
}

/// Fails unless a client of `P` is told at once what it and the server of the chat speak, and so is
/// the server.
fn assert_mismatch<P: Protocol>(serving: &Serving) {
    let transport = &serving.transport;
    let builder = Client::<P>::builder().transport(transport.clone());
    let error = builder.connect(PATIENCE).unwrap_err();
    let ConnectError::Mismatch(failures) = &error else {
        panic!("{error}");
    };
    let (endpoint, reason) = failures.iter().next().unwrap();
    assert_eq!(endpoint, transport.to_string());
    let CloseReason::ProtocolMismatch { ours, theirs } = reason else {
        panic!("{reason}");
    };
    assert_eq!((ours, theirs), (&id::<P>(), &id::<Chat>()));
    let text = error.to_string();
    for id in [id::<P>(), id::<Chat>()] {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    let (refused_at, ours, theirs) = serving.recorder.wait_for(|happened| match happened {
        Happened::Refused(at, CloseReason::ProtocolMismatch { ours, theirs }) => {
            Some((at.clone(), ours.clone(), theirs.clone()))
        }
        _ => None,
    });
    assert_eq!(refused_at, transport.to_string());
    assert_eq!((ours, theirs), (id::<Chat>(), id::<P>()));
}

#[test]
fn a_mismatch_is_an_error_on_both_sides_that_names_both() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        assert_mismatch::<Chat2>(&serving);
        // It may have tried once more before it was dropped.
        let _ = serving.recorder.take_all();
        assert_mismatch::<Talk>(&serving);
        let closed = serving.server.counters().closed;
        assert!(closed.for_reason("protocol_mismatch") >= 2, "{closed:?}");
        // They were never peers, and those who are notice nothing.
        assert_eq!(serving.server.counters().opened, 1);
        assert_eq!(serving.server.peers().len(), 1);
        assert_eq!(echo(&client, "undisturbed"), "undisturbed");
    });
}

#[test]
fn a_request_is_handled_behind_the_events_before_it() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let client = serving.client();
        for number in 1..=100 {
            client.send(&note(number)).unwrap();
            assert_eq!(echo(&client, "after"), "after");
            let next = |happened: &Happened| match happened {
                Happened::Event(_, note) => Some(Ok(note.number)),
                Happened::Asked(_, ask) => Some(Err(ask.clone())),
                _ => None,
            };
            assert_eq!(serving.recorder.wait_for(next), Ok(number));
            let after = Ask::Echo("after".to_owned());
            assert_eq!(serving.recorder.wait_for(next), Err(after));
        }
    });
}

#[test]
fn peers_are_told_apart_and_processes_are_known() {
    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let _first = serving.client();
        let first = serving.recorder.connected();
        let _second = serving.client();
        let second = serving.recorder.connected();
        assert!(first.key() < second.key());
        assert_ne!(first.epoch(), second.epoch());
        assert_eq!(first.transport(), serving.transport.to_string());
        let keys: Vec<_> = serving
            .server
            .peers()
            .iter()
            .map(|peer| peer.key())
            .collect();
        assert_eq!(keys, [first.key(), second.key()]);
    });
}

#[cfg(feature = "tcp")]
#[test]
fn a_client_with_another_key_is_counted_as_refused_and_told_of() {
    use wayside::backend::Tcp;
    use wayside::{Server, Transport};

    let _watchdog = Watchdog::new();
    let folder = private_folder();
    let key = |name: &str| Tcp::new(folder.path().join(name));
    let recorder = Recorder::default();
    let builder = Server::builder().listen(Transport::new(key("ours.key"), "127.0.0.1:0"));
    let server = builder.bind(recorder.clone()).unwrap().spawn().unwrap();
    let place = Transport::new(key("theirs.key"), server.endpoints()[0].address());
    let client = Client::<Chat>::builder().transport(place).start().unwrap();
    let reason = recorder.refused();
    assert!(matches!(reason, CloseReason::LinkFailed(_)), "{reason}");
    assert!(reason.to_string().contains("ours.key"), "{reason}");
    assert!(server.counters().refused > 0);
    assert_eq!(server.counters().opened, 0);
    drop(client);
}
