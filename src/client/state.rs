//! How things stand with a client, as users see it.

use std::fmt;

use crate::client::error::ConnectFailures;
use crate::client::shared::Status;

/// How things stand with a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientState {
    /// The first attempt is under way.
    Connecting,
    /// Messages flow.
    Connected {
        /// The endpoint that was reached.
        endpoint: String,
    },
    /// The server is shutting down: what was sent before still goes out, what is sent now waits
    /// for the next connection.
    Draining,
    /// Not connected; another attempt follows.
    Waiting {
        /// What came of the last one, for each endpoint.
        failures: ConnectFailures,
    },
    /// The client was closed.
    Closed,
}

impl From<&Status> for ClientState {
    fn from(status: &Status) -> Self {
        match status {
            Status::Connecting => Self::Connecting,
            Status::Open { endpoint } => Self::Connected {
                endpoint: endpoint.to_string(),
            },
            Status::Draining => Self::Draining,
            Status::Waiting(failures) => Self::Waiting {
                failures: failures.clone(),
            },
            Status::Closed(_) => Self::Closed,
        }
    }
}

impl fmt::Display for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Connected { endpoint } => write!(f, "connected to {endpoint}"),
            Self::Draining => f.write_str("the server is shutting down"),
            Self::Waiting { failures } => write!(f, "not connected: {failures}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}
