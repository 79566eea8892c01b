//! Pipes with a name: FIFOs on Unix, named pipes on Windows.
//!
//! # Platform
//! Windows: the address is a pipe name, `\\.\pipe\wayside-shop`, or just `shop` for the same. It has
//! at most 128 letters, digits, `-`, `_` and `.`. Only processes of our own user get in, none from
//! other hosts. A link belongs to the first `Poll` it is registered with, and an accepted one to that
//! of its listener: the system joins a pipe to a completion port for ever. `send` takes at most
//! 64 KiB at once and hands them to the system in the background; see
//! [`in_flight_len_max`](super::Capabilities::in_flight_len_max). A dropped link's handle is
//! closed, and the peer sees the end, once its `Poll` has been polled again or is dropped; when the
//! peer does not read what is still in flight, once that peer is gone.

use std::io;

use super::{Backend, Capabilities, Link, Listener};

cfg_if::cfg_if! {
    if #[cfg(windows)] {
        mod windows;
        use windows as platform;
    } else {
        mod unsupported;
        use unsupported as platform;
    }
}

/// FIFOs on Unix, named pipes on Windows: for processes of one user.
///
/// ```
/// # #[cfg(windows)] {
/// use wayside::backend::{Backend, Fifo, Listener};
///
/// let name = format!("doc-{}", std::process::id());
/// let mut listener = Fifo::new().bind(&name)?;
/// let _client = Fifo::new().connect(&listener.address())?;
/// let server = listener.accept()?;
/// assert_eq!(server.peer().pid, Some(std::process::id()));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fifo {
    _more_to_come: (),
}

impl Fifo {
    /// For the user that this process runs as.
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
        platform::bind(self, address)
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        platform::connect(self, address)
    }
}
