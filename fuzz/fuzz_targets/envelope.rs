//! Any bytes as a head and as bodies of several types.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wayside::internals::fuzz_envelope(data));
