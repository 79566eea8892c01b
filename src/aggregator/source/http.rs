//! A document behind an address, asked for with the tag of the last one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use super::document::{Format, parse};
use super::{ConfigSource, DOCUMENT_LEN_MAX, SourceError};

/// A document in JSON, or in TOML if the server says `application/toml` or the address ends in `.toml`.
///
/// It is asked for with `If-None-Match`, so a server with `ETag` need not send it again. `https:` needs
/// a feature of the crate `ureq`: see [`HttpPost`](crate::aggregator::sink::HttpPost).
#[derive(Debug)]
pub struct ConfigUrl {
    url: String,
    origin: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
    interval: Duration,
    agent: Agent,
    /// Of the document that was given last.
    tag: Option<String>,
    given: Option<u64>,
}

impl ConfigUrl {
    /// This address, asked every minute, with ten seconds to answer.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("wayside/", env!("CARGO_PKG_VERSION")));
        Self {
            origin: crate::aggregator::sink::without_secrets(&url),
            url,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(60),
            agent: config.build().into(),
            tag: None,
            given: None,
        }
    }

    /// Adds a header to each request.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long an answer may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(crate::limits::DURATION_MAX);
        self
    }

    /// Asks so often.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    fn ask(&mut self) -> Result<Option<Value>, SourceError> {
        let mut request = self.agent.get(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(tag) = &self.tag {
            request = request.header("if-none-match", tag);
        }
        let request = request.config().timeout_global(Some(self.timeout)).build();
        let mut answer = request.call().map_err(|error| self.trouble_of(&error))?;
        if answer.status().as_u16() == 304 {
            return Ok(None);
        }
        if !answer.status().is_success() {
            let why = format!("the server answered {}", answer.status());
            return Err(SourceError::new(&self.origin, why));
        }
        let (tag, format) = (header(&answer, "etag"), self.format(&answer));
        let limit = u64::try_from(DOCUMENT_LEN_MAX).unwrap_or(u64::MAX);
        let body = answer.body_mut().with_config().limit(limit).read_to_vec();
        let body = body.map_err(|error| self.trouble_of(&error))?;
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let hash = Some(hasher.finish());
        if self.given == hash {
            self.tag = tag;
            return Ok(None);
        }
        // Nonsense is asked for again: its tag is not kept.
        let document = parse(&self.origin, &body, format)?;
        (self.tag, self.given) = (tag, hash);
        Ok(Some(document))
    }

    fn format<T>(&self, answer: &Response<T>) -> Format {
        let kind = header(answer, "content-type").unwrap_or_default();
        let path = self.origin.to_ascii_lowercase();
        if kind.contains("toml") || (path.ends_with(".toml") && !kind.contains("json")) {
            Format::Toml
        } else {
            Format::Json
        }
    }

    fn trouble_of(&self, error: &ureq::Error) -> SourceError {
        SourceError::new(&self.origin, error.to_string())
    }
}

fn header<T>(answer: &Response<T>, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    value.to_str().ok().map(str::to_owned)
}

impl ConfigSource for ConfigUrl {
    fn name(&self) -> &str {
        &self.origin
    }

    fn poll(&mut self) -> Result<Option<Value>, SourceError> {
        self.ask()
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}
