//! Numbers with a unit, added up exactly: what durations and sizes have in common.
//!
//! Everything is an integer count of the smallest unit. A fraction is taken when it comes out
//! even (`1.5 MiB`) and refused when it does not, so that no value is rounded behind its
//! writer's back.

use super::suggest;

/// A unit of a quantity.
pub(super) struct Unit {
    /// As it is written.
    pub(super) name: &'static str,
    /// How many of the smallest unit it is.
    pub(super) factor: u128,
    /// What people write for it elsewhere: not taken, but understood for the suggestion.
    pub(super) elsewhere: &'static [&'static str],
}

/// One `number unit`, and what follows it.
pub(super) struct Term<'a> {
    /// The count of the smallest unit.
    pub(super) count: u128,
    /// How many of the smallest unit the unit is.
    pub(super) factor: u128,
    /// What follows the unit.
    pub(super) rest: &'a str,
}

/// Why a text does not start with a `number unit`.
pub(super) enum Fault {
    /// There is no number.
    Number,
    /// There is a number and no unit.
    Bare,
    /// The unit is not known.
    Unit(String),
    /// The fraction does not come out even.
    Uneven,
    /// More than a `u128` holds.
    Large,
}

/// Reads one `number unit` from the start of `text`.
pub(super) fn term<'a>(text: &'a str, units: &[Unit]) -> Result<Term<'a>, Fault> {
    let (whole, rest) = digits(text);
    if whole.is_empty() {
        return Err(Fault::Number);
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if fraction.is_empty() && rest.starts_with('.') {
        return Err(Fault::Number);
    }
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| c.is_ascii_digit() || c.is_whitespace() || c == '.')
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if name.is_empty() {
        return Err(Fault::Bare);
    }
    let unit = units
        .iter()
        .find(|unit| unit.name == name)
        .ok_or_else(|| Fault::Unit(no_such_unit(name, units)))?;
    Ok(Term {
        count: exact(whole, fraction, unit.factor)?,
        factor: unit.factor,
        rest: rest.trim_start(),
    })
}

/// Splits off the leading digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn exact(whole: &str, fraction: &str, factor: u128) -> Result<u128, Fault> {
    let number = |digits: &str| digits.parse::<u128>().map_err(|_| Fault::Large);
    let mut count = number(whole)?.checked_mul(factor).ok_or(Fault::Large)?;
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        // No unit has more than 15 digits: a longer fraction can't come out even.
        let places = u32::try_from(fraction.len()).map_err(|_| Fault::Uneven)?;
        if places > 18 {
            return Err(Fault::Uneven);
        }
        let parts = number(fraction)?.checked_mul(factor).ok_or(Fault::Large)?;
        let divisor = 10_u128.pow(places);
        if parts % divisor != 0 {
            return Err(Fault::Uneven);
        }
        count = count.checked_add(parts / divisor).ok_or(Fault::Large)?;
    }
    Ok(count)
}

fn no_such_unit(name: &str, units: &[Unit]) -> String {
    let elsewhere = |unit: &&Unit| {
        unit.name.eq_ignore_ascii_case(name)
            || unit
                .elsewhere
                .iter()
                .any(|other| other.eq_ignore_ascii_case(name))
    };
    let names = || units.iter().map(|unit| unit.name);
    let close = units
        .iter()
        .find(elsewhere)
        .map(|unit| unit.name)
        .or_else(|| suggest::near_miss(name, names()));
    let name = suggest::printable(name);
    let hint = suggest::did_you_mean(close);
    let units: Vec<&str> = names().collect();
    format!(
        "there is no unit `{name}`{hint} (units: {})",
        units.join(", ")
    )
}
