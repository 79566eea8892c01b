//! Where the configuration comes from that the agent hands to its workers.

mod document;
mod file;
#[cfg(feature = "http")]
mod http;
mod program;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use file::ConfigFile;
#[cfg(feature = "http")]
pub use http::ConfigUrl;
pub use program::{ConfigSetter, Programmed};

/// The longest document, in bytes.
pub const DOCUMENT_LEN_MAX: usize = 1 << 20;

/// Looks from time to time whether there is another configuration.
///
/// A source has a thread of the agent's to itself, so it may block, for some seconds.
pub trait ConfigSource: Send + 'static {
    /// What it is called in the log and in the agent's status.
    fn name(&self) -> &str;

    /// The document, if it is another than the last one that this returned.
    ///
    /// # Errors
    /// What there is can't be used, and the last document stays. For as long as that is so, each poll
    /// says it; the agent tells it once.
    fn poll(&mut self) -> Result<Option<Value>, SourceError>;

    /// How long to wait between two polls.
    fn interval(&self) -> Duration;

    /// Takes what makes the agent poll at once. Called before the first poll.
    fn wake_by(&mut self, wake: Wake) {
        drop(wake);
    }
}

/// Makes the agent poll a source at once.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Why a document can't be used: in one line, which begins as a compiler's does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceError {
    /// The file or address.
    pub origin: String,
    /// Where in the document, counted from 1; `None` if it could not be read at all.
    pub place: Option<Place>,
    /// What is wrong.
    pub why: String,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl SourceError {
    /// Without a place.
    pub fn new(origin: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            place: None,
            why: why.into(),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for SourceError {}
