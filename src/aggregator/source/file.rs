//! A file that is looked at from time to time.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::document::{Format, parse};
use super::{ConfigSource, DOCUMENT_LEN_MAX, SourceError};
use crate::aggregator::files::file_number;
use crate::aggregator::moment::UnixMicros;

/// A file may change again within one tick of its file system's clock. So one that has just
/// changed is read each time, until it is so old.
const SETTLED_MICROS: u64 = 2_000_000;

/// A file in TOML, or in JSON if its name ends in `.json`.
///
/// It is read again when its time, length or inode have changed, and given when its content has. It
/// should be replaced by renaming another over it: of one that is being written, the part that is
/// there already may be a document too.
///
/// ```
/// use wayside::aggregator::source::{ConfigFile, ConfigSource};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("rules.toml");
/// std::fs::write(&path, "blocked_users = ['mallory']")?;
/// let mut source = ConfigFile::new(&path);
/// let document = source.poll()?.ok_or("the first poll gives it")?;
/// assert_eq!(document["blocked_users"][0], "mallory");
/// assert_eq!(source.poll()?, None, "it has not changed");
///
/// std::fs::write(&path, "blocked_users = [")?;
/// let error = source.poll().unwrap_err();
/// assert_eq!(error.place.map(|place| place.line), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    origin: String,
    format: Format,
    interval: Duration,
    /// The file as it was read last, if it need not be read again.
    seen: Option<Look>,
    /// The content that was given last.
    given: Option<Vec<u8>>,
}

/// What tells that a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    len: u64,
    number: u64,
}

impl ConfigFile {
    /// This file, looked at every half second. It need not be there yet.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_path_buf();
        let origin = path.display().to_string();
        Self {
            format: Format::of_name(&origin),
            origin,
            path,
            interval: Duration::from_millis(500),
            seen: None,
            given: None,
        }
    }

    /// Looks at it so often.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    fn look(&mut self) -> Result<Option<Value>, SourceError> {
        let seen = fs::metadata(&self.path).map(|metadata| Look::of(&metadata));
        if seen.as_ref().ok() == self.seen.as_ref() && self.seen.is_some() {
            return Ok(None);
        }
        // Looked at before it is read: a change in between is found the next time.
        self.seen = None;
        let seen = seen.map_err(|error| self.unreadable(&error))?;
        let bytes = read(&self.path).map_err(|error| self.unreadable(&error))?;
        if self.given.as_ref() == Some(&bytes) {
            self.seen = Some(seen).filter(Look::is_settled);
            return Ok(None);
        }
        let document = parse(&self.origin, &bytes, self.format)?;
        self.seen = Some(seen).filter(Look::is_settled);
        self.given = Some(bytes);
        Ok(Some(document))
    }

    fn unreadable(&self, error: &io::Error) -> SourceError {
        SourceError::new(&self.origin, error.to_string())
    }
}

impl ConfigSource for ConfigFile {
    fn name(&self) -> &str {
        &self.origin
    }

    fn poll(&mut self) -> Result<Option<Value>, SourceError> {
        self.look()
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            len: metadata.len(),
            number: file_number(metadata),
        }
    }

    /// Whether a change from now on would show. One from the future never is settled.
    fn is_settled(&self) -> bool {
        let modified = self.modified.map(UnixMicros::from);
        let age = modified.and_then(|modified| UnixMicros::now().0.checked_sub(modified.0));
        age.is_some_and(|age| age > SETTLED_MICROS)
    }
}

/// One byte more than allowed, to see that there is more.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let len_max = u64::try_from(DOCUMENT_LEN_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(len_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_content_is_given_once_and_nonsense_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let mut source = ConfigFile::new(&path);
        assert!(source.poll().is_err(), "it is not there");
        for round in 0..20 {
            // Of one length, and mostly within one tick of the clock.
            let text = format!("{{\"round\": {:02}}}", round + 10);
            fs::write(&path, text).unwrap();
            assert_eq!(source.poll(), Ok(Some(json!({"round": round + 10}))));
            assert_eq!(source.poll(), Ok(None));
        }
        fs::write(&path, "{\"round\":\n  oops}").unwrap();
        let error = source.poll().unwrap_err();
        assert_eq!(
            error.place,
            Some(super::super::Place { line: 2, column: 3 })
        );
        assert_eq!(source.poll(), Err(error));
        // The same as before the trouble: nothing has changed.
        fs::write(&path, "{\"round\": 29}").unwrap();
        assert_eq!(source.poll(), Ok(None));
        fs::write(&path, "oops").unwrap();
        source.poll().unwrap_err();
    }

    #[test]
    fn an_old_file_is_not_read_again_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "a = 1").unwrap();
        // Closed at once: Windows keeps what is open from being replaced.
        let make_old = |path: &Path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1 << 30);
            file.set_modified(long_ago).unwrap();
        };
        make_old(&path);
        let mut source = ConfigFile::new(&path);
        assert_eq!(source.poll(), Ok(Some(json!({"a": 1}))));
        assert!(source.seen.is_some());
        // A new file of the same time and length.
        let other = folder.path().join("other.toml");
        fs::write(&other, "a = 2").unwrap();
        make_old(&other);
        fs::rename(&other, &path).unwrap();
        if cfg!(unix) {
            assert_eq!(source.poll(), Ok(Some(json!({"a": 2}))));
        }
    }
}
