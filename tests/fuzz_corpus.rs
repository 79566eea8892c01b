//! The bodies of the fuzz targets over the kept corpus, whole and cut off anywhere.

use std::fs;
use std::path::Path;

use wayside::internals::{fuzz_envelope, fuzz_frame, fuzz_session};

fn over_corpus(name: &str, count_min: usize, body: impl Fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        // A published package is without the folder, which is a package of its own.
        return;
    }
    let mut count = 0;
    for entry in fs::read_dir(fuzz.join("corpus").join(name)).expect("the corpus is there") {
        let data = fs::read(entry.expect("an entry").path()).expect("a file");
        for len in 0..=data.len() {
            body(&data[..len]);
        }
        count += 1;
    }
    assert!(count >= count_min, "the corpus has only {count} files");
}

#[test]
fn frames() {
    over_corpus("frame", 20, fuzz_frame);
}

#[test]
fn envelopes() {
    over_corpus("envelope", 20, fuzz_envelope);
}

#[test]
fn sessions() {
    over_corpus("session", 20, fuzz_session);
}

#[cfg(feature = "aggregator")]
#[test]
fn journals() {
    over_corpus("journal", 10, wayside::internals::fuzz_journal);
}
