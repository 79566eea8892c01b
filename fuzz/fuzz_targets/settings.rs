//! Any bytes as `wayside.toml` and environment.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wayside::internals::fuzz_settings(data));
