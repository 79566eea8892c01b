//! Any bytes from a peer, in both roles, before and after the hello: they end in messages or in a
//! reason to close, within a stated amount of memory.

use proptest::prelude::*;
use wayside::internals::{Head, LENT_LEN, encode, fuzz_envelope, fuzz_frame, fuzz_session};

use crate::allocation::peak_of;
use crate::stream::head;

/// The limit of the fuzz bodies.
const FRAME_LEN_MAX: usize = 4096;

/// What a connection may hold at once: the lent buffer, a begun frame that is kept and one that is
/// copied into a buffer of twice its size, and some room for the session's own few frames.
const HELD_LEN_MAX: usize = LENT_LEN + 4 * (FRAME_LEN_MAX + 4) + 16 * 1024;

/// Streams that get further than noise does: frames whose heads are right, some bodies, some cut.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let frame = || {
        (head(), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(head, body)| framed(head, &body))
    };
    let broken =
        (frame(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut frame, at, byte)| {
            let at = at.index(frame.len());
            frame[at] = byte;
            frame
        });
    let piece = prop_oneof![1 => noise, 6 => frame(), 2 => broken];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn framed(head: Head, body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&mut payload, &head, &(), u32::MAX).unwrap();
    payload.extend_from_slice(body);
    let len = u32::try_from(payload.len()).unwrap();
    [&len.to_le_bytes()[..], &payload].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_session_survives_any_bytes(flags: u8, stream in stream()) {
        let data = [&[flags], &stream[..]].concat();
        let ((), peak) = peak_of(|| fuzz_session(&data));
        prop_assert!(peak <= HELD_LEN_MAX, "{peak} bytes for {}", data.len());
    }

    #[test]
    fn frames_come_out_as_the_format_says(chunks: u8, stream in stream()) {
        fuzz_frame(&[&[chunks], &stream[..]].concat());
    }

    #[test]
    fn an_envelope_survives_any_bytes(data in prop::collection::vec(any::<u8>(), 0..500)) {
        fuzz_envelope(&data);
    }
}

/// A header alone reserves nothing.
#[test]
fn memory_follows_what_has_come_not_what_was_announced() {
    let announced = u32::try_from(FRAME_LEN_MAX).unwrap();
    let header = announced.to_le_bytes();
    for flags in [2, 3] {
        let data = [&[flags], &header[..]].concat();
        let ((), peak) = peak_of(|| fuzz_session(&data));
        assert!(peak <= LENT_LEN + 16 * 1024, "{peak}");
    }
}
