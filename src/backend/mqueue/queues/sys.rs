//! The system calls that are the same everywhere, on a [`Descriptor`], which is not.
#![expect(unsafe_code, reason = "neither std nor rustix has message queues")]

use std::ffi::CStr;
use std::io;
use std::ptr;

use super::system::Descriptor;

/// How large a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) messages: u32,
    pub(super) message_len: u32,
}

/// What a queue is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Receive,
    Send,
}

impl Access {
    fn flags(self) -> libc::c_int {
        let access = match self {
            Self::Receive => libc::O_RDONLY,
            Self::Send => libc::O_WRONLY,
        };
        access | libc::O_NONBLOCK | libc::O_CLOEXEC
    }
}

/// Opens a queue that is there.
pub(super) fn open(name: &CStr, access: Access) -> io::Result<Descriptor> {
    // SAFETY: the name ends in NUL and lives longer than the call. Without O_CREAT no further
    // arguments are read.
    let queue = unsafe { libc::mq_open(name.as_ptr(), access.flags()) };
    // SAFETY: `mq_open` has just answered so, and nobody else has it.
    unsafe { Descriptor::own(queue) }
}

/// Creates a queue that is not there, closed to others.
#[allow(
    clippy::unnecessary_fallible_conversions,
    reason = "on a 32-bit system the conversions can fail"
)]
pub(super) fn create(name: &CStr, access: Access, shape: Shape) -> io::Result<Descriptor> {
    let too_large = |_| io::Error::from_raw_os_error(libc::EINVAL);
    // SAFETY: a struct of integers, of which zero is a valid value.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = shape.messages.try_into().map_err(too_large)?;
    attributes.mq_msgsize = shape.message_len.try_into().map_err(too_large)?;
    let flags = access.flags() | libc::O_CREAT | libc::O_EXCL;
    // What a `mode_t` is passed on as among such arguments.
    let mode: libc::c_uint = 0o600;
    // SAFETY: the name ends in NUL and lives longer than the call, and so do the attributes. With
    // O_CREAT a mode and a pointer to attributes are read.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, mode, &raw const attributes) };
    // SAFETY: as in `open`.
    unsafe { Descriptor::own(queue) }
}

/// Removes a name.
pub(crate) fn unlink(name: &CStr) -> io::Result<()> {
    // SAFETY: the name ends in NUL and lives longer than the call.
    check(unsafe { libc::mq_unlink(name.as_ptr()) })
}

/// How large the queue is.
pub(super) fn shape(queue: &Descriptor) -> io::Result<Shape> {
    // SAFETY: a struct of integers, of which zero is a valid value.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the pointer leads to room for the attributes.
    check(unsafe { libc::mq_getattr(queue.raw(), &raw mut attributes) })?;
    let strange = |_| io::Error::from(io::ErrorKind::InvalidData);
    Ok(Shape {
        messages: attributes.mq_maxmsg.try_into().map_err(strange)?,
        message_len: attributes.mq_msgsize.try_into().map_err(strange)?,
    })
}

/// Sends one message: whole or not at all. All have one priority, so they keep their order.
pub(super) fn send(queue: &Descriptor, message: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is open; the pointer and the length are those of a live slice, which
    // is only read.
    check(unsafe { libc::mq_send(queue.raw(), message.as_ptr().cast(), message.len(), 0) })
}

/// Receives one message into a buffer that is at least as long as the queue's messages can be.
pub(super) fn receive(queue: &Descriptor, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the descriptor is open; the pointer and the length are those of a live slice that is
    // ours to write to; a null pointer means that the priority is not asked for.
    let len = unsafe {
        libc::mq_receive(
            queue.raw(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            ptr::null_mut(),
        )
    };
    usize::try_from(len).map_err(|_| io::Error::last_os_error())
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
