//! A taken name: the lock, the file that peers open, and who may remove them.
//!
//! Shared by the backends whose address is a path. What kind of file it is, and how to find out
//! whether someone serves it, they say by a [`Kind`].
//!
//! Invariants:
//! - While a [`Name`] lives, no other process of ours takes its path.
//! - Only what it created is removed, known by device and inode, and only by the process that
//!   created it: a forked child that drops its copy leaves everything in place.

mod address;
mod examine;
mod lock;

use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use self::lock::{Lock, in_use};

pub(super) use self::address::parse;
pub(super) use self::examine::examine;

/// The kind of file that has the name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// In words, for errors.
    pub(super) what: &'static str,
    pub(super) is: fn(&FileType) -> bool,
    /// Finds out whether someone serves a file of this kind. Never blocks.
    pub(super) probe: fn(&Path) -> io::Result<Probe>,
    /// Whether nobody notices a probe.
    pub(super) probes_unseen: bool,
}

/// What a probe has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// Someone serves it: which process, where the system tells.
    Live(Option<u32>),
    /// A dead owner left it.
    Dead,
    /// It has gone meanwhile.
    Gone,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of an open file.
    fn of_file(file: &File) -> io::Result<Self> {
        Ok(Self::of(&file.metadata()?))
    }

    /// Of what the name leads to, links not followed; `None` if to nothing.
    fn of_name(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(Self::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// A path that is ours to bind.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    kind: Kind,
    /// The file, once it has been created.
    file: Option<FileId>,
    lock: Lock,
    /// The process that took the name.
    process: u32,
}

impl Name {
    /// Takes the name from nobody, or from a dead owner, never from a live one.
    ///
    /// # Errors
    /// `AddrInUse` if a live process listens there, `AlreadyExists` if something of another kind is
    /// in the way.
    pub(super) fn take(path: PathBuf, kind: Kind) -> io::Result<Self> {
        let lock = Lock::take(&path)?;
        let name = Self {
            path,
            kind,
            file: None,
            lock,
            process: process::id(),
        };
        name.clear()?;
        Ok(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers the file that now has the name.
    pub(super) fn created(&mut self) -> io::Result<()> {
        self.file = FileId::of_name(&self.path)?;
        Ok(())
    }

    /// Removes the file that a dead owner left.
    ///
    /// The lock says that no process of ours has it. A program that does not know the lock, or
    /// whose lock file someone removed, still answers the probe.
    fn clear(&self) -> io::Result<()> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !(self.kind.is)(&metadata.file_type()) {
            let (path, what) = (self.path.display(), self.kind.what);
            let text = format!("{path} exists and is not a {what}: remove it or use another name");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        match (self.kind.probe)(&self.path)? {
            Probe::Live(pid) => Err(in_use(&self.path, pid)),
            Probe::Dead => self.remove(FileId::of(&metadata)),
            Probe::Gone => Ok(()),
        }
    }

    /// Removes the name if it still leads to this file.
    fn remove(&self, file: FileId) -> io::Result<()> {
        if FileId::of_name(&self.path)? == Some(file) {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if process::id() != self.process {
            return;
        }
        // The lock is held until after both: nobody takes the name in between.
        let file = self.file.map_or(Ok(()), |id| self.remove(id));
        for result in [file, self.lock.release()] {
            if let Err(error) = result {
                log::warn!("{} can't be removed: {error}", self.path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regular files stand for what a backend would put there; nobody serves them.
    const KIND: Kind = Kind {
        what: "regular file",
        is: FileType::is_file,
        probe: |_| Ok(Probe::Dead),
        probes_unseen: true,
    };

    #[test]
    fn the_file_of_a_dead_owner_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "stale").unwrap();
        let name = Name::take(path.clone(), KIND).unwrap();
        assert!(!path.exists());
        drop(name);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_live_owner_without_a_lock_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "live").unwrap();
        let kind = Kind {
            probe: |_| Ok(Probe::Live(Some(4711))),
            ..KIND
        };
        let error = Name::take(path.clone(), kind).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("4711"), "{error}");
        assert!(path.exists());
        assert!(!directory.path().join("a.lock").exists());
    }

    #[test]
    fn a_file_of_another_kind_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::create_dir(&path).unwrap();
        let error = Name::take(path.clone(), KIND).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("not a regular file"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn dropping_removes_only_the_file_that_was_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut name = Name::take(path.clone(), KIND).unwrap();
        fs::write(&path, "ours").unwrap();
        name.created().unwrap();
        // Kept, so that its inode is not used again.
        fs::rename(&path, directory.path().join("moved")).unwrap();
        fs::write(&path, "theirs").unwrap();
        drop(name);
        assert!(path.exists());
    }
}
