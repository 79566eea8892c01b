//! Transports: how bytes get from one process to another.
//!
//! A backend moves bytes. It never sees a frame, a message or a session: those live above the
//! event loop, which is the only caller of these traits. Everything here is non-blocking and
//! driven by readiness.
//!
//! # The contract
//!
//! Each number is proven by the test of the same number in the `conformance` module (feature
//! `conformance`), which runs for every backend of the platform and is open to backends of your
//! own. [`Backend`], [`Listener`] and [`Link`] hold the prose.

mod capabilities;
#[cfg(feature = "settings")]
pub(crate) mod descriptors;
mod directory;
#[cfg(feature = "fifo")]
mod fifo;
mod finding;
#[cfg(any(
    all(unix, any(feature = "uds", feature = "fifo")),
    all(target_os = "linux", feature = "mqueue")
))]
mod lock_holder;
#[cfg(feature = "mqueue")]
mod mqueue;
#[cfg(all(unix, any(feature = "uds", feature = "fifo")))]
mod name;
#[cfg(any(feature = "uds", feature = "fifo", feature = "mqueue", feature = "tcp"))]
mod table;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "uds")]
mod uds;

use std::io;

use mio::event::Source;

use crate::identity::PeerId;

pub use crate::fork::Guarded;

pub use capabilities::{Capabilities, EndOfPeer, PeerIdentity};
pub use directory::runtime_directory;
#[cfg(feature = "settings")]
pub(crate) use directory::runtime_directory_as_it_is;
#[cfg(feature = "fifo")]
pub use fifo::Fifo;
pub use finding::{About, Finding, Weight};
#[cfg(feature = "mqueue")]
pub use mqueue::{Mqueue, MqueueOptions};
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
#[cfg(feature = "uds")]
pub use uds::Uds;

/// The transport of settings that name none. It depends on the system alone: if it also did on what is in the
/// build, a feature that another crate asks for would move programs from one transport to another.
#[cfg(feature = "settings")]
pub(crate) const DEFAULT_SCHEME: &str = if cfg!(unix) { "uds" } else { "tcp" };

/// A kind of transport: makes listeners and links.
///
/// A value holds what it needs beyond the address (who may connect, where the key lies), so that
/// an address stays one line of text.
///
/// 1. **B1** `connect` to an address that nobody is bound to fails: at once, or by an error from
///    the link's first `recv` or `send` that is not `WouldBlock`.
/// 2. **B2** `bind` to an address that a live listener holds fails with `AddrInUse`, and that
///    listener goes on as if nothing had happened.
/// 3. **B3** Once a listener is dropped its address can be bound again at once, and nothing that
///    it created is left behind.
/// 4. **B4** An address that can't work (malformed, too long) fails with `InvalidInput` from both
///    calls, and the error's text says what is wrong and, for a limit, the limit.
/// 5. **B5** Neither call blocks: a full backlog or a busy instance is `WouldBlock` (where the
///    system can't tell it from B1, that error), and the caller tries again later.
pub trait Backend: Send + Sync + 'static {
    /// What this transport can do on this platform. Constant for the life of the process.
    fn capabilities(&self) -> Capabilities;

    /// Takes the address and listens on it.
    ///
    /// # Errors
    /// See B2, B4 and B5; `Unsupported`, with the reason, where the platform lacks the transport.
    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>>;

    /// Starts to connect. The link may still be on its way when this returns: see [`Link`] 1.
    ///
    /// # Errors
    /// See B1, B4 and B5; `PermissionDenied` when whoever listens there is not to be trusted.
    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>>;

    /// What stands in the way of both, as far as it shows without creating, changing or disturbing
    /// anything: for [`doctor`](crate::doctor). Nothing, unless a backend has something to say.
    fn examine(&self, address: &str) -> Vec<Finding> {
        let _unused = address;
        Vec::new()
    }
}

/// A bound address.
///
/// 1. **A1** `accept` never blocks: with nobody waiting it fails with `WouldBlock`.
/// 2. **A2** Each connect yields exactly one accepted link, joined to exactly that peer.
/// 3. **A3** Once registered, a listener becomes readable when a peer waits, also when it already
///    waited before the registration. Readiness is an edge: the caller accepts until `WouldBlock`.
/// 4. **A4** [`address`](Listener::address) is one that `connect` takes; where the bound address
///    left a choice to the system (TCP port 0), it is what the system chose.
/// 5. **A5** `PermissionDenied`, `ConnectionAborted`, `ConnectionReset` and `Interrupted` from
///    `accept` concern one peer that did not get in: the caller goes on accepting. Any other error
///    (out of descriptors, say) means that the listener can't accept just now: those waiting keep
///    waiting, no further edge is promised, and the caller tries again after a pause.
pub trait Listener: Source + Send {
    /// Takes the next peer that waits.
    ///
    /// # Errors
    /// See A1 and A5.
    fn accept(&mut self) -> io::Result<Box<dyn Link>>;

    /// The bound address.
    fn address(&self) -> String;
}

/// One end of a connection to exactly one peer.
///
/// A dropped link may take its poll to end for its peer: at the next poll, or with the last of what
/// is registered there. A link may belong to the first `mio::Poll` it is registered with, and an accepted one to that of
/// its listener: where the system joins the two for ever, registering it elsewhere fails.
///
/// 1. **L1** Bytes arrive in order, each once, in both directions at the same time, however the
///    calls on either side cut them. A link whose connecting is not finished answers `WouldBlock`
///    until it is, then becomes ready, or fails with the reason.
/// 2. **L2** `recv` with nothing there fails with `WouldBlock`, and so does `send` with no room.
///    Neither blocks. `send` may take a part of the bytes, never none of a non-empty slice.
/// 3. **L3** Once registered (for both interests), a link becomes readable when bytes have come
///    since the last `WouldBlock` of `recv`, and writable when there is room again since the last
///    `WouldBlock` of `send`. Readiness is an edge: the caller goes on until `WouldBlock`, and on
///    any edge, of either kind, tries `recv` and then, if something waits to be sent, `send`. (A
///    handshake below may end inside `recv` on an edge for reading; what `send` had to hold back
///    for it gets no other.) Once `send` has taken something, the caller may register the link
///    again for reading alone, and for both when it waits for room: if there is room by then, that
///    too makes it writable. Readiness without cause is allowed.
/// 4. **L4** When the peer's end is dropped or its process dies, `recv` first gives all bytes that
///    had been sent, then `Ok(0)` or an error, now and for ever, with an edge; `send` fails with
///    an error, if not at once then once the system has noticed. If bytes of ours were left unread
///    there, the last of the peer's may be lost (TCP resets such a connection): an orderly end is
///    agreed upon above. A transport that can't tell says so in [`Capabilities::end_of_peer`], and
///    the session's ping finds out. One that takes bytes before the system has room for them may
///    lose those: how many is [`Capabilities::in_flight_len_max`].
/// 5. **L5** A link's back-pressure, limits and end concern no other link.
/// 6. **L6** [`peer`](Link::peer) is complete once `recv` has given a byte, and what it says was
///    vouched for by the system, never by the peer alone.
/// 7. **L7** Dropping a link releases its descriptors and whatever names it holds. In a forked
///    child a link of the parent is not usable and does not keep the connection open.
/// 8. **L8** `recv` and `send` may be tried at any time and any number of times without an event, also
///    while the connecting is not finished. Such a try costs no edge: what comes after a `WouldBlock`
///    brings one as in L3, whatever was tried before. (What a try has taken need not bring one any
///    more, and some systems move bytes only while somebody polls.)
pub trait Link: Source + Send {
    /// Receives some bytes into `buffer`, which is not empty. `Ok(0)` is the end.
    ///
    /// # Errors
    /// See L2; any error but `WouldBlock` and `Interrupted` is final.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends some of `bytes`, which is not empty, and says how many.
    ///
    /// # Errors
    /// See L2; any error but `WouldBlock` and `Interrupted` is final.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Who is at the other end.
    fn peer(&self) -> PeerId;
}
