//! Durations as text: `5s`, `250ms`, `1m 30s`.

use std::time::Duration;

use super::quantity::{self, Fault, Unit};

/// The longest duration a setting may have. Far more than any deadline needs, and far less than
/// what overflows when it is added to a point in time or doubled.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a text must look like, for errors.
pub(super) const EXAMPLE: &str = "write a number and a unit, such as \"5s\" or \"250ms\"";

const UNITS: [Unit; 7] = [
    unit("ns", 1, &["nanos", "nanosecond", "nanoseconds"]),
    unit(
        "us",
        1_000,
        &["µs", "μs", "micros", "microsecond", "microseconds"],
    ),
    unit(
        "ms",
        1_000_000,
        &["millis", "msec", "millisecond", "milliseconds"],
    ),
    unit("s", SECOND, &["sec", "secs", "second", "seconds"]),
    unit("m", 60 * SECOND, &["min", "mins", "minute", "minutes"]),
    unit("h", 3600 * SECOND, &["hr", "hrs", "hour", "hours"]),
    unit("d", 24 * 3600 * SECOND, &["day", "days"]),
];

const SECOND: u128 = 1_000_000_000;

const fn unit(name: &'static str, factor: u128, elsewhere: &'static [&'static str]) -> Unit {
    Unit {
        name,
        factor,
        elsewhere,
    }
}

/// Reads a duration: one or more `number unit`, the larger unit first.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total: u128 = 0;
    let mut factor_before = u128::MAX;
    loop {
        let term = quantity::term(rest, &UNITS).map_err(|fault| match fault {
            Fault::Number => format!("is no duration: {EXAMPLE}"),
            Fault::Bare => format!("has no unit: {EXAMPLE}"),
            Fault::Unit(problem) => problem,
            Fault::Uneven => "does not come out as whole nanoseconds".to_owned(),
            Fault::Large => too_long(),
        })?;
        if term.factor >= factor_before {
            return Err("has its units in disorder: write the larger first, each once".to_owned());
        }
        factor_before = term.factor;
        total = total.checked_add(term.count).ok_or_else(too_long)?;
        if term.rest.is_empty() {
            break;
        }
        rest = term.rest;
    }
    let nanos = u32::try_from(total % SECOND).map_err(|_| too_long())?;
    let seconds = u64::try_from(total / SECOND).map_err(|_| too_long())?;
    let duration = Duration::new(seconds, nanos);
    if duration > DURATION_MAX {
        return Err(too_long());
    }
    Ok(duration)
}

fn too_long() -> String {
    format!("is too long: at most {}", format(DURATION_MAX))
}

/// Writes a duration with the largest unit that needs no fraction.
pub(super) fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let even = |unit: &&Unit| nanos % unit.factor == 0;
    match UNITS.iter().rev().find(even) {
        Some(unit) => format!("{}{}", nanos / unit.factor, unit.name),
        None => format!("{nanos}ns"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_add_up() {
        for (text, nanos) in [
            ("5s", 5 * SECOND),
            ("250ms", SECOND / 4),
            ("250 ms", SECOND / 4),
            ("1.5s", SECOND / 2 * 3),
            ("1.50s", SECOND / 2 * 3),
            ("1m30s", 90 * SECOND),
            (" 1h 2m  3s ", 3723 * SECOND),
            ("0s", 0),
            ("7ns", 7),
            ("365d", DURATION_MAX.as_nanos()),
        ] {
            assert_eq!(parse(text).map(|d| d.as_nanos()), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, problem) in [
            (
                "",
                "is no duration: write a number and a unit, such as \"5s\" or \"250ms\"",
            ),
            (
                "soon",
                "is no duration: write a number and a unit, such as \"5s\" or \"250ms\"",
            ),
            (
                "-5s",
                "is no duration: write a number and a unit, such as \"5s\" or \"250ms\"",
            ),
            (
                "5",
                "has no unit: write a number and a unit, such as \"5s\" or \"250ms\"",
            ),
            (
                "5 sec",
                "there is no unit `sec`; did you mean `s`? (units: ns, us, ms, s, m, h, d)",
            ),
            (
                "5S",
                "there is no unit `S`; did you mean `s`? (units: ns, us, ms, s, m, h, d)",
            ),
            (
                "5 x",
                "there is no unit `x` (units: ns, us, ms, s, m, h, d)",
            ),
            (
                "1s 1m",
                "has its units in disorder: write the larger first, each once",
            ),
            (
                "1s1s",
                "has its units in disorder: write the larger first, each once",
            ),
            ("1.5ns", "does not come out as whole nanoseconds"),
            ("366d", "is too long: at most 365d"),
            (
                "99999999999999999999999999999999999999999s",
                "is too long: at most 365d",
            ),
        ] {
            assert_eq!(parse(text), Err(problem.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn durations_round_trip(nanos in 0..=DURATION_MAX.as_nanos()) {
            let nanos = u64::try_from(nanos).unwrap();
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn short_texts_come_of_whole_units(count in 0_u64..365, unit in 0..UNITS.len()) {
            let text = format!("{count}{}", UNITS[unit].name);
            let printed = format(parse(&text).unwrap());
            prop_assert_eq!(parse(&printed), parse(&text));
            prop_assert!(printed.len() <= text.len() + 1);
        }

        #[test]
        fn no_text_panics(text in "[0-9. a-zµ-]{0,40}") {
            if let Ok(duration) = parse(&text) {
                prop_assert!(duration <= DURATION_MAX);
            }
        }
    }
}
