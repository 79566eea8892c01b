//! Queues, opened and checked; their names; and the locks on them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

use super::sys::{self, Access, Shape};
use super::{holder, limit};
use crate::identity::PeerId;

/// Which queue it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// An open queue.
#[derive(Debug)]
pub(super) struct Queue(OwnedFd);

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Queue {
    /// Opens one that is there.
    ///
    /// # Errors
    /// `NotFound`; `PermissionDenied` if it is someone else's; what says which limit was hit.
    pub(super) fn open(name: &CStr, access: Access) -> io::Result<Self> {
        let queue = sys::open(name, access).map_err(|error| limit::explain(error, None))?;
        let queue = Self(queue);
        limit::check_owner(&queue.owner()?, &name.to_string_lossy())?;
        Ok(queue)
    }

    /// Creates one.
    ///
    /// # Errors
    /// `AlreadyExists`; what says which limit was hit.
    pub(super) fn create(name: &CStr, access: Access, shape: Shape) -> io::Result<Self> {
        let queue = sys::create(name, access, shape);
        let queue = queue.map_err(|error| limit::explain(error, Some(shape)))?;
        // The umask may have taken bits away.
        rustix::fs::fchmod(&queue, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        Ok(Self(queue))
    }

    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        sys::send(&self.0, message)
    }

    /// Receives one message; the buffer must be able to hold the longest.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive(&self.0, buffer)
    }

    pub(super) fn shape(&self) -> io::Result<Shape> {
        sys::shape(&self.0)
    }

    pub(super) fn id(&self) -> io::Result<QueueId> {
        let stat = fstat(&self.0)?;
        Ok(QueueId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Whose it is: the user and group of the process that created it.
    pub(super) fn owner(&self) -> io::Result<PeerId> {
        let stat = fstat(&self.0)?;
        Ok(PeerId {
            uid: Some(stat.st_uid),
            gid: Some(stat.st_gid),
            ..PeerId::default()
        })
    }

    /// Whether the name leads to this queue.
    pub(super) fn has_name(&self, name: &CStr) -> io::Result<bool> {
        match sys::open(name, Access::Receive) {
            Ok(other) => Ok(Self(other).id()? == self.id()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(limit::explain(error, None)),
        }
    }

    /// Takes the lock, if nobody has it. It goes with the descriptor.
    pub(super) fn try_lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        Ok(flock(&self.0, FlockOperation::Unlock)?)
    }

    /// Whether nobody holds the lock. (Takes it for a moment to find out.)
    pub(super) fn is_free(&self) -> io::Result<bool> {
        let free = self.try_lock()?;
        if free {
            self.unlock()?;
        }
        Ok(free)
    }

    /// The process that holds the lock, as far as the kernel tells.
    pub(super) fn holder(&self) -> io::Result<Option<u32>> {
        Ok(holder::of(self.id()?))
    }
}

/// Removes a name that may be gone.
pub(super) fn unlink(name: &CStr) {
    match sys::unlink(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!(
                "the queue {} can't be removed: {error}",
                name.to_string_lossy()
            );
        }
        _ => {}
    }
}
