//! Two message queues of the size that the transport uses, one for each direction. What is longer
//! than a message goes in several; an empty one is the end.
#![expect(unsafe_code, reason = "neither std nor rustix has message queues")]

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use wayside::backend::MqueueOptions;

use super::{Accept, Stream};

struct Pair {
    from: OwnedFd,
    to: OwnedFd,
    len_max: usize,
    /// A message that was longer than the reader's buffer, and from where on it is new.
    rest: (Vec<u8>, usize),
}

impl Pair {
    fn new(from: OwnedFd, to: OwnedFd) -> Self {
        let len_max = usize::try_from(MqueueOptions::default().message_len).unwrap_or(usize::MAX);
        Self {
            from,
            to,
            len_max,
            rest: (Vec::with_capacity(len_max), 0),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the descriptor is open; pointer and length are those of a live slice that is ours
        // to write to; a null pointer means that the priority is not asked for.
        let len = unsafe {
            libc::mq_receive(
                self.from.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                ptr::null_mut(),
            )
        };
        usize::try_from(len).map_err(|_| io::Error::last_os_error())
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let (pointer, len) = (message.as_ptr().cast(), message.len());
        // SAFETY: the descriptor is open; pointer and length are those of a live slice.
        let result = unsafe { libc::mq_send(self.to.as_raw_fd(), pointer, len, 0) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Read for Pair {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.1 == self.rest.0.len() {
            if buffer.len() >= self.len_max {
                return self.receive(buffer);
            }
            let mut message = std::mem::take(&mut self.rest.0);
            message.resize(self.len_max, 0);
            let received = self.receive(&mut message);
            message.truncate(*received.as_ref().unwrap_or(&0));
            self.rest = (message, 0);
            received?;
        }
        let (message, start) = &mut self.rest;
        let len = buffer.len().min(message.len() - *start);
        buffer[..len].copy_from_slice(&message[*start..*start + len]);
        *start += len;
        Ok(len)
    }
}

impl Write for Pair {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.len_max);
        self.send(&bytes[..len])?;
        Ok(len)
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

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.send(&[]).ok();
    }
}

/// The names follow from the folder, which is each run's own.
fn names(path: &Path) -> io::Result<[CString; 2]> {
    let folder = path.parent().and_then(Path::file_name);
    let folder = folder.ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let file = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let file = file.to_string_lossy();
    let name = |end: &str| CString::new(format!("/wayside-{folder}-{file}-{end}"));
    Ok([name("up")?, name("down")?])
}

#[allow(
    clippy::unnecessary_fallible_conversions,
    reason = "on a 32-bit system the conversions can fail"
)]
fn open(name: &CString, flags: libc::c_int) -> io::Result<OwnedFd> {
    let options = MqueueOptions::default();
    let too_large = |_| io::Error::from_raw_os_error(libc::EINVAL);
    // SAFETY: a struct of integers, of which zero is a valid value.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = options.messages.try_into().map_err(too_large)?;
    attributes.mq_msgsize = options.message_len.try_into().map_err(too_large)?;
    let mode: libc::mode_t = 0o600;
    let flags = flags | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: the name ends in NUL; name and attributes live longer than the call.
    let fd = unsafe { libc::mq_open(name.as_ptr(), flags, mode, &raw const attributes) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn listen(path: &Path) -> io::Result<Accept> {
    let [up, down] = names(path)?;
    let pair = Pair::new(open(&up, libc::O_RDONLY)?, open(&down, libc::O_WRONLY)?);
    Ok(Box::new(move || Ok(Box::new(pair))))
}

/// Both have them open now: the names go.
pub(super) fn connect(path: &Path) -> io::Result<Box<dyn Stream>> {
    let [up, down] = names(path)?;
    let pair = Pair::new(open(&down, libc::O_RDONLY)?, open(&up, libc::O_WRONLY)?);
    for name in [&up, &down] {
        // SAFETY: the name ends in NUL and lives longer than the call.
        unsafe { libc::mq_unlink(name.as_ptr()) };
    }
    Ok(Box::new(pair))
}
