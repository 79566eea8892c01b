//! Which of two builds is the newer one.

use std::cmp::Ordering;

/// Whether a build is newer than another, going by their versions: numbers are compared as numbers, from
/// the left; what has a `-` behind it comes before what has not. Without any number a text is no version,
/// and never newer.
pub(super) fn is_newer(one: &str, other: &str) -> bool {
    let is_version = |build: &str| build.bytes().any(|byte| byte.is_ascii_digit());
    is_version(one) && compare(one, other) == Ordering::Greater
}

fn compare(one: &str, other: &str) -> Ordering {
    // What is behind a `+` says how it was built, not which it is.
    let split = |build: &str| {
        let build = build.split('+').next().unwrap_or_default().to_owned();
        let build = build.strip_prefix('v').map(str::to_owned).unwrap_or(build);
        match build.split_once('-') {
            Some((release, before)) => (parts(release), Some(parts(before))),
            None => (parts(&build), None),
        }
    };
    let ((one, one_before), (other, other_before)) = (split(one), split(other));
    one.cmp(&other)
        .then_with(|| match (one_before, other_before) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => one.cmp(&other),
        })
}

/// Numbers come before words, as in semantic versions.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

/// `1.2` is `1.2.0`.
fn parts(text: &str) -> Vec<Part> {
    let part = |text: &str| match text.parse() {
        Ok(number) => Part::Number(number),
        Err(_) => Part::Word(text.to_owned()),
    };
    let mut parts: Vec<Part> = text.split('.').map(part).collect();
    while parts.last() == Some(&Part::Number(0)) {
        parts.pop();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_what_has_the_higher_version() {
        let rising = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-rc.2",
            "1.0.0-rc.10",
            "1.0.0",
            "1.0.1",
            "1.9.3",
            "v1.10",
            "2",
        ];
        for (index, one) in rising.iter().enumerate() {
            for (other_index, other) in rising.iter().enumerate() {
                let expected = index > other_index;
                assert_eq!(is_newer(one, other), expected, "{one} and {other}");
            }
        }
        for same in ["1.2", "1.2.0", "1.2.0+linux"] {
            assert!(!is_newer(same, "1.2.0") && !is_newer("1.2.0", same));
        }
        assert!(!is_newer("", "1") && !is_newer("newest", "1"));
    }
}
