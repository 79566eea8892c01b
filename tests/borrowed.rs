//! Handlers that look at messages where they lie: `&str` and `&[u8]` in place of what is owned.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::mpsc::{Sender, channel};

use serde::{Deserialize, Serialize};
use support::{Chat, Note, PATIENCE, on_every_transport};
use wayside::{
    CallError, Client, CloseReason, Encoded, Handler, Limits, Never, Peer, Protocol, Responder,
    Undecodable,
};

/// Pictures and questions about them.
struct Gallery;

impl Protocol for Gallery {
    const NAME: &'static str = "gallery";
    const VERSION: u32 = 1;
    type Event = Picture;
    type Request = Picture;
    type Reply = u64;
    type Push = Never;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Picture {
    name: String,
    pixels: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct BorrowedPicture<'a> {
    name: &'a str,
    pixels: &'a [u8],
}

impl BorrowedPicture<'_> {
    fn sum(&self) -> u64 {
        self.pixels.iter().copied().map(u64::from).sum()
    }
}

/// What happened, in order.
#[derive(Debug, PartialEq)]
enum Seen {
    Picture(Picture),
    Left(&'static str),
}

/// Sees everything as it lies in the buffer.
struct Visitor {
    seen: Sender<Seen>,
}

impl Handler<Gallery> for Visitor {
    fn event_encoded(
        &mut self,
        _: &Peer<Gallery>,
        event: Encoded<'_, Picture>,
    ) -> Result<(), Undecodable> {
        let picture: BorrowedPicture<'_> = event.decode_as()?;
        let buffer = event.as_bytes().as_ptr_range();
        assert!(buffer.contains(&picture.name.as_ptr()), "it is a copy");
        assert!(buffer.contains(&picture.pixels.as_ptr()), "it is a copy");
        match picture.name {
            "nonsense" => return Err(Undecodable::because("nonsense")),
            "panic" => panic!("as the test asked"),
            _ => {}
        }
        let owned = event.decode()?;
        assert_eq!(
            (picture.name, picture.pixels),
            (&*owned.name, &*owned.pixels)
        );
        self.seen.send(Seen::Picture(owned)).unwrap();
        Ok(())
    }

    fn request_encoded(
        &mut self,
        _: &Peer<Gallery>,
        request: Encoded<'_, Picture>,
        responder: Responder<Gallery>,
    ) -> Result<(), Undecodable> {
        let picture: BorrowedPicture<'_> = request.decode_as()?;
        if picture.name == "nonsense" {
            return Err(Undecodable::because("nonsense"));
        }
        responder.reply(&picture.sum()).unwrap();
        Ok(())
    }

    fn event(&mut self, _: &Peer<Gallery>, _: Picture) {
        unreachable!("the other one is called");
    }

    fn request(&mut self, _: &Peer<Gallery>, _: Picture, _: Responder<Gallery>) {
        unreachable!("the other one is called");
    }

    fn disconnected(&mut self, _: &Peer<Gallery>, reason: &CloseReason) {
        self.seen.send(Seen::Left(reason.name())).unwrap();
    }
}

fn picture(name: &str, len: usize) -> Picture {
    Picture {
        name: name.to_owned(),
        pixels: (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect(),
    }
}

/// Shorter and longer than any piece in which they may come.
const LENS: [usize; 6] = [1, 100, 5000, 70_000, 300_000, 1_000_000];

#[test]
fn a_handler_borrows_from_messages_of_every_length() {
    on_every_transport(|place| {
        let (seen, sights) = channel();
        let (server, transport) = place.serve_with(Limits::default(), Visitor { seen });
        let builder = Client::<Gallery>::builder().transport(transport);
        let client = builder.connect(PATIENCE).unwrap();
        for len in LENS {
            for name in ["one", "another"] {
                client.send(&picture(name, len)).unwrap();
            }
            let question = picture("how bright?", len);
            let sum: u64 = question.pixels.iter().copied().map(u64::from).sum();
            assert_eq!(client.call(&question, PATIENCE).unwrap(), sum);
            for name in ["one", "another"] {
                let sight = sights.recv_timeout(PATIENCE).unwrap();
                assert_eq!(sight, Seen::Picture(picture(name, len)));
            }
        }
        assert_eq!(server.counters().events, 12);
        assert_eq!(server.counters().requests, 6);
    });
}

#[test]
fn what_a_handler_finds_wrong_or_panics_over_closes_the_peer_and_no_other() {
    on_every_transport(|place| {
        let (seen, sights) = channel();
        let (server, transport) = place.serve_with(Limits::default(), Visitor { seen });
        let connect = || {
            let builder = Client::<Gallery>::builder().transport(transport.clone());
            builder.connect(PATIENCE).unwrap()
        };
        let good = connect();
        let left = |name| assert_eq!(sights.recv_timeout(PATIENCE).unwrap(), Seen::Left(name));

        let bad = connect();
        bad.send(&picture("nonsense", 1)).unwrap();
        left("undecodable");
        let bad = connect();
        bad.send(&picture("panic", 1)).unwrap();
        left("handler_panicked");
        let error = connect()
            .call(&picture("nonsense", 1), PATIENCE)
            .unwrap_err();
        let CallError::Lost { reason, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            matches!(reason, CloseReason::ByPeer("undecodable")),
            "{reason}"
        );
        left("undecodable");

        let counters = server.counters();
        assert_eq!(counters.handler_panics, 1);
        assert_eq!(counters.closed.for_reason("undecodable"), 2);
        assert_eq!(good.call(&picture("?", 3), PATIENCE).unwrap(), 3);
        assert_eq!(good.counters().opened, 1);
    });
}

/// Of the usual handler, which wants its messages decoded.
#[test]
fn a_message_of_another_type_closes_the_peer() {
    /// Speaks of something else under the same name.
    struct Liar;

    impl Protocol for Liar {
        const NAME: &'static str = Chat::NAME;
        const VERSION: u32 = Chat::VERSION;
        type Event = (u64, Vec<u8>, bool);
        type Request = u32;
        type Reply = ();
        type Push = Never;
    }

    on_every_transport(|place| {
        let serving = place.serve(Limits::default());
        let liar = || {
            let builder = Client::<Liar>::builder().transport(serving.transport.clone());
            builder.connect(PATIENCE).unwrap()
        };
        let reason = |wanted: &str| match serving.recorder.disconnected() {
            CloseReason::Undecodable(what) => assert_eq!(what, wanted),
            reason => panic!("{reason}"),
        };
        let first = liar();
        first.send(&(7, b"text".to_vec(), true)).unwrap();
        reason("1 bytes behind the message");
        let second = liar();
        second.send(&(7, vec![0xff], true)).unwrap();
        reason("Tried to parse invalid utf-8");
        liar().call(&77, PATIENCE).unwrap_err();
        reason("Serde Deserialization Error");
        let honest = serving.client();
        let note = Note {
            number: 1,
            text: "a note".to_owned(),
        };
        honest.send(&note).unwrap();
        assert_eq!(serving.recorder.event(), note);
    });
}
