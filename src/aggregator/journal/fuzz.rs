//! The body of the fuzz target `journal`, which also runs as a test over the kept corpus.

use serde::{Deserialize, Serialize};

use super::reading::Reading;
use super::segment::{Begins, HEADER_LEN, Header, record_head};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Record {
    Nothing,
    Number(u64),
    Text(String),
    Pairs(Vec<(String, Option<Record>)>),
}

type Sample = Reading<Record, Vec<(u64, String)>>;

/// Reads `data[1..]` as a segment: as it is, behind a sound header, or cut into records with sound
/// checksums, as `data[0]` says. Whatever it is: no panic, and what was read reads the same again.
///
/// # Panics
/// One of these does not hold.
pub fn fuzz_journal(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let begins = match how & 1 {
        0 => Begins::WithNothing,
        _ => Begins::WithSnapshot,
    };
    let mut bytes = Header { number: 7, begins }.encode();
    match how >> 1 & 3 {
        0 => bytes = rest.to_vec(),
        1 => bytes.extend(rest),
        _ => {
            for body in rest.chunks(usize::from(how >> 3) + 1) {
                let len = u32::try_from(body.len()).expect("at most 32");
                let offset = u64::try_from(bytes.len()).expect("memory is no larger");
                bytes.extend(record_head(7, offset, len, body));
                bytes.extend(body);
            }
        }
    }
    let Ok(reading) = Sample::of(&bytes) else {
        return;
    };
    assert!(HEADER_LEN <= reading.snapshot_end && reading.snapshot_end <= reading.sound_len);
    assert!(reading.sound_len <= bytes.len());
    assert_eq!(reading.damage.is_none(), reading.sound_len == bytes.len());
    assert!(reading.records.len() < bytes.len());
    let again = Sample::of(&bytes[..reading.sound_len]).expect("it was sound");
    assert_eq!(again.damage, None);
    assert_eq!(again.records, reading.records);
    assert_eq!(again.snapshot, reading.snapshot);
}
