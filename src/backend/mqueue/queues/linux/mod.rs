//! Linux: a queue is a file, with an inode, locks, and a descriptor that epoll watches.

pub(crate) mod holder;
pub(crate) mod limits;
mod opened;
mod room;
mod sys;

use std::io;

pub(crate) use self::opened::{Opened, unlink};
pub(crate) use self::room::{register_for_room, reregister_for_room};
pub(crate) use self::sys::Descriptor;

/// How many bytes a queue's name may have behind its slash.
pub(crate) const NAME_LEN_MAX: usize = 255;

/// Nothing has to be there before the first call: a kernel without queues says so itself.
#[expect(clippy::unnecessary_wraps, reason = "other systems need something")]
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}
