//! Systems whose pipes are still to come: says so.

use std::io;

use super::{Capabilities, Fifo, Link, Listener};

const REASON: &str = "named pipes work on Windows only so far: use the uds transport here";

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        unsupported: Some(REASON),
        ..Capabilities::stream("fifo")
    }
}

pub(super) fn bind(_fifo: &Fifo, _address: &str) -> io::Result<Box<dyn Listener>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}

pub(super) fn connect(_fifo: &Fifo, _address: &str) -> io::Result<Box<dyn Link>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, REASON))
}
