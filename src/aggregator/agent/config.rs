//! Configurations: how they are numbered, told apart, and what of them is the agent's own business.

use std::time::Duration;

use crate::aggregator::{ConfigDocument, UnixMicros};

/// What follows on a document.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The one that there is.
    Same(ConfigDocument),
    Another(ConfigDocument),
}

pub(crate) fn next(last: Option<&ConfigDocument>, json: String, at: UnixMicros) -> Next {
    let hash = hash(&json);
    if let Some(same) = last.filter(|last| last.hash == hash && last.json == json) {
        return Next::Same(same.clone());
    }
    // Seconds since 1970 to begin with: so versions rise over agents that remember nothing, too.
    let seconds = at.0 / 1_000_000;
    let version = last.map_or(seconds.max(1), |last| last.version.saturating_add(1));
    Next::Another(ConfigDocument {
        version,
        hash,
        json,
    })
}

/// The same in every process and every build: FNV-1a.
fn hash(text: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    text.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// The interval between heartbeats, in seconds, at this key of the document. `None` if there is no
/// such key.
pub(crate) fn interval(json: &str, key: &str) -> Option<Result<Duration, &'static str>> {
    let document: serde_json::Value = serde_json::from_str(json).ok()?;
    let seconds = document.get(key)?.as_f64();
    let within = seconds.filter(|seconds| (0.01..=86_400.0 * 365.0).contains(seconds));
    Some(
        within
            .map(Duration::from_secs_f64)
            .ok_or("must be a number of seconds, from 0.01 to a year"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_with_changes_only() {
        let at = UnixMicros(1_000_000_000);
        let another = |last, json: &str, at| match next(last, json.to_owned(), at) {
            Next::Another(document) => document,
            Next::Same(same) => panic!("{same:?}"),
        };
        let first = another(None, "1", at);
        assert_eq!(first.version, 1000);
        let same = next(Some(&first), "1".to_owned(), at);
        assert_eq!(same, Next::Same(first.clone()));
        let second = another(Some(&first), "2", UnixMicros(0));
        assert_eq!(second.version, 1001);
        assert_ne!(first.hash, second.hash);
    }

    #[test]
    fn an_interval_is_a_number_of_seconds() {
        let half = Some(Ok(Duration::from_millis(500)));
        assert_eq!(interval("{\"beat\": 0.5}", "beat"), half);
        assert_eq!(interval("{\"beat\": 0.5}", "other"), None);
        assert!(interval("{\"beat\": \"soon\"}", "beat").unwrap().is_err());
        assert!(interval("{\"beat\": -1}", "beat").unwrap().is_err());
        assert_eq!(interval("[", "beat"), None);
    }
}
