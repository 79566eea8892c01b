//! Files that belong to one user and to one process at a time: what the journal, the sinks and the
//! election of an agent need of the system beyond std.
//!
//! All lie in a directory that [`runtime_directory`] has checked: ours alone, closed to others. So a
//! file in it was put there by us; links are refused all the same, as they cost nothing to refuse.

use std::io;
use std::path::{Path, PathBuf};

cfg_if::cfg_if! {
    if #[cfg(windows)] {
        mod windows;
        use windows as platform;
    } else {
        mod unix;
        use unix as platform;
    }
}

use crate::backend::runtime_directory;

pub(super) use platform::{Lock, append_to, create, file_number, sync_directory};

/// Makes the directory unless it is there, and refuses one that is open to others.
pub(super) fn private_directory(path: &Path) -> io::Result<PathBuf> {
    runtime_directory(Some(path))
}

/// Names the file in an error, which the system leaves out.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_free_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = Lock::take(&path).unwrap().unwrap();
        assert!(Lock::take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::take(&path).unwrap().is_some());
    }

    #[test]
    fn a_file_is_created_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create(&path).unwrap();
        let error = create(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
