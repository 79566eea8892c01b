//! The key file: 32 random bytes as one line of hexadecimal digits.
//!
//! Invariants:
//! - The file appears complete or not at all: it is written and synced under another name.
//! - It is created once. Of two that create it at the same time one wins, and both use its key.
//! - It is checked each time it is read: whoever could have written it, or can read it, knows it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::backend::{About, Finding, directory};

cfg_if::cfg_if! {
    if #[cfg(windows)] {
        mod windows;
        use windows as platform;
    } else {
        mod unix;
        use unix as platform;
    }
}

/// Bytes of a key.
pub(super) const KEY_LEN: usize = 32;

/// What helps when a directory takes no file.
const WRITABLE: &str = "use a directory that this user may write to";

/// Two digits a byte, and a line end that an editor may have made `\r\n`.
const FILE_LEN_MAX: u64 = 66;

/// A secret, and where it came from.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) bytes: [u8; KEY_LEN],
    pub(super) path: PathBuf,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret itself.
        write!(f, "Key({})", self.path.display())
    }
}

impl Key {
    /// Reads the key, and creates it first if there is none.
    ///
    /// # Errors
    /// `PermissionDenied` if others could read or have written the file, `InvalidData` if what it
    /// holds is no key.
    pub(super) fn open_or_create(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path)?;
                Self::open(path)
            }
            other => other,
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let remedy = "both sides have to run as the user that it belongs to";
        let file = platform::open(path).map_err(|error| problem(path, &error, remedy))?;
        platform::check(path, &file.metadata()?)?;
        let bytes = read(path, file)?;
        let path = path.to_path_buf();
        Ok(Self { bytes, path })
    }
}

/// What stands in the way of the key, seen without creating it.
pub(super) fn examine(path: &Path) -> Vec<Finding> {
    let about = About::Key {
        path: path.to_path_buf(),
    };
    match Key::open(path) {
        Ok(_) => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = match path.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            };
            let shown = path.display();
            let text = format!("there is no key file {shown}: the first to need it creates it");
            let mut findings = vec![Finding::note(about, text)];
            findings.extend(directory::examine(parent));
            findings
        }
        Err(error) => vec![Finding::obstacle(about, error.to_string())],
    }
}

fn read(path: &Path, file: File) -> io::Result<[u8; KEY_LEN]> {
    // One byte more than allowed, to see that there is more.
    let mut text = Vec::new();
    let len = file.take(FILE_LEN_MAX + 1).read_to_end(&mut text)?;
    let is_all = u64::try_from(len).is_ok_and(|len| len <= FILE_LEN_MAX);
    let key = is_all.then(|| decode(&text)).flatten();
    key.ok_or_else(|| {
        let text = format!(
            "key file {}: holds no key of {} hexadecimal digits: remove it and let it be created \
             anew, and restart all who use it",
            path.display(),
            2 * KEY_LEN
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Makes a key and gives it the name, unless someone was faster.
fn create(path: &Path) -> io::Result<()> {
    directory::create_parent(path)?;
    let mut bytes = [0; KEY_LEN];
    getrandom::fill(&mut bytes)?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // In the same directory, as a rename can't leave its file system. Mode 0600 on Unix.
    let mut file =
        NamedTempFile::new_in(parent).map_err(|error| problem(path, &error, WRITABLE))?;
    file.write_all(encode(&bytes).as_bytes())?;
    // tempfile does not sync. After a crash an empty file would lock everyone out.
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => platform::sync_directory(parent),
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(lost) => Err(problem(path, &lost.error, WRITABLE)),
    }
}

/// The system's error with the path, which it leaves out, and what to do if a right is missing.
fn problem(path: &Path, error: &io::Error, remedy: &str) -> io::Error {
    let mut text = format!("key file {}: {error}", path.display());
    let denied = [
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem,
    ];
    if denied.contains(&error.kind()) {
        text.push_str(": ");
        text.push_str(remedy);
    }
    io::Error::new(error.kind(), text)
}

fn encode(bytes: &[u8; KEY_LEN]) -> String {
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    text
}

fn decode(text: &[u8]) -> Option<[u8; KEY_LEN]> {
    let text = text.trim_ascii_end();
    if text.len() != 2 * KEY_LEN {
        return None;
    }
    let mut bytes = [0; KEY_LEN];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(value(digits[0])? * 16 + value(digits[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_creates_the_key_and_later_ones_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/shop.key");
        let first = Key::open_or_create(&path).unwrap();
        let second = Key::open_or_create(&path).unwrap();
        assert_eq!(first.bytes, second.bytes);
        assert_ne!(first.bytes, [0; KEY_LEN]);
        let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "a temporary file was left behind");
    }

    #[test]
    fn text_and_bytes_turn_into_each_other() {
        let bytes = std::array::from_fn(|index| u8::try_from(index * 8).unwrap());
        let text = encode(&bytes);
        assert_eq!(decode(text.as_bytes()), Some(bytes));
        assert_eq!(
            decode(text.trim_end().to_uppercase().as_bytes()),
            Some(bytes)
        );
        assert_eq!(decode(text.replace('\n', "\r\n").as_bytes()), Some(bytes));
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.key");
        let digits = "0".repeat(64);
        for text in [
            String::new(),
            digits[1..].to_owned(),
            format!("{digits}0"),
            format!("{digits}\n{digits}"),
            // Beyond what is read there could be anything.
            format!("{digits}\n\n\n{digits}"),
            digits.replace('0', "g"),
            digits.replace('0', "é"),
        ] {
            drop(std::fs::remove_file(&path));
            let mut file = NamedTempFile::new_in(directory.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.persist(&path).unwrap();
            let error = Key::open_or_create(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}");
            assert!(error.to_string().contains("shop.key"), "{error}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        let key = Key::open_or_create(&directory.path().join("shop.key")).unwrap();
        let text = format!("{key:?}");
        assert!(!text.contains(encode(&key.bytes).trim_end()), "{text}");
        assert!(text.contains("shop.key"), "{text}");
    }
}
