//! Sessions between a real server and real clients, over every transport of the platform.

mod support;

use std::time::Duration;

use support::*;
use wayside::{ClientState, Limits};

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
