//! Rules and waves against naive models that remember every hit.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::aggregator::{Attack, AttackBody, AttackRequest, UnixMicros};

const WINDOW: Duration = Duration::from_secs(32);
/// What a hit may count for longer than the window.
const SLACK: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Moment {
        steady: Duration::from_millis(millis),
        // The wall clock jumps about, and nobody minds.
        unix: UnixMicros(millis.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
    }
}

/// Pauses between hits, in milliseconds, of which some are long; the key; the cost.
fn hits() -> impl Strategy<Value = Vec<(u64, u8, u32)>> {
    let pause = prop_oneof![4 => 0..3000_u64, 1 => 0..40_000_u64];
    prop::collection::vec((pause, 0..3_u8, 0..4_u32), 1..200)
}

fn attack(ip: &str) -> AttackReport {
    let request = AttackRequest {
        ip: ip.to_owned(),
        ..AttackRequest::default()
    };
    let attack = Attack {
        request: Some(request),
        ..Attack::new("test")
    };
    AttackReport {
        number: 1,
        at: UnixMicros(0),
        body: AttackBody::Attack(Box::new(attack)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rule_allows_what_it_says_within_any_window(hits in hits(), max in 1..10_u32) {
        let mut limiter = Limiter::new(&RateLimit::new(max, WINDOW));
        let mut allowed: HashMap<u8, Vec<(Duration, u32)>> = HashMap::new();
        let mut now = 0;
        for (pause, key, cost) in hits {
            now += pause;
            let moment = at(now);
            let before = allowed.entry(key).or_default();
            let within = |window: Duration| -> u32 {
                let recent = before.iter().filter(|hit| hit.0 + window > moment.steady);
                recent.map(|hit| hit.1).sum()
            };
            let is_allowed = limiter.allow(&key.to_string(), cost, moment);
            if within(WINDOW) + cost > max {
                prop_assert!(!is_allowed, "more than the limit within a window");
            }
            if within(WINDOW + 2 * SLACK) + cost <= max {
                prop_assert!(is_allowed, "less than the limit within more than a window");
            }
            if is_allowed {
                before.push((moment.steady, cost));
            }
        }
    }

    #[test]
    fn a_wave_is_seen_when_there_is_one_and_then_it_is_quiet(hits in hits(), events in 1..6_u32) {
        let quiet = Duration::from_secs(60);
        let mut wave = AttackWave::new(events, WINDOW).quiet(quiet);
        let mut seen: HashMap<u8, Vec<Duration>> = HashMap::new();
        let mut quiet_until: HashMap<u8, Duration> = HashMap::new();
        let mut now = 0;
        for (pause, key, _) in hits {
            now += pause;
            let moment = at(now);
            let sight = wave.attack(WorkerId(1), &attack(&key.to_string()), moment);
            if quiet_until.get(&key).is_some_and(|until| moment.steady < *until) {
                prop_assert_eq!(sight, None);
                continue;
            }
            let before = seen.entry(key).or_default();
            before.push(moment.steady);
            let within = |window: Duration| {
                before.iter().filter(|hit| **hit + window > moment.steady).count()
            };
            let events = usize::try_from(events).unwrap();
            if within(WINDOW) >= events {
                prop_assert!(sight.is_some(), "as many as a wave has");
            }
            if within(WINDOW + 2 * SLACK) < events {
                prop_assert!(sight.is_none(), "less than a wave has");
            }
            if sight.is_some() {
                before.clear();
                quiet_until.insert(key, moment.steady + quiet);
            }
        }
    }
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut limiter = Limiter::new(&RateLimit::new(1, WINDOW));
    assert!(limiter.allow("eve", 1, at(100_000)));
    assert!(!limiter.allow("eve", 1, at(0)));
    assert!(!limiter.allow("eve", 1, at(100_000)));
    assert!(limiter.allow("eve", 1, at(140_000)));
}

#[test]
fn a_rule_remembers_no_more_keys_than_it_may() {
    let mut limiter = Limiter::new(&RateLimit::new(1, WINDOW).keys_max(100));
    for key in 0..100_000 {
        assert!(limiter.allow(&key.to_string(), 1, at(0)));
    }
    // The last hundred are remembered.
    assert!(!limiter.allow("99900", 1, at(0)));
    assert!(limiter.allow("99899", 1, at(0)));
}

#[test]
fn attacks_without_an_address_are_no_wave() {
    let mut wave = AttackWave::new(1, WINDOW);
    assert_eq!(wave.attack(WorkerId(1), &attack(""), at(0)), None);
    let mut by_kind = AttackWave::new(1, WINDOW).key(|_| Some("all".to_owned()));
    let sight = by_kind.attack(WorkerId(1), &attack(""), at(0)).unwrap();
    assert_eq!(sight.text, "1 attacks of all within 32s");
}
