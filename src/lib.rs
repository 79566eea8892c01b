//! wayside connects the processes of one host.

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
mod endpoint;
#[cfg(any(feature = "uds", feature = "tcp"))]
mod fork;
mod identity;
#[cfg(feature = "internals")]
pub mod internals;
mod limits;
#[cfg(feature = "settings")]
pub mod settings;
mod transport;

pub use endpoint::{Endpoint, EndpointError};
pub use identity::PeerId;
pub use limits::{Limits, LimitsError};
#[cfg(feature = "settings")]
pub use settings::{Settings, SettingsError};
pub use transport::Transport;
