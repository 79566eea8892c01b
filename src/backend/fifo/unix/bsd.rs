//! FreeBSD, NetBSD, OpenBSD and their like, but for what `mod.rs` chooses among them.

use std::fs::File;
use std::io;

pub(super) use super::sigpipe::write;
use crate::backend::EndOfPeer;

/// What their kqueues report nobody has tried.
pub(super) const END_OF_PEER: EndOfPeer = EndOfPeer::ByPing;

/// Nobody has tried.
pub(super) const SHORT_RECV_IS_LAST: bool = false;

/// Nothing to do: each write sees to it that no signal comes.
pub(super) fn prepare(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Nothing to do: a FIFO holds 8 or 16 KiB.
pub(super) fn bound_mailbox(_mailbox: &File) -> io::Result<()> {
    Ok(())
}

/// There is no such call.
pub(super) fn lengthen(_fifo: &File, _len: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
