//! Queues, opened and checked; and the locks that go with them.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::Errno;

use super::limit;
use super::sys::{self, Access, Shape};
use super::system::limits::explain;
use super::system::{self, Opened};
use crate::identity::PeerId;

/// Which queue it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// An open queue.
#[derive(Debug)]
pub(super) struct Queue(Opened);

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.queue().as_fd()
    }
}

impl Queue {
    /// Opens one that is there.
    ///
    /// # Errors
    /// `NotFound`; `PermissionDenied` if it is someone else's; what says which limit was hit.
    pub(super) fn open(name: &CStr, access: Access) -> io::Result<Self> {
        let opened = Opened::open(name, access).map_err(|error| explain(error, None))?;
        let queue = Self(opened);
        limit::check_owner(&queue.owner()?, &name.to_string_lossy())?;
        Ok(queue)
    }

    /// Creates one.
    ///
    /// # Errors
    /// `AlreadyExists`; what says which limit was hit.
    pub(super) fn create(name: &CStr, access: Access, shape: Shape) -> io::Result<Self> {
        let opened = Opened::create(name, access, shape);
        let queue = Self(opened.map_err(|error| explain(error, Some(shape)))?);
        // The umask may have taken bits away.
        rustix::fs::fchmod(&queue, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
        Ok(queue)
    }

    pub(super) fn send(&self, message: &[u8]) -> io::Result<()> {
        sys::send(self.0.queue(), message)
    }

    /// Receives one message; the buffer must be able to hold the longest.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::receive(self.0.queue(), buffer)
    }

    pub(super) fn shape(&self) -> io::Result<Shape> {
        sys::shape(self.0.queue())
    }

    pub(super) fn id(&self) -> io::Result<QueueId> {
        self.0.id()
    }

    /// Whose it is: the user and group of the process that created it.
    pub(super) fn owner(&self) -> io::Result<PeerId> {
        owner(self.as_fd())
    }

    /// Whether the name leads to this queue.
    pub(super) fn has_name(&self, name: &CStr) -> io::Result<bool> {
        let id = Opened::id_of_name(name).map_err(|error| explain(error, None))?;
        Ok(id == Some(self.id()?))
    }

    /// Takes the lock, if nobody has it. It goes with the descriptor.
    pub(super) fn try_lock(&self) -> io::Result<bool> {
        self.lock_by(FlockOperation::NonBlockingLockExclusive)
    }

    fn lock_by(&self, operation: FlockOperation) -> io::Result<bool> {
        match flock(self.0.lock(), operation) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        Ok(flock(self.0.lock(), FlockOperation::Unlock)?)
    }

    /// Whether nobody holds the lock. (Shares it for a moment to find out: of two that look at once
    /// neither takes the other for a holder.)
    pub(super) fn is_free(&self) -> io::Result<bool> {
        let free = self.lock_by(FlockOperation::NonBlockingLockShared)?;
        if free {
            self.unlock()?;
        }
        Ok(free)
    }

    /// The process that holds the lock, as far as the kernel tells.
    pub(super) fn holder(&self) -> io::Result<Option<u32>> {
        self.0.holder()
    }
}

/// Whose a queue is: the user and group of the process that created it.
pub(super) fn owner(queue: BorrowedFd<'_>) -> io::Result<PeerId> {
    let stat = fstat(queue)?;
    Ok(PeerId {
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
        ..PeerId::default()
    })
}

/// Removes a name that may be gone. The caller holds the lock that goes with it.
pub(super) fn unlink(name: &CStr) {
    match system::unlink(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!(
                "the queue {} can't be removed: {error}",
                name.to_string_lossy()
            );
        }
        _ => {}
    }
}
