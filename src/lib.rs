//! wayside connects the processes of one host.

pub mod backend;
mod client;
mod close;
#[cfg(feature = "conformance")]
pub mod conformance;
mod counters;
mod decode;
mod endpoint;
mod envelope;
mod epoch;
mod event_loop;
mod fork;
mod frame;
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
