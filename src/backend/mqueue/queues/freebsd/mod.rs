//! FreeBSD: its queues have no inode and can't be locked, so that each has a lock file beside it; and
//! kqueue watches the descriptor that a queue has inside.
//!
//! No process of ours has run here yet: this is written by the system's manual and source, compiled and
//! linked. What it has of its own beyond system calls, the lock files, is tested on Linux.

pub(crate) mod holder;
pub(crate) mod limits;
mod room;
mod sys;

use std::io;

pub(crate) use self::room::{register_for_room, reregister_for_room};
pub(crate) use self::sys::Descriptor;
pub(crate) use super::beside::{Opened, unlink};

/// How many bytes a queue's name may have behind its slash, which counts here.
pub(crate) const NAME_LEN_MAX: usize = 254;

/// The kernel's module has to be there before the first call: without it that would end the process
/// with SIGSYS. Its limits are there when it is.
pub(crate) fn check() -> io::Result<()> {
    if sys::sysctl(c"kern.mqueue.maxmq").is_some() {
        return Ok(());
    }
    let text = "this kernel has no message queues loaded: kldload mqueuefs, and at each start with \
                mqueuefs_load=\"YES\" in /boot/loader.conf; or use the uds transport";
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
