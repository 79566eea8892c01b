//! wayside connects the processes of one host.

pub mod backend;
mod endpoint;
#[cfg(any(feature = "uds", feature = "tcp"))]
mod fork;
mod identity;
mod limits;
mod transport;

pub use endpoint::{Endpoint, EndpointError};
pub use identity::PeerId;
pub use limits::{Limits, LimitsError};
pub use transport::Transport;
