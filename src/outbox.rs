//! What waits to be written to one peer: encoded frames in three lanes, bounded by bytes.
//!
//! ```text
//!  control  hello, ping, pong, ack     few by construction; goes first, and before the gate opens
//!  urgent   urgent events and pushes   overtakes bulk at the next frame boundary
//!  bulk     everything else            in the order it was given
//! ```
//!
//! Each lane is one contiguous buffer, so that many small frames leave in one write. The outbox
//! knows where frames end, not what they say.
//!
//! Invariants:
//! - Bytes leave frame by frame: a frame that was begun is finished before another lane's turn.
//! - `urgent` and `bulk` leave only while the gate is open, and `bulk` nothing behind the seal.
//! - The bytes that wait in `urgent` and `bulk` never exceed `len_max`, but for small frames that
//!   are bounded in number: a goodbye, and the sync of each flush.

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

    /// Appends a small frame to the bulk lane whatever the bound: one of a kind that is bounded in
    /// number.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn append_beyond<E>(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refusal<E>> {
        self.append_within(usize::MAX, Lane::Bulk, encode)
    }

    fn append_within<E>(
        &mut self,
        max: usize,
        lane: Lane,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), Refusal<E>> {
        let len = self.queued_len();
        let buffer = self.buffer(lane);
        buffer.make_room();
        let frame = Uncommitted::new(&mut buffer.bytes);
        encode(frame.bytes).map_err(Refusal::Encode)?;
        if frame.len() > max.saturating_sub(len) {
            return Err(Refusal::Full { len, max });
        }
        frame.commit();
        Ok(())
    }

    /// Appends the last frame of this session, whatever the bound, and keeps back all that is
    /// appended later.
    pub fn append_last(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let frame = Uncommitted::new(&mut self.bulk.bytes);
        encode(frame.bytes);
        frame.commit();
        self.urgent.seal = Some(self.urgent.bytes.len());
        self.bulk.seal = Some(self.bulk.bytes.len());
    }

    /// Lets `urgent` and `bulk` flow: the session is open.
    pub fn open(&mut self) {
        self.open = true;
    }

    /// The bytes to write next; empty when there is nothing to write now.
    pub fn next_bytes(&mut self) -> &[u8] {
        match self.turn() {
            Some((lane, end)) => {
                let buffer = self.buffer(lane);
                &buffer.bytes[buffer.start..end]
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
        buffer.start += len;
        if buffer.is_empty() {
            buffer.clear();
        }
    }

    /// Whether no frame of the session's own waits.
    pub fn is_control_empty(&self) -> bool {
        self.control.is_empty()
    }

    /// The bytes in `urgent` and `bulk` that are not yet written.
    pub fn queued_len(&self) -> usize {
        self.urgent.len() + self.bulk.len()
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
                buffer.bytes.shrink_to(KEPT_LEN);
            }
        }
    }

    /// The lane whose turn it is, and the end of what it may write now.
    fn turn(&mut self) -> Option<(Lane, usize)> {
        // A frame that was begun is finished before a lane above it gets its turn. With nothing
        // waiting above, its end need not be looked for.
        if !(self.control.is_empty() && self.urgent.is_empty()) {
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
            let end = buffer.seal.unwrap_or(buffer.bytes.len());
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

/// One lane: frames one after the other, written up to `start`.
///
/// `boundary <= start <= bytes.len()`; a frame starts at `boundary`.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    boundary: usize,
    /// Where writing stops in this session, if before the end.
    seal: Option<usize>,
}

/// Buffers are shrunk to this once a burst is over.
const KEPT_LEN: usize = 4096;

/// Written bytes are moved out of the way only when there are this many.
const MOVED_LEN_MIN: usize = 16 * 1024;

impl Buffer {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.boundary = 0;
        self.seal = self.seal.map(|_| 0);
    }

    /// Moves what is left to the front once it is the smaller part: each byte written pays for at
    /// most one byte moved, and a buffer that never runs empty does not grow for ever.
    fn make_room(&mut self) {
        if self.start < MOVED_LEN_MIN || self.start < self.bytes.len() / 2 {
            return;
        }
        self.frame_in_progress_end();
        let gone = self.boundary;
        self.bytes.drain(..gone);
        self.start -= gone;
        self.boundary = 0;
        self.seal = self.seal.map(|seal| seal - gone);
    }

    /// Where the frame ends in which writing stopped; `start` if it stopped between two frames.
    fn frame_in_progress_end(&mut self) -> usize {
        while self.boundary < self.start {
            let end = self.boundary + frame::own_len(&self.bytes[self.boundary..]);
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
        let mut kept = Vec::new();
        while at < self.bytes.len() {
            let end = at + frame::own_len(&self.bytes[at..]);
            if keep(&self.bytes[at + frame::HEADER_LEN..end]) {
                kept.extend_from_slice(&self.bytes[at..end]);
            }
            at = end;
        }
        *self = Self {
            bytes: kept,
            ..Self::default()
        };
    }
}

/// A frame under construction: cut off again unless it is committed.
struct Uncommitted<'a> {
    bytes: &'a mut Vec<u8>,
    at: usize,
    committed: bool,
}

impl<'a> Uncommitted<'a> {
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
