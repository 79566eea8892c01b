//! Unix: the parts joined.
//!
//! `address` reads the path, `peer` decides with whom we talk, `listener` and `link` do what the
//! contract asks. Who owns the path is the matter of [`name`](crate::backend::name).

mod address;
mod link;
mod listener;
mod peer;

use std::io;

use mio::net::UnixStream;

use self::link::UdsLink;
use self::listener::UdsListener;
use super::{Capabilities, Finding, Link, Listener, Uds};
use crate::backend::table::{self, System};
use crate::backend::{About, name};

// What the systems do differently: `send` without SIGPIPE, and `credentials` for what interprocess
// can't read.
cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        mod linux;
        use linux as system;
    } else if #[cfg(target_vendor = "apple")] {
        mod apple;
        use apple as system;
    } else {
        mod bsd;
        use bsd as system;
    }
}

pub(super) fn capabilities() -> Capabilities {
    table::of("uds", System::HERE)
}

pub(super) fn bind(uds: &Uds, address: &str) -> io::Result<Box<dyn Listener>> {
    let path = address::parse(address)?;
    Ok(Box::new(UdsListener::bind(uds, path)?))
}

pub(super) fn connect(uds: &Uds, address: &str) -> io::Result<Box<dyn Link>> {
    let path = address::parse(address)?;
    // Not interprocess: its non-blocking connect reports success for an unconnected socket when
    // the backlog is full. mio's fails with `WouldBlock`.
    let link = UdsLink::open(|| peer::identify(UnixStream::connect(&path)?))?;
    peer::check(uds, &link.peer())
        .map_err(|text| denied(&format!("{} is held by {text}", path.display())))?;
    Ok(Box::new(link))
}

fn denied(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

pub(super) fn examine(address: &str) -> Vec<Finding> {
    match address::parse(address) {
        Ok(path) => name::examine(&path, listener::SOCKET, |_| Vec::new()),
        Err(error) => vec![Finding::obstacle(About::Address, error.to_string())],
    }
}
