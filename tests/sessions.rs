//! Sessions between a real server and real clients, over every transport of the platform.

mod support;

use support::*;
use wayside::Limits;

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
