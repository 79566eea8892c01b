//! Any bytes as a stream of frames, in any chunks.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wayside::internals::fuzz_frame(data));
