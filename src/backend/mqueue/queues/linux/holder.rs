//! Which process holds the lock of a queue, and when it ends.
//!
//! By the kernel's word ([`lock_holder`]). A process id found there can't be forged, and when it is
//! found again after a descriptor of the process was opened, the descriptor is that of the holder:
//! nobody else could have come to the lock in between without the holder, whose id it was, letting
//! go of it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use super::super::queue::{Queue, QueueId};
use super::limits;
use crate::backend::lock_holder::{self, AskedOnce, LockedFile};
use crate::fork::Guarded;

/// Whether the kernel says who holds a lock, so that it can't be forged.
pub(crate) fn is_vouched_for() -> bool {
    lock_holder::is_told()
}

/// Whether it also tells when that process ends: by a descriptor, since Linux 5.3, unless a container's
/// policy forbids the call.
pub(crate) fn shows_ends() -> bool {
    static HAS_PIDFD: AskedOnce = AskedOnce::new();
    lock_holder::is_told()
        && HAS_PIDFD.answer(|| match pidfd_open(getpid(), PidfdFlags::empty()) {
            // Only the call itself was missing a descriptor.
            Err(error) => matches!(error, Errno::MFILE | Errno::NFILE),
            Ok(_) => true,
        })
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
    let open = |pid| {
        let opened = Guarded::open(|| Ok((pidfd_open(pid, PidfdFlags::empty())?, ())));
        opened.map(|(descriptor, ())| descriptor)
    };
    watch_by(|| queue.holder(), open)
}

/// The same, by these calls: `holder` says who holds the lock, `open` gives a descriptor of a process.
fn watch_by<D>(
    mut holder: impl FnMut() -> io::Result<Option<u32>>,
    open: impl FnOnce(Pid) -> io::Result<D>,
) -> io::Result<(Option<u32>, Option<D>)> {
    let Some(number) = holder()? else {
        return Ok((None, None));
    };
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Ok((None, None));
    };
    match open(pid) {
        Ok(descriptor) if holder()? == Some(number) => Ok((Some(number), Some(descriptor))),
        // It has gone meanwhile: the lock will tell. The number may be another's by now.
        Ok(_) => Ok((None, None)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Err(limits::explain(error, None)),
            Some(Errno::SRCH) => Ok((None, None)),
            // There is no such call here.
            _ => Ok((Some(number), None)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found out where the holder is first this process and then that, and `open` ends so.
    fn watched(
        holders: [Option<u32>; 2],
        open: io::Result<&'static str>,
    ) -> io::Result<(Option<u32>, Option<&'static str>)> {
        let mut holders = holders.into_iter();
        watch_by(|| Ok(holders.next().flatten()), |_| open)
    }

    fn failed(errno: Errno) -> io::Result<&'static str> {
        Err(errno.into())
    }

    #[test]
    fn a_process_id_that_was_used_again_is_not_taken_for_the_holders() {
        let holder = |holders| watched(holders, Ok("descriptor")).unwrap();
        let (same, other) = (Some(7), Some(8));
        assert_eq!(holder([same, same]), (same, Some("descriptor")));
        // The descriptor may be that of a process which came to the number since.
        assert_eq!(holder([same, None]), (None, None));
        assert_eq!(holder([same, other]), (None, None));
        assert_eq!(holder([None, same]), (None, None));
        assert_eq!(holder([Some(u32::MAX), same]), (None, None));
    }

    #[test]
    fn without_a_descriptor_the_process_is_known_unless_it_has_gone() {
        let found = |errno| watched([Some(7), Some(7)], failed(errno));
        assert_eq!(found(Errno::SRCH).unwrap(), (None, None));
        assert_eq!(found(Errno::NOSYS).unwrap(), (Some(7), None));
        assert_eq!(found(Errno::PERM).unwrap(), (Some(7), None));
        let error = found(Errno::MFILE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    }
}
