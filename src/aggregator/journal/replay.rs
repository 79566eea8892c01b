//! Opening what an earlier process has left.

use std::io;

use serde::de::DeserializeOwned;

use super::damage::Damage;
use super::disk::Disk;
use super::reading::{Reading, Unusable};

/// What a journal held when it was opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replay<R, S> {
    /// What the last compaction began with.
    pub snapshot: Option<S>,
    /// What was appended since, in order.
    pub records: Vec<R>,
    /// What can't be read any more.
    pub lost: Option<Damage>,
}

/// The segments of a directory, and what the best of them holds.
pub(super) struct Found<R, S> {
    pub(super) replay: Replay<R, S>,
    /// The segment to continue.
    pub(super) current: Option<Current>,
    /// Names of all others, and of what was left half-made.
    pub(super) obsolete: Vec<String>,
    /// The highest number that any of them had.
    pub(super) number_max: u64,
    /// The bytes that were lost, unless a crash explains them.
    pub(super) damaged: Option<Vec<u8>>,
}

/// A segment that can be continued.
pub(super) struct Current {
    pub(super) name: String,
    pub(super) number: u64,
    /// Up to the last sound record.
    pub(super) len: u64,
    pub(super) snapshot_len: u64,
}

const PREFIX: &str = "journal-";
/// Where what was cut off is kept, to be looked at.
pub(super) const DAMAGED: &str = "damaged";
/// What a segment is called until it is whole.
pub(super) const UNFINISHED: &str = "unfinished";

pub(super) fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    // Of several ways to write a number only ours is a segment.
    (segment_name(number) == name).then_some(number)
}

/// Looks for the newest segment that can be used. There are several only if a process died while it
/// compacted: the newer one is then whole, and the older ones are what it was made of.
///
/// # Errors
/// The directory or a file can't be read, or is of a version that this build does not know.
pub(super) fn find<R, S>(disk: &dyn Disk) -> io::Result<Found<R, S>>
where
    R: DeserializeOwned,
    S: DeserializeOwned,
{
    let names = disk.names()?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = Found {
        replay: Replay {
            snapshot: None,
            records: Vec::new(),
            lost: None,
        },
        current: None,
        obsolete: names
            .into_iter()
            .filter(|name| name == UNFINISHED)
            .collect(),
        number_max: numbers.first().copied().unwrap_or_default(),
        damaged: None,
    };
    for number in numbers {
        let name = segment_name(number);
        if found.current.is_some() {
            found.obsolete.push(name);
            continue;
        }
        let bytes = disk.read(&name)?;
        let damage = match Reading::<R, S>::of(&bytes) {
            Ok(reading) if reading.header.number == number => {
                found.take(name, &bytes, reading);
                continue;
            }
            Ok(_) => damage(&name, &bytes, 0, super::Why::Header),
            Err(Unusable::Damaged { offset, why }) => damage(&name, &bytes, offset, why),
            Err(Unusable::Version(version)) => return Err(newer(&name, version)),
        };
        found.lose(damage, &bytes);
        found.obsolete.push(name);
    }
    Ok(found)
}

impl<R, S> Found<R, S> {
    /// What the newest segment has lost is what matters.
    fn lose(&mut self, damage: Damage, bytes: &[u8]) {
        if self.replay.lost.is_some() {
            return;
        }
        let lost = usize::try_from(damage.offset).ok();
        let lost = lost.and_then(|offset| bytes.get(offset..));
        self.damaged = lost
            .filter(|lost| damage.why != super::Why::Torn && !lost.is_empty())
            .map(<[u8]>::to_vec);
        self.replay.lost = Some(damage);
    }

    fn take(&mut self, name: String, bytes: &[u8], reading: Reading<R, S>) {
        if let Some(why) = reading.damage {
            let damage = damage(&name, bytes, reading.sound_len, why);
            self.lose(damage, bytes);
        }
        self.replay.snapshot = reading.snapshot;
        self.replay.records = reading.records;
        self.current = Some(Current {
            name,
            number: reading.header.number,
            len: wide(reading.sound_len),
            snapshot_len: wide(reading.snapshot_end),
        });
    }
}

fn damage(file: &str, bytes: &[u8], offset: usize, why: super::Why) -> Damage {
    Damage {
        file: file.to_owned(),
        offset: wide(offset),
        len: wide(bytes.len().saturating_sub(offset)),
        why,
        kept: None,
    }
}

/// A length in memory as one on the disk.
pub(super) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn newer(name: &str, version: u32) -> io::Error {
    let text = format!(
        "journal {name} has version {version}, which this build does not know: run the build that \
         wrote it, or move the file away"
    );
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// The names of older segments.
pub(super) fn segments_before(names: &[String], number: u64) -> Vec<String> {
    let older = |name: &&String| segment_number(name).is_some_and(|found| found < number);
    names.iter().filter(older).cloned().collect()
}
