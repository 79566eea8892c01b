//! The memory that others can make a server or client hold: within what the docs of
//! [`wayside::Limits`] say, as a counting allocator sees it.
//!
//! All in one test, as the allocator counts for the whole process. What the hostile peers
//! themselves need is allocated before each count starts, or small against the bound.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says how much it was"
)]
#![expect(unsafe_code, reason = "an allocator can be counted only from inside")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use support::raw::{Raw, RawServer, bare, framed, framed_bytes};
use support::*;
use wayside::internals::Head;
use wayside::{Client, Handler, Limits, Peer, Responder, Server, ServerThread};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(len: usize) {
    let now = NOW.fetch_add(len, Ordering::Relaxed) + len;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: passes everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // While bytes are moved both places may exist; the system mostly extends in place.
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        grown(len);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What is allocated above a starting point, at most, since then.
struct Count(usize);

impl Count {
    fn start() -> Self {
        let now = NOW.load(Ordering::Relaxed);
        PEAK.store(now, Ordering::Relaxed);
        Self(now)
    }

    fn within(&self, max: usize, what: &str) {
        let peak = PEAK.load(Ordering::Relaxed).saturating_sub(self.0);
        eprintln!("{what}: {peak} of {max}");
        assert!(peak <= max, "{what}: {peak} bytes, the bound is {max}");
    }
}

/// Remembers nothing.
struct Forgetful;

impl Handler<Chat> for Forgetful {
    fn event(&mut self, _: &Peer<Chat>, _: Note) {}

    fn request(&mut self, _: &Peer<Chat>, request: Ask, responder: Responder<Chat>) {
        match request {
            Ask::Long(len) => drop(responder.reply(&"x".repeat(len.try_into().unwrap()))),
            _ => drop(responder),
        }
    }
}

const KIB: usize = 1024;
const PEERS: usize = 100;
/// For what is there once, and what the peers in this process need.
const SLACK: usize = 1536 * KIB;

fn limits() -> Limits {
    Limits {
        frame_len_max: 64 * 1024,
        outbox_len_max: 128 * KIB,
        partial_len_max: 1024 * KIB,
        handshakes_max: 2000,
        handshake_timeout: PATIENCE * 10,
        frame_timeout: PATIENCE * 10,
        stall_timeout: PATIENCE * 10,
        ..Limits::default()
    }
}

struct Scene {
    server: ServerThread<Chat>,
    transport: wayside::Transport,
}

impl Scene {
    fn new(place: &Place) -> Self {
        let server = Server::<Chat>::builder()
            .listen(place.transport.clone())
            .limits(limits())
            .bind(Forgetful)
            .unwrap()
            .spawn()
            .unwrap();
        let transport = place.transport.at(server.endpoints()[0].address());
        Self { server, transport }
    }

    fn greeted(&self, count: usize) -> Vec<Raw> {
        let raws = (0..count).map(|_| Raw::greeted(&self.transport)).collect();
        // Whatever is allocated with the first use is there.
        self.server.broadcast(&String::new());
        raws
    }
}

#[test]
fn memory_stays_within_the_bounds() {
    on_every_transport(|place| {
        half_frames(place);
        frames_begun_behind_long_ones(place);
        pushes_that_nobody_reads(place);
        replies_that_nobody_reads(place);
        idle_connections(place);
        pushes_that_nobody_takes(place);
        announced_lengths(place);
        what_is_gone_leaves_nothing(place);
    });
}

fn half_frames(place: &Place) {
    let peers = place.at_most(PEERS);
    let scene = Scene::new(place);
    let mut raws = scene.greeted(peers);
    let mut begun = framed_bytes(&[0; 64 * KIB]);
    begun.truncate(60 * KIB);
    let count = Count::start();
    for raw in &mut raws {
        raw.send(&begun);
    }
    let kept = limits().partial_len_max / (60 * KIB);
    eventually("the oldest are closed", || {
        let closed = scene.server.counters().closed.for_reason("partials_full");
        closed == u64::try_from(peers - kept).unwrap()
    });
    count.within(2 * limits().partial_len_max + SLACK, "half frames");
}

fn frames_begun_behind_long_ones(place: &Place) {
    let peers = place.at_most(PEERS);
    let scene = Scene::new(place);
    let mut raws = scene.greeted(peers);
    let long = framed(Head::Event, &long_note(1, 60 * KIB));
    let (first, rest) = long.split_at(50 * KIB);
    let end = [rest, &long[..5]].concat();
    let count = Count::start();
    for (number, raw) in (1..).zip(&mut raws) {
        raw.say(first);
        raw.say(&end);
        eventually("it is handled", || scene.server.counters().events == number);
    }
    // Five bytes of each are what waits now.
    count.within(peers * 8 * KIB + SLACK, "frames begun behind long ones");
    assert_eq!(scene.server.counters().closed.total(), 0);
}

fn pushes_that_nobody_reads(place: &Place) {
    let peers = place.at_most(PEERS);
    let scene = Scene::new(place);
    let _raws = scene.greeted(peers);
    let text = "x".repeat(KIB);
    let count = Count::start();
    while scene.server.broadcast(&text).sent > 0 {}
    let max = peers * 2 * limits().outbox_len_max + SLACK;
    count.within(max, "pushes that nobody reads");
}

fn replies_that_nobody_reads(place: &Place) {
    let peers = place.at_most(PEERS);
    let scene = Scene::new(place);
    let mut raws = scene.greeted(peers);
    let timeout_ms = 60_000;
    let calls: Vec<u8> = (0..200)
        .flat_map(|id| framed(Head::Request { id, timeout_ms }, &Ask::Long(10_000)))
        .collect();
    let count = Count::start();
    for raw in &mut raws {
        // As many as the link takes; the rest would have to wait for the server to read.
        while raw.send_some(&calls) == calls.len() {}
    }
    // Between two answers to one peer all others have had their turn.
    let mut witness = Raw::greeted(&scene.transport);
    for id in 1..=200 {
        witness.say(&framed(Head::Ping { id }, &()));
        assert_eq!(witness.head(), Some(Head::Pong { id }));
    }
    let max = peers * 2 * limits().outbox_len_max + SLACK;
    count.within(max, "replies that nobody reads");
}

fn idle_connections(place: &Place) {
    let scene = Scene::new(place);
    let count = Count::start();
    let mut idle = Vec::new();
    for number in 1..=place.at_most(1000) {
        idle.push(bare(&scene.transport));
        if number % 10 == 0 {
            let number = u64::try_from(number).unwrap();
            eventually("accepted", || scene.server.counters().accepted >= number);
        }
    }
    // Both ends.
    count.within(idle.len() * 8 * KIB + SLACK, "idle connections");
}

fn pushes_that_nobody_takes(place: &Place) {
    let mut server = RawServer::bind(&place.transport);
    let client = Client::<Chat>::builder()
        .transport(server.transport.clone())
        .limits(Limits {
            pushes_len_max: 1024 * KIB,
            ..Limits::default()
        })
        .start()
        .unwrap();
    let mut raw = server.welcome();
    client.wait_connected(PATIENCE).unwrap();
    let push = framed(Head::Push, &"x".repeat(100 * KIB));
    let count = Count::start();
    while client.counters().pushes_dropped < 100 {
        raw.say(&push);
    }
    count.within(1024 * KIB + SLACK, "pushes that nobody takes");
    drop(raw);
    drop(client);
}

/// What a header announces is believed only as far as the bytes come.
fn announced_lengths(place: &Place) {
    let peers = place.at_most(PEERS);
    let scene = Scene::new(place);
    let mut raws = scene.greeted(peers);
    let announced = (64 * 1024_u32).to_le_bytes();
    let count = Count::start();
    for raw in &mut raws {
        raw.say(&announced);
    }
    let mut witness = Raw::greeted(&scene.transport);
    witness.say(&framed(Head::Ping { id: 1 }, &()));
    assert_eq!(witness.head(), Some(Head::Pong { id: 1 }));
    count.within(peers * KIB + SLACK, "announced lengths");
}

/// Whoever was sent much, said half of something and is gone: round after round there is not more.
fn what_is_gone_leaves_nothing(place: &Place) {
    if !place.shows_ends() {
        return;
    }
    let scene = Scene::new(place);
    let peers = place.at_most(30);
    let text = "x".repeat(50 * KIB);
    let mut begun = framed_bytes(&[0; 60 * KIB]);
    begun.truncate(30 * KIB);
    let mut settled = 0;
    for round in 1..=10 {
        let mut raws = scene.greeted(peers);
        scene.server.broadcast(&text);
        for raw in &mut raws {
            raw.send_some(&begun);
        }
        drop(raws);
        let gone = u64::try_from(round * peers).unwrap();
        eventually("the server has noticed", || {
            scene.server.counters().closed.total() == gone && scene.server.peers().is_empty()
        });
        if round == 2 {
            settled = NOW.load(Ordering::Relaxed);
        }
        eventually("what they took is given back", || {
            round <= 2 || NOW.load(Ordering::Relaxed) <= settled + 64 * KIB
        });
    }
}
