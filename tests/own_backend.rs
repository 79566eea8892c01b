//! A backend of the application's own that panics or lies costs one connection, and neither the thread
//! that drives nor the client or server.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use support::*;
use tempfile::TempDir;
use wayside::backend::{Backend, Capabilities, Link, Listener, Tcp};
use wayside::{Client, Limits, PeerId, Server, Spin, Transport};

/// What shall panic, as often as is left.
#[derive(Clone, Default)]
struct Fuse {
    connect: Arc<AtomicUsize>,
    accept: Arc<AtomicUsize>,
    recv: Arc<AtomicUsize>,
    send: Arc<AtomicUsize>,
    drop: Arc<AtomicUsize>,
    /// Not a panic: it says that it has read or written more than it can have.
    lie: Arc<AtomicUsize>,
}

fn burns(left: &AtomicUsize) -> bool {
    let less = |left: usize| left.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

fn burn(left: &AtomicUsize, what: &str) {
    assert!(!burns(left), "the test's backend panics in {what}");
}

/// TCP, but it panics when it is told to.
struct Panicking {
    tcp: Tcp,
    client: Fuse,
    server: Fuse,
}

impl Backend for Panicking {
    fn capabilities(&self) -> Capabilities {
        self.tcp.capabilities()
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = self.tcp.bind(address)?;
        let fuse = self.server.clone();
        Ok(Box::new(PanickingListener { listener, fuse }))
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        burn(&self.client.connect, "connect");
        let link = self.tcp.connect(address)?;
        let fuse = self.client.clone();
        Ok(Box::new(PanickingLink { link, fuse }))
    }
}

struct PanickingListener {
    listener: Box<dyn Listener>,
    fuse: Fuse,
}

impl Listener for PanickingListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        burn(&self.fuse.accept, "accept");
        let link = self.listener.accept()?;
        let fuse = self.fuse.clone();
        Ok(Box::new(PanickingLink { link, fuse }))
    }

    fn address(&self) -> String {
        self.listener.address()
    }
}

impl Source for PanickingListener {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.listener.register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.listener.reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}

struct PanickingLink {
    link: Box<dyn Link>,
    fuse: Fuse,
}

impl Link for PanickingLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        burn(&self.fuse.recv, "recv");
        if burns(&self.fuse.lie) {
            return Ok(buffer.len() + 1);
        }
        self.link.recv(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        burn(&self.fuse.send, "send");
        if burns(&self.fuse.lie) {
            return Ok(bytes.len() + 1);
        }
        self.link.send(bytes)
    }

    fn peer(&self) -> PeerId {
        self.link.peer()
    }
}

impl Source for PanickingLink {
    fn register(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.link.register(registry, token, on)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, on: Interest) -> io::Result<()> {
        self.link.reregister(registry, token, on)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.link.deregister(registry)
    }
}

impl Drop for PanickingLink {
    fn drop(&mut self) {
        burn(&self.fuse.drop, "drop");
    }
}

/// A server with this backend, and a client that comes back quickly.
fn scene(client: &Fuse, server: &Fuse) -> (Serving, Client<Chat>, TempDir) {
    let folder = private_folder();
    let backend = Panicking {
        tcp: Tcp::new(folder.path().join("key")),
        client: client.clone(),
        server: server.clone(),
    };
    let transport = Transport::new(backend, "127.0.0.1:0");
    let recorder = Recorder::default();
    let server = Server::builder().listen(transport.clone());
    let server = server.bind(recorder.clone()).unwrap().spawn().unwrap();
    let serving = Serving {
        transport: transport.at(server.endpoints()[0].address()),
        server,
        recorder,
        spin: Spin::default(),
    };
    let limits = Limits {
        reconnect_delay_min: Duration::from_millis(1),
        ..hasty()
    };
    let client = serving.builder().limits(limits).connect(PATIENCE).unwrap();
    (serving, client, folder)
}

/// Waits until it has another connection than those so far, which works.
fn is_back(client: &Client<Chat>, opened: u64) {
    eventually("the client is back", || {
        client.counters().opened > opened
            && client.call(&Ask::Echo(String::new()), PATIENCE).is_ok()
    });
}

#[test]
fn a_backend_that_panics_costs_a_connection_and_not_the_client() {
    let _watchdog = Watchdog::new();
    let fuse = Fuse::default();
    fuse.connect.store(2, Ordering::SeqCst);
    let (_serving, client, _folder) = scene(&fuse, &Fuse::default());
    for (recv, dropped) in [(1, 0), (1, 1), (3, 2)] {
        let opened = client.counters().opened;
        fuse.recv.store(recv, Ordering::SeqCst);
        fuse.drop.store(dropped, Ordering::SeqCst);
        // It makes the client read, by a caller that drives or by the background thread.
        client.call(&Ask::Echo(String::new()), PATIENCE).ok();
        is_back(&client, opened);
    }
    // Neither is whoever sends the one to panic; and one write that has failed is enough.
    for what in [&fuse.send, &fuse.lie] {
        let opened = client.counters().opened;
        what.store(1, Ordering::SeqCst);
        client.send(&note(1)).unwrap();
        is_back(&client, opened);
    }
    client.close(PATIENCE).unwrap();
}

#[test]
fn a_backend_that_panics_costs_a_connection_and_not_the_server() {
    let _watchdog = Watchdog::new();
    let fuse = Fuse::default();
    let (serving, client, _folder) = scene(&Fuse::default(), &fuse);
    let opened = || client.counters().opened;
    for what in [&fuse.recv, &fuse.send, &fuse.lie] {
        let before = opened();
        what.store(1, Ordering::SeqCst);
        client.call(&Ask::Echo(String::new()), PATIENCE).ok();
        is_back(&client, before);
    }
    // Whoever pushes is not the one to panic either.
    let before = opened();
    fuse.send.store(1, Ordering::SeqCst);
    serving.server.broadcast(&String::new());
    is_back(&client, before);
    for what in [&fuse.drop, &fuse.accept] {
        let before = opened();
        what.store(1, Ordering::SeqCst);
        serving.server.peers()[0].close();
        is_back(&client, before);
    }
    let counters = serving.server.counters();
    assert_eq!(counters.accept_failures, 1);
    // On a slow machine a client may also give up an attempt, which is seen as a failed link.
    assert!(
        counters.closed.for_reason("link_failed") >= 4,
        "{counters:?}"
    );
    client.close(PATIENCE).unwrap();
    assert!(serving.server.shutdown(PATIENCE));
}
