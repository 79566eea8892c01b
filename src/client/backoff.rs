//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Pauses that double up to a bound, each somewhere between its half and its whole, so that many
/// clients of a server that comes back don't come all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max,
            next: min,
            random: seed | 1,
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        // Xorshift: any spread will do here.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = u32::try_from(self.random % 51).expect("at most 50");
        whole / 2 + whole * percent / 100
    }

    /// The connection has proven good: start again with the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}
