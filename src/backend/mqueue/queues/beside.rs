//! A queue with a lock file beside it, for systems where a queue itself has neither a lock nor an inode.
//!
//! ```text
//! /wayside-shop                               the queue
//! /tmp/wayside-<uid>/queues/wayside-shop      its lock file: the lock, the inode, and who holds it
//! ```
//!
//! Names of queues are those of the whole system, so where their lock files lie depends on the user alone, and
//! on nothing in the environment.
//!
//! Invariants, by which everything else can treat the lock of the file as that of the queue:
//! - The file is there before the queue and longer than it: who has created the file, and locked it while it
//!   had the name, is the one who makes and removes the queue. A queue without a file belongs to nobody.
//! - A file is never used for a second queue: another queue of this name has another inode.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::{Pid, geteuid, test_kill_process};

use super::limit;
use super::queue::{self, QueueId};
use super::sys::{self, Access, Shape};
use super::system::Descriptor;
use crate::backend::directory;
use crate::fork::Guarded;

/// An open queue.
#[derive(Debug)]
pub(crate) struct Opened {
    queue: Descriptor,
    /// Guarded, as a forked child with a copy would keep the lock.
    lock: Guarded<File>,
}

impl Opened {
    pub(crate) fn open(name: &CStr, access: Access) -> io::Result<Self> {
        let path = lock_path(name);
        let lock = match open_lock(&path, false) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(missing(name, access));
            }
            Err(error) => return Err(error),
        };
        let queue = sys::open(name, access)?;
        // Both may have been replaced in between, one before the other.
        if id_of_path(&path)? == Some(id_of_file(&lock)?) {
            Ok(Self { queue, lock })
        } else {
            Err(not_found())
        }
    }

    /// Creates one that is not there. Who will receive from it, holds its lock.
    pub(crate) fn create(name: &CStr, access: Access, shape: Shape) -> io::Result<Self> {
        let path = lock_path(name);
        directory::runtime_directory(path.parent().and_then(Path::parent))?;
        directory::runtime_directory(path.parent())?;
        let lock = match open_lock(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_orphan(name, &path)?;
                open_lock(&path, true)?
            }
            other => other?,
        };
        if !try_lock(&lock)? || id_of_path(&path)? != Some(id_of_file(&lock)?) {
            // Someone took it for one that was left behind.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // Without a lock file it was nobody's. That of another user stays, and is in our way.
        drop(sys::unlink(name));
        let created = sys::create(name, access, shape).and_then(|queue| {
            sign(&lock)?;
            if access == Access::Send {
                flock(&*lock, FlockOperation::Unlock)?;
            }
            Ok(queue)
        });
        match created {
            Ok(queue) => Ok(Self { queue, lock }),
            Err(error) => {
                fs::remove_file(&path)?;
                Err(error)
            }
        }
    }

    pub(crate) fn queue(&self) -> &Descriptor {
        &self.queue
    }

    /// What is locked with `flock`.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    pub(crate) fn id(&self) -> io::Result<QueueId> {
        id_of_file(&self.lock)
    }

    /// Which queue has the name; `None` if none has.
    pub(crate) fn id_of_name(name: &CStr) -> io::Result<Option<QueueId>> {
        id_of_path(&lock_path(name))
    }

    /// The process that created it, if it lives. Its own word, for people to read.
    pub(crate) fn holder(&self) -> io::Result<Option<u32>> {
        let mut text = String::new();
        let mut file = &*self.lock;
        file.rewind()?;
        file.take(16).read_to_string(&mut text)?;
        let pid = text.trim_end().parse().ok();
        Ok(pid.filter(|&pid| is_alive(pid)))
    }
}

/// Removes a name, and then the lock file.
pub(crate) fn unlink(name: &CStr) -> io::Result<()> {
    let removed = sys::unlink(name);
    match fs::remove_file(lock_path(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => removed,
    }
}

/// Names begin with a slash and have no other.
fn lock_path(name: &CStr) -> PathBuf {
    let bytes = name.to_bytes();
    let name = bytes.strip_prefix(b"/").unwrap_or(bytes);
    let folder = PathBuf::from(format!("/tmp/wayside-{}/queues", geteuid().as_raw()));
    folder.join(std::ffi::OsStr::from_bytes(name))
}

/// Opens the file, or creates one that is not there: never through a link, never waiting.
fn open_lock(path: &Path, create: bool) -> io::Result<Guarded<File>> {
    let careful = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create_new(create)
        .mode(0o600);
    // Bits of the system's C library, whatever type each has there.
    options.custom_flags(i32::try_from(careful).map_err(|_| io::ErrorKind::InvalidInput)?);
    let (file, ()) = Guarded::open(|| Ok((options.open(path)?, ())))?;
    Ok(file)
}

/// What to say of a queue whose lock file is missing: it belongs to nobody, or to another user, whose
/// lock files lie elsewhere.
fn missing(name: &CStr, access: Access) -> io::Error {
    let owner = sys::open(name, access).and_then(|queue| queue::owner(queue.as_fd()));
    let denied = owner.and_then(|owner| limit::check_owner(&owner, &name.to_string_lossy()));
    match denied {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        _ => not_found(),
    }
}

fn not_found() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

/// Removes a lock file whose queue is not there, unless someone is about to create it: a restart of the
/// system takes the queues and leaves the files.
fn remove_orphan(name: &CStr, path: &Path) -> io::Result<()> {
    let lock = match open_lock(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !try_lock(&lock)? || id_of_path(path)? != Some(id_of_file(&lock)?) {
        return Ok(());
    }
    match sys::open(name, Access::Receive) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(path),
        _ => Ok(()),
    }
}

fn try_lock(lock: &File) -> io::Result<bool> {
    match flock(lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn sign(mut lock: &File) -> io::Result<()> {
    writeln!(lock, "{}", std::process::id())
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

fn id_of_file(file: &File) -> io::Result<QueueId> {
    Ok(id(&file.metadata()?))
}

fn id_of_path(path: &Path) -> io::Result<Option<QueueId>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(id(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn id(metadata: &fs::Metadata) -> QueueId {
    QueueId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    const SHAPE: Shape = Shape {
        messages: 2,
        message_len: 16,
    };

    /// A name of this test's own, removed with this value.
    struct Name(CString);

    impl Name {
        fn new(test: &str) -> Self {
            Self(CString::new(format!("/wayside-beside-{}-{test}", std::process::id())).unwrap())
        }

        fn create(&self) -> io::Result<Opened> {
            Opened::create(&self.0, Access::Receive, SHAPE)
        }

        fn open(&self) -> io::Result<Opened> {
            Opened::open(&self.0, Access::Send)
        }

        fn kind_of_open(&self) -> io::ErrorKind {
            self.open().map(drop).unwrap_err().kind()
        }
    }

    impl Drop for Name {
        fn drop(&mut self) {
            // Mostly gone.
            drop(unlink(&self.0));
        }
    }

    fn is_locked(opened: &Opened) -> bool {
        let free = try_lock(&opened.lock).unwrap();
        if free {
            flock(opened.lock(), FlockOperation::Unlock).unwrap();
        }
        !free
    }

    #[test]
    fn a_queue_has_a_lock_and_an_identity_and_takes_both_with_it() {
        let name = Name::new("life");
        assert_eq!(name.kind_of_open(), io::ErrorKind::NotFound);
        let created = name.create().unwrap();
        let opened = name.open().unwrap();
        assert!(is_locked(&opened), "who receives holds the lock");
        assert_eq!(opened.holder().unwrap(), Some(std::process::id()));
        assert_eq!(opened.id().unwrap(), created.id().unwrap());
        assert_eq!(
            Opened::id_of_name(&name.0).unwrap(),
            Some(created.id().unwrap())
        );
        assert_eq!(
            name.create().unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        sys::send(opened.queue(), b"hello").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(sys::receive(created.queue(), &mut buffer).unwrap(), 5);

        drop(created);
        assert!(!is_locked(&opened), "the lock goes with its holder");
        unlink(&name.0).unwrap();
        assert_eq!(Opened::id_of_name(&name.0).unwrap(), None);
        assert_eq!(name.kind_of_open(), io::ErrorKind::NotFound);
        let next = name.create().unwrap();
        assert_ne!(next.id().unwrap(), opened.id().unwrap());
    }

    #[test]
    fn who_creates_a_queue_to_send_to_leaves_its_lock_to_who_receives() {
        let name = Name::new("send");
        let _created = Opened::create(&name.0, Access::Send, SHAPE).unwrap();
        let opened = Opened::open(&name.0, Access::Receive).unwrap();
        assert!(!is_locked(&opened));
    }

    #[test]
    fn a_lock_file_that_a_restart_of_the_system_left_is_replaced() {
        let name = Name::new("restart");
        let left = name.create().unwrap().id().unwrap();
        let kept = open_lock(&lock_path(&name.0), false).unwrap();
        sys::unlink(&name.0).unwrap();
        assert_eq!(name.kind_of_open(), io::ErrorKind::NotFound);
        assert!(
            lock_path(&name.0).exists(),
            "who only looks removes nothing"
        );
        let created = name.create().unwrap();
        // Its inode is not used again while it is open.
        assert_ne!(created.id().unwrap(), left);
        drop(kept);
    }

    #[test]
    fn a_lock_file_whose_owner_is_about_to_create_the_queue_stays() {
        let name = Name::new("busy");
        let created = name.create().unwrap();
        sys::unlink(&name.0).unwrap();
        assert_eq!(name.kind_of_open(), io::ErrorKind::NotFound);
        let refused = name.create().unwrap_err().kind();
        assert_eq!(refused, io::ErrorKind::AlreadyExists);
        let id = Opened::id_of_name(&name.0).unwrap();
        assert_eq!(id, Some(created.id().unwrap()));
    }

    #[test]
    fn a_queue_without_a_lock_file_belongs_to_nobody() {
        let name = Name::new("bare");
        let left = name.create().unwrap();
        sys::send(name.open().unwrap().queue(), b"old").unwrap();
        drop(left);
        fs::remove_file(lock_path(&name.0)).unwrap();
        assert_eq!(name.kind_of_open(), io::ErrorKind::NotFound);
        let created = name.create().unwrap();
        let empty = sys::receive(created.queue(), &mut [0; 16]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock, "another queue");
    }

    #[test]
    fn a_queue_that_can_t_be_created_leaves_no_lock_file() {
        let name = Name::new("fails");
        let none = Shape {
            messages: 0,
            ..SHAPE
        };
        Opened::create(&name.0, Access::Receive, none).unwrap_err();
        assert!(!lock_path(&name.0).exists());
    }
}
