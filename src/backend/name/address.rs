//! The address of a backend whose address is a path.

use std::io;
use std::path::{Path, PathBuf, absolute};

/// Reads the path and makes it absolute: the process may change its directory before it unlinks.
/// `what` has the path, in words. How long it may be is the backend's own matter.
pub(crate) fn parse(address: &str, what: &str) -> io::Result<PathBuf> {
    let invalid = |problem: String| Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    if address.is_empty() {
        return invalid(format!("the {what}'s path is empty"));
    }
    if address.contains('\0') {
        return invalid(format!("the {what}'s path contains a NUL byte"));
    }
    if address.ends_with('/') || Path::new(address).file_name().is_none() {
        return invalid(format!("{address} is a directory: add the {what}'s name"));
    }
    absolute(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_name_is_invalid() {
        for address in ["", "/", "..", "/tmp/", "/tmp/..", "/tmp/a\0b"] {
            let error = parse(address, "socket").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{address:?}");
            assert!(error.to_string().contains("socket"), "{error}");
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse("a.sock", "socket").unwrap(), here.join("a.sock"));
    }
}
