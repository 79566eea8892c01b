//! Unix sockets.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::{Accept, Stream};

pub(super) fn listen(path: &Path) -> io::Result<Accept> {
    let listener = UnixListener::bind(path)?;
    Ok(Box::new(move || {
        let (stream, _) = listener.accept()?;
        Ok(Box::new(stream))
    }))
}

pub(super) fn connect(path: &Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(UnixStream::connect(path)?))
}

impl Stream for UnixStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    #[cfg(target_os = "linux")]
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}
