//! A queue with its lock, which is that of the queue itself.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::fstat;

use super::super::queue::QueueId;
use super::super::sys::{self, Access, Shape};
use super::{Descriptor, holder};

pub(crate) use super::super::sys::unlink;

/// An open queue.
#[derive(Debug)]
pub(crate) struct Opened(Descriptor);

impl Opened {
    pub(crate) fn open(name: &CStr, access: Access) -> io::Result<Self> {
        sys::open(name, access).map(Self)
    }

    /// Creates one that is not there. Nobody holds its lock yet.
    pub(crate) fn create(name: &CStr, access: Access, shape: Shape) -> io::Result<Self> {
        sys::create(name, access, shape).map(Self)
    }

    pub(crate) fn queue(&self) -> &Descriptor {
        &self.0
    }

    /// What is locked with `flock`.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn id(&self) -> io::Result<QueueId> {
        let stat = fstat(&self.0)?;
        Ok(QueueId {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Which queue has the name; `None` if none has.
    pub(crate) fn id_of_name(name: &CStr) -> io::Result<Option<QueueId>> {
        match Self::open(name, Access::Receive) {
            Ok(other) => other.id().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The process that holds the lock, as far as the kernel tells.
    pub(crate) fn holder(&self) -> io::Result<Option<u32>> {
        Ok(holder::of(self.id()?))
    }
}
