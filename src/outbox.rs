//! What waits to be written to one peer: encoded frames in three lanes, bounded by bytes.
//!
//! ```text
//!  control  hello, ping, pong, ack     few by construction; goes first, and before the gate opens
//!  urgent   urgent events and pushes   overtakes bulk at the next frame boundary
//!  bulk     everything else            in the order it was given
//! ```
//!
//! Each lane is a row of chunks, each of which holds many small frames that leave in one write, or
//! one large one. A chunk that was written is used again for what comes next, so nothing is ever
//! moved, and a short row stays in the processor's cache. The outbox knows where frames end, not
//! what they say.
//!
//! Invariants:
//! - Bytes leave frame by frame: a frame that was begun is finished before another lane's turn.
//! - `urgent` and `bulk` leave only while the gate is open, and `bulk` nothing behind the seal.
//! - The bytes that wait in `urgent` and `bulk` never exceed `len_max`, and [`RESERVED_LEN`] with
//!   the frames that may go beyond it.

use std::collections::VecDeque;

use crate::frame;

/// Which queue a frame waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The session's own frames.
    Control,
    /// Overtakes bulk.
    Urgent,
    /// In order.
    Bulk,
}

/// Why a frame was not taken. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal<E> {
    /// The bytes that wait have reached the bound.
    Full {
        /// The bytes that wait.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// The frame could not be encoded.
    Encode(E),
}

/// The bytes beyond the bound that are kept for frames about those that wait.
pub const RESERVED_LEN: usize = 16 * 1024;

/// A bounded queue of encoded frames. See the module's text.
#[derive(Debug)]
pub struct Outbox {
    control: Buffer,
    urgent: Buffer,
    bulk: Buffer,
    len_max: usize,
    open: bool,
}

impl Outbox {
    /// An empty outbox with its gate closed.
    pub fn new(len_max: usize) -> Self {
        Self {
            control: Buffer::default(),
            urgent: Buffer::default(),
            bulk: Buffer::default(),
            len_max,
            open: false,
        }
    }

    /// Appends one frame, whose payload `encode` writes to the end of the buffer it is given.
    ///
    /// # Errors
    /// See [`Refusal`]. A panic of `encode` also leaves the outbox as it was.
    pub fn append<E>(
        &mut self,
        lane: Lane,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refusal<E>> {
        let max = match lane {
            Lane::Control => usize::MAX,
            Lane::Urgent | Lane::Bulk => self.len_max,
        };
        self.append_within(max, lane, encode)
    }

    /// Appends a short frame that is about those that wait: there is room for some of them also
    /// when there is none for more messages.
    ///
    /// # Errors
    /// As [`append`](Outbox::append).
    pub fn append_reserved<E>(
        &mut self,
        lane: Lane,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refusal<E>> {
        self.append_within(self.len_max.saturating_add(RESERVED_LEN), lane, encode)
    }

    fn append_within<E>(
        &mut self,
        max: usize,
        lane: Lane,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refusal<E>> {
        let len = self.queued_len();
        let buffer = self.buffer(lane);
        let frame = Uncommitted::new(buffer.open_chunk());
        encode(frame.bytes).map_err(Refusal::Encode)?;
        let frame_len = frame.len();
        if lane != Lane::Control && frame_len > max.saturating_sub(len) {
            return Err(Refusal::Full { len, max });
        }
        frame.commit();
        buffer.len += frame_len;
        Ok(())
    }

    /// Appends the last frame of this session, whatever the bound, and keeps back all that is
    /// appended later.
    pub fn append_last(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let frame = Uncommitted::new(self.bulk.open_chunk());
        encode(frame.bytes);
        let frame_len = frame.len();
        frame.commit();
        self.bulk.len += frame_len;
        self.urgent.seal = Some(self.urgent.len);
        self.bulk.seal = Some(self.bulk.len);
    }

    /// Lets `urgent` and `bulk` flow: the session is open.
    pub fn open(&mut self) {
        self.open = true;
    }

    /// Lets only `control` flow from now on, behind the frame that was begun: the session is over,
    /// and what has not left stays for the next one.
    pub fn shut(&mut self) {
        self.open = false;
    }

    /// The bytes to write next; empty when there is nothing to write now.
    pub fn next_bytes(&mut self) -> &[u8] {
        match self.turn() {
            Some((lane, end)) => {
                let buffer = self.buffer(lane);
                &buffer.chunks[0][buffer.start..end]
            }
            None => &[],
        }
    }

    /// Whether [`next_bytes`](Outbox::next_bytes) would give none.
    pub fn is_drained(&mut self) -> bool {
        self.turn().is_none()
    }

    /// Takes note that `len` of the bytes that [`next_bytes`](Outbox::next_bytes) gave are written.
    ///
    /// # Panics
    /// If more is said to be written than was given: that is a bug of the caller's link.
    pub fn written(&mut self, len: usize) {
        let (lane, end) = self.turn().expect("only what was given can be written");
        let buffer = self.buffer(lane);
        assert!(
            buffer.start + len <= end,
            "a link has sent more than it was given"
        );
        buffer.written(len);
    }

    /// Whether no frame of the session's own waits.
    pub fn is_control_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// The bytes in `urgent` and `bulk` that are not yet written.
    pub fn queued_len(&self) -> usize {
        self.urgent.len + self.bulk.len
    }

    /// The bytes that `urgent` and `bulk` still take.
    pub fn room_len(&self) -> usize {
        self.len_max.saturating_sub(self.queued_len())
    }

    /// Ends the session: of the frames that were not written whole keeps those that `keep` wants
    /// (it is given the payload), forgets `control`, closes the gate and lifts the seal.
    ///
    /// A frame that was begun counts as not written: the peer can't have made anything of it.
    pub fn reset(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        self.control.retain_unwritten(&mut |_: &[u8]| false);
        self.urgent.retain_unwritten(&mut keep);
        self.bulk.retain_unwritten(&mut keep);
        self.open = false;
    }

    /// Gives back the memory that an earlier burst needed.
    pub fn shrink(&mut self) {
        for buffer in [&mut self.control, &mut self.urgent, &mut self.bulk] {
            if buffer.is_empty() {
                buffer.shrink();
            }
        }
    }

    /// The lane whose turn it is, and the end of what it may write now.
    fn turn(&mut self) -> Option<(Lane, usize)> {
        // A frame that was begun is finished before a lane above it gets its turn, and before the
        // gate stops it. With neither ahead, its end need not be looked for.
        if !(self.open && self.control.is_empty() && self.urgent.is_empty()) {
            for lane in [Lane::Urgent, Lane::Bulk] {
                let buffer = self.buffer(lane);
                let end = buffer.frame_in_progress_end();
                if end > buffer.start {
                    return Some((lane, end));
                }
            }
        }
        let lanes: &[Lane] = if self.open {
            &[Lane::Control, Lane::Urgent, Lane::Bulk]
        } else {
            &[Lane::Control]
        };
        for &lane in lanes {
            let buffer = self.buffer(lane);
            let end = buffer.end();
            if end > buffer.start {
                return Some((lane, end));
            }
        }
        None
    }

    fn buffer(&mut self, lane: Lane) -> &mut Buffer {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Urgent => &mut self.urgent,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

/// One lane: frames one after the other, none of them in two chunks. The first chunk is written up
/// to `start`.
///
/// `boundary <= start <= chunks[0].len()`; a frame starts at `boundary`. Only the last chunk may be
/// empty, or written to its end.
#[derive(Debug, Default)]
struct Buffer {
    chunks: VecDeque<Vec<u8>>,
    start: usize,
    boundary: usize,
    /// The bytes that are not yet written.
    len: usize,
    /// After how many of those writing stops in this session, if before the end.
    seal: Option<usize>,
    /// Chunks to use again. As many as there once were: the bound of the outbox is theirs too.
    spare: Vec<Vec<u8>>,
}

/// A chunk that has so many bytes takes no more frames.
const CHUNK_LEN: usize = 64 * 1024;

/// So that a chunk of short frames need not grow for the last of them.
const CHUNK_CAPACITY: usize = CHUNK_LEN + KEPT_LEN;

/// Buffers are shrunk to this once a burst is over.
const KEPT_LEN: usize = 4096;

impl Buffer {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk that takes the next frame.
    #[inline]
    fn open_chunk(&mut self) -> &mut Vec<u8> {
        if self
            .chunks
            .back()
            .is_none_or(|last| last.len() >= CHUNK_LEN)
        {
            self.add_chunk();
        }
        self.chunks.back_mut().expect("there is one now")
    }

    fn add_chunk(&mut self) {
        let chunk = self.spare.pop().unwrap_or_else(|| match self.chunks.len() {
            // Most lanes never need more than a part of their first chunk.
            0 => Vec::new(),
            _ => Vec::with_capacity(CHUNK_CAPACITY),
        });
        self.chunks.push_back(chunk);
    }

    /// Where in the first chunk writing stops for now.
    fn end(&self) -> usize {
        let first = self.chunks.front().map_or(0, Vec::len);
        match self.seal {
            Some(len) => first.min(self.start + len),
            None => first,
        }
    }

    fn written(&mut self, len: usize) {
        self.start += len;
        self.len -= len;
        self.seal = self.seal.map(|seal| seal - len);
        if self.start < self.chunks[0].len() {
            return;
        }
        self.start = 0;
        self.boundary = 0;
        if self.chunks.len() == 1 {
            self.chunks[0].clear();
        } else if let Some(mut chunk) = self.chunks.pop_front() {
            chunk.clear();
            self.spare.push(chunk);
        }
    }

    /// Where the frame ends in which writing stopped; `start` if it stopped between two frames.
    fn frame_in_progress_end(&mut self) -> usize {
        while self.boundary < self.start {
            let end = self.boundary + frame::own_len(&self.chunks[0][self.boundary..]);
            if end > self.start {
                return end;
            }
            self.boundary = end;
        }
        self.start
    }

    /// Keeps the frames that were not written whole, as far as they are wanted.
    fn retain_unwritten(&mut self, keep: &mut impl FnMut(&[u8]) -> bool) {
        self.frame_in_progress_end();
        let mut at = self.boundary;
        let mut kept = Self::default();
        for chunk in self.chunks.drain(..) {
            let mut bytes = Vec::new();
            while at < chunk.len() {
                let end = at + frame::own_len(&chunk[at..]);
                if keep(&chunk[at + frame::HEADER_LEN..end]) {
                    bytes.extend_from_slice(&chunk[at..end]);
                }
                at = end;
            }
            at = 0;
            if !bytes.is_empty() {
                kept.len += bytes.len();
                kept.chunks.push_back(bytes);
            }
        }
        *self = kept;
    }

    /// Gives back the memory of an empty lane.
    fn shrink(&mut self) {
        self.spare = Vec::new();
        if let Some(last) = self.chunks.back_mut() {
            last.shrink_to(KEPT_LEN);
        }
    }
}

/// A frame under construction: cut off again unless it is committed.
struct Uncommitted<'a> {
    bytes: &'a mut Vec<u8>,
    at: usize,
    committed: bool,
}

impl<'a> Uncommitted<'a> {
    #[inline]
    fn new(bytes: &'a mut Vec<u8>) -> Self {
        let at = frame::start(bytes);
        Self {
            bytes,
            at,
            committed: false,
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    fn commit(mut self) {
        frame::finish(self.bytes, self.at);
        self.committed = true;
    }
}

impl Drop for Uncommitted<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.bytes.truncate(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        let mut outbox = Outbox::new(1 << 20);
        outbox.open();
        outbox
    }

    fn append(outbox: &mut Outbox, lane: Lane, payload: &[u8]) {
        let appended: Result<(), Refusal<()>> = outbox.append(lane, |bytes| {
            bytes.extend_from_slice(payload);
            Ok(())
        });
        appended.unwrap();
    }

    /// Writes at most so many bytes at a time; gives the payloads in the order they left.
    fn write_all(outbox: &mut Outbox, at_once: usize) -> Vec<Vec<u8>> {
        let mut stream = Vec::new();
        while !outbox.is_drained() {
            let bytes = outbox.next_bytes();
            let len = bytes.len().min(at_once);
            stream.extend_from_slice(&bytes[..len]);
            outbox.written(len);
        }
        payloads(&stream)
    }

    fn payloads(mut stream: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        while !stream.is_empty() {
            let (frame, rest) = stream.split_at(frame::own_len(stream));
            payloads.push(frame[frame::HEADER_LEN..].to_vec());
            stream = rest;
        }
        payloads
    }

    #[test]
    fn frames_leave_in_order_over_many_chunks() {
        let mut outbox = outbox();
        let frames: Vec<Vec<u8>> = (0..200_u8)
            .map(|n| vec![n; usize::from(n) * 20 + 1])
            .collect();
        for at_once in [1000, usize::MAX] {
            for frame in &frames {
                append(&mut outbox, Lane::Bulk, frame);
            }
            assert!(outbox.bulk.chunks.len() > 3);
            assert_eq!(write_all(&mut outbox, at_once), frames);
            assert_eq!(outbox.queued_len(), 0);
        }
    }

    #[test]
    fn what_was_written_makes_room_without_new_memory() {
        let mut outbox = outbox();
        let frame = [7; 1000];
        for _ in 0..300 {
            append(&mut outbox, Lane::Bulk, &frame);
        }
        let chunks = outbox.bulk.chunks.len();
        for _ in 0..1000 {
            let len = outbox.next_bytes().len();
            outbox.written(len);
            while outbox.queued_len() < 300_000 {
                append(&mut outbox, Lane::Bulk, &frame);
            }
            assert!(outbox.bulk.chunks.len() + outbox.bulk.spare.len() <= chunks + 1);
        }
        write_all(&mut outbox, usize::MAX);
        outbox.shrink();
        assert!(outbox.bulk.spare.is_empty());
        assert!(outbox.bulk.chunks[0].capacity() <= KEPT_LEN);
    }

    #[test]
    fn a_frame_that_was_begun_is_finished_before_an_urgent_one() {
        let mut outbox = outbox();
        append(&mut outbox, Lane::Bulk, b"one");
        append(&mut outbox, Lane::Bulk, b"two");
        outbox.written(5);
        append(&mut outbox, Lane::Urgent, b"urgent");
        assert_eq!(outbox.next_bytes(), b"ne");
        outbox.written(2);
        assert_eq!(write_all(&mut outbox, 3), [&b"urgent"[..], b"two"]);
    }

    #[test]
    fn a_reset_keeps_what_was_not_written_whole() {
        let mut outbox = outbox();
        for n in 0..100 {
            append(&mut outbox, Lane::Bulk, &[n; 2000]);
        }
        // Into the middle of a frame of the second chunk.
        let first = outbox.next_bytes().len();
        outbox.written(first);
        outbox.written(2004 * 3 + 10);
        let written = u8::try_from(first / 2004 + 3).unwrap();
        outbox.append_last(|bytes| bytes.push(255));
        outbox.reset(|payload| payload[0] % 2 == 0 && payload[0] != 255);
        assert!(outbox.is_drained(), "the gate is closed");
        outbox.open();
        let left: Vec<u8> = write_all(&mut outbox, 5000).iter().map(|p| p[0]).collect();
        let wanted: Vec<u8> = (written..100).filter(|n| n % 2 == 0).collect();
        assert_eq!(left, wanted);
    }

    #[test]
    fn nothing_leaves_behind_the_last_frame() {
        let mut outbox = outbox();
        append(&mut outbox, Lane::Bulk, &[1; 70_000]);
        append(&mut outbox, Lane::Urgent, &[2]);
        outbox.append_last(|bytes| bytes.push(3));
        append(&mut outbox, Lane::Bulk, &[4]);
        append(&mut outbox, Lane::Urgent, &[5]);
        let left: Vec<u8> = write_all(&mut outbox, 999).iter().map(|p| p[0]).collect();
        assert_eq!(left, [2, 1, 3]);
        assert_eq!(outbox.queued_len(), 10);
    }

    fn append_len(outbox: &mut Outbox, lane: Lane, len: usize) -> Result<(), Refusal<()>> {
        outbox.append(lane, |bytes| {
            bytes.resize(bytes.len() + len, 0);
            Ok(())
        })
    }

    #[test]
    fn a_full_outbox_takes_the_frames_of_the_session_and_a_few_about_what_waits() {
        let mut outbox = Outbox::new(100);
        append_len(&mut outbox, Lane::Bulk, 90).unwrap();
        for lane in [Lane::Urgent, Lane::Bulk] {
            let refused = append_len(&mut outbox, lane, 10);
            assert_eq!(refused, Err(Refusal::Full { len: 94, max: 100 }));
        }
        append_len(&mut outbox, Lane::Control, 1000).unwrap();
        let reserved = |outbox: &mut Outbox| {
            outbox.append_reserved(Lane::Bulk, |bytes| {
                bytes.push(0);
                Ok::<(), ()>(())
            })
        };
        while reserved(&mut outbox).is_ok() {}
        assert!(outbox.queued_len() > 100 && outbox.queued_len() <= 100 + RESERVED_LEN);
        append_len(&mut outbox, Lane::Control, 1000).unwrap();
    }
}
