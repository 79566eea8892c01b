//! Pipes with a name, for where sockets are not to be had: FIFOs of the file system on Unix, named
//! pipes on Windows.
//!
//! # FIFOs
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
//! # Named pipes
//! On Windows the system does all this itself: a server makes instances of a pipe, and each client
//! that opens it gets one. An address is a pipe's name, `\\.\pipe\shop`; or a whole path such as
//! `C:\Users\me\AppData\Local\wayside\shop.fifo`, where no file is made: it stands for a pipe of its
//! own, so that the same settings do everywhere; or a short name, `shop` for `\\.\pipe\wayside-shop`.
//! A name has at most 128 letters of ASCII, digits, `-`, `_` and `.`.
//!
//! The user of each side is known, from the token with which a client came and from whom the pipe
//! belongs to, and must be ours. No other host gets in.
//!
//! A link belongs to the first `Poll` that it is registered with, and an accepted one to that of its
//! listener: the system joins a pipe to a completion port for ever. `send` takes at most 64 KiB at
//! once, and one such piece may have to wait for room: see
//! [`in_flight_len_max`](super::Capabilities::in_flight_len_max). A dropped link ends for its peer,
//! and gives back its handle, when its `Poll` is next polled or dropped.
//!
//! # Platform
//! A FIFO's end shows at once on Linux and FreeBSD; elsewhere, as on macOS, the system's queue of events does not report it, and the
//! session's ping finds out. A write to a FIFO that nobody reads raises SIGPIPE, which is kept from
//! a host program that has not ignored it.
//!
//! Each peer takes two descriptors of each side, and four of a client that is not accepted yet.

use std::io;

use super::{Backend, Capabilities, Finding, Link, Listener};

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        mod unix;
        use unix as platform;
    } else {
        mod windows;
        use windows as platform;
    }
}

/// FIFOs on Unix, each peer with a pair of its own; named pipes on Windows.
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

    fn examine(&self, address: &str) -> Vec<Finding> {
        platform::examine(address)
    }
}
