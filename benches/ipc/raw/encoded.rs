//! A bare stream with the least that typed messages need: postcard, and a length before each of them.
//! What lies between this and a library is the library's own.

use std::io;

use serde::{Deserialize, Serialize};

use super::{BATCH_LEN, Buffer, READ_LEN, Stream};
use crate::Error;
use crate::ledger::Ledger;
use crate::message::{CONFIRM, Typed};
use crate::side::Traffic;

const HEADER_LEN: usize = 4;

/// What a message may be longer encoded than it says.
const SLACK: usize = 256;

/// Messages over a stream, through two buffers that never grow.
struct Frames {
    stream: Box<dyn Stream>,
    incoming: Buffer,
    begin: usize,
    end: usize,
    outgoing: Buffer,
    outgoing_len: usize,
    last_len: usize,
}

impl Frames {
    fn new(stream: Box<dyn Stream>, message_len: usize) -> Self {
        Self {
            stream,
            incoming: Buffer::new(READ_LEN.max(message_len + SLACK)),
            begin: 0,
            end: 0,
            outgoing: Buffer::new(BATCH_LEN + message_len + SLACK),
            outgoing_len: 0,
            last_len: 0,
        }
    }

    fn put<T: Serialize>(&mut self, message: &T) -> Result<(), Error> {
        let room = &mut self.outgoing[self.outgoing_len..];
        let (header, room) = room.split_at_mut(HEADER_LEN);
        let len = postcard::to_slice(message, room)?.len();
        header.copy_from_slice(&u32::try_from(len)?.to_le_bytes());
        self.last_len = HEADER_LEN + len;
        self.outgoing_len += self.last_len;
        Ok(())
    }

    /// Whether another one like the last would be too much for a batch.
    fn is_full(&self) -> bool {
        self.outgoing_len + self.last_len > BATCH_LEN
    }

    fn write(&mut self) -> io::Result<()> {
        let len = std::mem::take(&mut self.outgoing_len);
        self.stream.write_all(&self.outgoing[..len])
    }

    /// The next message; `None` at the end of the stream.
    fn get<'a, T: Deserialize<'a>>(&'a mut self) -> Result<Option<T>, Error> {
        loop {
            let there = &self.incoming[self.begin..self.end];
            let header = there.first_chunk::<HEADER_LEN>();
            let len =
                header.map_or(Ok(0), |header| usize::try_from(u32::from_le_bytes(*header)))?;
            if len > 0 && there.len() >= HEADER_LEN + len {
                let begin = self.begin + HEADER_LEN;
                self.begin = begin + len;
                return Ok(Some(postcard::from_bytes(
                    &self.incoming[begin..begin + len],
                )?));
            }
            self.incoming.copy_within(self.begin..self.end, 0);
            self.end -= std::mem::take(&mut self.begin);
            match self.stream.read(&mut self.incoming[self.end..])? {
                0 => return Ok(None),
                len => self.end += len,
            }
        }
    }
}

/// Verifies all that comes, and answers everything or what wants to be confirmed.
pub(super) fn serve<M: Typed>(
    stream: Box<dyn Stream>,
    len: usize,
    calls: bool,
    ledger: &Ledger,
) -> Result<(), Error> {
    let mut frames = Frames::new(stream, len);
    while let Some(message) = frames.get::<M>()? {
        let number = ledger.verify(&message);
        if calls {
            frames.put(&message)?;
            frames.write()?;
        } else if number & CONFIRM != 0 {
            frames.put(&number)?;
            frames.write()?;
        }
    }
    Ok(())
}

/// The client's side.
pub struct Caller<M> {
    frames: Frames,
    message: M,
}

impl<M: Typed> Caller<M> {
    pub(super) fn new(stream: Box<dyn Stream>, len: usize, source: usize) -> Self {
        Self {
            frames: Frames::new(stream, len),
            message: M::of_len(len, source),
        }
    }

    fn put(&mut self, number: u64) -> Result<(), Error> {
        self.message.number(number);
        self.frames.put(&self.message)
    }
}

impl<M: Typed> Traffic for Caller<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.put(number)?;
        self.frames.write()?;
        let reply: M = self.frames.get()?.ok_or("the server has gone")?;
        assert_eq!(reply.verified(), Some(number), "another answer");
        Ok(())
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        for number in first..first + count {
            self.put(number)?;
            if self.frames.is_full() {
                self.frames.write()?;
            }
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        Ok(self.frames.write()?)
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        let number = number | CONFIRM;
        self.put(number)?;
        self.frames.write()?;
        assert_eq!(self.frames.get()?, Some(number));
        Ok(())
    }
}
