//! How many a second, lately. Time is an argument.

use std::time::Duration;

/// The seconds that a rate is the mean of.
const SECONDS: u64 = 10;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    /// The second that is being counted.
    second: u64,
    counts: [u64; 11],
}

impl Meter {
    pub(crate) fn add(&mut self, count: u64, now: Duration) {
        let slot = self.advance(now);
        *slot = slot.saturating_add(count);
    }

    /// The mean over the last ten whole seconds, or over those there were since the start.
    pub(crate) fn per_second(&mut self, now: Duration) -> f64 {
        self.advance(now);
        let current = index(self.second);
        let counts = self.counts.iter().enumerate();
        let whole = counts.filter(|(at, _)| *at != current);
        let sum = whole.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let seconds = u32::try_from(self.second.clamp(1, SECONDS)).unwrap_or(1);
        precise(sum) / f64::from(seconds)
    }

    fn advance(&mut self, now: Duration) -> &mut u64 {
        let second = now.as_secs().max(self.second);
        let passed = (second - self.second).min(SECONDS + 1);
        for ahead in 1..=passed {
            self.counts[index(second - passed + ahead)] = 0;
        }
        self.second = second;
        &mut self.counts[index(second)]
    }
}

fn index(second: u64) -> usize {
    usize::try_from(second % (SECONDS + 1)).unwrap_or(0)
}

/// As a float; what is beyond 32 bits a second is cut.
fn precise(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_ten_seconds() {
        let at = Duration::from_secs;
        let mut meter = Meter::default();
        for second in 0..20 {
            meter.add(50, at(second));
        }
        assert!((meter.per_second(at(20)) - 50.0).abs() < 1e-9);
        assert!((meter.per_second(at(25)) - 25.0).abs() < 1e-9);
        assert!(meter.per_second(at(40)).abs() < 1e-9);
        // Time that goes back stands still.
        meter.add(10, at(1));
        assert!((meter.per_second(at(41)) - 1.0).abs() < 1e-9);
    }
}
