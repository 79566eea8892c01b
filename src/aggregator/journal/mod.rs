//! What must outlive the process: records appended in order, and now and then a snapshot of all that
//! follows from them.
//!
//! ```text
//! append ──▶ buffer ──▶ sync ──▶ segment 7: header, snapshot, record, record, …
//!                                    │ compact(snapshot)
//!                                    ▼
//!                                segment 8: header, snapshot      whole and synced under another
//!                                                                 name, renamed, then 7 is removed
//! ```
//!
//! - **What [`sync`](Journal::sync) has returned for is there** after any crash of the process or the
//!   system, in order and once. What was appended and not synced may be there, from its front on.
//! - **Damage is cut off.** At the first record that can't be read the journal ends, and the
//!   [`Replay`] says what was lost. Half a record at the end is what a crash leaves, and ordinary; anything
//!   else is kept in the file `damaged`, the latest only, to be looked at.
//! - **After an error nothing is taken** until [`compact`](Journal::compact) has begun a new segment: a
//!   system that failed to write may forget what it was to write, and then say that all is well. So a
//!   journal on a full disk stops; its owner goes on in memory, and compacts when there is room again.
//! - **One process at a time.** The directory is locked, and closed to other users.
//!
//! The records are of any type; what they mean is their owner's matter. The bytes are in `segment`.

mod damage;
mod disk;
#[cfg(feature = "internals")]
pub(crate) mod fuzz;
mod limits;
mod reading;
mod replay;
mod segment;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::damage::{Damage, Why};
pub use self::limits::JournalLimits;
pub use self::replay::Replay;

use self::disk::{Directory, Disk, DiskFile};
use self::reading::EntryRef;
use self::replay::{Current, DAMAGED, UNFINISHED, segment_name, wide};
use self::segment::{Begins, HEADER_LEN, Header, RECORD_HEAD_LEN};
use crate::aggregator::files::{self, Lock};
use crate::envelope::{EncodeError, append_body};

/// Records are written in pieces of about this size, if nobody syncs before.
const BUFFER_LEN: usize = 256 << 10;

/// Records `R` since a snapshot `S`, in a directory.
///
/// ```
/// use wayside::aggregator::journal::{Journal, JournalLimits};
///
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("journal");
/// let (mut journal, _) = Journal::<u64, u64>::open(&dir, JournalLimits::default())?;
/// journal.append(&3)?;
/// journal.append(&4)?;
/// journal.sync()?;
/// drop(journal);
///
/// let (mut journal, replay) = Journal::<u64, u64>::open(&dir, JournalLimits::default())?;
/// assert_eq!((replay.snapshot, replay.records), (None, vec![3, 4]));
/// journal.compact(&7)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Journal<R, S> {
    disk: Box<dyn Disk>,
    limits: JournalLimits,
    segment: Result<Segment, Stopped>,
    /// Records that are appended and not yet written.
    buffer: Vec<u8>,
    /// The highest number that a segment of this directory ever had, as far as we know.
    number_max: u64,
    _lock: Option<Lock>,
    _types: PhantomData<fn(R, S)>,
}

/// The segment that is appended to.
struct Segment {
    file: Box<dyn DiskFile>,
    number: u64,
    /// With what is in the buffer.
    len: u64,
    snapshot_len: u64,
}

/// Why nothing is taken until the next compaction.
#[derive(Debug)]
struct Stopped {
    kind: io::ErrorKind,
    why: String,
}

impl<R, S> Journal<R, S>
where
    R: Serialize + DeserializeOwned,
    S: Serialize + DeserializeOwned,
{
    /// Opens the journal of a directory, which is made if it is missing.
    ///
    /// A journal that can be read but not written is opened too, and has
    /// [stopped](Journal::stopped): what it holds is not lost to its owner.
    ///
    /// # Errors
    /// `ResourceBusy` if another process has it; `PermissionDenied` if the directory is open to other
    /// users; `Unsupported` if a newer build wrote it; whatever reading it fails with.
    pub fn open(dir: &Path, limits: JournalLimits) -> io::Result<(Self, Replay<R, S>)> {
        let dir = files::private_directory(dir)?;
        let Some(lock) = Lock::take(&dir.join("lock"))? else {
            let text = format!(
                "the journal in {} is in use by another process: end it, or use another directory",
                dir.display()
            );
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        };
        let (mut journal, replay) = Self::open_on(Box::new(Directory::new(dir)), limits)?;
        journal._lock = Some(lock);
        Ok((journal, replay))
    }

    /// Opens the journal of a disk that nobody else uses.
    pub(crate) fn open_on(
        disk: Box<dyn Disk>,
        limits: JournalLimits,
    ) -> io::Result<(Self, Replay<R, S>)> {
        let mut found = replay::find(&*disk)?;
        let mut journal = Self {
            disk,
            limits,
            segment: Err(Stopped::not_begun()),
            buffer: Vec::new(),
            number_max: found.number_max,
            _lock: None,
            _types: PhantomData,
        };
        if let Some(bytes) = found.damaged.take() {
            journal.keep_aside(&bytes, &mut found.replay);
        }
        let begun = match found.current {
            Some(current) => journal.resume(current),
            None => journal.begin(None),
        };
        // Only now: while there is no segment to continue, the others are all there is.
        if begun.is_ok() {
            journal.remove(&found.obsolete);
        }
        Ok((journal, found.replay))
    }

    /// Adds a record behind all others.
    ///
    /// # Errors
    /// `InvalidInput` if it is too long or can't be encoded: nothing has changed. After any other error
    /// the journal has stopped: `QuotaExceeded` if it is full.
    pub fn append(&mut self, record: &R) -> io::Result<()> {
        let number = self.running()?.number;
        let start = self.buffer.len();
        let entry = EntryRef::<R, S>::Record(record);
        let offset = self.len();
        let max = self.limits.record_len_max;
        let appended = push_record(&mut self.buffer, number, offset, &entry, max);
        if let Err(error) = appended {
            self.buffer.truncate(start);
            return Err(error);
        }
        let len = offset.saturating_add(wide(self.buffer.len() - start));
        if len > self.limits.len_max {
            self.buffer.truncate(start);
            let full = limits::journal_full(len, self.limits.len_max);
            return Err(self.stop(full));
        }
        self.running()?.len = len;
        if self.buffer.len() >= BUFFER_LEN {
            self.write()?;
        }
        Ok(())
    }

    /// Returns once all that was appended will survive a crash of the system.
    ///
    /// # Errors
    /// It may not survive. The journal has stopped.
    pub fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        let synced = self.running()?.file.sync();
        synced.map_err(|error| self.stop(error))
    }

    /// The bytes of the present segment.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.len)
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() <= wide(HEADER_LEN)
    }

    /// Whether a snapshot would make it much shorter, or take it up again after an error.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        match &self.segment {
            Err(_) => true,
            Ok(segment) => segment.len >= self.limits.compaction_wanted_at(segment.snapshot_len),
        }
    }

    /// Why nothing is taken until the next compaction.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.segment
            .as_ref()
            .err()
            .map(|stopped| stopped.why.as_str())
    }

    /// Begins a new segment with what follows from all records appended so far, also from those that
    /// an error has swallowed. Returns once it will survive a crash of the system.
    ///
    /// # Errors
    /// The journal is as it was: if it had not stopped before, it goes on. Unless the new segment's
    /// name may or may not last: then it has stopped.
    pub fn compact(&mut self, snapshot: &S) -> io::Result<()> {
        let old = self
            .segment
            .as_ref()
            .ok()
            .map(|segment| segment_name(segment.number));
        self.begin(Some(snapshot))?;
        match old {
            Some(old) => self.remove(&[old]),
            // After an error any may be left.
            None => self.remove_others(),
        }
        Ok(())
    }

    /// Keeps what is about to be cut off, in place of what was kept of an earlier damage. That it can't
    /// be kept changes nothing.
    fn keep_aside(&self, bytes: &[u8], replay: &mut Replay<R, S>) {
        let kept = self.disk.create(DAMAGED).and_then(|mut file| {
            file.append(bytes)?;
            file.sync()
        });
        match (kept, &mut replay.lost) {
            (Ok(()), Some(damage)) => damage.kept = Some(DAMAGED.to_owned()),
            // Half of it only takes room.
            _ => drop(self.disk.remove(DAMAGED)),
        }
    }

    /// Writes a new segment whole, gives it its name, and takes it for the present one.
    fn begin(&mut self, snapshot: Option<&S>) -> io::Result<()> {
        let number = self.number_max.saturating_add(1);
        let bytes = self.first_bytes(number, snapshot)?;
        let len = wide(bytes.len());
        let written = write_whole(&*self.disk, &bytes);
        if written.is_err() {
            // It may not even be there.
            self.disk.remove(UNFINISHED).ok();
        }
        let file = written.map_err(|error| self.keep_or_stop(error))?;
        // From here on the name may be there, whatever the system says.
        self.number_max = number;
        self.disk
            .rename(UNFINISHED, &segment_name(number))
            .and_then(|()| self.disk.sync_names())
            .map_err(|error| self.stop(error))?;
        self.buffer.clear();
        self.segment = Ok(Segment {
            file,
            number,
            len,
            snapshot_len: len,
        });
        Ok(())
    }

    fn first_bytes(&self, number: u64, snapshot: Option<&S>) -> io::Result<Vec<u8>> {
        let begins = match snapshot {
            Some(_) => Begins::WithSnapshot,
            None => Begins::WithNothing,
        };
        let mut bytes = Header { number, begins }.encode();
        if let Some(snapshot) = snapshot {
            let entry = EntryRef::<R, S>::Snapshot(snapshot);
            push_record(&mut bytes, number, wide(HEADER_LEN), &entry, u32::MAX)?;
        }
        let (got, max) = (wide(bytes.len()), self.limits.len_max);
        if got > max {
            return Err(limits::journal_full(got, max));
        }
        Ok(bytes)
    }

    fn resume(&mut self, current: Current) -> io::Result<()> {
        let file = self
            .disk
            .resume(&current.name, current.len)
            .and_then(|file| self.disk.sync_names().map(|()| file))
            .map_err(|error| self.stop(error))?;
        self.segment = Ok(Segment {
            file,
            number: current.number,
            len: current.len,
            snapshot_len: current.snapshot_len,
        });
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let segment = self.segment.as_mut().map_err(|stopped| stopped.error())?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = segment.file.append(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| self.stop(error))
    }

    fn running(&mut self) -> io::Result<&mut Segment> {
        self.segment.as_mut().map_err(|stopped| stopped.error())
    }

    /// Takes nothing more, and hands the error on.
    fn stop(&mut self, error: io::Error) -> io::Error {
        self.buffer.clear();
        self.segment = Err(Stopped {
            kind: error.kind(),
            why: error.to_string(),
        });
        error
    }

    /// A journal that had stopped says the latest reason.
    fn keep_or_stop(&mut self, error: io::Error) -> io::Error {
        match self.segment {
            Ok(_) => error,
            Err(_) => self.stop(error),
        }
    }

    fn remove(&self, names: &[String]) {
        for name in names {
            // It only takes room: the next to open or compact tries again.
            self.disk.remove(name).ok();
        }
    }

    fn remove_others(&self) {
        let Ok(current) = self.segment.as_ref() else {
            return;
        };
        let names = self.disk.names().unwrap_or_default();
        let others = replay::segments_before(&names, current.number);
        self.remove(&others);
    }
}

/// A file that has all its bytes, for good, and not yet its name.
fn write_whole(disk: &dyn Disk, bytes: &[u8]) -> io::Result<Box<dyn DiskFile>> {
    let mut file = disk.create(UNFINISHED)?;
    file.append(bytes)?;
    file.sync()?;
    Ok(file)
}

/// Appends a record to bytes that will be at `offset` of the segment.
fn push_record<T: Serialize>(
    bytes: &mut Vec<u8>,
    number: u64,
    offset: u64,
    entry: &T,
    len_max: u32,
) -> io::Result<()> {
    let start = bytes.len();
    bytes.extend([0; RECORD_HEAD_LEN]);
    append_body(bytes, entry, len_max).map_err(|error| match error {
        EncodeError::TooLong { max } => limits::record_too_long(max),
        EncodeError::Refused(error) => io::Error::new(io::ErrorKind::InvalidInput, error),
    })?;
    let (head, body) = bytes[start..].split_at_mut(RECORD_HEAD_LEN);
    let len = u32::try_from(body.len()).map_err(|_| limits::record_too_long(u32::MAX))?;
    head.copy_from_slice(&segment::record_head(number, offset, len, body));
    Ok(())
}

impl Stopped {
    fn not_begun() -> Self {
        Self {
            kind: io::ErrorKind::Other,
            why: "no segment was begun".to_owned(),
        }
    }

    fn error(&self) -> io::Error {
        let text = format!(
            "the journal has stopped, until it is compacted: {}",
            self.why
        );
        io::Error::new(self.kind, text)
    }
}

impl<R, S> fmt::Debug for Journal<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segment = self.segment.as_ref();
        f.debug_struct("Journal")
            .field(
                "segment",
                &segment.map(|segment| (segment.number, segment.len)),
            )
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
