//! When heartbeats are due. Time is an argument; jitter comes from the ids.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::DURATION_MAX;

/// A tenth of the interval more or less, so that the agents of many hosts don't speak at once.
const JITTER: f64 = 0.1;

/// The shortest interval.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The schedule of all applications.
#[derive(Debug)]
pub(crate) struct Beats {
    interval: Duration,
    first: Duration,
    applications: BTreeMap<String, Beat>,
}

#[derive(Debug)]
struct Beat {
    interval: Duration,
    /// Since the agent's start.
    due: Duration,
}

impl Beats {
    pub(crate) fn new(interval: Duration, first: Duration) -> Self {
        Self {
            interval: bounded(interval),
            first: bounded(first.min(interval)),
            applications: BTreeMap::new(),
        }
    }

    /// An application begins, if it has not yet: its first heartbeat is early.
    pub(crate) fn begin(&mut self, application: &str, now: Duration, chance: u128) {
        if !self.applications.contains_key(application) {
            let beat = Beat {
                interval: self.interval,
                due: now.saturating_add(with_jitter(self.first, chance)),
            };
            self.applications.insert(application.to_owned(), beat);
        }
    }

    /// An application ends.
    pub(crate) fn end(&mut self, application: &str) {
        self.applications.remove(application);
    }

    /// From now on it is this interval.
    pub(crate) fn set_interval(
        &mut self,
        application: &str,
        interval: Duration,
        now: Duration,
        chance: u128,
    ) {
        if let Some(beat) = self.applications.get_mut(application) {
            beat.interval = bounded(interval);
            let due = now.saturating_add(with_jitter(beat.interval, chance));
            beat.due = beat.due.min(due);
        }
    }

    /// All are due.
    pub(crate) fn all_now(&mut self) {
        for beat in self.applications.values_mut() {
            beat.due = Duration::ZERO;
        }
    }

    /// The applications whose heartbeat is due.
    pub(crate) fn due(&self, now: Duration) -> Vec<String> {
        let due = self.applications.iter().filter(|(_, beat)| beat.due <= now);
        due.map(|(application, _)| application.clone()).collect()
    }

    /// It had its heartbeat.
    pub(crate) fn beaten(&mut self, application: &str, now: Duration, chance: u128) {
        if let Some(beat) = self.applications.get_mut(application) {
            beat.due = now.saturating_add(with_jitter(beat.interval, chance));
        }
    }

    pub(crate) fn interval(&self, application: &str) -> Duration {
        let known = self.applications.get(application);
        known.map_or(self.interval, |beat| beat.interval)
    }

    /// When the next one is due that is not among `waiting`, which can't be frozen now.
    pub(crate) fn next(&self, is_waiting: impl Fn(&str) -> bool) -> Option<Duration> {
        let each = self.applications.iter();
        let each = each.filter(|(application, _)| !is_waiting(application));
        each.map(|(_, beat)| beat.due).min()
    }
}

/// Not so short that nothing else is done, nor so long that it can't be added to a time.
fn bounded(interval: Duration) -> Duration {
    interval.clamp(INTERVAL_MIN, DURATION_MAX)
}

/// An even spread around the interval.
fn with_jitter(interval: Duration, chance: u128) -> Duration {
    let bytes = chance.to_le_bytes();
    let part = f64::from(u16::from_le_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX);
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_spread_by_a_tenth_and_any_interval_can_be_asked_for() {
        for interval in [Duration::ZERO, Duration::from_secs(60), Duration::MAX] {
            let bounded = bounded(interval);
            for chance in [0, 1, 0x7fff, u128::MAX] {
                let mut beats = Beats::new(interval, interval);
                beats.begin("shop", Duration::ZERO, chance);
                beats.set_interval("shop", interval, Duration::ZERO, chance);
                beats.beaten("shop", Duration::ZERO, chance);
                let due = beats.next(|_| false).expect("it has begun");
                assert!(
                    due >= bounded.mul_f64(0.899) && due <= bounded.mul_f64(1.101),
                    "{due:?}"
                );
                assert_eq!(beats.interval("shop"), bounded);
            }
        }
    }
}
