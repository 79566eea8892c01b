//! Where reports go.

#[cfg(feature = "http")]
mod http;
mod lines;
mod rotating;

use std::fmt;
use std::time::Duration;

use super::report::Report;

#[cfg(feature = "http")]
pub use http::HttpPost;
#[cfg(feature = "http")]
pub(super) use http::without_secrets;
pub use lines::{JsonLines, Rotation};

/// Takes what the agent reports: heartbeats, attacks and findings.
///
/// Each sink has a thread of its own, so it may block; but while it does, it takes nothing else. A
/// report is given again, with the same [`id`](Report::id), until it is taken or refused for good, so
/// one may come twice: what was taken before an error came back, the sink has to tell by its id.
///
/// ```
/// use std::sync::mpsc::Sender;
/// use wayside::aggregator::Report;
/// use wayside::aggregator::sink::{Sink, SinkError};
///
/// struct Ids(Sender<String>);
///
/// impl Sink for Ids {
///     fn name(&self) -> &str {
///         "ids"
///     }
///
///     fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
///         let id = report.id().to_owned();
///         self.0.send(id).map_err(|_| SinkError::never("nobody listens any more"))
///     }
/// }
/// ```
pub trait Sink: Send + 'static {
    /// What it is called in the log and in the agent's status.
    fn name(&self) -> &str;

    /// Takes a report: once this returns, the agent forgets it.
    ///
    /// # Errors
    /// The report was not taken, or nobody knows; see [`Retry`] for what comes of it.
    fn deliver(&mut self, report: &Report) -> Result<(), SinkError>;
}

/// Why a report was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkError {
    /// Whether to give it again.
    pub retry: Retry,
    /// One line for people.
    pub why: String,
}

/// Whether to give a report again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Yes, after a pause that grows with each failure in a row.
    Soon,
    /// Yes, and not before.
    After(Duration),
    /// No: this report will never be taken. It is counted as dropped.
    Never,
}

impl SinkError {
    /// What may go better after a while.
    pub fn soon(why: impl Into<String>) -> Self {
        let (retry, why) = (Retry::Soon, why.into());
        Self { retry, why }
    }

    /// What may go better after this time.
    pub fn after(pause: Duration, why: impl Into<String>) -> Self {
        let (retry, why) = (Retry::After(pause), why.into());
        Self { retry, why }
    }

    /// What will never go better.
    pub fn never(why: impl Into<String>) -> Self {
        let (retry, why) = (Retry::Never, why.into());
        Self { retry, why }
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for SinkError {}
