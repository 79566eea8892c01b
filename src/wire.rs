//! A link and what waits for it, under one lock: where messages of any thread become bytes.
//!
//! Reading and writing share a link, so they share its lock, for the length of one system call.
//! What is read is looked at outside.

use std::io::{self, ErrorKind};
use std::time::Instant;

use serde::Serialize;

use crate::backend::Link;
use crate::envelope::{self, EncodeError, Head};
use crate::frame::HEADER_LEN;
use crate::outbox::{Lane, Outbox, Refusal};
use crate::session::Writing;

/// The writing half of a connection, and the link.
pub(crate) struct Wire {
    link: Option<Box<dyn Link>>,
    pub(crate) outbox: Outbox,
    pub(crate) writing: Writing,
    /// The longest payload that both sides take.
    pub(crate) frame_len_max: u32,
}

/// What one read brought.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Blocked,
    /// The link has ended.
    End,
}

impl Wire {
    pub(crate) fn new(outbox_len_max: usize, frame_len_max: u32, now: Instant) -> Self {
        Self {
            link: None,
            outbox: Outbox::new(outbox_len_max),
            writing: Writing {
                last: now,
                blocked_since: None,
            },
            frame_len_max,
        }
    }

    pub(crate) fn attach(&mut self, link: Box<dyn Link>, now: Instant) {
        self.link = Some(link);
        self.writing = Writing {
            last: now,
            blocked_since: None,
        };
    }

    pub(crate) fn detach(&mut self) -> Option<Box<dyn Link>> {
        self.link.take()
    }

    pub(crate) fn link(&mut self) -> Option<&mut Box<dyn Link>> {
        self.link.as_mut()
    }

    /// Encodes a message to the end of a lane.
    pub(crate) fn append<T: Serialize + ?Sized>(
        &mut self,
        lane: Lane,
        head: Head,
        body: &T,
    ) -> Result<(), Refusal<EncodeError>> {
        let max = self.frame_len_max;
        self.outbox
            .append(lane, |bytes| envelope::encode(bytes, &head, body, max))
    }

    /// Encodes a head alone to the end of the bulk lane, also beyond the outbox's bound.
    pub(crate) fn append_beyond(&mut self, head: Head) -> Result<(), Refusal<EncodeError>> {
        let max = self.frame_len_max;
        self.outbox
            .append_beyond(|bytes| envelope::encode(bytes, &head, &(), max))
    }

    /// Whether so much waits that nothing should be done that makes it more: the outbox is half
    /// full, or has no room for the longest frame.
    pub(crate) fn is_choked(&self) -> bool {
        let frame_len_max = usize::try_from(self.frame_len_max).unwrap_or(usize::MAX);
        self.outbox.room_len() < frame_len_max.saturating_add(HEADER_LEN)
            || self.outbox.room_len() <= self.outbox.queued_len()
    }

    /// Reads once.
    pub(crate) fn recv(&mut self, room: &mut [u8]) -> io::Result<Read> {
        let Some(link) = &mut self.link else {
            return Ok(Read::Blocked);
        };
        loop {
            return match link.recv(room) {
                Ok(0) => Ok(Read::End),
                Ok(len) => Ok(Read::Bytes(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Read::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Writes until nothing waits or the link takes no more.
    pub(crate) fn flush(&mut self, now: Instant) -> io::Result<()> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        loop {
            let bytes = self.outbox.next_bytes();
            if bytes.is_empty() {
                self.writing.blocked_since = None;
                return Ok(());
            }
            match link.send(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    self.outbox.written(len);
                    self.writing = Writing {
                        last: now,
                        blocked_since: None,
                    };
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writing.blocked_since.get_or_insert(now);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
