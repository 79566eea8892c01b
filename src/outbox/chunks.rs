//! One lane of an outbox: frames one after the other, in chunks that are used again.

use std::collections::VecDeque;

use crate::frame;

/// Frames one after the other, none of them in two chunks. The first chunk is written up to
/// `start`.
///
/// `FRONT <= boundary <= start <= row[0].len()`; a frame starts at `boundary`. Only the last chunk may be
/// empty, or written to its end.
#[derive(Debug)]
pub struct Chunks {
    pub(super) row: VecDeque<Vec<u8>>,
    start: usize,
    boundary: usize,
    /// The bytes that are not yet written.
    pub len: usize,
    /// After how many of those writing stops in this session, if before the end.
    pub seal: Option<usize>,
    /// Chunks to use again. As many as there once were: the bound of the outbox is theirs too.
    pub(super) spare: Vec<Vec<u8>>,
}

/// A chunk begins with so many bytes that are never used: see [`frame::FRONT_LEN`].
const FRONT: usize = frame::FRONT_LEN;

/// A chunk that is so long takes no more frames: then it is enough for a write.
const CHUNK_LEN: usize = FRONT + 64 * 1024;

/// So that a chunk of short frames need not grow for the last of them.
const CHUNK_CAPACITY: usize = CHUNK_LEN + KEPT_LEN;

/// Buffers are shrunk to this once a burst is over.
pub(super) const KEPT_LEN: usize = 4096;

impl Default for Chunks {
    fn default() -> Self {
        Self {
            row: VecDeque::new(),
            start: FRONT,
            boundary: FRONT,
            len: 0,
            seal: None,
            spare: Vec::new(),
        }
    }
}

impl Chunks {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk that takes the next frame.
    #[inline]
    pub fn open_chunk(&mut self) -> &mut Vec<u8> {
        let last = self.row.back();
        if last.is_none_or(|last| last.len() >= CHUNK_LEN) {
            self.add_chunk();
        }
        self.row.back_mut().expect("there is one now")
    }

    fn add_chunk(&mut self) {
        let mut chunk = self.spare.pop().unwrap_or_else(|| match self.row.len() {
            // Most lanes never need more than a part of their first chunk.
            0 => Vec::new(),
            _ => Vec::with_capacity(CHUNK_CAPACITY),
        });
        chunk.resize(FRONT, 0);
        self.row.push_back(chunk);
    }

    /// How many bytes may be written now: the rest of the first chunk, up to the seal.
    pub fn next_len(&self) -> usize {
        let first = self.row.front().map_or(0, |first| first.len() - self.start);
        self.seal.map_or(first, |seal| first.min(seal))
    }

    /// The next so many bytes.
    pub fn next_bytes(&self, len: usize) -> &[u8] {
        &self.row[0][self.start..self.start + len]
    }

    pub fn written(&mut self, len: usize) {
        self.start += len;
        self.len -= len;
        self.seal = self.seal.map(|seal| seal - len);
        if self.start < self.row[0].len() {
            return;
        }
        self.start = FRONT;
        self.boundary = FRONT;
        if self.row.len() == 1 {
            self.row[0].truncate(FRONT);
        } else if let Some(chunk) = self.row.pop_front() {
            self.spare.push(chunk);
        }
    }

    /// How much is left of the frame in which writing stopped; 0 if it stopped between two frames.
    pub fn begun_len(&mut self) -> usize {
        while self.boundary < self.start {
            let end = self.boundary + frame::own_len(&self.row[0][self.boundary..]);
            if end > self.start {
                return end - self.start;
            }
            self.boundary = end;
        }
        0
    }

    /// Keeps the frames that were not written whole, as far as they are wanted.
    pub fn retain_unwritten(&mut self, keep: &mut impl FnMut(&[u8]) -> bool) {
        // Finds the boundary of the frame that was begun.
        self.begun_len();
        let mut at = self.boundary;
        let mut kept = Self::default();
        for chunk in self.row.drain(..) {
            let mut bytes = vec![0; FRONT];
            while at < chunk.len() {
                let end = at + frame::own_len(&chunk[at..]);
                if keep(&chunk[at + frame::HEADER_LEN..end]) {
                    bytes.extend_from_slice(&chunk[at..end]);
                }
                at = end;
            }
            at = FRONT;
            if bytes.len() > FRONT {
                kept.len += bytes.len() - FRONT;
                kept.row.push_back(bytes);
            }
        }
        *self = kept;
    }

    /// Gives back the memory of an empty lane.
    pub fn shrink(&mut self) {
        self.spare = Vec::new();
        if let Some(last) = self.row.back_mut() {
            last.shrink_to(KEPT_LEN);
        }
    }
}

/// A frame under construction: cut off again unless it is committed.
pub struct Uncommitted<'a> {
    pub bytes: &'a mut Vec<u8>,
    at: usize,
    committed: bool,
}

impl<'a> Uncommitted<'a> {
    #[inline]
    pub fn new(bytes: &'a mut Vec<u8>) -> Self {
        let at = frame::start(bytes);
        Self {
            bytes,
            at,
            committed: false,
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    pub fn commit(mut self) {
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
