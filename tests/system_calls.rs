//! Messages share system calls, and with nothing to do there are none: counted at a backend that
//! passes everything on to another one.

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use serde::{Deserialize, Serialize};
use support::{PATIENCE, Place, on_every_transport};
use wayside::backend::{Backend, Capabilities, Link, Listener};
use wayside::{
    Client, Handler, Limits, Never, Peer, PeerId, Protocol, Responder, Server, ServerThread, Spin,
    Transport,
};

#[derive(Default)]
struct Counts {
    sends: AtomicU64,
    recvs: AtomicU64,
    /// Registrations that were changed.
    changes: AtomicU64,
}

impl Counts {
    /// All of them so far.
    fn total(&self) -> u64 {
        [&self.sends, &self.recvs, &self.changes]
            .map(|count| count.load(Ordering::SeqCst))
            .iter()
            .sum()
    }
}

/// Counts what one side asks of its links.
struct Counted {
    inner: Transport,
    counts: Arc<Counts>,
}

impl Counted {
    fn transport(inner: &Transport) -> (Transport, Arc<Counts>) {
        let counts = Arc::new(Counts::default());
        let counted = Self {
            inner: inner.clone(),
            counts: Arc::clone(&counts),
        };
        (Transport::new(counted, inner.address()), counts)
    }

    fn link(inner: Box<dyn Link>, counts: &Arc<Counts>) -> Box<dyn Link> {
        let counts = Arc::clone(counts);
        Box::new(CountedLink { inner, counts })
    }
}

impl Backend for Counted {
    fn capabilities(&self) -> Capabilities {
        self.inner.backend().capabilities()
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let inner = self.inner.backend().bind(address)?;
        let counts = Arc::clone(&self.counts);
        Ok(Box::new(CountedListener { inner, counts }))
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        let inner = self.inner.backend().connect(address)?;
        Ok(Self::link(inner, &self.counts))
    }
}

struct CountedListener {
    inner: Box<dyn Listener>,
    counts: Arc<Counts>,
}

impl Listener for CountedListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        Ok(Counted::link(self.inner.accept()?, &self.counts))
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

impl Source for CountedListener {
    fn register(&mut self, registry: &Registry, token: Token, wanted: Interest) -> io::Result<()> {
        self.inner.register(registry, token, wanted)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        wanted: Interest,
    ) -> io::Result<()> {
        self.inner.reregister(registry, token, wanted)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.inner.deregister(registry)
    }
}

struct CountedLink {
    inner: Box<dyn Link>,
    counts: Arc<Counts>,
}

impl Link for CountedLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.counts.recvs.fetch_add(1, Ordering::SeqCst);
        self.inner.recv(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.counts.sends.fetch_add(1, Ordering::SeqCst);
        self.inner.send(bytes)
    }

    fn peer(&self) -> PeerId {
        self.inner.peer()
    }
}

impl Source for CountedLink {
    fn register(&mut self, registry: &Registry, token: Token, wanted: Interest) -> io::Result<()> {
        self.inner.register(registry, token, wanted)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        wanted: Interest,
    ) -> io::Result<()> {
        self.counts.changes.fetch_add(1, Ordering::SeqCst);
        self.inner.reregister(registry, token, wanted)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.inner.deregister(registry)
    }
}

struct Ticks;

#[derive(Serialize, Deserialize)]
struct Tick {
    number: u64,
    values: [f64; 6],
}

impl Protocol for Ticks {
    const NAME: &'static str = "ticks";
    const VERSION: u32 = 1;
    type Event = Tick;
    type Request = u64;
    type Reply = u64;
    type Push = Never;
}

struct Echo;

impl Handler<Ticks> for Echo {
    fn event(&mut self, _: &Peer<Ticks>, _: Tick) {}

    fn request(&mut self, _: &Peer<Ticks>, request: u64, responder: Responder<Ticks>) {
        responder.reply(&request).expect("the client waits");
    }
}

/// Both sides, and what each asks of its links.
struct Pair {
    client: Client<Ticks>,
    client_counts: Arc<Counts>,
    server: ServerThread<Ticks>,
    server_counts: Arc<Counts>,
}

impl Pair {
    fn at(place: &Place, spin: Spin) -> Self {
        let limits = Limits {
            ping_interval: Duration::from_secs(600),
            silence_timeout: Duration::from_secs(3600),
            ..Limits::default()
        };
        let (listening, server_counts) = Counted::transport(&place.transport);
        let server = Server::builder()
            .listen(listening)
            .spin(spin)
            .limits(limits.clone())
            .bind(Echo)
            .expect("a free place")
            .spawn()
            .expect("a thread");
        let reached = place.transport.at(server.endpoints()[0].address());
        let (transport, client_counts) = Counted::transport(&reached);
        let client = Client::builder()
            .transport(transport)
            .spin(spin)
            .limits(limits)
            .connect(PATIENCE)
            .expect("a connection");
        Self {
            client,
            client_counts,
            server,
            server_counts,
        }
    }

    /// What the client and the server have asked for so far.
    fn totals(&self) -> [u64; 2] {
        [self.client_counts.total(), self.server_counts.total()]
    }
}

#[test]
fn events_under_load_share_system_calls() {
    const EVENTS: u64 = 100_000;
    const ROUNDS: u64 = 10;
    on_every_transport(|place| {
        let pair = Pair::at(place, Spin::default());
        // A small queue takes eight of these at once, and holds four such pieces.
        let max = match place.transport.backend().capabilities().chunk_len_max {
            Some(_) => EVENTS / 2,
            None => EVENTS / 5,
        };
        // Whoever is kept from sending for a while, on a busy machine, has its events leave one by one.
        let shares = (1..=ROUNDS).any(|round| {
            let before = pair.totals();
            for number in 0..EVENTS {
                let tick = Tick {
                    number,
                    values: [0.5; 6],
                };
                // Below the bound of the outbox, whatever the server does.
                pair.client.send(&tick).expect("there is room");
            }
            pair.client.flush(PATIENCE).expect("an answer");
            assert_eq!(pair.server.counters().events, round * EVENTS);
            let counts = pair.totals();
            let sides = ["client", "server"].iter().zip(counts.iter().zip(before));
            sides.fold(true, |shares, (side, (count, before))| {
                let calls = count - before;
                println!("{}: {side}: {calls} for {EVENTS} events", place.transport);
                shares && calls < max
            })
        });
        assert!(shares, "{}: never below {max}", place.transport);
    });
}

#[test]
fn a_call_takes_one_send_and_one_recv_on_each_side() {
    const CALLS: u64 = 500;
    on_every_transport(|place| {
        let pair = Pair::at(place, Spin::Off);
        // That a message was the last a queue tells only when it is asked for another.
        let each = match place.transport.backend().capabilities().chunk_len_max {
            Some(_) => 3,
            // On Windows neither a socket nor a pipe shows it, and that a write is done is an event, too.
            None if cfg!(windows) => 4,
            None => 2,
        };
        let call = |number| {
            let reply = pair.client.call(&number, PATIENCE).expect("a reply");
            assert_eq!(reply, number);
        };
        call(0);
        let before = pair.totals();
        (0..CALLS).for_each(call);
        let counts = pair.totals();
        for (side, (count, before)) in ["client", "server"].iter().zip(counts.iter().zip(before)) {
            let calls = count - before;
            println!("{}: {side}: {calls} for {CALLS} calls", place.transport);
            // A little more is allowed for: the client's threads hand over now and then.
            assert!(calls <= CALLS * each + CALLS / 2, "{side}: {calls}");
        }
    });
}

#[test]
fn with_nothing_to_do_nothing_is_done() {
    on_every_transport(|place| {
        let pair = Pair::at(place, Spin::Always);
        assert_eq!(pair.client.call(&1, PATIENCE).expect("a reply"), 1);
        // That nothing happens takes time to see, and some of it until whoever drives the client
        // after a call has come back to it: one quiet while is what counts.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = pair.totals();
            assert!(pair.client.next_push(Duration::from_millis(100)).is_none());
            if pair.totals() == before {
                break;
            }
            assert!(Instant::now() < deadline, "still at work: {before:?}");
        }
    });
}
