//! The application's side of a server.

use crate::close::CloseReason;
use crate::encoded::{Encoded, Undecodable};
use crate::identity::PeerId;
use crate::protocol::Protocol;
use crate::server::{Peer, Responder};

/// What an application does with what its clients say.
///
/// All methods are called by the server's loop, one after the other: a handler needs no locks, and
/// what takes long belongs on another thread (a [`Responder`] and a [`Peer`] can go there).
///
/// ```
/// use wayside::{CloseReason, Handler, Never, Peer, Protocol, Responder};
///
/// struct Door;
///
/// impl Protocol for Door {
///     const NAME: &'static str = "door";
///     const VERSION: u32 = 1;
///     type Event = String;
///     type Request = String;
///     type Reply = bool;
///     type Push = Never;
/// }
///
/// struct Guests(Vec<String>);
///
/// impl Handler<Door> for Guests {
///     fn event(&mut self, _peer: &Peer<Door>, name: String) {
///         self.0.push(name);
///     }
///
///     fn request(&mut self, _peer: &Peer<Door>, name: String, responder: Responder<Door>) {
///         // Who has gone meanwhile needs no answer; the server counts it.
///         responder.reply(&self.0.contains(&name)).ok();
///     }
///
///     fn disconnected(&mut self, peer: &Peer<Door>, reason: &CloseReason) {
///         println!("{peer:?} has left: {reason}");
///     }
/// }
/// ```
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

    /// A client has sent an event, which is not decoded yet. To be overridden instead of
    /// [`event`](Handler::event) by a handler that wants to borrow from it: see [`Encoded`].
    ///
    /// # Errors
    /// It can't be decoded, or the handler takes it for nonsense: the client is closed.
    fn event_encoded(
        &mut self,
        peer: &Peer<P>,
        event: Encoded<'_, P::Event>,
    ) -> Result<(), Undecodable> {
        self.event(peer, event.decode()?);
        Ok(())
    }

    /// A client waits for an answer to something that is not decoded yet. To be overridden instead
    /// of [`request`](Handler::request) by a handler that wants to borrow from it: see [`Encoded`].
    ///
    /// # Errors
    /// It can't be decoded, or the handler takes it for nonsense: the client is closed.
    fn request_encoded(
        &mut self,
        peer: &Peer<P>,
        request: Encoded<'_, P::Request>,
        responder: Responder<P>,
    ) -> Result<(), Undecodable> {
        self.request(peer, request.decode()?, responder);
        Ok(())
    }

    /// A client is gone. Nothing of it will be handled any more.
    fn disconnected(&mut self, peer: &Peer<P>, reason: &CloseReason) {
        let _ = (peer, reason);
    }

    /// Someone came to `transport` and never became a client: it speaks another version, say, may not
    /// come in, did not say hello in time, or found the server full. What the system vouches for about
    /// it is in `who`, as far as that was known by then.
    ///
    /// Not called for those that say nothing and leave; over TCP it is, as that is what a client with
    /// another key does. The same is logged at level debug.
    fn refused(&mut self, transport: &str, who: &PeerId, reason: &CloseReason) {
        let _ = (transport, who, reason);
    }
}
