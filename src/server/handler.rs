//! The application's side of a server.

use crate::close::CloseReason;
use crate::protocol::Protocol;
use crate::server::{Peer, Responder};

/// What an application does with what its clients say.
///
/// All methods are called by the server's loop, one after the other: a handler needs no locks, and
/// what takes long belongs on another thread (a [`Responder`] and a [`Peer`] can go there).
///
/// A panic in a handler closes the peer whose message it was over, is counted, and leaves the
/// server running.
pub trait Handler<P: Protocol>: Send + 'static {
    /// A client has said hello. Nothing of it was handled before.
    fn connected(&mut self, peer: &Peer<P>) {
        let _ = peer;
    }

    /// A client has sent an event.
    fn event(&mut self, peer: &Peer<P>, event: P::Event);

    /// A client waits for an answer.
    fn request(&mut self, peer: &Peer<P>, request: P::Request, responder: Responder<P>);

    /// A client is gone. Nothing of it will be handled any more.
    fn disconnected(&mut self, peer: &Peer<P>, reason: &CloseReason) {
        let _ = (peer, reason);
    }
}
