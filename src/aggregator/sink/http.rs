//! Reports by HTTP POST.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};
use ureq::{Agent, Body};

use super::{Sink, SinkError};
use crate::aggregator::report::Report;

/// Of an answer so many bytes are read, so that the connection can be used again.
const ANSWER_LEN_MAX: u64 = 64 << 10;
/// Of an answer so many characters are quoted.
const QUOTE_LEN_MAX: usize = 200;
/// No server may ask for a longer pause.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Posts each report as JSON, in the form of
/// [docs/reports.md](https://docs.rs/crate/wayside/latest/source/docs/reports.md), with its id in the
/// header `Idempotency-Key`: the same report may come twice, and is to be counted once.
///
/// | answer | |
/// |---|---|
/// | 2xx | taken |
/// | 429 and 503 with `Retry-After` | given again after that time, an hour at most |
/// | 400, 413, 422 | never given again, and counted as dropped: it is the report that is wrong |
/// | anything else, none in time, no connection | given again, after pauses that grow |
///
/// So a token that has expired, an address that is wrong or has moved (redirects are not followed) loses
/// nothing within the bounds of what is kept: it stands in the agent's status
/// ([`SinkStatus::last_error`](crate::aggregator::SinkStatus::last_error)) until somebody mends it, if
/// need be with another build that has the same journal.
///
/// `https:` needs the feature `rustls` of the crate `ureq`, named in the program's own `Cargo.toml`. Servers are
/// then known by the public authorities that it brings; the system's list and private authorities are not asked.
///
/// ```
/// use std::time::Duration;
/// use wayside::aggregator::sink::HttpPost;
///
/// let sink = HttpPost::new("http://reports.internal:8080/v1/reports")
///     .header("authorization", "Bearer 7f3a")
///     .timeout(Duration::from_secs(5));
/// ```
pub struct HttpPost {
    name: String,
    url: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
    agent: Agent,
}

impl HttpPost {
    /// To this address, with ten seconds for each report.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("wayside/", env!("CARGO_PKG_VERSION")));
        Self {
            name: format!("http {}", without_secrets(&url)),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            agent: config.build().into(),
            url,
        }
    }

    /// Adds a header to each report.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long a report may take, from the look-up of the name to the end of the answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(crate::limits::DURATION_MAX);
        self
    }
}

impl Sink for HttpPost {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        let body = serde_json::to_vec(report)
            .map_err(|error| SinkError::never(format!("it has no form in JSON: {error}")))?;
        let mut request = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = request
            .header("content-type", "application/json")
            .header("idempotency-key", report.id())
            .config()
            .timeout_global(Some(self.timeout))
            .build()
            .send(&body);
        // Also one about the address itself: the next build may know a better one.
        let mut answer = answer.map_err(|error| SinkError::soon(error.to_string()))?;
        let text = quote(answer.body_mut());
        judge(answer.status(), answer.headers(), &text)
    }
}

/// What an answer means.
fn judge(status: StatusCode, headers: &HeaderMap, text: &str) -> Result<(), SinkError> {
    if status.is_success() {
        return Ok(());
    }
    let why = format!("the server answered {status}: {text}");
    let seconds = headers
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok());
    Err(match (status.as_u16(), seconds) {
        (429 | 503, Some(seconds)) => {
            SinkError::after(Duration::from_secs(seconds).min(PAUSE_MAX), why)
        }
        // What is wrong is the report. All else may be mended: a token, an address, a server.
        (400 | 413 | 422, _) => SinkError::never(why),
        _ => SinkError::soon(why),
    })
}

/// The beginning of an answer as one line. One that can't be read has been given all the same.
fn quote(body: &mut Body) -> String {
    let bytes = body
        .with_config()
        .limit(ANSWER_LEN_MAX)
        .read_to_vec()
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let printable = text.chars().filter(|character| !character.is_control());
    printable.take(QUOTE_LEN_MAX).collect()
}

/// An address for the log: what stands before `@` and behind `?` is nobody's business.
pub(in crate::aggregator) fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = match rest.split_once('/') {
                Some((authority, path)) => (authority, format!("/{path}")),
                None => (rest, String::new()),
            };
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        for (url, shown) in [
            (
                "http://user:secret@host:80/path?key=secret",
                "http://host:80/path",
            ),
            ("http://host", "http://host"),
            ("http://host#part", "http://host"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
