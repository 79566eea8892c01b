//! wayside connects the processes of one host.

mod ambient;
pub mod backend;
mod client;
mod close;
#[cfg(feature = "conformance")]
pub mod conformance;
mod counters;
mod decode;
mod endpoint;
mod envelope;
mod event_loop;
mod fork;
mod frame;
#[cfg(feature = "internals")]
mod fuzzing;
mod hello;
mod identity;
mod inbox;
mod limits;
mod outbox;
mod protocol;
mod server;
mod session;
mod sync;
mod timers;
mod transport;
mod wire;

pub use client::{
    CallError, Client, ClientBuilder, ClientState, CloseError, ConnectError, ConnectFailures,
    EmbeddedClient, NotConnected, Pending, SendError,
};
pub use close::{CloseReason, ProtocolId};
pub use counters::{ClientCounters, Closed, ServerCounters};
pub use endpoint::{Endpoint, EndpointError};
pub use envelope::Failure;
pub use identity::PeerId;
pub use limits::{Limits, LimitsError};
pub use protocol::{NAME_LEN_MAX, Never, Protocol};
pub use server::{
    BindError, Broadcast, EmbeddedServer, Handler, Peer, PeerKey, PushError, ReplyError, Responder,
    Server, ServerBuilder, ServerHandle, ServerThread,
};
pub use transport::Transport;

/// The pure inner parts, for this project's own simulation, fuzzing and benches.
///
/// Not covered by any promise: it may change with any release.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use crate::ambient::simulated;
    pub use crate::client::Flushing;
    pub use crate::decode::*;
    pub use crate::envelope::*;
    pub use crate::fuzzing::*;
    pub use crate::hello::*;
    pub use crate::inbox::*;
    pub use crate::outbox::*;
    pub use crate::server::Holdings;
    pub use crate::session::*;

    /// Lengths and boundaries.
    pub mod frame {
        pub use crate::frame::*;
    }
}
