//! Many attacks from one key within a short time.

use std::fmt;
use std::time::Duration;

use super::window::{Keyed, Slotting, Window};
use super::{Detector, Sight};
use crate::aggregator::{AttackBody, AttackReport, Moment, WorkerId};

/// The keys that are remembered, if nothing else is said.
const KEYS_MAX: u32 = 10_000;

/// Sees when many attacks come from one address, over all processes, and says so once.
///
/// The key is the address of the request; attacks without one don't count. After a finding the key
/// is quiet for a while.
///
/// ```
/// use std::time::Duration;
/// use wayside::aggregator::AttackWave;
///
/// let wave = AttackWave::new(15, Duration::from_secs(60)).quiet(Duration::from_secs(1200));
/// ```
pub struct AttackWave {
    events: u64,
    within: Duration,
    quiet: Duration,
    key: Key,
    slotting: Slotting,
    slot: u64,
    keys: Keyed<Suspect>,
}

/// Whose doing an attack is; `None` for nobody's.
type Key = Box<dyn Fn(&AttackReport) -> Option<String> + Send>;

#[derive(Debug, Default)]
struct Suspect {
    window: Window,
    quiet_until: Option<Duration>,
}

impl AttackWave {
    /// So many attacks of one key within this time are a wave. Then it is quiet for twenty minutes.
    #[must_use]
    pub fn new(events: u32, within: Duration) -> Self {
        Self {
            events: u64::from(events).max(1),
            within,
            quiet: Duration::from_secs(20 * 60),
            key: Box::new(address),
            slotting: Slotting::of(within),
            slot: 0,
            keys: Keyed::new(super::super::bounds::count(KEYS_MAX)),
        }
    }

    /// After a finding the same key is not reported again for so long.
    #[must_use]
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Remembers so many keys, 10,000 if nothing is said. One more takes the place of the one that
    /// was not seen for longest.
    #[must_use]
    pub fn keys_max(mut self, keys_max: u32) -> Self {
        self.keys = Keyed::new(super::super::bounds::count(keys_max));
        self
    }

    /// Takes something else for the key: a user, say. `None` does not count.
    #[must_use]
    pub fn key(mut self, key: impl Fn(&AttackReport) -> Option<String> + Send + 'static) -> Self {
        self.key = Box::new(key);
        self
    }
}

/// Where the request came from.
fn address(attack: &AttackReport) -> Option<String> {
    let AttackBody::Attack(attack) = &attack.body else {
        return None;
    };
    let request = attack.request.as_ref()?;
    (!request.ip.is_empty()).then(|| request.ip.clone())
}

impl Detector for AttackWave {
    fn name(&self) -> &str {
        "attack_wave"
    }

    fn attack(&mut self, _: WorkerId, attack: &AttackReport, now: Moment) -> Option<Sight> {
        let key = (self.key)(attack)?;
        self.slot = self.slot.max(self.slotting.slot(now.steady));
        let suspect = self.keys.touch(&key);
        if suspect.quiet_until.is_some_and(|until| now.steady < until) {
            return None;
        }
        suspect.quiet_until = None;
        suspect.window.add(self.slot, 1);
        let events = suspect.window.at(self.slot);
        if events < self.events {
            return None;
        }
        *suspect = Suspect {
            quiet_until: Some(now.steady.saturating_add(self.quiet)),
            ..Suspect::default()
        };
        let text = format!("{events} attacks of {key} within {:?}", self.within);
        Some(Sight { key, text })
    }
}

impl fmt::Debug for AttackWave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttackWave")
            .field("events", &self.events)
            .field("within", &self.within)
            .field("quiet", &self.quiet)
            .finish_non_exhaustive()
    }
}
