//! The lock file: says who holds a name, and is released by the kernel when that process dies.
//!
//! The file is removed with the name, which brings a classic race: one process opens the file, the
//! holder removes it and lets go, another creates a new one and locks it, and now two processes
//! hold "the" lock. So whoever gets the lock looks again whether the name still leads to the file
//! that it locked, and starts over if not. The holder removes the file while it still holds the
//! lock. Hence: whoever holds a lock whose file has the name holds the name, and nobody else does.
//!
//! flock, and not fcntl: an fcntl lock does not keep two listeners of one process apart, and is
//! lost when anyone in the process closes any descriptor of the file. What flock does wrong, to
//! live on in a forked child, [`Guarded`] undoes.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::FileId;
use crate::fork::Guarded;

/// Each turn of the loop means that someone else took or left the name meanwhile.
const ATTEMPTS_MAX: u32 = 100;

/// A held lock. [`Lock::release`] removes the file and lets go; dropping it alone, as a process that
/// dies does, leaves the file behind.
#[derive(Debug)]
pub(super) struct Lock {
    file: Guarded<File>,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a name: the file `<path>.lock`.
    ///
    /// # Errors
    /// `AddrInUse` with the holder's process id if someone has it; `WouldBlock` if others come and
    /// go too fast.
    pub(super) fn take(name: &Path) -> io::Result<Self> {
        let mut path = name.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..ATTEMPTS_MAX {
            let (file, id) = Guarded::open(|| open_locked(name, &path))?;
            if FileId::of_name(&path)? == Some(id) {
                let mut lock = Self { file, path };
                lock.sign()?;
                return Ok(lock);
            }
        }
        let text = format!("others keep taking {}: try again", name.display());
        Err(io::Error::new(io::ErrorKind::WouldBlock, text))
    }

    /// Leaves our process id for those who find the name taken.
    fn sign(&mut self) -> io::Result<()> {
        // The umask may have taken bits away, and the next owner has to open it.
        rustix::fs::fchmod(&*self.file, Mode::RUSR | Mode::WUSR)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }

    /// Removes the file, unless someone has put another one in its place, and lets go.
    pub(super) fn release(&self) -> io::Result<()> {
        if FileId::of_name(&self.path)? == Some(FileId::of_file(&self.file)?) {
            fs::remove_file(&self.path)?;
        }
        // Closing it would do, if no child just forked still had a copy.
        Ok(flock(&*self.file, FlockOperation::Unlock)?)
    }
}

/// Opens and locks the file, which may have lost its name meanwhile.
fn open_locked(name: &Path, path: &Path) -> io::Result<(File, FileId)> {
    let mut file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let id = FileId::of_file(&file)?;
            Ok((file, id))
        }
        Err(Errno::WOULDBLOCK) => Err(in_use(name, holder(&mut file))),
        Err(error) => Err(error.into()),
    }
}

/// Opens or creates the file: never through a link, never waiting (it might be a FIFO).
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| {
        let error = io::Error::from(error);
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ": use a directory that this user may write to"
            }
            _ => "",
        };
        let text = format!(
            "the lock file {} can't be opened: {error}{remedy}",
            path.display()
        );
        io::Error::new(error.kind(), text)
    })?;
    Ok(File::from(file))
}

/// The process id in the file. A holder that is just signing leaves it empty.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

/// The error for a name that a live process holds.
pub(crate) fn in_use(name: &Path, holder: Option<u32>) -> io::Error {
    let holder = match holder {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    let text = format!(
        "{} is in use by {holder}: end it, or use another name",
        name.display()
    );
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_second_taker_is_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("a.sock");
        let lock = Lock::take(&name).unwrap();
        let error = Lock::take(&name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let pid = std::process::id().to_string();
        assert!(error.to_string().contains(&pid), "{error}");
        lock.release().unwrap();
        drop(lock);
        Lock::take(&name).unwrap();
    }

    #[test]
    fn a_lock_on_a_removed_file_is_not_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("a.sock");
        let first = Lock::take(&name).unwrap();
        fs::remove_file(&first.path).unwrap();
        // The name is free again, whoever removed the file, and the first must not remove what
        // the second has put there.
        let second = Lock::take(&name).unwrap();
        first.release().unwrap();
        drop(first);
        assert!(second.path.exists());
        assert!(Lock::take(&name).is_err());
    }

    #[test]
    fn no_two_hold_a_lock_whose_file_comes_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("a.sock");
        let held = AtomicBool::new(false);
        let take_turns = || {
            let mut turns = 0;
            while turns < 100 {
                std::thread::yield_now();
                let Ok(lock) = Lock::take(&name) else {
                    continue;
                };
                assert!(!held.swap(true, Ordering::SeqCst), "two hold the lock");
                std::thread::yield_now();
                held.store(false, Ordering::SeqCst);
                lock.release().unwrap();
                turns += 1;
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(take_turns);
            }
        });
    }

    #[test]
    fn a_link_in_the_lock_files_place_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("a.sock");
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("a.sock.lock")).unwrap();
        assert!(Lock::take(&name).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }
}
