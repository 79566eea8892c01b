//! FreeBSD, NetBSD, OpenBSD and their like.

use std::fs::File;
use std::io;

pub(super) use super::sigpipe::write;

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
