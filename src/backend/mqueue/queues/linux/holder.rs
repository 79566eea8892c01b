//! Which process holds the lock of a queue, and when it ends.
//!
//! By the kernel's word ([`lock_holder`]). A process id found there can't be forged, and when it is
//! found again after a descriptor of the process was opened, the descriptor is that of the holder:
//! nobody else could have come to the lock in between without the holder, whose id it was, letting
//! go of it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::queue::{Queue, QueueId};
use super::limits;
use crate::backend::lock_holder::{self, LockedFile};
use crate::fork::Guarded;

/// Whether the kernel says who holds a lock, in words for the user …
pub(crate) fn is_told() -> bool {
    lock_holder::is_told()
}

/// … and so that it can't be forged.
pub(crate) fn is_vouched_for() -> bool {
    lock_holder::is_told()
}

/// The process that holds the lock of a queue. `None` if nobody does, or if it lives where we
/// can't see it.
pub(crate) fn of(queue: QueueId) -> Option<u32> {
    lock_holder::of(LockedFile {
        device: queue.device,
        inode: queue.inode,
        signed: None,
    })
}

/// The process that holds the lock of a queue, and what becomes readable when it ends.
///
/// # Errors
/// Out of descriptors. What can't be found out is `None`.
pub(crate) fn watch(queue: &Queue) -> io::Result<(Option<u32>, Option<Guarded<OwnedFd>>)> {
    let Some(number) = queue.holder()? else {
        return Ok((None, None));
    };
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Ok((None, None));
    };
    let opened = Guarded::open(|| {
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        Ok((descriptor, ()))
    });
    match opened {
        Ok((descriptor, ())) if queue.holder()? == Some(number) => {
            Ok((Some(number), Some(descriptor)))
        }
        // It has gone meanwhile: the lock will tell.
        Ok(_) => Ok((None, None)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Err(limits::explain(error, None)),
            // It has gone, or the kernel is older than 5.3.
            _ => Ok((Some(number), None)),
        },
    }
}
