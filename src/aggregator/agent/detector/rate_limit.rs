//! How often a key may do something, over all processes.

use std::time::Duration;

use super::window::{Keyed, Slotting, Window};
use crate::aggregator::Moment;

/// The keys that a rule remembers, if it says nothing else.
const KEYS_MAX: u32 = 100_000;

/// A rule: so many hits of one key within a time, over all processes of an application.
///
/// The window slides: whenever it is looked at, not more than `hits` were allowed in the time
/// `per` before. What was denied does not count. A hit counts for at most 1/32 longer than `per`.
///
/// A key takes up to a kilobyte and a half at the agent, however long it is: of one beyond 256 bytes the
/// beginning and a hash are kept.
///
/// ```
/// use std::time::Duration;
/// use wayside::aggregator::RateLimit;
///
/// let login = RateLimit::new(5, Duration::from_secs(60)).keys_max(10_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    hits: u32,
    per: Duration,
    keys_max: u32,
}

impl RateLimit {
    /// So many hits of a key are allowed within any time so long.
    #[must_use]
    pub fn new(hits: u32, per: Duration) -> Self {
        Self {
            hits,
            per,
            keys_max: KEYS_MAX,
        }
    }

    /// Remembers so many keys, 100,000 if nothing is said. One more takes the place of the one that
    /// was not asked about for longest: that begins anew should it come back.
    #[must_use]
    pub fn keys_max(mut self, keys_max: u32) -> Self {
        self.keys_max = keys_max;
        self
    }
}

/// A rule and the hits of its keys.
#[derive(Debug)]
pub(crate) struct Limiter {
    hits: u64,
    slotting: Slotting,
    /// Time stands still rather than go back.
    slot: u64,
    keys: Keyed<Window>,
}

impl Limiter {
    pub(crate) fn new(rule: &RateLimit) -> Self {
        Self {
            hits: rule.hits.into(),
            slotting: Slotting::of(rule.per),
            slot: 0,
            keys: Keyed::new(super::super::bounds::count(rule.keys_max)),
        }
    }

    /// Whether so many more hits of this key are allowed; if so they count.
    pub(crate) fn allow(&mut self, key: &str, cost: u32, now: Moment) -> bool {
        self.slot = self.slot.max(self.slotting.slot(now.steady));
        let window = self.keys.touch(key);
        let cost = u64::from(cost);
        let allowed = window.at(self.slot).saturating_add(cost) <= self.hits;
        if allowed && cost > 0 {
            window.add(self.slot, cost);
        }
        allowed
    }
}
