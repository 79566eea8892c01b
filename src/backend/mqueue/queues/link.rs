//! A pair of queues, from the record in the mailbox to the end that is made of a lock.
//!
//! ```text
//! client: Waiting --welcome--> Open ──> Ended        server: Open ──> Ended
//!            └─ the listener is gone ─> Failed
//! ```
//!
//! Invariant: each side holds the lock of the queue it receives from, for as long as it has it. The
//! other side can tell by its own descriptor of that queue whether somebody is there.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::address::{MailboxName, PairNames};
use super::queue::Queue;
use super::record::Record;
use super::slot::{self, Pair, Slot};
use super::sys::Access;
use super::system::{self, holder};
use super::{Link, MqueueOptions, limit};
use crate::fork::Guarded;
use crate::identity::PeerId;

/// What the server sends first: it has both ends open and locked.
const WELCOME: u8 = b'w';

/// One end.
#[derive(Debug)]
pub(super) struct MqueueLink {
    // Dropped first: names are removed while the lock of their queue is held.
    state: State,
    from_peer: Guarded<Queue>,
    to_peer: Guarded<Queue>,
    /// Becomes readable when the peer's process ends.
    peer_process: Option<Guarded<OwnedFd>>,
    peer: PeerId,
    /// The longest message that the peer's queue takes.
    send_len_max: usize,
    /// A message that was longer than the caller's buffer: what is left of it.
    rest: Message,
    /// The peer holds its lock no more: what is in the queue is the last.
    peer_is_gone: bool,
    /// Those of a client that has not spoken yet. It removes them before it does, unless it dies.
    names: Option<PairNames>,
    /// The process that opened it: a forked child that drops its copy ends nothing.
    process: u32,
}

#[derive(Debug)]
enum State {
    /// A client that is not welcome yet, with the mailbox, whose lock the listener holds, and with
    /// the names of the pair, which go with it.
    Waiting(
        Guarded<Queue>,
        #[expect(dead_code, reason = "only held")] Slot,
    ),
    Open,
    /// The peer has left.
    Ended,
    /// The listener has gone without a welcome.
    Failed,
}

/// A message, received as a whole and handed on in parts.
#[derive(Debug)]
struct Message {
    /// As long as the queue's messages can be.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl MqueueLink {
    /// Creates a pair and announces it.
    pub(super) fn connect(name: &MailboxName, options: &MqueueOptions) -> io::Result<Self> {
        let opened = Guarded::open(|| Ok((Queue::open(&name.mailbox(), Access::Send)?, ())));
        let (mailbox, ()) = opened.map_err(|error| explain_mailbox(error, name))?;
        if mailbox.is_free()? {
            return Err(refused(name));
        }
        let (pid, peer_process) = holder::watch(&mailbox)?;
        let peer = PeerId {
            pid,
            ..mailbox.owner()?
        };
        // As a whole until the link has it: whichever goes, its names go before its lock.
        let pair = slot::take(name, limit::shape(options))?;
        let record = Record {
            down_inode: pair.down.id()?.inode,
            up_inode: pair.up.id()?.inode,
            number: pair.slot.number,
        };
        let lengths = lengths(&pair.down, &pair.up)?;
        let Pair { slot, up, down } = pair;
        let state = State::Waiting(mailbox, slot);
        let link = Self::new(state, [down, up], lengths, peer, peer_process);
        link.announce(name, record)?;
        Ok(link)
    }

    /// Puts the record into the mailbox.
    fn announce(&self, name: &MailboxName, record: Record) -> io::Result<()> {
        let State::Waiting(mailbox, _) = &self.state else {
            return Ok(());
        };
        mailbox.send(&record.encode()).map_err(|error| {
            let would_block = error.kind() == io::ErrorKind::WouldBlock;
            let text = format!("{name}: as many wait there as can: try again");
            let full = io::Error::new(io::ErrorKind::WouldBlock, text);
            if would_block { full } else { error }
        })?;
        // A listener that leaves lets go of the lock before it tells those in the mailbox.
        if mailbox.is_free()? {
            return Err(refused(name));
        }
        Ok(())
    }

    /// Opens the pair that a client has announced, and welcomes it.
    ///
    /// # Errors
    /// `ConnectionAborted` if the client has gone, `PermissionDenied` if it is not to be trusted.
    /// Any other: it can't be done now, and the client still waits.
    pub(super) fn accept(name: &MailboxName, record: Record) -> io::Result<Self> {
        if record.number >= slot::SLOTS {
            return Err(aborted("its number is too large"));
        }
        let names = name.pair(record.number);
        let open = |name, access| Guarded::open(|| Ok((Queue::open(name, access)?, ())));
        let gone = |error: io::Error| match error.raw_os_error() {
            Some(_) => aborted(&error.to_string()),
            None => error,
        };
        let (down, ()) = open(&names.down, Access::Send).map_err(gone)?;
        if down.id()?.inode != record.down_inode {
            return Err(aborted("its queue has gone"));
        }
        if slot::clear_if_dead(&down, &names)? {
            return Err(aborted("it holds its lock no more"));
        }
        let (up, ()) = open(&names.up, Access::Receive).map_err(gone)?;
        if up.id()?.inode != record.up_inode {
            return Err(aborted("its queue has gone"));
        }
        if !up.try_lock()? {
            return Err(aborted("somebody else holds the lock of its queue"));
        }
        let (pid, peer_process) = holder::watch(&down)?;
        let owner = down.owner()?;
        if owner != up.owner()? {
            let text = format!("the queues of pair {} have two owners", record.number);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let peer = PeerId { pid, ..owner };
        let lengths = lengths(&up, &down)?;
        let mut link = Self::new(State::Open, [up, down], lengths, peer, peer_process);
        link.names = Some(names);
        link.to_peer
            .send(&[WELCOME])
            .map_err(|error| aborted(&error.to_string()))?;
        Ok(link)
    }

    fn new(
        state: State,
        [from_peer, to_peer]: [Guarded<Queue>; 2],
        [incoming, outgoing]: [usize; 2],
        peer: PeerId,
        peer_process: Option<Guarded<OwnedFd>>,
    ) -> Self {
        Self {
            state,
            from_peer,
            to_peer,
            peer_process,
            peer,
            send_len_max: outgoing,
            rest: Message {
                bytes: vec![0; incoming],
                start: 0,
                end: 0,
            },
            peer_is_gone: false,
            names: None,
            process: process::id(),
        }
    }

    /// Takes the rendezvous as far as it goes. `Ok` means that it is over.
    fn advance(&mut self) -> io::Result<()> {
        self.from_peer.check()?;
        let State::Waiting(mailbox, _) = &self.state else {
            return match self.state {
                State::Failed => Err(listener_gone()),
                _ => Ok(()),
            };
        };
        // Looked at first: what a listener sent before it went is there now.
        let listener_is_gone = mailbox.is_free()?;
        match self.from_peer.receive(&mut self.rest.bytes) {
            Ok(1..) => self.state = State::Open,
            // The listener says that it goes.
            Ok(0) => self.state = State::Failed,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && listener_is_gone => {
                self.state = State::Failed;
            }
            Err(error) => return Err(error),
        }
        match self.state {
            State::Failed => Err(listener_gone()),
            _ => Ok(()),
        }
    }

    /// Receives a message, into the caller's buffer if it is long enough for any.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let received = if buffer.len() >= self.rest.bytes.len() {
                self.from_peer.receive(buffer)
            } else {
                self.rest.start = 0;
                self.rest.end = 0;
                self.from_peer.receive(&mut self.rest.bytes).map(|len| {
                    self.rest.end = len;
                    self.rest.take(buffer)
                })
            };
            match received {
                Ok(0) => {
                    self.state = State::Ended;
                    return Ok(0);
                }
                Ok(len) => {
                    // It removes its names before it speaks.
                    self.names = None;
                    return Ok(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.peer_is_gone {
                        self.state = State::Ended;
                        return Ok(0);
                    }
                    // If it has gone, once more: it may have sent something since we looked.
                    if !self.look_for_peer()? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the peer has gone. True stays true.
    fn look_for_peer(&mut self) -> io::Result<bool> {
        if !self.peer_is_gone && self.to_peer.try_lock()? {
            self.peer_is_gone = true;
            self.clear_names();
        }
        Ok(self.peer_is_gone)
    }

    /// Removes the names of a client that has died before it could.
    fn clear_names(&mut self) {
        let Some(names) = self.names.take() else {
            return;
        };
        if let Err(error) = slot::clear_if_dead(&self.to_peer, &names) {
            log::debug!("the names of a client that has gone can't be cleared: {error}");
        }
    }
}

/// How long the messages of both queues can be.
fn lengths(from_peer: &Queue, to_peer: &Queue) -> io::Result<[usize; 2]> {
    let shapes = [from_peer.shape()?, to_peer.shape()?];
    let max = MqueueOptions::MESSAGE_LEN_MAX;
    if let Some(shape) = shapes.iter().find(|shape| shape.message_len > max) {
        let len = shape.message_len;
        let problem = format!("its messages have {len} bytes, at most {max} are taken");
        return Err(aborted(&problem));
    }
    Ok(shapes.map(|shape| usize::try_from(shape.message_len).unwrap_or(usize::MAX)))
}

impl Message {
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let len = buffer.len().min(self.end - self.start);
        buffer[..len].copy_from_slice(&self.bytes[self.start..self.start + len]);
        self.start += len;
        len
    }
}

impl Link for MqueueLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance()?;
        match self.rest.take(buffer) {
            0 if matches!(self.state, State::Ended) => Ok(0),
            0 => self.receive(buffer),
            len => Ok(len),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.advance()?;
        if self.peer_is_gone || matches!(self.state, State::Ended) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let chunk = &bytes[..bytes.len().min(self.send_len_max)];
        match self.to_peer.send(chunk) {
            Ok(()) => Ok(chunk.len()),
            Err(error) => {
                let would_block = error.kind() == io::ErrorKind::WouldBlock;
                // Nobody will ever make room.
                if would_block && self.look_for_peer()? {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                Err(error)
            }
        }
    }

    fn peer(&self) -> PeerId {
        self.peer.clone()
    }
}

impl Drop for MqueueLink {
    fn drop(&mut self) {
        // Also while it waits: it may have been accepted since it looked.
        if self.process != process::id() || self.from_peer.check().is_err() {
            return;
        }
        // Also while it waits: it may have been accepted since it looked.
        if matches!(self.state, State::Open | State::Waiting(..)) {
            // Wakes the peer. With no room for it the peer has something to receive, and sees
            // behind it that the lock is free.
            drop(self.to_peer.send(&[]));
        }
        self.clear_names();
    }
}

/// Tells a client that waits that nobody will welcome it.
pub(super) fn turn_away(name: &MailboxName, record: Record) -> io::Result<()> {
    if record.number >= slot::SLOTS {
        return Ok(());
    }
    let down = Queue::open(&name.pair(record.number).down, Access::Send)?;
    if down.id()?.inode == record.down_inode {
        down.send(&[])?;
    }
    Ok(())
}

fn explain_mailbox(error: io::Error, name: &MailboxName) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            let text = format!("nobody listens at {name}: there is no such queue");
            io::Error::new(io::ErrorKind::NotFound, text)
        }
        Some(_) => io::Error::new(error.kind(), format!("{name} can't be opened: {error}")),
        None => error,
    }
}

fn refused(name: &MailboxName) -> io::Error {
    let text = format!("nobody listens at {name}");
    io::Error::new(io::ErrorKind::ConnectionRefused, text)
}

fn listener_gone() -> io::Error {
    let text = "the listener has gone before it accepted us";
    io::Error::new(io::ErrorKind::ConnectionReset, text)
}

fn aborted(problem: &str) -> io::Error {
    let text = format!("a client can't be accepted: {problem}");
    io::Error::new(io::ErrorKind::ConnectionAborted, text)
}

impl MqueueLink {
    /// What is watched for what comes, always.
    fn readable(&self) -> impl Iterator<Item = RawFd> {
        let process = self.peer_process.as_ref().map(|process| process.as_fd());
        let all = [self.from_peer.as_fd()].into_iter().chain(process);
        all.map(|fd| fd.as_raw_fd())
    }
}

/// What comes is of interest to every caller. A queue reports room whenever something is taken out of
/// it, so for that it is watched only while the caller waits for it.
impl Source for MqueueLink {
    fn register(&mut self, registry: &Registry, token: Token, wanted: Interest) -> io::Result<()> {
        for fd in self.readable() {
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        system::register_for_room(registry, self.to_peer.as_fd(), token, wanted)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        wanted: Interest,
    ) -> io::Result<()> {
        for fd in self.readable() {
            registry.reregister(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        system::reregister_for_room(registry, self.to_peer.as_fd(), token, wanted)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        let room = self.to_peer.as_fd().as_raw_fd();
        let all = self.readable().chain([room]);
        all.into_iter()
            .try_for_each(|fd| registry.deregister(&mut SourceFd(&fd)))
    }
}
