//! The bounds of a worker, and what the section `[worker]` says of them.

use std::time::Duration;

use serde::Deserialize;

use super::asking::Policy;
use crate::settings::Size;

/// Every bound of a worker. The fields are also the keys of the section `[worker]`.
///
/// What a worker holds at most follows from them: 1 KiB for each counter, 15 KiB for each histogram,
/// up to 700 bytes for each key of an inventory (its text, of which 512 are kept, and some 100), `attacks_len_max` of attacks, and one batch.
///
/// ```
/// use std::time::Duration;
/// use wayside::Settings;
/// use wayside::aggregator::{Worker, WorkerLimits};
///
/// let limits = WorkerLimits {
///     flush_interval: Duration::from_millis(250),
///     ..WorkerLimits::default()
/// };
/// let worker = Worker::builder("shop").limits(limits).start()?;
///
/// // The same by settings.
/// let settings = Settings::from_text("[worker]\nflush_interval = \"250ms\"", "wayside.toml")?;
/// let worker = Worker::builder("shop").settings(&settings)?.start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerLimits {
    /// How long what was recorded waits before it is sent.
    pub flush_interval: Duration,
    /// What was recorded is sent sooner when so many bytes have come together that were not there at the
    /// last sending: of series that were made, and keys of inventories that were seen.
    pub flush_len: Size,
    /// How long the last clone that is dropped waits for what is still to be sent, and until an agent that the
    /// worker starts itself ([`WorkerBuilder::agent`](super::WorkerBuilder::agent)) is there to take it. With
    /// no agent in reach and none to be started, or one that has refused the worker, it does not wait.
    pub drop_timeout: Duration,
    /// The attacks that the agent has not acknowledged. More are dropped, and counted.
    pub attacks_max: u32,
    /// The bytes of those.
    pub attacks_len_max: Size,
    /// The counters, and the gauges.
    pub series_max: u32,
    /// The series of one name: it is labels that get out of hand.
    pub series_per_name_max: u32,
    /// The histograms.
    pub histograms_max: u32,
    /// The keys of one inventory.
    pub keys_max: u32,
    /// How long [`Worker::allow`](super::Worker::allow) and
    /// [`Worker::question`](super::Worker::question) wait for the agent.
    pub allow_timeout: Duration,
    /// What `allow` says when there is no answer.
    pub allow_policy: Policy,
    /// The answers that [`Policy::LastKnown`] and
    /// [`Question::last_known`](super::Question::last_known) remember, up to 4 MiB of them.
    pub last_known_max: u32,
}

impl Default for WorkerLimits {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(1),
            flush_len: Size(256 << 10),
            drop_timeout: Duration::from_secs(3),
            attacks_max: 10_000,
            attacks_len_max: Size(16 << 20),
            series_max: 4_000,
            series_per_name_max: 1_000,
            histograms_max: 500,
            keys_max: 10_000,
            allow_timeout: Duration::from_millis(50),
            allow_policy: Policy::Open,
            last_known_max: 10_000,
        }
    }
}

/// The section `[worker]`: the limits, and what the workers of an application have in common.
///
/// Each field by name, as a section that is checked for unknown keys can't be put together from two.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Section {
    /// What the agent asks its workers for.
    pub(crate) token: Option<String>,
    flush_interval: Duration,
    flush_len: Size,
    drop_timeout: Duration,
    attacks_max: u32,
    attacks_len_max: Size,
    series_max: u32,
    series_per_name_max: u32,
    histograms_max: u32,
    keys_max: u32,
    allow_timeout: Duration,
    allow_policy: Policy,
    last_known_max: u32,
}

impl Default for Section {
    fn default() -> Self {
        let WorkerLimits {
            flush_interval,
            flush_len,
            drop_timeout,
            attacks_max,
            attacks_len_max,
            series_max,
            series_per_name_max,
            histograms_max,
            keys_max,
            allow_timeout,
            allow_policy,
            last_known_max,
        } = WorkerLimits::default();
        Self {
            token: None,
            flush_interval,
            flush_len,
            drop_timeout,
            attacks_max,
            attacks_len_max,
            series_max,
            series_per_name_max,
            histograms_max,
            keys_max,
            allow_timeout,
            allow_policy,
            last_known_max,
        }
    }
}

impl Section {
    pub(crate) fn limits(&self) -> WorkerLimits {
        WorkerLimits {
            flush_interval: self.flush_interval,
            flush_len: self.flush_len,
            drop_timeout: self.drop_timeout,
            attacks_max: self.attacks_max,
            attacks_len_max: self.attacks_len_max,
            series_max: self.series_max,
            series_per_name_max: self.series_per_name_max,
            histograms_max: self.histograms_max,
            keys_max: self.keys_max,
            allow_timeout: self.allow_timeout,
            allow_policy: self.allow_policy,
            last_known_max: self.last_known_max,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn the_page_of_settings_has_each_key_with_its_default() {
        let page = include_str!("../../../docs/settings.md");
        let (_, table) = page.split_once("### `[worker]`").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let cells = table.lines().filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let key = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            let value = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some(format!("{key} = {value}\n"))
        });
        let lines: Vec<String> = cells.collect();
        assert_eq!(lines.len(), 12, "{lines:?}");
        let text = format!("[worker]\n{}", lines.concat());
        let settings = Settings::from_text(&text, "docs/settings.md").unwrap();
        let section: Section = settings.section("worker").unwrap();
        assert_eq!(section.limits(), WorkerLimits::default());
    }
}
