//! A taken name: the lock, the socket file, and who may remove them.
//!
//! Invariants:
//! - While a [`Name`] lives, no other process of ours takes its path.
//! - Only what it created is removed, known by device and inode, and only by the process that
//!   created it: a forked child that drops its copy leaves everything in place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use mio::net::UnixStream;

use super::lock::{Lock, in_use};
use super::peer;

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of an open file.
    pub(super) fn of_file(file: &File) -> io::Result<Self> {
        Ok(Self::of(&file.metadata()?))
    }

    /// Of what the name leads to, links not followed; `None` if to nothing.
    pub(super) fn of_name(path: &Path) -> io::Result<Option<Self>> {
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
    /// The socket file, once it has been created.
    socket: Option<FileId>,
    lock: Lock,
    /// The process that took the name.
    process: u32,
}

impl Name {
    /// Takes the name from nobody, or from a dead owner, never from a live one.
    ///
    /// # Errors
    /// `AddrInUse` if a live process listens there, `AlreadyExists` if something else than a
    /// socket is in the way.
    pub(super) fn take(path: PathBuf) -> io::Result<Self> {
        let lock = Lock::take(&path)?;
        let name = Self {
            path,
            socket: None,
            lock,
            process: process::id(),
        };
        name.clear()?;
        Ok(name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers the socket that now has the name.
    pub(super) fn created(&mut self) -> io::Result<()> {
        self.socket = FileId::of_name(&self.path)?;
        Ok(())
    }

    /// Removes the socket that a dead owner left.
    ///
    /// The lock says that no process of ours has it. A program that does not know the lock, or
    /// whose lock file someone removed, still answers the probe.
    fn clear(&self) -> io::Result<()> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !metadata.file_type().is_socket() {
            let path = self.path.display();
            let text = format!("{path} exists and is not a socket: remove it or use another name");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        match UnixStream::connect(&self.path) {
            Ok(stream) => {
                let pid = peer::identify(stream).ok().and_then(|(_, peer)| peer.pid);
                Err(in_use(&self.path, pid))
            }
            // A full backlog: someone listens, though busy.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(in_use(&self.path, None))
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.remove_socket(FileId::of(&metadata))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes the name if it still leads to this socket.
    fn remove_socket(&self, socket: FileId) -> io::Result<()> {
        if FileId::of_name(&self.path)? == Some(socket) {
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
        let socket = self.socket.map_or(Ok(()), |id| self.remove_socket(id));
        for result in [socket, self.lock.release()] {
            if let Err(error) = result {
                log::warn!("{} can't be removed: {error}", self.path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};

    use super::*;

    #[test]
    fn the_socket_of_a_dead_owner_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        // As a killed process leaves it. It never listened: a process that another test forks this
        // moment has a copy for a while, and a copy that listens would be a live owner.
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        drop(socket);
        assert!(path.exists());
        let name = Name::take(path.clone()).unwrap();
        assert!(!path.exists());
        drop(name);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_live_owner_without_a_lock_keeps_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let error = Name::take(path.clone()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        listener.accept().unwrap();
        assert!(path.exists());
        assert!(!directory.path().join("a.sock.lock").exists());
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        fs::write(&path, "precious").unwrap();
        let error = Name::take(path.clone()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn dropping_removes_only_the_socket_that_was_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let mut name = Name::take(path.clone()).unwrap();
        let _ours = UnixListener::bind(&path).unwrap();
        name.created().unwrap();
        fs::remove_file(&path).unwrap();
        let _theirs = UnixListener::bind(&path).unwrap();
        drop(name);
        assert!(path.exists());
    }
}
