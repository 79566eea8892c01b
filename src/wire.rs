//! A link and what waits for it, under one lock: where messages of any thread become bytes.
//!
//! Reading and writing share a link, so they share its lock: for one system call of a read, and until
//! the link takes no more of what waits to be written. What is read is looked at outside.
//!
//! The poll watches a link for room to write only while something waits for that room: a socket
//! reports room whenever its peer reads, and each such report would be a wake-up for nothing, one
//! for every message on a link that is used to and fro.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use serde::Serialize;

use crate::backend::Link;
use crate::envelope::{self, EncodeError, Head};
use crate::frame::HEADER_LEN;
use crate::identity::PeerId;
use crate::inbox::Inbox;
use crate::outbox::{Lane, Outbox, Refusal};
use crate::session::Writing;

/// The writing half of a connection, and the link.
pub(crate) struct Wire {
    link: Option<Box<dyn Link>>,
    watch: Option<Watch>,
    pub(crate) outbox: Outbox,
    pub(crate) writing: Writing,
    /// Why nothing more can be written: an error of a link is final, even if the next try would do.
    failed: Option<Arc<io::Error>>,
    /// The bytes that the last flush wrote which wrote any.
    flushed_len: usize,
    /// The longest payload that both sides take.
    pub(crate) frame_len_max: u32,
}

/// Whoever can wait before more is sent does so while so much waits already. Enough that a link
/// never runs dry meanwhile, and little enough that what is written is still in a near cache.
const AMPLE_LEN: usize = 512 * 1024;

/// How a poll watches a link.
pub(crate) struct Watch {
    registry: Arc<Registry>,
    token: Token,
    /// Also for room to write. At first, as a link may need that to become connected.
    for_room: bool,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn begin(
        registry: &Arc<Registry>,
        token: Token,
        link: &mut Box<dyn Link>,
    ) -> io::Result<Self> {
        let both = Interest::READABLE | Interest::WRITABLE;
        guarded(|| registry.register(link, token, both))?;
        Ok(Self {
            registry: Arc::clone(registry),
            token,
            for_room: true,
        })
    }

    fn set_for_room(&mut self, wanted: bool, link: &mut Box<dyn Link>) -> io::Result<()> {
        if self.for_room != wanted {
            let interests = if wanted {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            self.registry.reregister(link, self.token, interests)?;
            self.for_room = wanted;
        }
        Ok(())
    }
}

/// What one read brought.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes; `short` of what there was room for.
    Bytes { len: usize, short: bool },
    /// Nothing for now.
    Blocked,
    /// The link has ended.
    End,
}

impl Wire {
    pub(crate) fn new(outbox_len_max: usize, frame_len_max: u32, now: Instant) -> Self {
        Self {
            link: None,
            watch: None,
            outbox: Outbox::new(outbox_len_max),
            writing: Writing {
                last: now,
                blocked_since: None,
            },
            failed: None,
            flushed_len: 0,
            frame_len_max,
        }
    }

    /// The bytes that were said last: those that left at once, and those that wait for the other side
    /// to read them.
    pub(crate) fn spoken_len(&self) -> usize {
        self.flushed_len + self.outbox.queued_len()
    }

    /// Takes over a link, and how it is watched, if it is.
    pub(crate) fn attach(&mut self, link: Box<dyn Link>, watch: Option<Watch>, now: Instant) {
        self.link = Some(link);
        self.watch = watch;
        self.failed = None;
        self.writing = Writing {
            last: now,
            blocked_since: None,
        };
    }

    pub(crate) fn detach(&mut self) -> Option<Box<dyn Link>> {
        self.watch = None;
        self.link.take()
    }

    /// What the system vouches for about the other side.
    pub(crate) fn peer(&self) -> PeerId {
        let peer = || Ok(self.link.as_ref().map(|link| link.peer()));
        guarded(peer).ok().flatten().unwrap_or_default()
    }

    /// Encodes a message to the end of a lane.
    pub(crate) fn append<T: Serialize + ?Sized>(
        &mut self,
        lane: Lane,
        head: Head,
        body: &T,
    ) -> Result<(), Refusal<EncodeError>> {
        let max = self.frame_len_max;
        self.outbox
            .append(lane, |bytes| envelope::encode(bytes, &head, body, max))
    }

    /// Whether so much waits that nothing should be done that makes it more: the outbox is half
    /// full, or has no room for the longest frame.
    pub(crate) fn is_choked(&self) -> bool {
        let frame_len_max = usize::try_from(self.frame_len_max).unwrap_or(usize::MAX);
        self.outbox.room_len() < frame_len_max.saturating_add(HEADER_LEN)
            || self.outbox.room_len() <= self.outbox.queued_len()
    }

    /// Whether whoever can wait for room should.
    pub(crate) fn is_ample(&self) -> bool {
        self.outbox.queued_len() >= AMPLE_LEN || self.is_choked()
    }

    /// Appends a message about others that wait: see [`Outbox::append_reserved`].
    pub(crate) fn append_reserved(
        &mut self,
        lane: Lane,
        head: Head,
    ) -> Result<(), Refusal<EncodeError>> {
        let max = self.frame_len_max;
        self.outbox
            .append_reserved(lane, |bytes| envelope::encode(bytes, &head, &(), max))
    }

    /// Reads once, into an inbox that has a buffer.
    pub(crate) fn recv(&mut self, inbox: &mut Inbox) -> io::Result<Read> {
        let Some(link) = &mut self.link else {
            return Ok(Read::Blocked);
        };
        let room = inbox.room();
        loop {
            return match guarded(|| link.recv(room)) {
                Ok(0) => Ok(Read::End),
                Ok(len) if len > room.len() => Err(too_much()),
                Ok(len) => {
                    let short = len < room.len();
                    inbox.filled(len);
                    Ok(Read::Bytes { len, short })
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Read::Blocked),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Writes until nothing waits or the link takes no more. Once that has failed, whoever's thread it
    /// was, it fails for everyone: the loop still reads in its turn what has come, and then meets the error.
    /// Gives how many bytes that were.
    pub(crate) fn flush(&mut self, now: Instant) -> Result<usize, Arc<io::Error>> {
        if let Some(error) = &self.failed {
            return Err(Arc::clone(error));
        }
        self.write(now).map_err(|error| {
            let error = Arc::new(error);
            self.failed = Some(Arc::clone(&error));
            error
        })
    }

    fn write(&mut self, now: Instant) -> io::Result<usize> {
        let Some(link) = &mut self.link else {
            return Ok(0);
        };
        let mut written = 0;
        let blocked = loop {
            let bytes = self.outbox.next_bytes();
            if bytes.is_empty() {
                self.writing.blocked_since = None;
                break false;
            }
            match guarded(|| link.send(bytes)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) if len > bytes.len() => return Err(too_much()),
                Ok(len) => {
                    written += len;
                    self.outbox.written(len);
                    self.writing = Writing {
                        last: now,
                        blocked_since: None,
                    };
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writing.blocked_since.get_or_insert(now);
                    break true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        if written > 0 {
            self.flushed_len = written;
        }
        // A link that has taken something is connected.
        if let Some(watch) = self.watch.as_mut().filter(|_| blocked || written > 0) {
            guarded(|| watch.set_for_room(blocked, link))?;
        }
        Ok(written)
    }
}

/// Runs code of a backend, which may be the application's own: a panic there is an error of that
/// link or listener, and nobody else's.
pub(crate) fn guarded<T>(code: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(code))
        .unwrap_or_else(|_| Err(io::Error::other("the backend's own code panicked")))
}

/// What comes of a link that says so: it is the application's own, perhaps.
fn too_much() -> io::Error {
    io::Error::other("the backend says that it has moved more bytes than it was given")
}

/// Lets go of a link or listener that is watched. Not to be called under a lock that a logger of the
/// application's might want.
pub(crate) fn release(registry: &Registry, mut source: impl Source) {
    // One that can't be deregistered is dropped next, which deregisters it as well.
    if let Err(error) = guarded(|| registry.deregister(&mut source)) {
        log::debug!("deregistering failed: {error}");
    }
    let_go(source);
}

/// Drops a link or listener.
pub(crate) fn let_go<T>(source: T) {
    let dropped = guarded(|| {
        drop(source);
        Ok(())
    });
    if let Err(error) = dropped {
        log::error!("a link or listener was dropped: {error}");
    }
}
