//! macOS and its relatives.
#![expect(
    unsafe_code,
    reason = "rustix has no F_SETNOSIGPIPE, which only these systems know"
)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;

/// Turns SIGPIPE off for this file. The signal would end a host program that is not Rust's: Rust's
/// own start-up code ignores it, but a library can't count on that. Here it goes to the process and
/// not to the thread that writes, so that blocking it during the write would not help.
pub(super) fn prepare(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open, as it is borrowed from a `File`; the command takes an integer
    // and touches no memory of ours.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETNOSIGPIPE, 1) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Writes; the option is set.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    file.write(bytes)
}

/// Nothing to do: a FIFO holds 8 KiB.
pub(super) fn bound_mailbox(_mailbox: &File) -> io::Result<()> {
    Ok(())
}

/// There is no such call.
pub(super) fn lengthen(_fifo: &File, _len: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
