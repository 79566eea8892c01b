//! Any bytes as a segment of a journal.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wayside::internals::fuzz_journal(data));
