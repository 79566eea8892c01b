//! Watching for room, or not.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// While room is not waited for the queue is not watched at all.
pub(crate) fn register_for_room(
    registry: &Registry,
    queue: BorrowedFd<'_>,
    token: Token,
    wanted: Interest,
) -> io::Result<()> {
    let fd = queue.as_raw_fd();
    let mut source = SourceFd(&fd);
    if wanted.is_writable() {
        registry.register(&mut source, token, Interest::WRITABLE)
    } else {
        // One that is not watched may be forgotten, too.
        registry.deregister(&mut source)
    }
}

/// kqueue takes what it watches already once more, and then tells of room that is there.
pub(crate) fn reregister_for_room(
    registry: &Registry,
    queue: BorrowedFd<'_>,
    token: Token,
    wanted: Interest,
) -> io::Result<()> {
    register_for_room(registry, queue, token, wanted)
}
