//! Windows: the user's profile. Its access list is the protection, and is inherited.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{explain, refuse};

/// Directories have no mode here.
pub(super) const PRIVATE: u32 = 0;

/// `%LOCALAPPDATA%\wayside`.
pub(super) fn default_path(lookup: &dyn Fn(&str) -> Option<OsString>) -> io::Result<PathBuf> {
    match lookup("LOCALAPPDATA") {
        Some(path) => Ok(PathBuf::from(path).join("wayside")),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no directory for sockets and keys: neither WAYSIDE_DIR nor LOCALAPPDATA is set",
        )),
    }
}

/// Creates the directory, and those above it, unless it is there.
pub(crate) fn create(path: &Path, _mode: u32) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| explain(&error, path))
}

/// Whether this user may make files there: the access list is not read, so that is assumed.
#[cfg(feature = "tcp")]
pub(crate) fn is_writable(_path: &Path) -> bool {
    true
}

/// Refuses what is a link or no directory. Who may enter it is the access list's matter.
pub(super) fn check_private(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        let kind = io::ErrorKind::PermissionDenied;
        let remedy = "name the directory that it leads to";
        return Err(refuse(kind, path, "is a symbolic link", remedy));
    }
    if !metadata.is_dir() {
        let kind = io::ErrorKind::NotADirectory;
        return Err(refuse(kind, path, "is not a directory", "choose another"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::runtime_directory_with;

    #[test]
    fn a_missing_directory_is_created_below_the_profile() {
        let base = tempfile::tempdir().unwrap();
        let profile = |name: &str| match name {
            "LOCALAPPDATA" => Some(base.path().as_os_str().to_owned()),
            _ => None,
        };
        let path = runtime_directory_with(None, &profile).unwrap();
        assert_eq!(path, base.path().join("wayside"));
        assert!(path.is_dir());
    }

    #[test]
    fn without_a_profile_the_error_names_both_variables() {
        let error = runtime_directory_with(None, &|_| None).unwrap_err();
        assert!(error.to_string().contains("WAYSIDE_DIR"), "{error}");
        assert!(error.to_string().contains("LOCALAPPDATA"), "{error}");
    }
}
