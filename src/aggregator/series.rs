//! What a number is called: a name and labels.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::readable;

/// The longest name, label or label's value, in bytes. Longer ones are cut at a character.
pub const TEXT_LEN_MAX: usize = 128;
/// The longest key of an inventory, in bytes: a route or URL fits.
pub const KEY_LEN_MAX: usize = 512;
/// The most labels of one series. Further ones are left out.
pub const LABELS_MAX: usize = 8;
/// The label of the series that takes what goes beyond a bound on the number of series.
pub const OVERFLOW: &str = "overflow";

/// The name of a series, with its labels sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// What is measured: `http.requests`.
    pub name: String,
    /// What tells it from others of that name: `method` is `GET`.
    #[serde(with = "readable::labels")]
    pub labels: Vec<(String, String)>,
}

impl Series {
    /// Brings a name and labels into the one form that compares equal.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let mut labels: Vec<(String, String)> = labels
            .iter()
            .take(LABELS_MAX)
            .map(|(name, value)| (cut(name).to_owned(), cut(value).to_owned()))
            .collect();
        labels.sort();
        labels.dedup_by(|later, first| later.0 == first.0);
        Self {
            name: cut(name).to_owned(),
            labels,
        }
    }

    /// The bytes of all its texts.
    pub(crate) fn texts_len(&self) -> usize {
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| name.len() + value.len());
        self.name.len() + labels.sum::<usize>()
    }

    /// The series that stands for all of this name beyond the bound.
    #[must_use]
    pub fn overflow(name: &str) -> Self {
        Self::new(name, &[(OVERFLOW, "true")])
    }

    /// Whether it is within the bounds that [`new`](Series::new) keeps: a peer need not have used it.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.name.len() <= TEXT_LEN_MAX
            && self.labels.len() <= LABELS_MAX
            && self.labels.is_sorted()
            && self
                .labels
                .iter()
                .all(|(name, value)| name.len() <= TEXT_LEN_MAX && value.len() <= TEXT_LEN_MAX)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (index, (name, value)) in self.labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(f, "{before}{name}={value:?}")?;
        }
        if !self.labels.is_empty() {
            f.write_str("}")?;
        }
        Ok(())
    }
}

/// The beginning of a text, at most [`TEXT_LEN_MAX`] bytes.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary_at(TEXT_LEN_MAX)]
}

/// The beginning of a key, at most [`KEY_LEN_MAX`] bytes.
pub(crate) fn cut_key(key: &str) -> &str {
    &key[..key.floor_char_boundary_at(KEY_LEN_MAX)]
}

/// `str::floor_char_boundary`, which came after the oldest Rust we promise.
pub(crate) trait CharBoundary {
    /// The last boundary of a character at or before `index`.
    fn floor_char_boundary_at(&self, index: usize) -> usize;
}

impl CharBoundary for str {
    fn floor_char_boundary_at(&self, index: usize) -> usize {
        if index >= self.len() {
            return self.len();
        }
        // 0 is one always.
        (0..=index)
            .rev()
            .find(|&at| self.is_char_boundary(at))
            .unwrap_or(0)
    }
}
