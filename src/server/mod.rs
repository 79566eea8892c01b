//! The server: takes the messages of many clients on any number of endpoints.
//!
//! ```text
//!   builder    where to listen, within which limits
//!   engine     the loop: all sessions, on one thread; calls the application's Handler
//!   listening  accepts, and tries again when it can't
//!   peer       one client, as any thread can talk to it
//!   responder  the duty to answer one request
//!   handle     the server, as any thread can talk to it
//!   embedded   the loop in a poll of the application's own
//! ```

mod attention;
mod builder;
mod control;
mod embedded;
mod engine;
mod handle;
mod handler;
mod listening;
mod peer;
mod responder;

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::ambient;
use crate::endpoint::Endpoint;
use crate::event_loop::EventLoop;
use crate::protocol::Protocol;
use crate::spin::{Looking, Spinner, Spun, spin};

pub use builder::{BindError, ServerBuilder};
pub use embedded::EmbeddedServer;
#[cfg(feature = "internals")]
pub use engine::Holdings;
pub use handle::{Broadcast, ServerHandle, ServerThread};
pub use handler::Handler;
pub use peer::{Peer, PeerKey, PushError, ReplyError};
pub use responder::Responder;

use engine::Engine;
use handle::StoppedGuard;

/// A server that is bound and not yet running.
///
/// From [`Server::builder`]. It listens from the moment it is bound: clients that come before it
/// runs wait. Dropping it gives its names back.
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
/// let server = Server::builder().listen(place.clone()).bind(Shouter)?;
/// let place = place.at(server.endpoints()[0].address());
/// let server = server.spawn()?;
///
/// let client = Client::<Shouting>::builder().transport(place);
/// let client = client.connect(Duration::from_secs(5))?;
/// server.broadcast(&"dinner".to_owned());
/// assert_eq!(client.next_push(Duration::from_secs(5)).as_deref(), Some("dinner"));
///
/// client.close(Duration::from_secs(5))?;
/// assert!(server.shutdown(Duration::from_secs(5)), "a client was cut off");
/// assert_eq!(server.counters().pushes, 1);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a server that does not run answers nobody"]
pub struct Server<P: Protocol, H: Handler<P> = Unset> {
    event_loop: EventLoop,
    engine: Engine<P, H>,
    spinner: Spinner,
    handle: ServerHandle<P>,
    endpoints: Vec<Endpoint>,
    /// The last to go: tells those who wait for the end.
    _stopped: StoppedGuard,
}

impl<P: Protocol> Server<P, Unset> {
    /// Starts to describe a server.
    pub fn builder() -> ServerBuilder<P> {
        ServerBuilder::new()
    }
}

/// Stands for the handler of a server that has none yet: it has no values.
#[derive(Debug)]
pub enum Unset {}

impl<P: Protocol> Handler<P> for Unset {
    fn event(&mut self, _: &Peer<P>, _: P::Event) {
        match *self {}
    }

    fn request(&mut self, _: &Peer<P>, _: P::Request, _: Responder<P>) {
        match *self {}
    }
}

impl<P: Protocol, H: Handler<P>> Server<P, H> {
    /// Where the server listens, as it turned out: with the port that the system chose, say.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// To talk to the server from other threads, and to stop it.
    #[must_use]
    pub fn handle(&self) -> ServerHandle<P> {
        self.handle.clone()
    }

    /// Serves on this thread until a handle shuts it down.
    ///
    /// # Errors
    /// The system's poll failed. That is a bug or the end of the system's memory.
    pub fn run(mut self) -> io::Result<()> {
        while !self.engine.is_stopped() {
            let now = ambient::now();
            let deadline = self.engine.deadline(now);
            if !self.spin(deadline, now)? {
                let (engine, event_loop) = (&mut self.engine, &mut self.event_loop);
                self.spinner
                    .sleep(event_loop, deadline, |event| engine.handle_event(event))?;
            }
            self.engine.turn(ambient::now());
        }
        Ok(())
    }

    /// Whoever got an answer may have the next request ready at once: waits for it awake, for a
    /// moment. True if something has come.
    fn spin(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<bool> {
        let Some(sent_len) = self.engine.answered_len() else {
            return Ok(false);
        };
        let Some(mut spell) = self.spinner.begin(now, sent_len) else {
            return Ok(false);
        };
        // What other threads want shows in the poll.
        let (engine, event_loop) = (&mut self.engine, &mut self.event_loop);
        let spun = spin(engine, event_loop, &mut spell, deadline, || false)?;
        let came = spun == Spun::Came;
        self.spinner.ended(&spell, came, ambient::now());
        Ok(came)
    }

    /// Serves on a thread of its own until the returned value is dropped or shut down.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn spawn(self) -> io::Result<ServerThread<P>>
    where
        P: Protocol,
    {
        let handle = self.handle();
        let endpoints = self.endpoints.clone();
        let builder = thread::Builder::new().name("wayside-server".to_owned());
        let thread = builder.spawn(move || self.run())?;
        Ok(ServerThread::new(handle, endpoints, thread))
    }
}

impl<P: Protocol, H: Handler<P>> fmt::Debug for Server<P, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

/// The longest that a deadline is taken to lie ahead.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long a dropped [`ServerThread`] lets its peers finish.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);
