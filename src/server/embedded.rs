//! The server in a poll of the application's own.

use std::fmt;
use std::time::Duration;

use mio::event::Event;

use crate::ambient;
use crate::endpoint::Endpoint;
use crate::event_loop::time_left;
use crate::protocol::Protocol;
use crate::server::engine::Engine;
use crate::server::handle::{ServerHandle, StoppedGuard};
use crate::server::handler::Handler;
use crate::spin::Looking;

/// A server without a thread, driven by a poll of the application's own. From
/// [`ServerBuilder::embed`](crate::ServerBuilder::embed).
///
/// Each round: poll for at most [`timeout`](EmbeddedServer::timeout), hand over the events, then
/// call [`turn`](EmbeddedServer::turn) once. To end, [`ServerHandle::begin_shutdown`], then go on
/// until [`is_stopped`](EmbeddedServer::is_stopped).
#[must_use = "the server does nothing unless it is driven"]
pub struct EmbeddedServer<P: Protocol, H: Handler<P>> {
    engine: Engine<P, H>,
    handle: ServerHandle<P>,
    endpoints: Vec<Endpoint>,
    /// The last to go: tells those who wait for the end.
    _stopped: StoppedGuard,
}

impl<P: Protocol, H: Handler<P>> EmbeddedServer<P, H> {
    pub(crate) fn new(
        engine: Engine<P, H>,
        handle: ServerHandle<P>,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        let stopped = handle.stopped_guard();
        Self {
            engine,
            handle,
            endpoints,
            _stopped: stopped,
        }
    }

    /// Where the server listens.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// To talk to the server from other threads, and to stop it.
    #[must_use]
    pub fn handle(&self) -> ServerHandle<P> {
        self.handle.clone()
    }

    /// The handler: it lives on the thread of this loop, so what it has gathered needs no lock.
    #[must_use]
    pub fn handler(&self) -> &H {
        self.engine.handler()
    }

    /// The handler, to be changed between two turns.
    #[must_use]
    pub fn handler_mut(&mut self) -> &mut H {
        self.engine.handler_mut()
    }

    /// How long the next poll may take; `None` for as long as it likes.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        time_left(self.engine.deadline(ambient::now()))
    }

    /// Takes note of an event. Events of other sources are ignored.
    pub fn handle_event(&mut self, event: &Event) {
        self.engine.handle_event(event);
    }

    /// As [`handle_event`](EmbeddedServer::handle_event), for a simulation that makes its own
    /// readiness. `ended` if nothing more will come than what has.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn handle_token(&mut self, token: mio::Token, ended: bool) {
        self.engine.handle_token(token, ended);
    }

    /// What a server does that has just answered, before it sleeps, for a simulation of those who spin.
    /// True if a turn has to follow.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn look(&mut self) -> bool {
        self.engine.answered_len().is_some() && self.engine.look() == crate::spin::Look::Came
    }

    /// What the server holds.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    #[must_use]
    pub fn holdings(&self) -> super::engine::Holdings {
        self.engine.holdings()
    }

    /// Does what can be done now. To be called once after each poll.
    pub fn turn(&mut self) {
        self.engine.turn(ambient::now());
    }

    /// As [`ServerHandle::shutdown`], without waiting: on the thread that drives the server that
    /// would be for ever. Done once [`is_stopped`](EmbeddedServer::is_stopped) says so.
    pub fn begin_shutdown(&self, timeout: Duration) {
        self.handle.begin_shutdown(timeout);
    }

    /// Whether a handle has shut the server down: it may be dropped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.engine.is_stopped()
    }
}

impl<P: Protocol, H: Handler<P>> fmt::Debug for EmbeddedServer<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
