//! The server in a poll of the application's own.

use std::time::Duration;

use mio::event::Event;

use crate::ambient;
use crate::endpoint::Endpoint;
use crate::event_loop::time_left;
use crate::protocol::Protocol;
use crate::server::engine::Engine;
use crate::server::handle::ServerHandle;
use crate::server::handler::Handler;

/// A server without a thread, driven by a poll of the application's own. From
/// [`ServerBuilder::embed`](crate::ServerBuilder::embed).
///
/// Each round: poll for at most [`timeout`](EmbeddedServer::timeout), hand over the events, then
/// call [`turn`](EmbeddedServer::turn) once.
#[must_use = "the server does nothing unless it is driven"]
pub struct EmbeddedServer<P: Protocol, H: Handler<P>> {
    engine: Engine<P, H>,
    handle: ServerHandle<P>,
    endpoints: Vec<Endpoint>,
    /// Ends those who wait in `shutdown` when this value goes.
    _stopped: Box<dyn Send>,
}

impl<P: Protocol, H: Handler<P>> EmbeddedServer<P, H> {
    pub(crate) fn new(
        engine: Engine<P, H>,
        handle: ServerHandle<P>,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        let stopped = Box::new(handle.stopped_guard());
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

    /// How long the next poll may take; `None` for as long as it likes.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        time_left(self.engine.deadline(ambient::now()))
    }

    /// Takes note of an event. Events of other sources are ignored.
    pub fn handle_event(&mut self, event: &Event) {
        self.engine.handle_event(event);
    }

    /// Does what can be done now. To be called once after each poll.
    pub fn turn(&mut self) {
        self.engine.turn(ambient::now());
    }

    /// Whether a handle has shut the server down: it may be dropped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.engine.is_stopped()
    }
}
