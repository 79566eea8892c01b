//! What a transport can do on this platform: told to users before they choose one.

/// What a transport can do here. The README's table is tested against these values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The name before the colon of an endpoint, and in `transport = "…"`.
    pub scheme: &'static str,
    /// Why this platform lacks the transport, and what to use instead; `None` where it works.
    pub unsupported: Option<&'static str>,
    /// How the other side is known.
    pub peer_identity: PeerIdentity,
    /// How the end of a peer shows.
    pub end_of_peer: EndOfPeer,
    /// The largest piece the transport moves at once; `None` for a stream, which has none.
    pub chunk_len_max: Option<u32>,
    /// How many of the bytes that `send` took, the last, may never arrive when the link is dropped
    /// or its process dies while the peer does not read: those that the system had no room for yet.
    /// 0 where `send` takes only what there is room for.
    pub in_flight_len_max: u32,
    /// A `recv` that gives less than there was room for has taken all there was, and whatever comes
    /// later, the end included, is another edge. The end may share the edge of the last bytes;
    /// mio's event then shows it. Saves a system call for each message; `false` is always right.
    pub short_recv_is_last: bool,
    /// How many descriptors each peer takes of a server: on Unix RLIMIT_NOFILE bounds those.
    pub descriptors_per_peer: u32,
    /// How many peers the system's stock limits allow; `None` if only descriptors bound it.
    pub peers_stock_max: Option<u32>,
}

impl Capabilities {
    /// A stream that works here, names no peer and shows its end: the other values are set on it.
    #[must_use]
    pub fn stream(scheme: &'static str) -> Self {
        Self {
            scheme,
            unsupported: None,
            peer_identity: PeerIdentity::Nobody,
            end_of_peer: EndOfPeer::AtOnce,
            chunk_len_max: None,
            in_flight_len_max: 0,
            short_recv_is_last: false,
            descriptors_per_peer: 1,
            peers_stock_max: None,
        }
    }
}

/// How a transport knows who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerIdentity {
    /// The system names the user and process, on Unix also the group.
    UserAndProcess,
    /// The system names the user, on Unix also the group.
    User,
    /// The peer has proven to know the key.
    Key,
    /// Not at all.
    Nobody,
}

/// How the end of a peer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOfPeer {
    /// The transport tells at once.
    AtOnce,
    /// Only the session's ping finds out.
    ByPing,
}
