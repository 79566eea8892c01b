//! Polls without ever sleeping: the limit of a mechanism whose two sides have a core each.

use std::hint;
use std::io::{self, ErrorKind, Read, Write};
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;

use super::Stream;

pub(super) struct Spin(Box<dyn Stream>);

impl Spin {
    pub(super) fn new(stream: Box<dyn Stream>) -> io::Result<Self> {
        stream.set_nonblocking()?;
        Ok(Self(stream))
    }
}

/// Tries until it is something else than "not now".
fn insist<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => hint::spin_loop(),
            result => return result,
        }
    }
}

impl Read for Spin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        insist(|| self.0.read(buffer))
    }
}

impl Write for Spin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        insist(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Spin {
    fn set_nonblocking(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }
}
