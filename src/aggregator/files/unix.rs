//! Unix: flock, and open with a mode.

use std::fs::{File, Metadata};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::at;
use crate::fork::Guarded;

/// Held by one process, until it is dropped or the process dies. The file stays: who removes a lock
/// file has to cope with others that have it open (see the sockets' locks), and gains nothing here.
#[derive(Debug)]
pub(in crate::aggregator) struct Lock {
    file: Guarded<File>,
}

impl Lock {
    /// Takes the lock, or says that another has it.
    ///
    /// # Errors
    /// The file can't be opened.
    pub(in crate::aggregator) fn take(path: &Path) -> io::Result<Option<Self>> {
        let open = || {
            let file = match open(path, OFlags::RDWR | OFlags::CREATE) {
                // What is there can be read all the same.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                    open(path, OFlags::RDONLY)
                }
                other => other,
            };
            Ok((file.map_err(at(path))?, ()))
        };
        let (file, ()) = Guarded::open(open)?;
        match flock(&*file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(at(path)(error.into())),
        }
        let mut lock = Self { file };
        // For people only: on a full disk it stays as it was.
        lock.sign().ok();
        Ok(Some(lock))
    }

    fn sign(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it would do, if no child just forked still had a copy.
        let _closing_comes_next = flock(&*self.file, FlockOperation::Unlock);
    }
}

/// Creates a file for its owner only. It must not be there.
pub(in crate::aggregator) fn create(path: &Path) -> io::Result<File> {
    open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL).map_err(at(path))
}

/// Opens a file for writing at its end, and creates it unless it is there.
pub(in crate::aggregator) fn append_to(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE | OFlags::APPEND).map_err(at(path))
}

/// Makes new names last through a crash.
pub(in crate::aggregator) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Tells a file from another that has taken its name.
pub(in crate::aggregator) fn file_number(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// Never through a link, never waiting (it might be a FIFO), never left to programs that we start.
fn open(path: &Path, how: OFlags) -> io::Result<File> {
    let always = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, how | always, Mode::RUSR | Mode::WUSR)?;
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let made = create(&directory.path().join("made")).unwrap();
        let opened = append_to(&directory.path().join("opened")).unwrap();
        for file in [made, opened] {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
    }

    #[test]
    fn a_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink(directory.path().join("victim"), &link).unwrap();
        assert!(create(&link).is_err());
        assert!(append_to(&link).is_err());
        assert!(Lock::take(&link).is_err());
        assert!(!directory.path().join("victim").exists());
    }
}
