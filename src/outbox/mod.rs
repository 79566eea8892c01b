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

mod chunks;

use chunks::{Chunks, Uncommitted};

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
    control: Chunks,
    urgent: Chunks,
    bulk: Chunks,
    len_max: usize,
    open: bool,
}

impl Outbox {
    /// An empty outbox with its gate closed.
    pub fn new(len_max: usize) -> Self {
        Self {
            control: Chunks::default(),
            urgent: Chunks::default(),
            bulk: Chunks::default(),
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
        let chunks = self.lane(lane);
        let frame = Uncommitted::new(chunks.open_chunk());
        encode(frame.bytes).map_err(Refusal::Encode)?;
        let frame_len = frame.len();
        if lane != Lane::Control && frame_len > max.saturating_sub(len) {
            return Err(Refusal::Full { len, max });
        }
        frame.commit();
        chunks.len += frame_len;
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
            Some((lane, len)) => self.lane(lane).next_bytes(len),
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
        let (lane, given) = self.turn().expect("only what was given can be written");
        assert!(len <= given, "a link has sent more than it was given");
        self.lane(lane).written(len);
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
        for lane in [&mut self.control, &mut self.urgent, &mut self.bulk] {
            if lane.is_empty() {
                lane.shrink();
            }
        }
    }

    /// The lane whose turn it is, and how many bytes of it may be written now.
    fn turn(&mut self) -> Option<(Lane, usize)> {
        // Nearly always there is nothing above bulk. Then the end of the frame that was begun need not
        // be looked for.
        if self.open && self.control.is_empty() && self.urgent.is_empty() {
            let len = self.bulk.next_len();
            return (len > 0).then_some((Lane::Bulk, len));
        }
        // A frame that was begun is finished before a lane above it gets its turn, and before the
        // gate stops it.
        for lane in [Lane::Urgent, Lane::Bulk] {
            let len = self.lane(lane).begun_len();
            if len > 0 {
                return Some((lane, len));
            }
        }
        let lanes: &[Lane] = if self.open {
            &[Lane::Control, Lane::Urgent, Lane::Bulk]
        } else {
            &[Lane::Control]
        };
        for &lane in lanes {
            let len = self.lane(lane).next_len();
            if len > 0 {
                return Some((lane, len));
            }
        }
        None
    }

    fn lane(&mut self, lane: Lane) -> &mut Chunks {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Urgent => &mut self.urgent,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

#[cfg(test)]
mod tests;
