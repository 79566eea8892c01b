//! The bytes that have come from one peer and are not yet a whole frame, or not yet looked at.
//!
//! A connection at rest holds no memory here: the event loop lends its one large buffer to whoever
//! reads, until another one does, and only what is left of a begun frame stays behind then. A frame
//! longer than the lent buffer grows it as its bytes arrive, never because its header says so; once
//! it has, the buffer stays with the connection until the frame is whole, or each byte that
//! trickles in would cost a copy of all before.
//!
//! Memory: at rest at most twice [`partial_len`](Inbox::partial_len), plus a few kilobytes.

use crate::close::CloseReason;
use crate::frame::{self, Boundary};

/// Assembles frames from chunks. See the module's text.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The lent buffer, or nothing: received bytes in `start..end`, the rest but its front is room.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// What stays while no buffer is lent: the begun frame, unless it is long.
    kept: Vec<u8>,
}

/// What a buffer that a loop lends has room for, until a long frame grows it. One read takes at most
/// this much, also then.
pub const LENT_LEN: usize = 64 * 1024;

/// Bytes come in behind so many that are never used: see [`frame::FRONT_LEN`].
const FRONT: usize = frame::FRONT_LEN;

/// A lent buffer that has grown beyond this is not kept.
const LENT_LEN_MAX: usize = FRONT + (8 << 20);

/// The memory that a connection keeps for its next begun frame.
const KEPT_LEN: usize = 4096;

impl Inbox {
    /// Borrows `lent` until [`give_back`](Inbox::give_back), moving what is here into it.
    pub fn lend(&mut self, lent: &mut Vec<u8>) {
        if !self.bytes.is_empty() {
            return;
        }
        self.bytes = std::mem::take(lent);
        let partial = self.kept.len();
        let len = FRONT + LENT_LEN.max(partial);
        if self.bytes.is_empty() {
            // From the system, which has zeroes at hand.
            self.bytes = vec![0; len];
        } else if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.start = FRONT;
        self.end = FRONT + partial;
        self.bytes[FRONT..self.end].copy_from_slice(&self.kept);
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
        let partial = self.end - self.start;
        if partial > LENT_LEN {
            self.keep_own(lent);
            return;
        }
        self.kept.clear();
        if self.kept.capacity() > KEPT_LEN.max(2 * partial) {
            self.kept.shrink_to(partial.max(KEPT_LEN));
        }
        self.kept
            .extend_from_slice(&self.bytes[self.start..self.end]);
        self.start = 0;
        self.end = 0;
        let buffer = std::mem::take(&mut self.bytes);
        if lent.is_empty() && buffer.len() <= LENT_LEN_MAX {
            *lent = buffer;
        }
    }

    /// Keeps the buffer for a long frame, or one of its own if that is much too large for it.
    fn keep_own(&mut self, lent: &mut Vec<u8>) {
        self.kept = Vec::new();
        let partial = self.end - self.start;
        if (self.bytes.len() - FRONT) / 2 <= partial {
            return;
        }
        let own = [&[0; FRONT], &self.bytes[self.start..self.end]].concat();
        let buffer = std::mem::replace(&mut self.bytes, own);
        self.start = FRONT;
        self.end = FRONT + partial;
        if lent.is_empty() && buffer.len() <= LENT_LEN_MAX {
            *lent = buffer;
        }
    }

    /// Room for the next read: never empty, and never more than [`LENT_LEN`].
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = FRONT;
            self.end = FRONT;
        } else if self.start > FRONT && self.bytes.len() - self.end < self.bytes.len() / 2 {
            // Each read is to take much; a begun frame is moved once, as it stays in front then.
            self.bytes.copy_within(self.start..self.end, FRONT);
            self.end -= self.start - FRONT;
            self.start = FRONT;
        }
        if self.end == self.bytes.len() {
            let len = FRONT + (2 * (self.bytes.len() - FRONT)).max(LENT_LEN);
            self.bytes.reserve_exact(len - self.bytes.len());
            self.bytes.resize(len, 0);
        }
        let end = self.bytes.len().min(self.end + LENT_LEN);
        &mut self.bytes[self.end..end]
    }

    /// Takes note that a read has filled the first `len` bytes of the room.
    ///
    /// # Panics
    /// If that is more than the room: a bug of the link.
    pub fn filled(&mut self, len: usize) {
        assert!(
            len <= (self.bytes.len() - self.end).min(LENT_LEN),
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

    /// The memory that is held while no buffer is lent.
    #[cfg(test)]
    fn held_len(&self) -> usize {
        self.bytes.capacity() + self.kept.capacity()
    }

    /// Forgets everything that has come: the next bytes are those of another connection.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the inbox receive `bytes` in one visit and gives the payloads that became whole.
    fn visit(inbox: &mut Inbox, lent: &mut Vec<u8>, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        inbox.lend(lent);
        while !bytes.is_empty() {
            let room = inbox.room();
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            inbox.filled(len);
            while let Some(payload) = inbox.next_payload(u32::MAX).unwrap() {
                payloads.push(payload.to_vec());
            }
        }
        inbox.give_back(lent);
        payloads
    }

    fn frame(len: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(len).unwrap().to_le_bytes().to_vec();
        bytes.extend((0..len).map(|index| u8::try_from(index % 251).unwrap()));
        bytes
    }

    fn within_bound(inbox: &Inbox) {
        let (held, partial) = (inbox.held_len(), inbox.partial_len());
        assert!(held <= 2 * partial + KEPT_LEN, "{held} for {partial}");
    }

    #[test]
    fn what_is_held_at_rest_follows_from_what_is_there() {
        for lent_len in [0, LENT_LEN, LENT_LEN_MAX] {
            let (mut inbox, mut lent) = (Inbox::default(), vec![0; lent_len]);
            for len in [10, 5000, LENT_LEN, LENT_LEN * 2, 1 << 22, 100, 1 << 21] {
                let frame = frame(len);
                // A first part, a long part, all but the last byte; then the end, with the first
                // bytes of another frame behind it.
                let (start, rest) = frame.split_at(3);
                let (middle, rest) = rest.split_at(rest.len() / 2);
                let (almost, last) = rest.split_at(rest.len() - 1);
                for part in [start, middle, almost] {
                    assert_eq!(visit(&mut inbox, &mut lent, part).len(), 0);
                    within_bound(&inbox);
                }
                let end = [last, &frame[..3]].concat();
                assert_eq!(visit(&mut inbox, &mut lent, &end), [&frame[HEADER..]]);
                assert_eq!(inbox.partial_len(), 3);
                within_bound(&inbox);
                assert_eq!(
                    visit(&mut inbox, &mut lent, &frame[3..]),
                    [&frame[HEADER..]]
                );
                assert_eq!(inbox.partial_len(), 0);
                within_bound(&inbox);
            }
        }
    }

    #[test]
    fn a_long_frame_is_not_copied_for_each_byte_that_comes() {
        let (mut inbox, mut lent) = (Inbox::default(), Vec::new());
        let frame = frame(LENT_LEN * 3);
        visit(&mut inbox, &mut lent, &frame[..LENT_LEN * 2 - 1]);
        let mut moves = 0;
        for byte in &frame[LENT_LEN * 2 - 1..LENT_LEN * 2 + 100] {
            let before = inbox.bytes.as_ptr();
            visit(&mut inbox, &mut lent, &[*byte]);
            moves += usize::from(inbox.bytes.as_ptr() != before);
        }
        assert!(moves <= 1, "{moves}");
    }

    const HEADER: usize = frame::HEADER_LEN;
}
