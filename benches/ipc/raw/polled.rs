//! Sleeps in a poll until there is something to read: as everyone does who may wait for more than that.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll::{CreateFlags, EventData, EventFlags, add, create, wait};

use super::Stream;

pub(super) struct Polled {
    stream: Box<dyn Stream>,
    poll: OwnedFd,
}

pub(super) fn polled(stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    stream.set_nonblocking()?;
    let poll = create(CreateFlags::CLOEXEC)?;
    let edges = EventFlags::IN | EventFlags::ET;
    add(&poll, stream.descriptor(), EventData::new_u64(0), edges)?;
    Ok(Box::new(Polled { stream, poll }))
}

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut events = Vec::with_capacity(1);
        loop {
            events.clear();
            wait(
                &self.poll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            )?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

impl Write for Polled {
    /// There is room, always: messages are short, and one is under way at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Polled {
    fn set_nonblocking(&self) -> io::Result<()> {
        Ok(())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.descriptor()
    }
}
