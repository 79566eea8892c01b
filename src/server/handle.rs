//! The server, as any thread can talk to it.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ambient;
use crate::counters::ServerCounters;
use crate::endpoint::Endpoint;
use crate::fork;
use crate::outbox::Lane;
use crate::protocol::Protocol;
use crate::server::control::{Command, Control};
use crate::server::{DROP_TIMEOUT, Peer, PeerKey, PushError, TIMEOUT_MAX};
use crate::sync::lock;

/// A server, as any thread can talk to it: cheap to clone.
pub struct ServerHandle<P> {
    control: Arc<Control>,
    stopped: Arc<Stopped>,
    /// Of the process that the server runs in.
    generation: u32,
    protocol: PhantomData<fn() -> P>,
}

#[derive(Default)]
struct Stopped {
    done: Mutex<bool>,
    changed: Condvar,
}

impl<P> Clone for ServerHandle<P> {
    fn clone(&self) -> Self {
        Self {
            control: Arc::clone(&self.control),
            stopped: Arc::clone(&self.stopped),
            generation: self.generation,
            protocol: PhantomData,
        }
    }
}

impl<P> fmt::Debug for ServerHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerHandle")
    }
}

impl<P: Protocol> ServerHandle<P> {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self {
            control,
            stopped: Arc::default(),
            generation: fork::generation(),
            protocol: PhantomData,
        }
    }

    /// Sends a message to every client that is there.
    pub fn broadcast(&self, message: &P::Push) -> Broadcast {
        self.broadcast_by(Lane::Bulk, message)
    }

    /// Sends a message to every client that is there, overtaking what is not urgent.
    pub fn broadcast_urgent(&self, message: &P::Push) -> Broadcast {
        self.broadcast_by(Lane::Urgent, message)
    }

    fn broadcast_by(&self, lane: Lane, message: &P::Push) -> Broadcast {
        let mut broadcast = Broadcast::default();
        for shared in self.control.peers() {
            match shared.push(lane, message) {
                Ok(()) => broadcast.sent += 1,
                // It left while we were at it.
                Err(PushError::Gone(_)) => {}
                Err(error) => broadcast.failed.push((shared.key(), error)),
            }
        }
        broadcast
    }

    /// The client of this number, if it is there.
    #[must_use]
    pub fn peer(&self, key: PeerKey) -> Option<Peer<P>> {
        self.control.peer(key).map(Peer::of)
    }

    /// All clients that are there, in the order they came.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer<P>> {
        self.control.peers().into_iter().map(Peer::of).collect()
    }

    /// What the server has done so far.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        self.control.counters.read()
    }

    /// Shuts the server down: it takes no new clients and gives its names back at once, asks its
    /// clients to finish, answers their open calls, and closes whoever is left after `timeout`.
    ///
    /// Waits until that is done. True if every client could finish: then nothing that a client
    /// had handed over was lost. In a forked child, which has a copy of the value but no server, it
    /// does nothing and is false.
    ///
    /// It waits for the server's loop. So a [`Handler`](crate::Handler) must not call it, nor the
    /// thread that drives an [`EmbeddedServer`](crate::EmbeddedServer): for those there is
    /// [`begin_shutdown`](ServerHandle::begin_shutdown).
    pub fn shutdown(&self, timeout: Duration) -> bool {
        if self.generation != fork::generation() {
            return false;
        }
        self.begin_shutdown(timeout);
        let mut done = lock(&self.stopped.done);
        while !*done {
            done = self
                .stopped
                .changed
                .wait(done)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        self.control.unfinished.read() == 0
    }

    /// What [`shutdown`](ServerHandle::shutdown) does, without waiting for it.
    pub fn begin_shutdown(&self, timeout: Duration) {
        if self.generation != fork::generation() {
            return;
        }
        let deadline = ambient::now() + timeout.min(TIMEOUT_MAX);
        self.control.order(Command::Stop { deadline });
    }

    pub(crate) fn stopped_guard(&self) -> StoppedGuard {
        StoppedGuard(Arc::clone(&self.stopped))
    }
}

/// When it goes, it tells those who wait in [`shutdown`](ServerHandle::shutdown): also when the
/// server has never run, or after a panic.
pub(crate) struct StoppedGuard(Arc<Stopped>);

impl Drop for StoppedGuard {
    fn drop(&mut self) {
        *lock(&self.0.done) = true;
        self.0.changed.notify_all();
    }
}

/// What became of a broadcast.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Broadcast {
    /// The clients that it is on its way to.
    pub sent: usize,
    /// The clients that it could not be sent to, and why.
    pub failed: Vec<(PeerKey, PushError)>,
}

/// A server on a thread of its own. Shuts it down when dropped, giving its clients a second.
#[must_use = "dropping it shuts the server down"]
pub struct ServerThread<P: Protocol> {
    handle: ServerHandle<P>,
    endpoints: Vec<Endpoint>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<P: Protocol> ServerThread<P> {
    pub(crate) fn new(
        handle: ServerHandle<P>,
        endpoints: Vec<Endpoint>,
        thread: JoinHandle<io::Result<()>>,
    ) -> Self {
        Self {
            handle,
            endpoints,
            thread: Some(thread),
        }
    }

    /// Where the server listens.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// A handle that can outlive this value.
    #[must_use]
    pub fn handle(&self) -> ServerHandle<P> {
        self.handle.clone()
    }
}

impl<P: Protocol> Deref for ServerThread<P> {
    type Target = ServerHandle<P>;

    fn deref(&self) -> &ServerHandle<P> {
        &self.handle
    }
}

impl<P: Protocol> Drop for ServerThread<P> {
    fn drop(&mut self) {
        if self.handle.generation != fork::generation() {
            // The thread is the parent's: there is nothing to wait for.
            return;
        }
        self.handle.shutdown(DROP_TIMEOUT);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::error!("the server's poll failed: {error}"),
                // Its message went to the panic hook.
                Err(_) => log::error!("the server's thread panicked"),
            }
        }
    }
}

impl<P: Protocol> fmt::Debug for ServerThread<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerThread")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
