//! A pair of FIFOs, from the record in the mailbox to the last byte.
//!
//! ```text
//! client: Waiting --welcome--> Open        server: Open
//!            └─ the listener is gone ─> Failed, for ever
//! ```
//!
//! Invariant: an open link has nothing but its two descriptors. A client that waits has more:
//! - the mailbox, whose other end closes with the listener, and nothing else shows that;
//! - a reader of its own FIFO, without which it could not have opened it for writing; closed when
//!   the server has one, so that from then on the server's end shows;
//! - the names.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::file::{self, End};
use super::pair::{Created, Paths};
use super::record::{self, PairId, RECORD_LEN};
use super::room::Room;
use super::{Link, system};
use crate::backend::directory;
use crate::fork::Guarded;
use crate::identity::PeerId;

/// What the server sends first: it has both ends open.
const WELCOME: u8 = b'w';

/// One end.
#[derive(Debug)]
pub(super) struct FifoLink {
    /// Where bytes come from. Checked for forks on each use; the others were made by the same
    /// process.
    from_peer: Guarded<File>,
    to_peer: Guarded<File>,
    /// Of the FIFO to the peer.
    room: Room,
    peer: PeerId,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Boxed, as most links are past it.
    Waiting(Box<Waiting>),
    Open,
    /// The listener has gone without a welcome.
    Failed,
}

/// What a client holds until it is welcome.
#[derive(Debug)]
struct Waiting {
    mailbox: Guarded<File>,
    /// Only held.
    _own_reader: Guarded<File>,
    /// Only held: the names go with it.
    _created: Created,
}

impl FifoLink {
    /// Creates a pair and announces it.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        // An absolute path with a file name has a parent.
        let parent = path.parent().unwrap_or(path);
        let (mailbox, owner) = Guarded::open(|| file::open(path, End::Write))
            .map_err(|error| explain_mailbox(error, path))?;
        directory::check_not_writable(parent)?;
        let id = PairId::random()?;
        let created = Created::new(Paths::of(path, id))?;
        let Paths { up, down } = &created.paths;
        let (from_peer, _) = Guarded::open(|| file::open(down, End::Read))?;
        let (own_reader, _) = Guarded::open(|| file::open(up, End::Read))?;
        let (to_peer, _) = Guarded::open(|| file::open(up, End::Write))?;
        file::sign(&from_peer)?;
        file::sign(&to_peer)?;
        announce(&mailbox, id, path)?;
        Ok(Self {
            from_peer,
            to_peer,
            room: Room::default(),
            peer: owner,
            state: State::Waiting(Box::new(Waiting {
                mailbox,
                _own_reader: own_reader,
                _created: created,
            })),
        })
    }

    /// Opens the pair that a client has announced, and welcomes it.
    ///
    /// # Errors
    /// `ConnectionAborted` if the client has gone, `PermissionDenied` if it is not to be trusted.
    /// Any other: it can't be done now, and the client still waits.
    pub(super) fn accept(mailbox: &Path, id: PairId) -> io::Result<Self> {
        let paths = Paths::of(mailbox, id);
        let gone = |error: io::Error| abort_if_gone(error, &paths);
        let (to_peer, peer) =
            Guarded::open(|| file::open(&paths.down, End::Write)).map_err(gone)?;
        let (from_peer, up_owner) =
            Guarded::open(|| file::open(&paths.up, End::Read)).map_err(gone)?;
        paths.remove();
        if peer != up_owner {
            let text = format!("one FIFO of a pair belongs to {peer}, the other to {up_owner}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        match system::write(&to_peer, &[WELCOME]) {
            Ok(_) => Ok(Self {
                from_peer,
                to_peer,
                room: Room::default(),
                peer,
                state: State::Open,
            }),
            // The reader has gone, or (by its own doing) there is no room.
            Err(error) => Err(aborted(&error)),
        }
    }

    /// Takes the rendezvous as far as it goes. `Ok` means open.
    fn advance(&mut self) -> io::Result<()> {
        self.from_peer.check()?;
        let State::Waiting(waiting) = &self.state else {
            return match self.state {
                State::Failed => Err(gone()),
                _ => Ok(()),
            };
        };
        // Looked at first: what a listener wrote before it went is there now.
        let listener_is_gone = has_no_reader(&waiting.mailbox)?;
        let mut welcome = [0];
        match (&*self.from_peer).read(&mut welcome) {
            Ok(1..) => self.state = State::Open,
            // Nobody has it open for writing: not yet, or no more.
            Ok(0) if listener_is_gone => self.state = State::Failed,
            Ok(0) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && listener_is_gone => {
                self.state = State::Failed;
            }
            Err(error) => return Err(error),
        }
        match self.state {
            State::Failed => Err(gone()),
            _ => Ok(()),
        }
    }
}

/// Puts the record into the mailbox: whole or not at all.
fn announce(mailbox: &File, id: PairId, path: &Path) -> io::Result<()> {
    match system::write(mailbox, &record::encode(id)) {
        Ok(RECORD_LEN) => Ok(()),
        Ok(len) => {
            let text =
                format!("the system took {len} bytes of {RECORD_LEN}, which is no FIFO's way");
            Err(io::Error::other(text))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let text = format!("{}: as many wait there as can: try again", path.display());
            Err(io::Error::new(io::ErrorKind::WouldBlock, text))
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(refused(path)),
        Err(error) => Err(error),
    }
}

/// Whether the listener has closed its end of the mailbox.
fn has_no_reader(mailbox: &File) -> io::Result<bool> {
    let mut poll = [PollFd::new(mailbox, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut poll, Some(&now))?;
    Ok(poll[0]
        .revents()
        .intersects(PollFlags::ERR | PollFlags::HUP))
}

fn explain_mailbox(error: io::Error, path: &Path) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENXIO) => refused(path),
        Some(libc::ENOENT) => {
            let text = format!(
                "nobody listens at {}: there is no such FIFO",
                path.display()
            );
            io::Error::new(io::ErrorKind::NotFound, text)
        }
        Some(_) => {
            let text = format!("{} can't be opened: {error}", path.display());
            io::Error::new(error.kind(), text)
        }
        None => error,
    }
}

fn refused(path: &Path) -> io::Error {
    let text = format!("nobody listens at {}", path.display());
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}

fn gone() -> io::Error {
    let text = "the listener has gone before it accepted us";
    io::Error::new(io::ErrorKind::ConnectionReset, text)
}

fn aborted(error: &io::Error) -> io::Error {
    let text = format!("a client left before it was accepted ({error})");
    io::Error::new(io::ErrorKind::ConnectionAborted, text)
}

/// Tells a client that has gone, whose names then go too, from what keeps us from accepting now.
fn abort_if_gone(error: io::Error, paths: &Paths) -> io::Error {
    match error.raw_os_error() {
        // Nobody has the other end: who created it has died.
        Some(libc::ENXIO) => {
            paths.remove();
            aborted(&error)
        }
        // No such names, or not the files that a client makes.
        Some(_) => aborted(&error),
        // In words of our own.
        None => error,
    }
}

impl Link for FifoLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance()?;
        (&*self.from_peer).read(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.advance()?;
        let written = system::write(&self.to_peer, bytes);
        let taken = match &written {
            Ok(len) => *len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return written,
        };
        let has_more = taken < bytes.len() && self.room.was_short(bytes.len(), &self.to_peer);
        if has_more && taken == 0 {
            return system::write(&self.to_peer, bytes);
        }
        written
    }

    fn peer(&self) -> PeerId {
        self.peer.clone()
    }
}

impl FifoLink {
    /// Each descriptor with what it is watched for, whatever the caller is interested in: a link
    /// is driven by both.
    fn watched(&self) -> impl Iterator<Item = (i32, Interest)> {
        let mailbox = match &self.state {
            // Its writable edge is also that of its end. It is watched no more once it is closed.
            State::Waiting(waiting) => Some((&waiting.mailbox, Interest::WRITABLE)),
            _ => None,
        };
        [
            (&self.from_peer, Interest::READABLE),
            (&self.to_peer, Interest::WRITABLE),
        ]
        .into_iter()
        .chain(mailbox)
        .map(|(file, interest)| (file.as_fd().as_raw_fd(), interest))
    }
}

impl Source for FifoLink {
    fn register(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.watched()
            .try_for_each(|(fd, interest)| registry.register(&mut SourceFd(&fd), token, interest))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, _: Interest) -> io::Result<()> {
        self.watched()
            .try_for_each(|(fd, interest)| registry.reregister(&mut SourceFd(&fd), token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.watched()
            .try_for_each(|(fd, _)| registry.deregister(&mut SourceFd(&fd)))
    }
}
