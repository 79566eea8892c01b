//! FreeBSD, NetBSD, OpenBSD and their like.

use std::io;
use std::os::fd::AsFd;

use mio::net::UnixStream;
use rustix::net::SendFlags;

use crate::identity::PeerId;

/// Nothing to do: each send says that it wants no signal.
pub(super) fn prepare(_stream: &UnixStream) -> io::Result<()> {
    Ok(())
}

/// Sends without SIGPIPE, which would end a host program that is not Rust's: Rust's own start-up
/// code ignores the signal, but a library can't count on that.
pub(super) fn send(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)
}

/// Nothing beyond what interprocess reads.
pub(super) fn credentials(_socket: &impl AsFd) -> Option<PeerId> {
    None
}
