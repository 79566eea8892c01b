//! A backend of the application's own that panics costs one connection, and neither the thread that
//! drives nor the client.
#![cfg(feature = "tcp")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use support::*;
use wayside::backend::{Backend, Capabilities, Link, Listener, Tcp};
use wayside::{Limits, PeerId, Server, Transport};

/// What shall panic, as often as is left.
#[derive(Clone, Default)]
struct Fuse {
    connect: Arc<AtomicUsize>,
    recv: Arc<AtomicUsize>,
    drop: Arc<AtomicUsize>,
}

fn burn(left: &AtomicUsize, what: &str) {
    let burnt = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    });
    assert!(burnt.is_err(), "the test's backend panics in {what}");
}

/// TCP, but its client's side panics when it is told to.
struct Panicking {
    tcp: Tcp,
    fuse: Fuse,
}

impl Backend for Panicking {
    fn capabilities(&self) -> Capabilities {
        self.tcp.capabilities()
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.tcp.bind(address)
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        burn(&self.fuse.connect, "connect");
        let link = self.tcp.connect(address)?;
        let fuse = self.fuse.clone();
        Ok(Box::new(PanickingLink { link, fuse }))
    }
}

struct PanickingLink {
    link: Box<dyn Link>,
    fuse: Fuse,
}

impl Link for PanickingLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        burn(&self.fuse.recv, "recv");
        self.link.recv(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
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

#[test]
fn a_backend_that_panics_costs_a_connection_and_not_the_client() {
    let _watchdog = Watchdog::new();
    let folder = private_folder();
    let fuse = Fuse::default();
    let backend = Panicking {
        tcp: Tcp::new(folder.path().join("key")),
        fuse: fuse.clone(),
    };
    let place = Transport::new(backend, "127.0.0.1:0");
    let server = Server::builder().listen(place.clone());
    let server = server.bind(Recorder::default()).unwrap().spawn().unwrap();
    let place = place.at(server.endpoints()[0].address());

    fuse.connect.store(2, Ordering::SeqCst);
    let builder = wayside::Client::<Chat>::builder().transport(place);
    let limits = Limits {
        reconnect_delay_min: std::time::Duration::from_millis(1),
        ..hasty()
    };
    let client = builder.limits(limits).connect(PATIENCE).unwrap();
    for (recv, dropped) in [(1, 0), (1, 1), (3, 2)] {
        let opened = client.counters().opened;
        fuse.recv.store(recv, Ordering::SeqCst);
        fuse.drop.store(dropped, Ordering::SeqCst);
        // It makes the client read, by a caller that drives or by the background thread.
        client.call(&Ask::Echo(String::new()), PATIENCE).ok();
        eventually("the client is back", || {
            client.counters().opened > opened
                && client.call(&Ask::Echo(String::new()), PATIENCE).is_ok()
        });
    }
    client.close(PATIENCE).unwrap();
}
