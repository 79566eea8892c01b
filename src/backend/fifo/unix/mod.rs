//! Unix: the parts joined.
//!
//! `address` reads the path, `file` opens FIFOs and checks them, `record` is what lies in the
//! mailbox, `pair` names and creates the two FIFOs of a peer, `listener` and `link` do what the
//! contract asks; `room` is how much a link's FIFO holds.

mod address;
mod file;
mod link;
mod listener;
mod pair;
mod record;
mod room;

use std::io;

use self::link::FifoLink;
use self::listener::FifoListener;
use super::{Capabilities, Finding, Link, Listener};
use crate::backend::table::{self, System};
use crate::backend::{About, name};

// What the systems do differently: `prepare` a descriptor for writing, `write` without SIGPIPE,
// `bound_mailbox`, and `lengthen` a FIFO.
cfg_if::cfg_if! {
    if #[cfg(target_os = "linux")] {
        mod sigpipe;
        mod nosignal;
        mod linux;
        use nosignal::write as write_without_signal;
        use linux as system;
    } else if #[cfg(target_os = "android")] {
        mod sigpipe;
        mod linux;
        use sigpipe::write as write_without_signal;
        use linux as system;
    } else if #[cfg(target_vendor = "apple")] {
        mod apple;
        use apple as system;
    } else {
        mod sigpipe;
        mod bsd;
        use bsd as system;
    }
}

pub(super) fn capabilities() -> Capabilities {
    table::of("fifo", System::HERE)
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
