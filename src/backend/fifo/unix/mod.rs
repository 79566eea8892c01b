//! Unix: the parts joined.
//!
//! `address` reads the path, `file` opens FIFOs and checks them, `record` is what lies in the
//! mailbox, `pair` names and creates the two FIFOs of a peer, `listener` and `link` do what the
//! contract asks.

mod address;
mod file;
mod link;
mod listener;
mod pair;
mod record;

use std::io;

use self::link::FifoLink;
use self::listener::FifoListener;
use super::{Capabilities, Finding, Link, Listener};
use crate::backend::{About, PeerIdentity, name};

// What the systems do differently: `END_OF_PEER`, `SHORT_RECV_IS_LAST`, `prepare` a descriptor for writing and `write`
// without SIGPIPE, and `bound_mailbox`.
cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        mod sigpipe;
        mod linux;
        use linux as system;
    } else if #[cfg(target_vendor = "apple")] {
        mod apple;
        use apple as system;
    } else if #[cfg(target_os = "freebsd")] {
        mod sigpipe;
        #[expect(dead_code, reason = "all but its word on the end of a peer holds here")]
        mod bsd;
        mod freebsd;
        use freebsd as system;
    } else {
        mod sigpipe;
        mod bsd;
        use bsd as system;
    }
}

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        peer_identity: PeerIdentity::User,
        end_of_peer: system::END_OF_PEER,
        short_recv_is_last: system::SHORT_RECV_IS_LAST,
        descriptors_per_peer: 2,
        ..Capabilities::stream("fifo")
    }
}

pub(super) fn bind(address: &str) -> io::Result<Box<dyn Listener>> {
    let path = address::parse(address)?;
    Ok(Box::new(FifoListener::bind(path)?))
}

pub(super) fn connect(address: &str) -> io::Result<Box<dyn Link>> {
    let path = address::parse(address)?;
    Ok(Box::new(FifoLink::connect(&path)?))
}

pub(super) fn examine(address: &str) -> Vec<Finding> {
    match address::parse(address) {
        Ok(path) => name::examine(&path, listener::FIFO, |owner_lives| {
            pair::leftovers(&path, owner_lives)
        }),
        Err(error) => vec![Finding::obstacle(About::Address, error.to_string())],
    }
}
