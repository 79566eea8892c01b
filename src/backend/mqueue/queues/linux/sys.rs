//! A queue's descriptor is a file descriptor: what polls, locks, looks at or closes files does so with
//! queues.
#![expect(unsafe_code, reason = "std has no message queues")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An open queue, as the system has it.
#[derive(Debug)]
pub(crate) struct Descriptor(OwnedFd);

impl Descriptor {
    /// Takes what `mq_open` has answered.
    ///
    /// # Errors
    /// The system's, if it has failed.
    ///
    /// # Safety
    /// It is the answer of `mq_open` just now, and nobody else has it.
    pub(crate) unsafe fn own(queue: libc::mqd_t) -> io::Result<Self> {
        if queue == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the caller's word. Closing it as a file is what `mq_close` does on Linux.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(queue) }))
    }

    /// For system calls, while this value lives.
    pub(crate) fn raw(&self) -> libc::mqd_t {
        self.0.as_raw_fd()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
