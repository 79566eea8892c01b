//! Watching for room, or not.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

pub(crate) fn register_for_room(
    registry: &Registry,
    queue: BorrowedFd<'_>,
    token: Token,
    wanted: Interest,
) -> io::Result<()> {
    registry.register(&mut SourceFd(&queue.as_raw_fd()), token, watched(wanted))
}

pub(crate) fn reregister_for_room(
    registry: &Registry,
    queue: BorrowedFd<'_>,
    token: Token,
    wanted: Interest,
) -> io::Result<()> {
    registry.reregister(&mut SourceFd(&queue.as_raw_fd()), token, watched(wanted))
}

/// Nothing is ever urgent, so that stands for nothing.
fn watched(wanted: Interest) -> Interest {
    if wanted.is_writable() {
        Interest::WRITABLE
    } else {
        Interest::PRIORITY
    }
}
