//! A mailbox and those who have written to it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::file::{self, End};
use super::record::{PairId, Records};
use super::{FifoLink, Link, Listener, pair, system};
use crate::backend::directory;
use crate::backend::name::{Kind, Name, Probe};
use crate::fork::Guarded;

/// The file that has the name.
pub(super) const FIFO: Kind = Kind {
    what: "FIFO",
    is: FileTypeExt::is_fifo,
    probe,
    probes_unseen: true,
};

/// Finds out whether someone reads there.
fn probe(path: &Path) -> io::Result<Probe> {
    match file::open(path, End::Write) {
        Ok(_) => Ok(Probe::Live(None)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENXIO) => Ok(Probe::Dead),
            Some(libc::ENOENT) => Ok(Probe::Gone),
            _ => Err(error),
        },
    }
}

/// Accepts those whose records lie in the mailbox. Holds nothing for those that are on their way.
#[derive(Debug)]
pub(super) struct FifoListener {
    // Dropped in this order: the mailbox is closed before its name is given up.
    mailbox: Guarded<File>,
    name: Name,
    records: Records,
    /// One that could not be accepted for want of descriptors: the first to try again.
    postponed: Option<PairId>,
}

impl FifoListener {
    /// Takes the path and creates the mailbox there.
    pub(super) fn bind(path: PathBuf) -> io::Result<Self> {
        // An absolute path with a file name has a parent.
        if let Some(parent) = path.parent() {
            directory::create(parent, 0o700)?;
            directory::check_not_writable(parent)?;
        }
        let mut name = Name::take(path, FIFO)?;
        pair::sweep(name.path())?;
        let (mailbox, ()) = Guarded::open(|| {
            file::create(name.path())?;
            // From here on it is ours to remove, whatever fails.
            name.created()?;
            let (mailbox, _) = file::open(name.path(), End::Both)?;
            file::sign(&mailbox)?;
            system::bound_mailbox(&mailbox)?;
            Ok((mailbox, ()))
        })?;
        Ok(Self {
            mailbox,
            name,
            records: Records::new(),
            postponed: None,
        })
    }

    /// The next record of the mailbox.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionAborted` for each stretch of something else,
    /// which takes the place of a peer: who floods the mailbox gets no more attention than others.
    fn next_record(&mut self) -> io::Result<PairId> {
        loop {
            if let Some(id) = self.records.next() {
                return Ok(id);
            }
            let skipped = self.records.take_skipped();
            if skipped > 0 {
                let path = self.name.path().display();
                let text = format!("{path}: {skipped} bytes were no client's");
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
            }
            match (&*self.mailbox).read(self.records.room())? {
                // Can't be, as we have it open for writing.
                0 => return Err(io::ErrorKind::WouldBlock.into()),
                len => self.records.filled(len),
            }
        }
    }
}

impl Listener for FifoListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        self.mailbox.check()?;
        let id = match self.postponed.take() {
            Some(id) => id,
            None => self.next_record()?,
        };
        match FifoLink::accept(self.name.path(), id) {
            Ok(link) => Ok(Box::new(link)),
            Err(error) => {
                if error.kind() == io::ErrorKind::QuotaExceeded {
                    self.postponed = Some(id);
                }
                Err(error)
            }
        }
    }

    fn address(&self) -> String {
        // It came in as text, so nothing is lost.
        self.name.path().to_string_lossy().into_owned()
    }
}

impl Source for FifoListener {
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
