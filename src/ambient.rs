//! What a process gets from its surroundings: the time, and numbers that nobody else has.
//!
//! The only place that asks for either, so that a simulation can supply both (feature
//! `internals`) and a run of it can be repeated from its seed.

use std::time::Instant;

/// What time it is.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "internals")]
    if let Some(now) = simulated::now() {
        return now;
    }
    Instant::now()
}

/// What the clock on the wall says, which may jump.
#[cfg(feature = "aggregator")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// A number that no other client or server has or had.
///
/// It need not be secret, only unique: the system's randomness makes it so between programs,
/// process id and time between a process and its fork, which starts with the same state, and a
/// count within a process.
pub(crate) fn fresh_number() -> u128 {
    #[cfg(feature = "internals")]
    if let Some(number) = simulated::fresh_number() {
        return number;
    }
    real_fresh_number()
}

fn real_fresh_number() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;

    static COUNT: AtomicU64 = AtomicU64::new(0);
    let state = RandomState::new();
    let half = |part: u8| {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        state.hash_one((part, std::process::id(), SystemTime::now(), count))
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

/// Time and numbers of a simulation, for the thread that runs it.
#[cfg(feature = "internals")]
pub mod simulated {
    use std::cell::Cell;
    use std::time::Instant;

    thread_local! {
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
        static NUMBER: Cell<Option<u128>> = const { Cell::new(None) };
    }

    /// On this thread it is this time, until it is set again.
    pub fn set_now(now: Option<Instant>) {
        NOW.set(now);
    }

    /// On this thread fresh numbers follow from this seed.
    pub fn set_seed(seed: Option<u64>) {
        NUMBER.set(seed.map(u128::from));
    }

    pub(super) fn now() -> Option<Instant> {
        NOW.get()
    }

    pub(super) fn fresh_number() -> Option<u128> {
        let number = NUMBER.get()?;
        // The multiplier of a well-known congruential generator: any spread will do here.
        let next = number
            .wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645)
            .wrapping_add(1);
        NUMBER.set(Some(next));
        Some(next)
    }
}
