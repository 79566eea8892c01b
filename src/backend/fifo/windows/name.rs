//! The address: a pipe's name, checked before any library or the system sees it.
//!
//! A name such as `\\server\s` would lead to another host.

use std::fmt;
use std::io;

use widestring::{U16CStr, U16CString};

const PREFIX: &str = r"\\.\pipe\";

/// What a short name gets in front of it.
const OWN_PREFIX: &str = "wayside-";

/// The longest name below the prefix. The system takes 247, but the guard's name, which has the
/// user's id in it, must fit into 260 too.
const NAME_LEN_MAX: usize = 128;

/// The name of a pipe of this host.
///
/// ```text
/// \\.\pipe\shop             as it is
/// shop                      \\.\pipe\wayside-shop
/// C:\run\shop.fifo          \\.\pipe\wayside-<hash of the path>-shop.fifo
/// ```
#[derive(Debug, Clone)]
pub(super) struct Name {
    path: String,
    wide: U16CString,
}

impl Name {
    /// Reads a pipe's name, a short name or a path.
    pub(super) fn parse(address: &str) -> io::Result<Self> {
        let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        let prefix = address.get(..PREFIX.len());
        let name = match prefix {
            // The system does not tell upper case from lower.
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => address[PREFIX.len()..].into(),
            _ if address.is_empty() => String::new(),
            _ if is_path(address) => name_of_path(address)?,
            _ => format!("{OWN_PREFIX}{address}"),
        };
        if name.is_empty() {
            return invalid("the pipe's name is empty".to_owned());
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if let Some(wrong) = name.chars().find(|&c| !allowed(c)) {
            return invalid(format!(
                "the pipe's name {address:?} contains {wrong:?}: use letters of ASCII, digits, - _ \
                 and . only, with or without {PREFIX} before them"
            ));
        }
        if name.len() > NAME_LEN_MAX {
            let len = name.len();
            return invalid(format!(
                "the pipe's name has {len} characters, at most {NAME_LEN_MAX} are possible \
                 ({name})"
            ));
        }
        let path = format!("{PREFIX}{name}");
        match U16CString::from_str(&path) {
            Ok(wide) => Ok(Self { path, wide }),
            Err(error) => invalid(format!("the pipe's name {address:?}: {error}")),
        }
    }

    /// The whole of it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The same for the system.
    pub(super) fn wide(&self) -> &U16CStr {
        &self.wide
    }

    /// What stands behind the prefix, in lower case: one text for one pipe.
    pub(super) fn key(&self) -> String {
        self.path[PREFIX.len()..].to_ascii_lowercase()
    }
}

/// Whether it begins with a drive.
fn is_path(address: &str) -> bool {
    matches!(address.as_bytes(), [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic())
}

/// The name of the pipe that a path stands for. Its last part is in there for people.
fn name_of_path(address: &str) -> io::Result<String> {
    let invalid = |problem| {
        let text = format!("the pipe's path {address:?} {problem}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    if address.contains('\0') {
        return Err(invalid("contains a NUL"));
    }
    if address.ends_with(['\\', '/']) {
        return Err(invalid("is a directory: add the pipe's name"));
    }
    let path = std::path::absolute(address)?;
    let last = path
        .file_name()
        .ok_or_else(|| invalid("has no last part"))?;
    let last = last.to_string_lossy().to_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let last: String = last.chars().filter(|&c| allowed(c)).take(64).collect();
    // The file system does not tell upper case from lower.
    let path = path.to_string_lossy().to_lowercase();
    Ok(format!("{OWN_PREFIX}{:016x}-{last}", hash(path.as_bytes())))
}

/// FNV-1a: the same in every process and release, which is all that is asked of it.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_and_the_whole_one_are_the_same_pipe() {
        let short = Name::parse("Shop").unwrap();
        assert_eq!(short.path(), r"\\.\pipe\wayside-Shop");
        let whole = Name::parse(r"\\.\PIPE\wayside-shop").unwrap();
        assert_eq!(whole.path(), r"\\.\pipe\wayside-shop");
        assert_eq!(short.key(), whole.key());
    }

    #[test]
    fn a_path_is_a_pipe_of_its_own() {
        let name = |address| Name::parse(address).unwrap().path().to_owned();
        let shop = name(r"C:\run\shop.fifo");
        assert!(shop.ends_with("-shop.fifo"), "{shop}");
        assert_eq!(shop, name("c:/run/./SHOP.fifo"));
        assert_eq!(shop, name(r"C:\run\other\..\shop.fifo"));
        assert_ne!(shop, name(r"C:\other\shop.fifo"));
        assert_ne!(shop, name(r"D:\run\shop.fifo"));
        // A longer one, and one in no ASCII.
        name(&format!(r"C:\run\{}\äöü", "x".repeat(200)));
        for address in [r"C:\run\", "C:/", "C:\\a\0b"] {
            let error = Name::parse(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address:?}");
        }
    }

    #[test]
    fn what_is_no_pipe_of_this_host_is_invalid() {
        for address in [
            "",
            r"\\.\pipe\",
            r"\\server\s",
            r"\\server\pipe\shop",
            r"\\.\pipe\..\shop",
            r"\\.\mailslot\shop",
            "a\\b",
            "a/b",
            "a b",
            "a\0b",
            "ä",
            "\\\\.\\pip\u{e9}\\shop",
        ] {
            let error = Name::parse(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address:?}");
        }
    }

    #[test]
    fn the_longest_name_is_taken_and_one_more_character_is_not() {
        let longest = format!("{PREFIX}{}", "x".repeat(NAME_LEN_MAX));
        assert_eq!(Name::parse(&longest).unwrap().path(), longest);
        let error = Name::parse(&format!("{longest}x")).unwrap_err().to_string();
        assert!(error.contains("129"), "{error}");
        assert!(error.contains("128"), "{error}");
    }
}
