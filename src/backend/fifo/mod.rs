//! FIFOs: named pipes of the file system, for where sockets are not to be had.
//!
//! A FIFO has no connections: whoever opens it reads or writes the one stream of bytes in it. So
//! peers meet at a mailbox, by records that the kernel keeps whole, and then talk through two
//! FIFOs that nobody else has open:
//!
//! ```text
//! /run/user/1000/wayside/        0700   or another directory that only its owner may write to
//! ├── shop.fifo                  0600   the mailbox: the address
//! ├── shop.fifo.lock             0600   held (flock) by the process that listens
//! ├── shop.fifo.<id>.up          0600   client to server  ┐ while a client waits to be accepted;
//! └── shop.fifo.<id>.down        0600   server to client  ┘ without a name from then on
//!
//! client                                    server
//!   creates up and down, opens both
//!   record with the id ──── mailbox ────>     opens both, removes both names
//!   <─────────────── down ──────────────      one byte: welcome
//!   bytes ───────────── up ─────────────>
//!   <─────────────── down ──────────────      bytes
//! ```
//!
//! The client creates the pair: then the server has nothing to remember of those that have not
//! finished, and a client that dies on its way costs it a look at two names. Those names are
//! removed by the server that reads the record, by the client that gives up, or, if both are
//! killed, by the next that binds. When all is quiet, or after any kill later on, there is none.
//!
//! Mailbox records are read from wherever they begin, so whatever else somebody of the same user
//! writes into it is skipped.
//!
//! # Who may connect
//! Processes of the user that listens, and nobody else: a FIFO tells nothing about who writes to
//! it, so the modes of the files, and who owns them, are all there is to go by. (`uds` can admit
//! other users.) What [`Link::peer`] says is the owner and group of the file at the other end.
//!
//! # Platform
//! Unix. Elsewhere both calls fail with `Unsupported`. A peer's end shows at once on Linux and
//! FreeBSD; elsewhere, as on macOS, the system's queue of events does not report it, and the
//! session's ping finds out. A write to a FIFO that nobody reads raises SIGPIPE, which is kept from
//! a host program that has not ignored it.
//!
//! Each peer takes two descriptors of each side, and four of a client that is not accepted yet.

use std::io;

use super::{Backend, Capabilities, Link, Listener};

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        mod unix;
        use unix as platform;
    } else {
        mod unsupported;
        use unsupported as platform;
    }
}

/// FIFOs, each peer with a pair of its own.
///
/// ```
/// # #[cfg(unix)] {
/// use wayside::backend::{Backend, Fifo, Listener};
///
/// let directory = tempfile::tempdir()?;
/// let address = directory.path().join("shop.fifo");
/// let address = address.to_str().ok_or(std::io::ErrorKind::InvalidInput)?;
///
/// let mut listener = Fifo::new().bind(address)?;
/// let _client = Fifo::new().connect(address)?;
/// let server = listener.accept()?;
/// assert!(server.peer().uid.is_some());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Fifo {}

impl Fifo {
    /// For one user: the one that this process runs as.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for Fifo {
    fn capabilities(&self) -> Capabilities {
        platform::capabilities()
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        platform::bind(address)
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        platform::connect(address)
    }
}
