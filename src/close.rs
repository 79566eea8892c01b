//! Why a connection ended: one list for both sides, for people, for counters and for the wire.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A protocol as one side of a connection names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProtocolId {
    /// [`Protocol::NAME`](crate::Protocol::NAME).
    pub name: String,
    /// [`Protocol::VERSION`](crate::Protocol::VERSION).
    pub version: u32,
}

impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The peer's own words, on their way to a terminal.
        write!(f, "`{}` version {}", self.name.escape_debug(), self.version)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides said goodbye, and everything before it was handled.
    Finished,
    /// This side was told to close at once: what was on its way is in doubt.
    ClosedHere,
    /// The link ended without a goodbye: the peer died, or dropped it.
    PeerGone,
    /// The link failed.
    LinkFailed(Arc<io::Error>),
    /// The two sides speak different protocols, or versions of one.
    ProtocolMismatch {
        /// What this side speaks.
        ours: ProtocolId,
        /// What the peer speaks.
        theirs: ProtocolId,
    },
    /// The peer speaks another version of the crate's own wire format.
    WireMismatch {
        /// The version of this side.
        ours: u32,
        /// The version of the peer.
        theirs: u32,
    },
    /// The peer's first frame was not a hello: it is not a wayside peer.
    NotWayside,
    /// No hello within the time for it.
    HandshakeTimeout(Duration),
    /// Nothing came from the peer for so long.
    Silent(Duration),
    /// A frame was begun and not finished for so long.
    FrameStalled(Duration),
    /// The peer took nothing for so long, while something waited for it.
    NotReading(Duration),
    /// The peer announced a frame beyond the limit.
    FrameTooLong {
        /// What it announced.
        len: u32,
        /// [`Limits::frame_len_max`](crate::Limits::frame_len_max).
        max: u32,
    },
    /// The half-received frames of all peers together reached the limit.
    PartialsFull {
        /// [`Limits::partial_len_max`](crate::Limits::partial_len_max).
        max: usize,
    },
    /// The bytes are not those of the protocol.
    Malformed(&'static str),
    /// A message did not decode as the type that the protocol says.
    Undecodable(String),
    /// The server has as many peers as it takes.
    Crowded {
        /// [`Limits::peers_max`](crate::Limits::peers_max).
        max: u32,
    },
    /// More connections were waiting to say hello than the server keeps, and this was the oldest.
    HandshakesCrowded {
        /// [`Limits::handshakes_max`](crate::Limits::handshakes_max).
        max: u32,
    },
    /// The application's own code panicked over a message of this peer.
    HandlerPanicked,
    /// There was no room left to answer a call of the peer: it reads too slowly.
    OutboxFull {
        /// [`Limits::outbox_len_max`](crate::Limits::outbox_len_max).
        max: usize,
    },
    /// The server is shutting down and takes no new peers.
    ShuttingDown,
    /// The peer closed the connection and named this reason.
    ByPeer(&'static str),
}

/// Calls `$use!` with one `Variant => code, "name";` per reason. The code goes over the wire:
/// append, never change.
macro_rules! reasons {
    ($($pattern:pat => $code:literal, $name:literal;)*) => {
        /// The names of all reasons, in the order of their codes.
        pub(crate) const REASON_NAMES: &[&str] = &[$($name),*];

        impl CloseReason {
            /// The number of this reason on the wire and in counters.
            #[must_use]
            pub(crate) fn code(&self) -> u32 {
                match self { $($pattern => $code),* }
            }
        }
    };
}

reasons! {
    Self::Finished => 0, "finished";
    Self::ClosedHere => 1, "closed_here";
    Self::PeerGone => 2, "peer_gone";
    Self::LinkFailed(_) => 3, "link_failed";
    Self::ProtocolMismatch { .. } => 4, "protocol_mismatch";
    Self::WireMismatch { .. } => 5, "wire_mismatch";
    Self::NotWayside => 6, "not_wayside";
    Self::HandshakeTimeout(_) => 7, "handshake_timeout";
    Self::Silent(_) => 8, "silent";
    Self::FrameStalled(_) => 9, "frame_stalled";
    Self::NotReading(_) => 10, "not_reading";
    Self::FrameTooLong { .. } => 11, "frame_too_long";
    Self::PartialsFull { .. } => 12, "partials_full";
    Self::Malformed(_) => 13, "malformed";
    Self::Undecodable(_) => 14, "undecodable";
    Self::Crowded { .. } => 15, "crowded";
    Self::HandshakesCrowded { .. } => 16, "handshakes_crowded";
    Self::HandlerPanicked => 17, "handler_panicked";
    Self::OutboxFull { .. } => 18, "outbox_full";
    Self::ShuttingDown => 19, "shutting_down";
    Self::ByPeer(_) => 20, "by_peer";
}

impl CloseReason {
    /// The name of this reason in counters: a short word that does not change.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.code()
            .try_into()
            .ok()
            .and_then(|index: usize| REASON_NAMES.get(index).copied())
            .expect("every code has its name: the macro writes both")
    }

    /// What a peer's code says, as this side reports it.
    pub(crate) fn by_peer(code: u32) -> Self {
        let name = usize::try_from(code)
            .ok()
            .and_then(|index| REASON_NAMES.get(index));
        Self::ByPeer(
            name.copied()
                .unwrap_or("a reason this version does not know"),
        )
    }

    /// Whether the peer can make use of hearing this reason.
    pub(crate) fn is_worth_telling(&self) -> bool {
        !matches!(
            self,
            Self::Finished | Self::PeerGone | Self::LinkFailed(_) | Self::ByPeer(_)
        )
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("both sides said goodbye"),
            Self::ClosedHere => f.write_str("this side closed it"),
            Self::PeerGone => f.write_str("the peer went away without a goodbye"),
            Self::LinkFailed(error) => write!(f, "the link failed: {error}"),
            Self::ProtocolMismatch { ours, theirs } => {
                write!(
                    f,
                    "this side speaks {ours}, the peer {theirs}: use matching builds"
                )
            }
            Self::WireMismatch { ours, theirs } => write!(
                f,
                "this side has wire format {ours}, the peer {theirs}: use matching releases of wayside"
            ),
            Self::NotWayside => f.write_str("the peer did not begin with a wayside hello"),
            Self::HandshakeTimeout(time) => write!(f, "no hello within {time:?}"),
            Self::Silent(time) => write!(f, "no sign of life for {time:?}"),
            Self::FrameStalled(time) => write!(f, "a frame was not finished within {time:?}"),
            Self::NotReading(time) => write!(f, "the peer read nothing for {time:?}"),
            Self::FrameTooLong { len, max } => {
                write!(
                    f,
                    "the peer announced a frame of {len} bytes, frame_len_max is {max}"
                )
            }
            Self::PartialsFull { max } => {
                write!(f, "half-received frames reached partial_len_max {max}")
            }
            Self::Malformed(what) => write!(f, "malformed bytes: {what}"),
            Self::Undecodable(what) => write!(f, "a message did not decode: {what}"),
            Self::Crowded { max } => write!(f, "the server has its peers_max {max} peers"),
            Self::HandshakesCrowded { max } => write!(
                f,
                "more than handshakes_max {max} connections were waiting to say hello"
            ),
            Self::HandlerPanicked => f.write_str("the application panicked over a message"),
            Self::OutboxFull { max } => write!(
                f,
                "outbox_len_max {max} left no room to answer: the peer reads too slowly"
            ),
            Self::ShuttingDown => f.write_str("the server is shutting down"),
            Self::ByPeer(name) => write!(f, "the peer closed it: {name}"),
        }
    }
}
