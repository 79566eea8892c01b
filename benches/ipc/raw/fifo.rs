//! Two FIFOs, one for each direction.
#![expect(unsafe_code, reason = "rustix has it on some systems only")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{Accept, Stream};

struct Pair {
    from: File,
    to: File,
}

impl Read for Pair {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer)
    }
}

impl Write for Pair {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pair {
    fn set_nonblocking(&self) -> io::Result<()> {
        for end in [&self.from, &self.to] {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}

fn paths(path: &Path) -> [PathBuf; 2] {
    ["up", "down"].map(|end| path.with_extension(end))
}

fn make(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the pointer leads to a text that ends in NUL and lives longer than the call.
    let result = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(super) fn listen(path: &Path) -> io::Result<Accept> {
    let [up, down] = paths(path);
    make(&up)?;
    make(&down)?;
    // Opening waits for the other side: both open the same one first.
    Ok(Box::new(move || {
        let from = File::open(up)?;
        let to = File::options().write(true).open(down)?;
        Ok(Box::new(Pair { from, to }))
    }))
}

pub(super) fn connect(path: &Path) -> io::Result<Box<dyn Stream>> {
    let [up, down] = paths(path);
    let to = File::options().write(true).open(up)?;
    let from = File::open(down)?;
    Ok(Box::new(Pair { from, to }))
}
