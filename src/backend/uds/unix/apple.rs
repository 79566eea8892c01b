//! macOS and its relatives.

use std::io;
use std::os::fd::AsFd;

use mio::net::UnixStream;
use rustix::net::{SendFlags, sockopt};

use crate::identity::PeerId;

/// Turns SIGPIPE off: there is no flag for a single send. The signal would end a host program that
/// is not Rust's: Rust's own start-up code ignores it, but a library can't count on that.
pub(super) fn prepare(stream: &UnixStream) -> io::Result<()> {
    match sockopt::set_socket_nosigpipe(stream, true) {
        // What macOS answers when the peer is gone already: reading will tell, too.
        Err(rustix::io::Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// Sends; the option is set.
pub(super) fn send(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::empty())?)
}

/// Nothing beyond what interprocess reads.
pub(super) fn credentials(_socket: &impl AsFd) -> Option<PeerId> {
    None
}
