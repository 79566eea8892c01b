//! Unix domain stream sockets: the first choice where the system has them.
//!
//! The address is a path. The kernel tells each side who the other is, and files say who may
//! connect:
//!
//! ```text
//! /run/user/1000/wayside/        0700   or another directory that only its owner may write to
//! ├── shop.sock                  0600   the socket; 0666 when other users are allowed
//! └── shop.sock.lock             0600   held (flock) by the process that listens
//! ```
//!
//! Both files are gone when the listener is dropped. When its process was killed they stay behind,
//! the lock free, and the next to bind takes the name over.
//!
//! # Platform
//! Unix. On Windows both calls fail with `Unsupported`; use `tcp` there. A full backlog is
//! `WouldBlock` on Linux, but `ConnectionRefused` on macOS and the BSDs, which don't tell the two
//! apart: a caller that tries again later is right on both. The process id of a peer is known on
//! Linux (unless it lives in a process namespace that we can't see into) and some BSDs.

use std::io;

use super::{Backend, Capabilities, Finding, Link, Listener};

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        mod unix;
        use unix as platform;
    } else {
        mod unsupported;
        use unsupported as platform;
    }
}

/// Unix domain sockets.
///
/// Each side talks only to processes of its own effective user and of root, and to whom
/// [`allow_uid`](Uds::allow_uid) and [`allow_gid`](Uds::allow_gid) name. The check is on what the
/// kernel says, in both directions: a client refuses a server that is someone else.
///
/// ```
/// # #[cfg(unix)] {
/// use wayside::backend::{Backend, Listener, Uds};
///
/// let directory = tempfile::tempdir()?;
/// let address = directory.path().join("shop.sock");
/// let address = address.to_str().ok_or(std::io::ErrorKind::InvalidInput)?;
///
/// let mut listener = Uds::new().bind(address)?;
/// let _client = Uds::new().connect(address)?;
/// let server = listener.accept()?;
/// assert!(server.peer().uid.is_some());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Uds {
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl Uds {
    /// For one user: the one that this process runs as. Root is always let in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also talks to processes whose effective user is `uid`.
    ///
    /// The socket file is then open to all (mode 0666), and who is not allowed is turned away
    /// after the connect. The directory must let the others pass: one that `bind` creates then has
    /// mode 0711, and the default runtime directory can't be used.
    #[must_use]
    pub fn allow_uid(mut self, uid: u32) -> Self {
        self.uids.push(uid);
        self
    }

    /// Also talks to processes whose effective group is `gid`; see [`allow_uid`](Self::allow_uid).
    ///
    /// Supplementary groups don't count: the kernel does not tell them on every system.
    #[must_use]
    pub fn allow_gid(mut self, gid: u32) -> Self {
        self.gids.push(gid);
        self
    }
}

impl Backend for Uds {
    fn capabilities(&self) -> Capabilities {
        platform::capabilities()
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        platform::bind(self, address)
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        platform::connect(self, address)
    }

    fn examine(&self, address: &str) -> Vec<Finding> {
        platform::examine(address)
    }
}
