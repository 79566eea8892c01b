//! Linux and Android.

use std::fs::File;
use std::io;

#[cfg(target_os = "android")]
pub(super) use super::sigpipe::write;

/// Writes once, without SIGPIPE: by a flag of the write itself where the kernel knows it, which
/// spares a system call.
#[cfg(target_os = "linux")]
pub(super) fn write(file: &File, bytes: &[u8]) -> io::Result<usize> {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::io::{Errno, ReadWriteFlags};

    /// `RWF_NOSIGNAL`, of Linux 6.18.
    const NO_SIGNAL: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x100);
    /// The offset of a write to what has none.
    const NOWHERE: u64 = u64::MAX;
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);

    if IS_UNKNOWN.load(Ordering::Relaxed) {
        return super::sigpipe::write(file, bytes);
    }
    let bytes_once = [io::IoSlice::new(bytes)];
    match rustix::io::pwritev2(file, &bytes_once, NOWHERE, NO_SIGNAL) {
        // An older kernel, or a filter of system calls that has never heard of it.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            IS_UNKNOWN.store(true, Ordering::Relaxed);
            super::sigpipe::write(file, bytes)
        }
        written => Ok(written?),
    }
}

/// How much a mailbox holds: a page, which is 64 records. Each client that waits has four open
/// files, so more of them would only fail later, and less clearly.
const MAILBOX_LEN: usize = 4096;

/// Nothing to do: each write sees to it that no signal comes.
pub(super) fn prepare(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Lets a FIFO hold more, as far as the user may.
pub(super) fn lengthen(fifo: &File, len: usize) -> io::Result<()> {
    rustix::pipe::fcntl_setpipe_size(fifo, len)?;
    Ok(())
}

/// Bounds what waits in the mailbox: 64 KiB otherwise.
pub(super) fn bound_mailbox(mailbox: &File) -> io::Result<()> {
    rustix::pipe::fcntl_setpipe_size(mailbox, MAILBOX_LEN)?;
    Ok(())
}
