//! A queue's descriptor, which is a thing of the C library's with a file descriptor inside; and the kernel's
//! numbers.
#![expect(
    unsafe_code,
    reason = "neither std nor rustix has message queues, or sysctls"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

/// An open queue, as the C library has it.
#[derive(Debug)]
pub(crate) struct Descriptor(libc::mqd_t);

// SAFETY: what the pointer leads to is set once, by `mq_open`. Only `mq_notify`, which nobody calls,
// would change it.
unsafe impl Send for Descriptor {}

// SAFETY: as above; and the calls on it only read the file descriptor.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    /// Takes what `mq_open` has answered.
    ///
    /// # Errors
    /// The system's, if it has failed.
    ///
    /// # Safety
    /// It is the answer of `mq_open` just now, and nobody else has it.
    pub(crate) unsafe fn own(queue: libc::mqd_t) -> io::Result<Self> {
        // -1; and without memory for it, null.
        if queue.is_null() || queue.addr() == usize::MAX {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(queue))
    }

    /// For system calls, while this value lives.
    pub(crate) fn raw(&self) -> libc::mqd_t {
        self.0
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the queue is open while this value lives.
        let fd = unsafe { libc::mq_getfd_np(self.0) };
        // SAFETY: an open queue has a file descriptor, which is closed with it.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it is open, ours, and not used again.
        let result = unsafe { libc::mq_close(self.0) };
        debug_assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

/// A limit of the system; `None` if it does not tell.
pub(crate) fn sysctl(name: &CStr) -> Option<u64> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>();
    // SAFETY: the name ends in NUL and lives longer than the call; the value has as many bytes as
    // `len` says, and both are ours to write to; nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut value).cast(),
            &raw mut len,
            ptr::null(),
            0,
        )
    };
    if result != 0 || len != size_of::<libc::c_int>() {
        return None;
    }
    u64::try_from(value).ok()
}
