//! The client: one lasting connection to a server, whatever happens to it.
//!
//! ```text
//!   builder   where to connect, within which limits, what to do with pushes
//!   shared    the way out, the open calls and the status, for all threads
//!   calls     who waits for which answer
//!   driver    connects, reads, writes, keeps time: one connection after the other
//!   duty      which thread drives: whoever waits, else one in the background
//!   engine    what that thread drives: the poll, and the driver with it
//!   bell      how other threads get the attention of that one
//!   wait      waiting for the end of a call, blocking or as a future
//!   embedded  the driver in a poll of the application's own
//! ```

mod backoff;
mod bell;
mod builder;
mod calls;
mod driver;
mod duty;
mod embedded;
mod engine;
mod error;
mod pushes;
mod running;
mod shared;
mod state;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ambient;
use crate::counters::ClientCounters;
use crate::outbox::Lane;
use crate::protocol::Protocol;

pub use builder::ClientBuilder;
pub use embedded::EmbeddedClient;
pub use error::{
    CallError, CloseError, ConnectError, ConnectFailures, NotConnected, SendAllError, SendError,
};
pub use state::ClientState;
#[cfg(feature = "internals")]
pub use wait::Flushing;
pub use wait::Pending;

use running::Running;
use shared::TIMEOUT_MAX;

/// A lasting connection to a server: cheap to clone, usable from all threads at once.
///
/// It connects again by itself when the connection is lost. Events that were not yet written then
/// wait for the next one; calls end with an error that says whether they may have run.
///
/// When the last clone is dropped, the client says goodbye and gives what it has still to send a
/// second to leave; [`close`](Client::close) does the same with a time of your own and says what
/// came of it. Within a callback, a handler or a waker nobody waits for that: it goes on in the
/// background. After a fork the child's clones are another client, with a connection of its own.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use wayside::{Client, Handler, Never, Peer, Protocol, Responder, Server, Transport};
/// # struct Shouting;
/// # impl Protocol for Shouting {
/// #     const NAME: &'static str = "shouting";
/// #     const VERSION: u32 = 1;
/// #     type Event = String;
/// #     type Request = String;
/// #     type Reply = String;
/// #     type Push = String;
/// # }
/// # struct Shouter;
/// # impl Handler<Shouting> for Shouter {
/// #     fn event(&mut self, _: &Peer<Shouting>, _: String) {}
/// #     fn request(&mut self, _: &Peer<Shouting>, text: String, responder: Responder<Shouting>) {
/// #         responder.reply(&text.to_uppercase()).ok();
/// #     }
/// # }
/// # use std::time::Duration;
/// # #[cfg(feature = "tcp")] {
/// # let folder = tempfile::tempdir()?;
/// # let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
/// # let place = Transport::new(tcp, "127.0.0.1:0");
/// # let server = Server::builder().listen(place.clone()).bind(Shouter)?.spawn()?;
/// # let place = place.at(server.endpoints()[0].address());
/// let patience = Duration::from_secs(5);
/// let client = Client::<Shouting>::builder().transport(place).connect(patience)?;
///
/// // An event: never blocks, wants no answer.
/// client.send(&"hello".to_owned())?;
/// // A call: blocks until the reply is there.
/// assert_eq!(client.call(&"hello".to_owned(), patience)?, "HELLO");
///
/// client.flush(patience)?;
/// assert_eq!(client.counters().events_acknowledged, 1);
/// client.close(patience)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client<P: Protocol> {
    running: Arc<Running<P>>,
}

impl<P: Protocol> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            running: Arc::clone(&self.running),
        }
    }
}

impl<P: Protocol> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.state())
    }
}

impl<P: Protocol> Client<P> {
    /// Starts to describe a client.
    pub fn builder() -> ClientBuilder<P> {
        ClientBuilder::new()
    }

    /// Sends an event. Never blocks: what can't leave at once waits, up to
    /// [`Limits::outbox_len_max`](crate::Limits::outbox_len_max), also without a connection.
    ///
    /// An event is handled by the server once or not at all. It is lost only with a connection
    /// that breaks while it is on its way, and then it is counted in
    /// [`ClientCounters::events_in_doubt`]. [`flush`](Client::flush) makes sure.
    ///
    /// # Errors
    /// See [`SendError`]. The event was not taken.
    pub fn send(&self, event: &P::Event) -> Result<(), SendError> {
        self.running.current().shared.send(Lane::Bulk, event)
    }

    /// Sends an event in step with the server: as long as much waits to be sent, this waits for
    /// room, at most for `timeout`. For whoever has a lot to say and nothing better to do: it goes
    /// as fast as the server takes it, and most of the outbox stays free for those who
    /// [`send`](Client::send).
    ///
    /// What makes room must go on meanwhile: within a turn of a loop, as in a handler of a server,
    /// this does not wait; and a client that lives in a loop of the application's own gets room by
    /// that loop's turns only.
    ///
    /// # Errors
    /// As [`send`](Client::send); [`SendError::Full`] if there is no room when the time is over.
    pub fn send_within(&self, event: &P::Event, timeout: Duration) -> Result<(), SendError> {
        self.running.current().shared.send_within(timeout, event)
    }

    /// Sends many events, in order and in step with the server as [`send_within`](Client::send_within)
    /// does. Short ones cost a sixth less so. Events of other threads may come in between.
    ///
    /// The timeout is for all of them. Once it is over this goes on without waiting, as
    /// [`send`](Client::send), until there is no room left.
    ///
    /// ```
    /// # use wayside::{Client, Never, Protocol, SendAllError, SendError};
    /// # use std::time::Duration;
    /// # struct Meter;
    /// # impl Protocol for Meter {
    /// #     const NAME: &'static str = "meter";
    /// #     const VERSION: u32 = 1;
    /// #     type Event = f64;
    /// #     type Request = Never;
    /// #     type Reply = Never;
    /// #     type Push = Never;
    /// # }
    /// /// Keeps what finds no room now for the next time.
    /// fn report(client: &Client<Meter>, readings: &mut Vec<f64>) -> Result<(), SendError> {
    ///     match client.send_all(readings, Duration::from_secs(1)) {
    ///         Err(SendAllError { sent, error: SendError::Full { .. }, .. }) => {
    ///             readings.drain(..sent);
    ///             Ok(())
    ///         }
    ///         result => {
    ///             readings.clear();
    ///             result.map_err(|error| error.error)
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Of the first event that was not taken, as [`send_within`](Client::send_within), and how many were
    /// taken before it. Of none there is none, also once the client is closed.
    ///
    /// # Panics
    /// If an event's own `Serialize` does. Those before it are taken.
    pub fn send_all(&self, events: &[P::Event], timeout: Duration) -> Result<(), SendAllError> {
        self.running.current().shared.send_all(timeout, events)
    }

    /// Sends an event that overtakes everything that waits and is not urgent.
    ///
    /// # Errors
    /// See [`SendError`]. The event was not taken.
    pub fn send_urgent(&self, event: &P::Event) -> Result<(), SendError> {
        self.running.current().shared.send(Lane::Urgent, event)
    }

    /// Sends a request and blocks until the answer is there, at most for `timeout`.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::may_have_run`] says whether trying again is safe.
    pub fn call(&self, request: &P::Request, timeout: Duration) -> Result<P::Reply, CallError> {
        let running = self.running.current();
        let (id, deadline) = running.shared.begin(request, timeout)?;
        wait::block(&running.shared, running.duty.as_deref(), id, deadline).and_then(wait::reply)
    }

    /// Sends a request. The answer can be waited for, or awaited, in its own time.
    ///
    /// # Errors
    /// See [`CallError`]. The request was not sent.
    pub fn start(&self, request: &P::Request, timeout: Duration) -> Result<Pending<P>, CallError> {
        let running = self.running.current();
        let (id, deadline) = running.shared.begin(request, timeout)?;
        Ok(Pending::new(
            Arc::clone(&running.shared),
            running.duty.clone(),
            id,
            deadline,
        ))
    }

    /// Blocks until the server has handled every event that was sent before, at most for
    /// `timeout`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn flush(&self, timeout: Duration) -> Result<(), CallError> {
        let running = self.running.current();
        let (id, deadline) = running.shared.begin_sync(timeout)?;
        wait::block(&running.shared, running.duty.as_deref(), id, deadline).map(drop)
    }

    /// As [`flush`](Client::flush), for a simulation, which must not block.
    ///
    /// # Errors
    /// See [`CallError`].
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn start_flush(&self, timeout: Duration) -> Result<Flushing<P>, CallError> {
        let running = self.running.current();
        let (id, deadline) = running.shared.begin_sync(timeout)?;
        let shared = Arc::clone(&running.shared);
        let pending = Pending::new(shared, running.duty.clone(), id, deadline);
        Ok(Flushing(pending))
    }

    /// The next push, waiting for it at most for `timeout`. `None` if none came, or none will
    /// because the client was closed or has a callback for pushes.
    pub fn next_push(&self, timeout: Duration) -> Option<P::Push> {
        let deadline = ambient::now() + timeout.min(TIMEOUT_MAX);
        self.running.current().pushes()?.take(Some(deadline))
    }

    /// The pushes as they come. Blocks for each; ends when the client is closed, or at once if it
    /// has a callback for pushes.
    pub fn pushes(&self) -> impl Iterator<Item = P::Push> + '_ {
        std::iter::from_fn(|| self.running.current().pushes()?.take(None))
    }

    /// How things stand.
    #[must_use]
    pub fn state(&self) -> ClientState {
        (&self.running.current().shared.outgoing().status).into()
    }

    /// Blocks until the client is connected, at most for `timeout`.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn wait_connected(&self, timeout: Duration) -> Result<(), ConnectError> {
        self.running.current().shared.wait_connected(timeout)
    }

    /// What the client has done so far.
    #[must_use]
    pub fn counters(&self) -> ClientCounters {
        self.running.current().shared.counters.read()
    }

    /// Takes nothing new, waits until the server has handled everything, says goodbye. Gives up
    /// after `timeout`, also if the client lives in a loop of the application's own that does not turn.
    ///
    /// # Errors
    /// How many events are lost, or may be.
    pub fn close(&self, timeout: Duration) -> Result<(), CloseError> {
        self.begin_close(timeout);
        let running = self.running.current();
        match running.duty {
            Some(_) => running.shared.wait_closed(),
            None => running.shared.wait_closed_by_others(),
        }
    }

    /// What [`close`](Client::close) does, without waiting for it: for loops, which must not
    /// block, and for callbacks. A later `close` says what came of it.
    pub fn begin_close(&self, timeout: Duration) {
        self.running.current().shared.begin_close(timeout);
    }
}
