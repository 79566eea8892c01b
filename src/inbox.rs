//! The bytes that have come from one peer and are not yet a whole frame, or not yet looked at.
//!
//! A connection at rest holds no memory here: the event loop lends its one large buffer to whoever
//! reads, until another one does, and only what is left of a begun frame stays behind then. A frame longer than the
//! lent buffer grows it as its bytes arrive, never because its header says so.

use crate::close::CloseReason;
use crate::frame::{self, Boundary};

/// Assembles frames from chunks. See the module's text.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The lent buffer, or nothing: received bytes in `start..end`, the rest is room.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// What stays while no buffer is lent: the begun frame.
    kept: Vec<u8>,
}

/// The size of the buffer that a loop lends: one read takes at most this much.
pub const LENT_LEN: usize = 256 * 1024;

/// A lent buffer that has grown beyond this is not kept.
const LENT_LEN_MAX: usize = 8 << 20;

/// The memory that a connection keeps for its next begun frame.
const KEPT_LEN: usize = 4096;

impl Inbox {
    /// Borrows `lent` until [`give_back`](Inbox::give_back), moving what is here into it.
    pub fn lend(&mut self, lent: &mut Vec<u8>) {
        self.bytes = std::mem::take(lent);
        let partial = self.kept.len();
        let len = LENT_LEN.max(partial);
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.bytes[..partial].copy_from_slice(&self.kept);
        self.start = 0;
        self.end = partial;
    }

    /// Whether the large buffer is here.
    pub fn is_lent(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Whether the buffer has grown so large that it should go back, to be given up.
    pub fn is_swollen(&self) -> bool {
        self.bytes.len() > LENT_LEN_MAX
    }

    /// Returns the large buffer and keeps only the begun frame.
    pub fn give_back(&mut self, lent: &mut Vec<u8>) {
        self.kept.clear();
        self.kept
            .extend_from_slice(&self.bytes[self.start..self.end]);
        if self.kept.is_empty() {
            self.kept.shrink_to(KEPT_LEN);
        }
        self.start = 0;
        self.end = 0;
        let buffer = std::mem::take(&mut self.bytes);
        if buffer.len() <= LENT_LEN_MAX {
            *lent = buffer;
        }
    }

    /// Room for the next read, never empty.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            // Each read is to take much; a begun frame is moved once, as it stays in front then.
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            let len = (self.bytes.len() * 2).max(LENT_LEN);
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Takes note that a read has filled the first `len` bytes of the room.
    ///
    /// # Panics
    /// If that is more than the room: a bug of the link.
    pub fn filled(&mut self, len: usize) {
        assert!(
            len <= self.bytes.len() - self.end,
            "a link has received more than it was given room for"
        );
        self.end += len;
    }

    /// The payload of the next frame, if it is whole.
    ///
    /// # Errors
    /// As [`frame::boundary`].
    #[inline]
    pub fn next_payload(&mut self, frame_len_max: u32) -> Result<Option<&[u8]>, CloseReason> {
        match frame::boundary(&self.bytes[self.start..self.end], frame_len_max)? {
            Boundary::Whole { len } => {
                let payload = self.start + frame::HEADER_LEN..self.start + len;
                self.start += len;
                Ok(Some(&self.bytes[payload]))
            }
            Boundary::Needs { .. } => Ok(None),
        }
    }

    /// The bytes of a begun frame, and of frames not yet asked for.
    pub fn partial_len(&self) -> usize {
        self.end - self.start
            + if self.bytes.is_empty() {
                self.kept.len()
            } else {
                0
            }
    }

    /// Forgets everything that has come: the next bytes are those of another connection.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.kept.clear();
    }
}
