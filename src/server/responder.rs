//! The duty to answer one request.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use crate::envelope::Failure;
use crate::protocol::Protocol;
use crate::server::peer::{PeerShared, ReplyError};

/// The duty to answer one request: now, or later from any thread.
///
/// Dropped without an answer, it tells the client so.
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
    /// # Errors
    /// See [`ReplyError`]. The client got no reply.
    pub fn reply(mut self, reply: &P::Reply) -> Result<(), ReplyError> {
        // A panic while the reply is encoded lets go of the responder unanswered.
        let result = self.peer.answer(self.id, Ok(reply));
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
