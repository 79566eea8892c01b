//! What the bytes of a segment mean. Pure.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::damage::Why;
use super::segment::{self, Begins, HEADER_LEN, Header, HeaderFault};
use crate::envelope::decode_body;

/// What a record holds, as it is read.
#[derive(Deserialize)]
enum Entry<R, S> {
    Snapshot(S),
    Record(R),
}

/// What a record holds, as it is written. The same bytes as [`Entry`].
#[derive(Serialize)]
pub(super) enum EntryRef<'a, R, S> {
    Snapshot(&'a S),
    Record(&'a R),
}

/// A segment up to its end, or to its first damage.
#[derive(Debug)]
pub(super) struct Reading<R, S> {
    pub(super) header: Header,
    pub(super) snapshot: Option<S>,
    /// Bytes of the header and the snapshot.
    pub(super) snapshot_end: usize,
    pub(super) records: Vec<R>,
    /// Bytes up to the end of the last sound record.
    pub(super) sound_len: usize,
    /// What is wrong behind them.
    pub(super) damage: Option<Why>,
}

/// A segment of which nothing can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    Version(u32),
    Damaged { offset: usize, why: Why },
}

impl<R: DeserializeOwned, S: DeserializeOwned> Reading<R, S> {
    /// Reads a segment. Whatever the bytes are, memory is bounded by them.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Unusable> {
        let header = Header::decode(bytes).map_err(|fault| match fault {
            HeaderFault::Version(version) => Unusable::Version(version),
            HeaderFault::Damaged(why) => Unusable::Damaged { offset: 0, why },
        })?;
        let mut reading = Self {
            header,
            snapshot: None,
            snapshot_end: HEADER_LEN,
            records: Vec::new(),
            sound_len: HEADER_LEN,
            damage: None,
        };
        if header.begins == Begins::WithSnapshot {
            reading.read_snapshot(bytes)?;
        }
        while reading.damage.is_none() {
            match reading.read_record(bytes) {
                Ok(Some(record)) => reading.records.push(record),
                Ok(None) => break,
                Err(why) => reading.damage = Some(why),
            }
        }
        Ok(reading)
    }

    fn read_snapshot(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        let offset = self.sound_len;
        let unusable = |why| Unusable::Damaged { offset, why };
        match self.next(bytes).map_err(unusable)? {
            Some(Entry::Snapshot(snapshot)) => self.snapshot = Some(snapshot),
            Some(Entry::Record(_)) => return Err(unusable(Why::Undecodable)),
            None => return Err(unusable(Why::Torn)),
        }
        self.snapshot_end = self.sound_len;
        Ok(())
    }

    fn read_record(&mut self, bytes: &[u8]) -> Result<Option<R>, Why> {
        let offset = self.sound_len;
        match self.next(bytes)? {
            Some(Entry::Record(record)) => Ok(Some(record)),
            Some(Entry::Snapshot(_)) => {
                self.sound_len = offset;
                Err(Why::Undecodable)
            }
            None => Ok(None),
        }
    }

    fn next(&mut self, bytes: &[u8]) -> Result<Option<Entry<R, S>>, Why> {
        let found = segment::record_at(self.header.number, bytes, self.sound_len)?;
        let Some((body, end)) = found else {
            return Ok(None);
        };
        let entry = decode_body(body).map_err(|_| Why::Undecodable)?;
        self.sound_len = end;
        Ok(Some(entry))
    }
}
