//! What can go wrong on the client's side: one small error for each operation.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::close::CloseReason;
use crate::envelope::Failure;
use crate::limits::LimitsError;
use crate::protocol::NAME_LEN_MAX;

/// Why an event was not taken. It is still the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// More waits to be sent than the client keeps.
    #[error("{len} bytes wait to be sent, outbox_len_max is {max}: the server is away or too slow")]
    Full {
        /// What waits.
        len: usize,
        /// [`Limits::outbox_len_max`](crate::Limits::outbox_len_max).
        max: usize,
    },
    /// The message is longer than both sides take.
    #[error("the message is longer than frame_len_max, which is {max} bytes between these two")]
    TooLong {
        /// The lesser of both sides' limits.
        max: u32,
    },
    /// The message's own `Serialize` refused.
    #[error("the message can't be encoded: {0}")]
    Unencodable(String),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

/// Why not all of many events were taken. That one and those behind it are still the caller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}; the {sent} events before it were taken")]
#[non_exhaustive]
pub struct SendAllError {
    /// So many were taken, from the first one on: the next is the one that was not.
    pub sent: usize,
    /// Why it was not.
    pub error: SendError,
}

/// Why a call has no reply.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The time was over. Whether the server has handled the request is not known.
    #[error("no answer in time")]
    TimedOut,
    /// There is no connection just now. The request was not sent.
    #[error("not connected: {0}")]
    NotConnected(NotConnected),
    /// The connection was lost while the call was open.
    #[error(
        "the connection was lost ({reason}), the request {}",
        if *.may_have_run { "may have been handled" } else { "was not sent" }
    )]
    Lost {
        /// Why.
        reason: CloseReason,
        /// Whether the server may have handled the request.
        may_have_run: bool,
    },
    /// The server has answered with a failure.
    #[error("{0}")]
    Failed(Failure),
    /// As many calls are open as may be. The request was not sent.
    #[error("{max} calls are open, which is calls_max")]
    TooManyCalls {
        /// [`Limits::calls_max`](crate::Limits::calls_max).
        max: u32,
    },
    /// The request was not taken: see the [`SendError`].
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// The call was begun by the parent process, before a fork.
    #[error("the call was begun before this process was forked")]
    Forked,
}

impl CallError {
    /// Whether the server may have handled the request: if so, only a request that does no harm
    /// twice should be tried again.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::TimedOut | Self::Forked => true,
            Self::Lost { may_have_run, .. } => *may_have_run,
            Self::Failed(failure) => !matches!(failure, Failure::TooManyCalls),
            Self::NotConnected(_) | Self::TooManyCalls { .. } | Self::NotSent(_) => false,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NotConnected {
    /// The first attempt is under way.
    Connecting,
    /// The last attempt at every endpoint has failed; another one follows.
    Waiting(ConnectFailures),
    /// The server is shutting down.
    Draining,
    /// The client was closed.
    Closed,
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("still connecting"),
            Self::Waiting(failures) => write!(f, "{failures}"),
            Self::Draining => f.write_str("the server is shutting down"),
            Self::Closed => f.write_str("the client was closed"),
        }
    }
}

/// For each endpoint that was tried: why it gave no connection.
#[derive(Debug, Clone, Default)]
pub struct ConnectFailures(pub(crate) Vec<(String, CloseReason)>);

impl ConnectFailures {
    /// The endpoints, in the order they were tried, and why each failed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &CloseReason)> {
        self.0
            .iter()
            .map(|(endpoint, reason)| (endpoint.as_str(), reason))
    }

    /// Whether trying again can't help: every server that answered speaks another protocol.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.0.is_empty()
            && self.0.iter().all(|(_, reason)| {
                matches!(
                    reason,
                    CloseReason::ProtocolMismatch { .. } | CloseReason::WireMismatch { .. }
                )
            })
    }
}

impl fmt::Display for ConnectFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (endpoint, reason) in &self.0 {
            write!(f, "{separator}{endpoint}: {reason}")?;
            separator = "; ";
        }
        Ok(())
    }
}

/// Why a client could not be made or is not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No connection in time.
    #[error("no connection within {waited:?}: {why}")]
    TimedOut {
        /// The time that was given.
        waited: Duration,
        /// How things stood then.
        why: NotConnected,
    },
    /// Every server that answered speaks another protocol.
    #[error("{0}")]
    Mismatch(ConnectFailures),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
    /// The builder was given no endpoint.
    #[error("no endpoint to connect to: call `transport` or `settings` first")]
    NoEndpoint,
    /// The bounds contradict each other.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The protocol's name is empty or too long.
    #[error("Protocol::NAME `{0}` must have 1 to {NAME_LEN_MAX} bytes")]
    ProtocolName(&'static str),
    /// The system gives no poll or thread.
    #[error("can't set up the event loop: {0}")]
    Poll(io::Error),
}

/// What a client left behind when it was closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("closed with {unsent} events never sent and {in_doubt} that may not have been handled")]
#[non_exhaustive]
pub struct CloseError {
    /// Events that never left.
    pub unsent: u64,
    /// Events that left and were not acknowledged.
    pub in_doubt: u64,
}
