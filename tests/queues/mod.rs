//! Message queues, as tests look at them: by their names, which nobody can list.
#![allow(dead_code, reason = "no file of tests needs all of it")]
#![allow(unsafe_code, reason = "neither std nor rustix has message queues")]
#![allow(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many numbers a backend has for the pairs of a mailbox.
const SLOTS: u32 = 128;

/// A name that no other test uses.
pub(crate) fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("/wayside-test-{}-{count}", process::id())
}

/// An open queue: on Linux a file.
pub(crate) fn open(name: &str, flags: libc::c_int) -> io::Result<File> {
    let name = CString::new(name).unwrap();
    let flags = flags | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: the name ends in NUL and lives longer than the call.
    let fd = unsafe { libc::mq_open(name.as_ptr(), flags) };
    owned(fd)
}

/// A queue like a mailbox, made by hand.
pub(crate) fn create(name: &str) -> File {
    let name = CString::new(name).unwrap();
    // SAFETY: a struct of integers, of which zero is a valid value.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = 4;
    attributes.mq_msgsize = 32;
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let mode: libc::mode_t = 0o600;
    // SAFETY: the name ends in NUL; name and attributes live longer than the call.
    let fd = unsafe { libc::mq_open(name.as_ptr(), flags, mode, &raw const attributes) };
    owned(fd).unwrap()
}

fn owned(fd: libc::c_int) -> io::Result<File> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

pub(crate) fn send(queue: &File, message: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open, pointer and length are those of a live slice.
    let result =
        unsafe { libc::mq_send(queue.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(crate) fn receive(queue: &File) -> io::Result<Vec<u8>> {
    use std::os::fd::AsRawFd;
    let mut message = vec![0; 8192];
    // SAFETY: the descriptor is open, pointer and length are those of a live, writable slice.
    let len = unsafe {
        libc::mq_receive(
            queue.as_raw_fd(),
            message.as_mut_ptr().cast(),
            message.len(),
            std::ptr::null_mut(),
        )
    };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    message.truncate(len);
    Ok(message)
}

/// Removes the name of a mailbox and those of its pairs, where they are.
pub(crate) fn remove(address: &str) {
    let pairs =
        (0..SLOTS).flat_map(|number| ["up", "down"].map(|end| format!("{address}.{number}.{end}")));
    for name in std::iter::once(address.to_owned()).chain(pairs) {
        let name = CString::new(name).unwrap();
        // SAFETY: the name ends in NUL and lives longer than the call. Most are not there.
        unsafe { libc::mq_unlink(name.as_ptr()) };
    }
}

/// Every queue that a backend may have made at this address and that is there.
pub(crate) fn names(address: &str) -> Vec<String> {
    let pairs =
        (0..SLOTS).flat_map(|number| ["up", "down"].map(|end| format!("{address}.{number}.{end}")));
    std::iter::once(address.to_owned())
        .chain(pairs)
        .filter(|name| match open(name, libc::O_RDONLY) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        })
        .collect()
}
