//! Numbers that tell one run of a program from all others.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// A number that no other client or server has or had. It need not be secret, only unique: the
/// system's randomness makes it so between programs, process id and time between a process and
/// its fork, which starts with the same state, and a count within a process.
pub(crate) fn fresh() -> u128 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let state = RandomState::new();
    let half = |part: u8| {
        state.hash_one((
            part,
            std::process::id(),
            SystemTime::now(),
            COUNT.fetch_add(1, Ordering::Relaxed),
        ))
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}
