//! A mailbox and those who have written to it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process;

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::address::MailboxName;
use super::queue::{Queue, unlink};
use super::record::{MAILBOX, RECORD_LEN, Record};
use super::sys::Access;
use super::{Link, Listener, MqueueLink, limit, link, slot};
use crate::fork::Guarded;

/// Each turn of the loop means that someone else took, left or looked at the name meanwhile.
const ATTEMPTS_MAX: u32 = 100;

/// Accepts those whose records lie in the mailbox. Holds nothing for those that are on their way.
#[derive(Debug)]
pub(super) struct MqueueListener {
    /// Locked.
    mailbox: Guarded<Queue>,
    name: MailboxName,
    /// One that could not be accepted for want of descriptors: the first to try again.
    postponed: Option<Record>,
    /// The process that bound it: a forked child that drops its copy removes nothing.
    process: u32,
}

impl MqueueListener {
    /// Takes the name from nobody, or from a dead owner, never from a live one.
    pub(super) fn bind(name: MailboxName) -> io::Result<Self> {
        let mut holder = None;
        for _ in 0..ATTEMPTS_MAX {
            match Self::try_bind(&name)? {
                Bound::Here(mailbox) => {
                    slot::sweep(&name);
                    return Ok(Self {
                        mailbox,
                        name,
                        postponed: None,
                        process: process::id(),
                    });
                }
                // Perhaps only a client that looks whether somebody is there.
                Bound::Held(pid) => holder = Some(pid),
                Bound::Lost => holder = None,
            }
            std::thread::yield_now();
        }
        Err(match holder {
            Some(Some(pid)) => in_use(&name, &format!("process {pid}")),
            Some(None) => in_use(&name, "another process"),
            None => {
                let text = format!("others keep taking {name}: try again");
                io::Error::new(io::ErrorKind::WouldBlock, text)
            }
        })
    }

    fn try_bind(name: &MailboxName) -> io::Result<Bound> {
        let mailbox = name.mailbox();
        let created =
            Guarded::open(|| Ok((Queue::create(&mailbox, Access::Receive, MAILBOX)?, ())));
        match created {
            Ok((queue, ())) => {
                if !queue.try_lock()? {
                    return Ok(Bound::Held(queue.holder()?));
                }
                // Before it was locked someone may have taken it for a dead owner's.
                let is_ours = queue.has_name(&mailbox)?;
                Ok(if is_ours {
                    Bound::Here(queue)
                } else {
                    Bound::Lost
                })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let opened = Guarded::open(|| Ok((Queue::open(&mailbox, Access::Receive)?, ())));
                let stale = match opened {
                    Ok((stale, ())) => stale,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Ok(Bound::Lost);
                    }
                    Err(error) => return Err(denied(error, name)),
                };
                if !stale.try_lock()? {
                    return Ok(Bound::Held(stale.holder()?));
                }
                // A fresh one is made in its place: it may hold records, and have another size.
                if stale.has_name(&mailbox)? {
                    unlink(&mailbox);
                }
                Ok(Bound::Lost)
            }
            Err(error) => Err(denied(error, name)),
        }
    }

    /// The next record of the mailbox.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionAborted` for each message that is something else,
    /// which takes the place of a peer: who floods the mailbox gets no more attention than others.
    fn next_record(&mut self) -> io::Result<Record> {
        let mut bytes = [0; RECORD_LEN];
        let len = self.mailbox.receive(&mut bytes)?;
        Record::decode(&bytes[..len]).ok_or_else(|| {
            let text = format!("{}: a message of {len} bytes was no client's", self.name);
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        })
    }
}

/// How an attempt to take a name went.
enum Bound {
    Here(Guarded<Queue>),
    /// By this process, as far as the kernel tells.
    Held(Option<u32>),
    /// Someone was quicker, or has made room.
    Lost,
}

fn in_use(name: &MailboxName, holder: &str) -> io::Error {
    let text = format!("{name} is in use by {holder}: end it, or use another name");
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

/// Who has the name, if we may not even look.
fn denied(error: io::Error, name: &MailboxName) -> io::Error {
    if error.raw_os_error() == Some(libc::EACCES) {
        let who = limit::another_user(&name.to_string());
        let text = format!("{who} has the queue {name}: use another name");
        return io::Error::new(io::ErrorKind::PermissionDenied, text);
    }
    error
}

impl Drop for MqueueListener {
    fn drop(&mut self) {
        if self.process != process::id() || self.mailbox.check().is_err() {
            return;
        }
        let mailbox = self.name.mailbox();
        match self.mailbox.has_name(&mailbox) {
            Ok(true) => unlink(&mailbox),
            Ok(false) => {}
            Err(error) => log::warn!("the queue {} can't be removed: {error}", self.name),
        }
        // First the lock, then those that are in the mailbox: who comes in between sees the lock.
        if let Err(error) = self.mailbox.unlock() {
            log::warn!("{}: unlocking fails: {error}", self.name);
        }
        let mut records: Vec<Record> = self.postponed.take().into_iter().collect();
        for _ in 0..MAILBOX.messages * 2 {
            match self.next_record() {
                Ok(record) => records.push(record),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_garbage) => {}
            }
        }
        for record in records {
            if let Err(error) = link::turn_away(&self.name, record) {
                log::debug!("a client that was turned away did not hear it: {error}");
            }
        }
    }
}

impl Listener for MqueueListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        self.mailbox.check()?;
        let record = match self.postponed.take() {
            Some(record) => record,
            None => self.next_record()?,
        };
        match MqueueLink::accept(&self.name, record) {
            Ok(link) => Ok(Box::new(link)),
            Err(error) => {
                if error.kind() == io::ErrorKind::QuotaExceeded {
                    self.postponed = Some(record);
                }
                Err(error)
            }
        }
    }

    fn address(&self) -> String {
        self.name.to_string()
    }
}

impl Source for MqueueListener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.mailbox.as_fd().as_raw_fd()).register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        SourceFd(&self.mailbox.as_fd().as_raw_fd()).reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.mailbox.as_fd().as_raw_fd()).deregister(registry)
    }
}
