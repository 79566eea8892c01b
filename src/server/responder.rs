//! The duty to answer one request.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::Failure;
use crate::protocol::Protocol;
use crate::server::peer::{PeerShared, ReplyError};

/// The duty to answer one request: now, or later from any thread.
///
/// Dropped without an answer, it tells the client so.
///
/// ```
/// # use std::time::Duration;
/// # use wayside::{Client, Handler, Never, Peer, Protocol, Responder, Server, Transport};
/// # struct Sums;
/// # impl Protocol for Sums {
/// #     const NAME: &'static str = "sums";
/// #     const VERSION: u32 = 1;
/// #     type Event = Never;
/// #     type Request = u64;
/// #     type Reply = u64;
/// #     type Push = Never;
/// # }
/// struct Adder;
///
/// impl Handler<Sums> for Adder {
/// #     fn event(&mut self, _: &Peer<Sums>, event: Never) {
/// #         match event {}
/// #     }
///     fn request(&mut self, _peer: &Peer<Sums>, up_to: u64, responder: Responder<Sums>) {
///         // It may take a while: not on the server's thread.
///         std::thread::spawn(move || {
///             if responder.is_wanted() {
///                 responder.reply(&(0..=up_to).sum()).ok();
///             }
///         });
///     }
/// }
/// # #[cfg(feature = "tcp")] {
/// # let folder = tempfile::tempdir()?;
/// # let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
/// # let place = Transport::new(tcp, "127.0.0.1:0");
/// # let server = Server::builder().listen(place.clone()).bind(Adder)?.spawn()?;
/// # let place = place.at(server.endpoints()[0].address());
/// # let client = Client::<Sums>::builder().transport(place).connect(Duration::from_secs(5))?;
/// assert_eq!(client.call(&100, Duration::from_secs(5))?, 5050);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the client waits for an answer"]
pub struct Responder<P> {
    peer: Arc<PeerShared>,
    id: u64,
    deadline: Instant,
    answered: bool,
    protocol: PhantomData<fn() -> P>,
}

impl<P> Responder<P> {
    pub(crate) fn new(peer: Arc<PeerShared>, id: u64, deadline: Instant) -> Self {
        Self {
            peer,
            id,
            deadline,
            answered: false,
            protocol: PhantomData,
        }
    }

    /// When the client stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the client still waits. Worth asking before long work.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.peer.waits_for(self.id)
    }
}

impl<P: Protocol> Responder<P> {
    /// Answers. Never blocks.
    ///
    /// In a handler there is always room for the answer to the request at hand: a client is not
    /// listened to while much waits for it. Whoever answers many requests later, by long replies,
    /// should do so with [`reply_within`](Responder::reply_within).
    ///
    /// # Errors
    /// See [`ReplyError`]. The client got no reply.
    pub fn reply(mut self, reply: &P::Reply) -> Result<(), ReplyError> {
        // A panic while the reply is encoded lets go of the responder unanswered.
        let result = self.peer.answer(self.id, Ok(reply));
        self.answered = true;
        result
    }

    /// Answers in step with the client: as long as much waits for it, this waits for room, at most
    /// for `timeout`. It does not wait within a turn of a loop, as in a handler.
    ///
    /// # Errors
    /// See [`ReplyError`]. The client got no reply.
    pub fn reply_within(mut self, reply: &P::Reply, timeout: Duration) -> Result<(), ReplyError> {
        let result = self.peer.reply_within(self.id, reply, timeout);
        self.answered = true;
        result
    }
}

impl<P> Drop for Responder<P> {
    fn drop(&mut self) {
        if !self.answered {
            // That nobody waits any more is no news here.
            self.peer
                .answer::<()>(self.id, Err(Failure::Unanswered))
                .ok();
        }
    }
}

impl<P> fmt::Debug for Responder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder(call {} of {})", self.id, self.peer.key())
    }
}
