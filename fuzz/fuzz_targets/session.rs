//! Any bytes as the other side of a session, in both roles, before and after the hello.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wayside::internals::fuzz_session(data));
