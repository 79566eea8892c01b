//! Sizes in bytes as text: `4 MiB`, `64KiB`, `1.5 GiB`, `1000`.

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

use super::quantity::{self, Fault, Unit};

/// What a text must look like, for errors.
pub(super) const EXAMPLE: &str = "write bytes as an integer, or a text such as \"4 MiB\"";

const UNITS: [Unit; 9] = [
    unit("B", 1, &["byte", "bytes"]),
    // `KB` means either; whoever writes it for memory means 1024.
    unit("KiB", 1 << 10, &["K", "KB"]),
    unit("MiB", 1 << 20, &["M"]),
    unit("GiB", 1 << 30, &["G"]),
    unit("TiB", 1 << 40, &["T"]),
    unit("kB", 1_000, &[]),
    unit("MB", 1_000_000, &[]),
    unit("GB", 1_000_000_000, &[]),
    unit("TB", 1_000_000_000_000, &[]),
];

const fn unit(name: &'static str, factor: u128, elsewhere: &'static [&'static str]) -> Unit {
    Unit {
        name,
        factor,
        elsewhere,
    }
}

/// Reads a size: an integer, or one `number unit`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| too_large());
    }
    let term = quantity::term(text, &UNITS).map_err(|fault| match fault {
        Fault::Number | Fault::Bare => format!("is no size: {EXAMPLE}"),
        Fault::Unit(problem) => problem,
        Fault::Uneven => "does not come out as whole bytes".to_owned(),
        Fault::Large => too_large(),
    })?;
    if !term.rest.is_empty() {
        return Err(format!("is no size: {EXAMPLE}"));
    }
    u64::try_from(term.count).map_err(|_| too_large())
}

fn too_large() -> String {
    format!("is too large: at most {}", u64::MAX)
}

/// Writes a size with the largest of the 1024-based units that needs no fraction; plain bytes
/// stay without a unit.
pub(super) fn format(bytes: u64) -> String {
    let count = u128::from(bytes);
    let even = |unit: &&Unit| unit.factor.is_power_of_two() && count % unit.factor == 0;
    match UNITS.iter().rev().find(even) {
        Some(unit) if unit.factor > 1 && count > 0 => {
            format!("{} {}", count / unit.factor, unit.name)
        }
        _ => bytes.to_string(),
    }
}

/// A count of bytes in a section of your own: an integer or a text such as `"4 MiB"`.
///
/// ```
/// use wayside::settings::{Settings, Size};
///
/// #[derive(serde::Deserialize)]
/// struct Journal {
///     segment: Size,
/// }
///
/// let settings = Settings::builder()
///     .section("journal")
///     .load_text("[journal]\nsegment = \"64 MiB\"", "example")?;
/// let journal: Journal = settings.section("journal")?;
/// assert_eq!(journal.segment, Size(64 << 20));
/// # Ok::<(), wayside::settings::SettingsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format(self.0))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a size: {EXAMPLE}")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                match u64::try_from(bytes) {
                    Ok(bytes) => Ok(Size(bytes)),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(bytes), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                parse(text).map(Size).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_multiply() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4 MiB", 4 << 20),
            ("64KiB", 64 << 10),
            (" 1.5 GiB ", 3 << 29),
            ("10 MB", 10_000_000),
            ("1 kB", 1000),
            ("7 B", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_why() {
        const NONE: &str = "is no size: write bytes as an integer, or a text such as \"4 MiB\"";
        const UNITS: &str = "(units: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)";
        for (text, problem) in [
            ("", NONE.to_owned()),
            ("big", NONE.to_owned()),
            ("-1", NONE.to_owned()),
            ("1.5", NONE.to_owned()),
            ("1 MiB 1 B", NONE.to_owned()),
            (
                "4M",
                format!("there is no unit `M`; did you mean `MiB`? {UNITS}"),
            ),
            (
                "4 KB",
                format!("there is no unit `KB`; did you mean `KiB`? {UNITS}"),
            ),
            (
                "4 mib",
                format!("there is no unit `mib`; did you mean `MiB`? {UNITS}"),
            ),
            ("4 parsecs", format!("there is no unit `parsecs` {UNITS}")),
            ("0.3 KiB", "does not come out as whole bytes".to_owned()),
            (
                "99999999 TiB",
                "is too large: at most 18446744073709551615".to_owned(),
            ),
            (
                "18446744073709551616",
                "is too large: at most 18446744073709551615".to_owned(),
            ),
        ] {
            assert_eq!(parse(text), Err(problem), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes: u64, shift in 0_u32..64) {
            let bytes = bytes >> shift;
            prop_assert_eq!(parse(&format(bytes)), Ok(bytes));
        }

        #[test]
        fn even_sizes_round_trip_with_their_unit(count in 1_u64..1024, shift in 1_u32..5) {
            let printed = format(count << (10 * shift));
            prop_assert!(printed.ends_with("iB"), "{}", printed);
            prop_assert_eq!(parse(&printed), Ok(count << (10 * shift)));
        }

        #[test]
        fn no_text_panics(text in "[0-9. a-zA-Z-]{0,50}") {
            let _parsed = parse(&text);
        }
    }
}
