//! POSIX message queues: for where neither sockets nor a shared directory are to be had.
//!
//! The address is a queue's name: `/wayside-shop`. Peers meet at that mailbox and then talk through
//! two queues of their own:
//!
//! ```text
//! /wayside-shop              0600   the mailbox, locked (flock) by the process that listens
//! /wayside-shop.<n>.up       0600   client to server  ┐ while a client waits to be accepted, and
//! /wayside-shop.<n>.down     0600   server to client  ┘ locked by it; then they have no name
//!
//! client                                    server
//!   takes a free n: creates and locks down, creates up
//!   n and both inodes ───── mailbox ────>     opens both, locks up
//!   <─────────────── down ──────────────      one byte: welcome
//!   removes both names
//!   bytes, cut into messages ── up ─────>
//!   <─────────────── down ──────────────      bytes, cut into messages
//! ```
//!
//! Names of queues can't be listed where `/dev/mqueue` is not mounted, so those of pairs are
//! numbered: what killed processes have left is found by trying. Only who holds the lock of a
//! queue removes its name, and the kernel lets go of a dead process's locks.
//!
//! The stream of bytes is cut into messages of at most the queue's message size, and put together
//! again. A message queue has no end, so one is made of two things: the side that leaves sends an
//! empty message, if there is room; and each side holds the lock of the queue it receives from, so
//! that the other, with nothing left to receive, sees whether it still does. When a process is
//! killed, a descriptor of it (pidfd) wakes the other side. Which process that is says the kernel's
//! list of locks, not the peer, and it is asked again once the descriptor is open: a process id
//! that was reused would not hold the lock.
//!
//! # Who may connect
//! Processes of the user that listens. (`uds` can admit other users.) Names of queues are those of the whole
//! system: another user who takes that of the mailbox first keeps the server from starting, and one who takes
//! those of all 128 pairs keeps its clients out; both are told so.
//!
//! # Platform
//! Linux, also where `/dev/mqueue` is not mounted; and FreeBSD. Elsewhere both calls fail with `Unsupported`.
//!
//! On Linux, where `/proc/locks` can't be read, or a peer lives in a process namespace that we can't see
//! into, its process id is unknown, and the session's ping finds out when it is killed. So it does where there
//! is no `pidfd_open` (before Linux 5.3, or by a container's policy). Each peer takes three descriptors of each
//! side. How many peers there can be is bounded by RLIMIT_MSGQUEUE: see [`MqueueOptions`].
//!
//! On FreeBSD a queue can't be locked, so a file is locked in its stead, in `/tmp/wayside-<uid>/queues`; the
//! ping finds out when a peer is killed; and each peer takes four descriptors of each side. The sysctl
//! kern.mqueue.maxmq, 100 unless it was raised, leaves room for 49 peers. The kernel's module has to be
//! loaded: `kldload mqueuefs`. It has been compiled and linked for FreeBSD, but no test has run there yet.

mod options;

use std::io;

use super::{Backend, Capabilities, Finding, Link, Listener};

pub use options::MqueueOptions;

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "freebsd"))] {
        mod queues;
        use queues as platform;
    } else {
        mod unsupported;
        use unsupported as platform;
    }
}

/// POSIX message queues, each peer with a pair of its own.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use wayside::backend::{Backend, Listener, Mqueue};
///
/// let address = format!("/wayside-example-{}", std::process::id());
/// let mut listener = Mqueue::new().bind(&address)?;
/// let _client = Mqueue::new().connect(&address)?;
/// let server = listener.accept()?;
/// assert!(server.peer().uid.is_some());
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Mqueue {
    options: MqueueOptions,
}

impl Mqueue {
    /// With queues of the default size.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With queues of another size. That of a pair is its client's choice.
    #[must_use]
    pub fn with(options: MqueueOptions) -> Self {
        Self { options }
    }
}

impl Backend for Mqueue {
    fn capabilities(&self) -> Capabilities {
        platform::capabilities(&self.options)
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        platform::bind(&self.options, address)
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        platform::connect(&self.options, address)
    }

    fn examine(&self, address: &str) -> Vec<Finding> {
        platform::examine(&self.options, address)
    }
}
