//! The client in a poll of the application's own.

use std::fmt;
use std::time::Duration;

use mio::event::Event;

use crate::ambient;
use crate::client::Client;
use crate::client::driver::Driver;
use crate::client::error::CloseError;
use crate::client::shared::Status;
use crate::event_loop::time_left;
use crate::protocol::Protocol;
use crate::spin::Looking;

/// A client without a thread, driven by a poll of the application's own. From
/// [`ClientBuilder::embed`](crate::ClientBuilder::embed).
///
/// Each round: poll for at most [`timeout`](EmbeddedClient::timeout), hand over the events, then
/// call [`turn`](EmbeddedClient::turn) once. On the thread of that loop, use what does not block:
/// [`Client::send`], [`Client::start`], and [`Client::next_push`] with a timeout of zero. To end,
/// [`Client::begin_close`], then go on until [`is_closed`](EmbeddedClient::is_closed).
#[must_use = "the client does nothing unless it is driven"]
pub struct EmbeddedClient<P: Protocol> {
    driver: Driver<P>,
    client: Client<P>,
    ready: bool,
}

impl<P: Protocol> EmbeddedClient<P> {
    pub(crate) fn new(driver: Driver<P>, client: Client<P>) -> Self {
        Self {
            driver,
            client,
            ready: true,
        }
    }

    /// The client, as any thread can use it.
    #[must_use]
    pub fn client(&self) -> Client<P> {
        self.client.clone()
    }

    /// How long the next poll may take; `None` for as long as it likes.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        if self.ready {
            return Some(Duration::ZERO);
        }
        time_left(self.driver.deadline(ambient::now()))
    }

    /// Takes note of an event. Events of other sources are ignored.
    pub fn handle_event(&mut self, event: &Event) {
        self.ready |= event.token() == self.driver.token();
        self.driver.handle_event(event);
    }

    /// As [`handle_event`](EmbeddedClient::handle_event), for a simulation that makes its own
    /// readiness: nothing more will come than what has.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn handle_end(&mut self) {
        self.driver.handle_end();
    }

    /// What a caller does before it sleeps, for a simulation of those who spin. True if a turn has to
    /// follow; if not, [`timeout`](EmbeddedClient::timeout) is to be asked again.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn look(&mut self) -> bool {
        self.driver.look() == crate::spin::Look::Came
    }

    /// Does what can be done now. To be called once after each poll.
    pub fn turn(&mut self) {
        self.ready = false;
        self.client.running.shared.bell.before_turn();
        self.driver.turn(ambient::now());
    }

    /// As [`Client::close`], without waiting: on the thread that drives the client that would be
    /// for ever. Done once [`close_result`](EmbeddedClient::close_result) has something to say.
    pub fn begin_close(&self, timeout: Duration) {
        self.client.running.shared.begin_close(timeout);
    }

    /// What [`Client::close`] would return; `None` while the client is not closed.
    #[must_use]
    pub fn close_result(&self) -> Option<Result<(), CloseError>> {
        match &self.client.running.shared.outgoing().status {
            Status::Closed(result) => Some(result.clone()),
            _ => None,
        }
    }

    /// Whether the client was closed: this value may be dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.driver.is_closed()
    }
}

impl<P: Protocol> fmt::Debug for EmbeddedClient<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedClient({})", self.client.state())
    }
}
