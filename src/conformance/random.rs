//! Random numbers that can be repeated, and bytes that show when one is lost, doubled or moved.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::BuildHasher;

/// SplitMix64: small, and good enough for sizes and patterns.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

/// The seed of this test: `WAYSIDE_SEED` if set, else another each time.
pub(super) fn seed() -> u64 {
    env::var("WAYSIDE_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| RandomState::new().hash_one(()))
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 1 to `max`; small sizes as likely as large ones.
    pub(super) fn size(&mut self, max: usize) -> usize {
        let bits = u64::from(max.ilog2()) + 1;
        let limit = 1_u64 << (self.next() % bits + 1);
        let size = usize::try_from(self.next() % limit).unwrap_or(max);
        size.clamp(1, max)
    }

    /// So many bytes that look like nothing else.
    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
