//! The steady state allocates nothing: neither a call nor an event, on neither side.
//!
//! One test in a program of its own, as the counter is the whole program's: server and client are
//! threads of it, so what is counted is both sides at once.

#[path = "../benches/ipc/allocations.rs"]
mod allocations;
mod support;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use support::{PATIENCE, on_every_transport};
use wayside::{Client, Handler, Limits, Never, Peer, Protocol, Responder, Server};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

struct Plain;

/// A message that owns no memory: what one allocates that does is its own affair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    number: u64,
    place: [f64; 3],
}

impl Protocol for Plain {
    const NAME: &'static str = "plain";
    const VERSION: u32 = 1;
    type Event = Point;
    type Request = Point;
    type Reply = Point;
    type Push = Never;
}

struct Echo;

impl Handler<Plain> for Echo {
    fn event(&mut self, _: &Peer<Plain>, _: Point) {}

    fn request(&mut self, _: &Peer<Plain>, request: Point, responder: Responder<Plain>) {
        responder.reply(&request).expect("the client waits");
    }
}

fn point(number: u64) -> Point {
    let place = [0.5, 1.5, 2.5];
    Point { number, place }
}

fn call_some(client: &Client<Plain>) {
    for number in 0..1000 {
        let reply = client.call(&point(number), PATIENCE).expect("a reply");
        assert_eq!(reply, point(number));
    }
}

fn send_some(client: &Client<Plain>) {
    // Flushed often enough that no more memory is ever needed than in the first round.
    for _ in 0..100 {
        for number in 0..1000 {
            client.send(&point(number)).expect("there is room");
        }
        client.flush(PATIENCE).expect("an answer");
    }
}

fn send_many(client: &Client<Plain>) {
    let mut points = [point(0); 1000];
    for _ in 0..100 {
        for (point, number) in points.iter_mut().zip(0..) {
            point.number = number;
        }
        client.send_all(&points, PATIENCE).expect("there is room");
        client.flush(PATIENCE).expect("an answer");
    }
}

/// What `work` allocates, once it has been done before.
fn allocations_of(work: impl Fn()) -> u64 {
    const { assert!(allocations::ARE_COUNTED) };
    work();
    let before = allocations::count();
    work();
    allocations::count() - before
}

#[test]
fn calls_and_events_allocate_nothing() {
    on_every_transport(|place| {
        let server = Server::<Plain>::builder()
            .listen(place.transport.clone())
            // Nothing but what the test does happens meanwhile.
            .limits(quiet())
            .bind(Echo)
            .expect("a free place")
            .spawn()
            .expect("a thread");
        let transport = place.transport.at(server.endpoints()[0].address());
        let client = Client::builder()
            .transport(transport)
            .limits(quiet())
            .connect(PATIENCE)
            .expect("a connection");
        assert_eq!(allocations_of(|| call_some(&client)), 0, "calls");
        assert_eq!(allocations_of(|| send_some(&client)), 0, "events");
        assert_eq!(allocations_of(|| send_many(&client)), 0, "many events");
    });
}

fn quiet() -> Limits {
    Limits {
        ping_interval: Duration::from_secs(600),
        silence_timeout: Duration::from_secs(3600),
        ..Limits::default()
    }
}
