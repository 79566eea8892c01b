//! Made-up requests: the same for the same seed, on every machine.
//!
//! They come in blocks of twenty, in an order that the seed chooses, so that even little traffic has
//! some of each kind:
//!
//! ```text
//!   every block     1 SQL injection, each from an address of its own
//!                   2 logins of one hasty client
//!                   2 visits of mallory
//!                  10 visits of others
//!   and              5 injections from one address, in the second fifth: the wave
//!                    5 more visits otherwise
//! ```

use serde::{Deserialize, Serialize};

/// Who is blocked half-way.
pub const MALLORY: &str = "mallory";
/// Where the wave comes from.
pub const WAVE_IP: &str = "203.0.113.66";
/// Who logs in far too often.
pub const HASTY_IP: &str = "192.0.2.9";
/// The requests of a block.
pub const BLOCK_LEN: usize = 20;
/// The same, to count with.
const BLOCK_COUNT: u64 = 20;

/// A request, as the application gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub ip: String,
    pub user: String,
    pub method: String,
    pub route: String,
    /// What the client has typed in.
    pub input: String,
    /// What it was made to be. The application is not told.
    #[serde(skip)]
    pub kind: Kind,
}

/// What a request was made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Kind {
    #[default]
    Visit,
    Mallory,
    Login,
    Injection,
    Wave,
}

impl Kind {
    pub fn is_attack(self) -> bool {
        matches!(self, Self::Injection | Self::Wave)
    }
}

/// What people look for. Some of it looks worse than it is: within the quotes it is only a text.
const NAMES: [&str; 8] = [
    "rex",
    "Miss Piggy",
    "OR 1=1",
    "-- nobody --",
    "DROP TABLE",
    "O''Malley",
    "Käthe",
    "",
];

/// What breaks out of the quotes.
const INJECTIONS: [&str; 5] = [
    "' OR '1'='1",
    "'; DROP TABLE pets; --",
    "x' UNION SELECT password FROM users --",
    "' OR 1=1 /*",
    "rex'",
];

/// All requests of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    pub seed: u64,
    pub count: u64,
}

impl Traffic {
    /// The requests, in their order.
    pub fn requests(self) -> impl Iterator<Item = Request> {
        let blocks = 0..self.count.div_ceil(BLOCK_COUNT);
        let requests = blocks.flat_map(move |block| self.block(block));
        requests.zip(0..self.count).map(|(request, _)| request)
    }

    fn block(self, block: u64) -> Vec<Request> {
        let mut dice = Dice(self.seed ^ block.wrapping_mul(0xA076_1D64_78BD_642F));
        let start = block * BLOCK_COUNT;
        let wave = (self.count / 5..self.count / 5 * 2).contains(&start);
        let mut kinds = [Kind::Visit; BLOCK_LEN];
        kinds[0] = Kind::Injection;
        kinds[1..3].fill(Kind::Login);
        kinds[3..5].fill(Kind::Mallory);
        if wave {
            kinds[5..10].fill(Kind::Wave);
        }
        for last in (1..kinds.len()).rev() {
            kinds.swap(last, dice.below(last + 1));
        }
        kinds.map(|kind| request(kind, &mut dice)).into()
    }
}

fn request(kind: Kind, dice: &mut Dice) -> Request {
    let visitor = dice.below(50);
    let (method, route) = match kind {
        Kind::Login => ("POST", "/login"),
        _ => ("GET", "/pets"),
    };
    let ip = match kind {
        Kind::Wave => WAVE_IP.to_owned(),
        Kind::Login => HASTY_IP.to_owned(),
        // Many addresses: none of them makes a wave.
        Kind::Injection => format!(
            "2001:db8::{:x}:{:x}",
            dice.below(65_536),
            dice.below(65_536)
        ),
        Kind::Visit | Kind::Mallory => format!("198.51.100.{visitor}"),
    };
    let user = match kind {
        Kind::Mallory => MALLORY.to_owned(),
        _ => format!("user{visitor}"),
    };
    let input = match kind {
        Kind::Injection | Kind::Wave => INJECTIONS[dice.below(INJECTIONS.len())],
        _ => NAMES[dice.below(NAMES.len())],
    };
    Request {
        ip,
        user,
        method: method.to_owned(),
        route: route.to_owned(),
        input: input.to_owned(),
        kind,
    }
}

/// SplitMix64: small, and good enough for made-up requests.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(mixed % end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;

    use super::*;
    use crate::injection::Query;

    proptest! {
        #[test]
        fn a_seed_always_makes_the_same_requests(seed: u64, count in 0..500_u64) {
            let traffic = Traffic { seed, count };
            let first: Vec<_> = traffic.requests().collect();
            prop_assert_eq!(u64::try_from(first.len()).unwrap(), count);
            prop_assert_eq!(first, traffic.requests().collect::<Vec<_>>());
        }

        #[test]
        fn a_longer_run_of_another_seed_has_the_same_mixture(seed: u64, count in 10..100_u64) {
            let count = count * BLOCK_COUNT;
            let mut kinds = BTreeMap::<_, u64>::new();
            for request in (Traffic { seed, count }).requests() {
                *kinds.entry(request.kind).or_default() += 1;
            }
            prop_assert_eq!(kinds[&Kind::Injection], count / 20);
            prop_assert_eq!(kinds[&Kind::Login], count / 10);
            prop_assert_eq!(kinds[&Kind::Mallory], count / 10);
            prop_assert!(kinds[&Kind::Wave] >= 10, "a wave of {}", kinds[&Kind::Wave]);
            prop_assert!(kinds[&Kind::Visit] >= count / 2);
        }

        #[test]
        fn exactly_what_was_made_to_be_an_injection_is_seen_as_one(seed: u64) {
            for request in (Traffic { seed, count: 400 }).requests() {
                let made = request.kind.is_attack();
                let seen = Query::pets_named(&request.input).is_injected();
                prop_assert_eq!(made, seen, "{:?}", request);
            }
        }

        #[test]
        fn the_wave_has_an_address_of_its_own(seed: u64) {
            let mut attackers = HashMap::<String, u64>::new();
            for request in (Traffic { seed, count: 1000 }).requests() {
                match request.kind {
                    Kind::Injection => *attackers.entry(request.ip).or_default() += 1,
                    Kind::Wave => prop_assert_eq!(request.ip, WAVE_IP),
                    _ => prop_assert_ne!(request.ip, WAVE_IP),
                }
            }
            prop_assert!(attackers.values().all(|count| *count < 5), "{attackers:?}");
        }
    }
}
