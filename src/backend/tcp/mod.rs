//! TCP on the loopback interface: for every system, and for what can't share a file system path.
//!
//! The address is an IP address and a port as digits: `127.0.0.1:7471`, `[::1]:7471`. Any user of
//! the host can connect to such a port, and can take it before we do. So each side proves to the
//! other that it knows a key, which lies in a file that only their user can read, before a byte of
//! what comes after is looked at:
//!
//! ```text
//! address    reads and limits the address
//! key        the file: created by whoever comes first, checked at each use
//! handshake  the proof, bytes in and bytes out
//! link       the stream: the handshake first, then the bytes as they are
//! listener   the bound port
//! ```
//!
//! What follows the handshake is neither encrypted nor signed. On the loopback interface only root
//! can read or change it, so the port must not leave it, unless
//! [`beyond_loopback`](Tcp::beyond_loopback) says that the network can be trusted.
//!
//! # Platform
//! Everywhere. `TCP_NODELAY` is set on both sides. On Unix mio binds with `SO_REUSEADDR`, without
//! which a port would stay taken for a minute after its last connection; there it does not let two
//! listen at once. On Windows, where it would, mio leaves it off. `SO_EXCLUSIVEADDRUSE` would guard
//! against another process that sets it, but since Windows Server 2003 such a process must belong
//! to the same user, who could as well read the key.

mod address;
mod examine;
mod handshake;
mod key;
mod link;
mod listener;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use self::key::Key;
use self::link::TcpLink;
use self::listener::TcpListener;
use super::table::{self, System};
use super::{About, Backend, Capabilities, Finding, Link, Listener};

/// TCP with a key file that both sides must know.
///
/// ```
/// use wayside::backend::{Backend, Listener, Tcp};
///
/// let directory = tempfile::tempdir()?;
/// let tcp = Tcp::new(directory.path().join("shop.key"));
/// let listener = tcp.bind("127.0.0.1:0")?;
/// let _client = tcp.connect(&listener.address())?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tcp {
    key_path: PathBuf,
    reach: Reach,
}

/// How far the connections may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Loopback,
    Network,
}

impl Tcp {
    /// With the key in the file at this path. Whichever side comes first creates it, and the
    /// directory above it; later it is only read. It must be a regular file that belongs to our
    /// user or root and is closed to all others.
    pub fn new(key_path: impl Into<PathBuf>) -> Self {
        Self {
            key_path: key_path.into(),
            reach: Reach::Loopback,
        }
    }

    /// Also takes addresses outside the loopback interface. The key still keeps strangers out, but
    /// everyone on the way can read along and change what is sent after the handshake.
    ///
    /// Both sides must see the same address: the proof contains it, so that nobody can pass it on.
    /// A network that rewrites addresses (a container's published port, say) breaks that.
    #[must_use]
    pub fn beyond_loopback(mut self) -> Self {
        self.reach = Reach::Network;
        self
    }

    /// The address and the key for a bind or connect.
    fn prepare(&self, address: &str) -> io::Result<(std::net::SocketAddr, Arc<Key>)> {
        let address = address::parse(address, self.reach)?;
        Ok((address, Arc::new(Key::open_or_create(&self.key_path)?)))
    }
}

impl Backend for Tcp {
    fn capabilities(&self) -> Capabilities {
        table::of("tcp", System::HERE)
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let (address, key) = self.prepare(address)?;
        Ok(Box::new(TcpListener::bind(address, key)?))
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        let (address, key) = self.prepare(address)?;
        Ok(Box::new(TcpLink::connect(address, key)?))
    }

    fn examine(&self, address: &str) -> Vec<Finding> {
        let mut findings = match address::parse(address, self.reach) {
            Ok(address) => examine::port(address),
            Err(error) => vec![Finding::obstacle(About::Address, error.to_string())],
        };
        findings.extend(key::examine(&self.key_path));
        findings
    }
}
