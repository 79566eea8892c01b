//! Linux and Android.

use std::fs::File;
use std::io;

pub(super) use super::write_without_signal as write;

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
