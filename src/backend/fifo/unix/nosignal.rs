//! Writing without SIGPIPE where the kernel may know a flag for it, which spares a system call.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, ReadWriteFlags};

use super::sigpipe;

/// `RWF_NOSIGNAL`, of Linux 6.18.
const NO_SIGNAL: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x100);

/// The offset of a write to what has none.
const NOWHERE: u64 = u64::MAX;

/// Writes once.
pub(super) fn write(file: &File, bytes: &[u8]) -> io::Result<usize> {
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);
    if IS_UNKNOWN.load(Ordering::Relaxed) {
        return sigpipe::write(file, bytes);
    }
    match rustix::io::pwritev2(file, &[IoSlice::new(bytes)], NOWHERE, NO_SIGNAL) {
        // An older kernel, or a filter of system calls that has never heard of it.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            IS_UNKNOWN.store(true, Ordering::Relaxed);
            sigpipe::write(file, bytes)
        }
        written => Ok(written?),
    }
}
