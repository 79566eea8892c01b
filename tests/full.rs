//! A client whose outbox is full can wait until the server has caught up.

mod support;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use support::{Ask, Chat, Note, PATIENCE, note, on_every_transport};
use wayside::{CallError, Client, Handler, Limits, Peer, Responder, SendError, Server};

/// Handles nothing until it is let go.
struct Held {
    go: Receiver<()>,
}

impl Handler<Chat> for Held {
    fn event(&mut self, _: &Peer<Chat>, _: Note) {
        // Once the other end is gone there is nothing to wait for.
        self.go.recv().ok();
    }

    fn request(&mut self, _: &Peer<Chat>, _: Ask, responder: Responder<Chat>) {
        drop(responder);
    }
}

#[test]
fn a_flush_is_taken_when_the_outbox_is_full() {
    on_every_transport(|place| {
        let (let_go, go) = channel();
        let server = Server::<Chat>::builder()
            .listen(place.transport.clone())
            .bind(Held { go })
            .expect("a free place")
            .spawn()
            .expect("a thread");
        let transport = place.transport.at(server.endpoints()[0].address());
        let client = Client::<Chat>::builder()
            .transport(transport)
            .limits(Limits {
                frame_len_max: 1024,
                outbox_len_max: 2048,
                ..Limits::default()
            })
            .connect(PATIENCE)
            .expect("a connection");
        // Dropped before the server, which waits for its handler: a failure is not to hang.
        let let_go = let_go;
        let mut sent = 0;
        let full = loop {
            // As short as can be, so that no room is left for anything else either.
            let (number, text) = (0, String::new());
            match client.send(&Note { number, text }) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, SendError::Full { max: 2048, .. }), "{full}");
        let early = client.flush(Duration::from_millis(1));
        assert!(matches!(early, Err(CallError::TimedOut)), "{early:?}");
        drop(let_go);
        client.flush(PATIENCE).expect("the server has caught up");
        assert_eq!(server.counters().events, sent);
        client.send(&note(sent)).expect("there is room again");
    });
}
