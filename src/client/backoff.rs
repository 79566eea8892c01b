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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_pause_is_between_half_and_whole_of_a_doubling_one(
            seed: u64,
            min in 1_u64..5_000,
            more in 0_u64..100_000,
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(min + more));
            let mut backoff = Backoff::new(min, max, seed);
            for _ in 0..2 {
                let mut whole = min;
                for _ in 0..20 {
                    let pause = backoff.pause();
                    prop_assert!(pause >= whole / 2 && pause <= whole, "{:?} of {:?}", pause, whole);
                    whole = (whole * 2).min(max);
                }
                backoff.reset();
            }
        }
    }

    #[test]
    fn many_clients_do_not_come_at_once() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(2));
        let pauses = (1..100).map(|seed| Backoff::new(min, max, seed * 1_234_567).pause());
        let different: std::collections::HashSet<_> = pauses.collect();
        assert!(different.len() > 20, "{}", different.len());
    }
}
