//! The pure core, held to its promises by random input: frames, outbox, inbox, envelope, decoding,
//! sessions. No I/O, and time is an argument.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod allocation;
mod codec;
mod decoding;
mod endings;
mod hostile;
mod liveness;
mod outbox;
mod stream;

use std::time::Instant;

use wayside::Limits;
use wayside::internals::{Hello, Outbox, Role, Session};

/// A session as it is when its link was just made, and its outbox.
fn session(role: Role, limits: &Limits, now: Instant) -> (Session, Outbox) {
    let mut outbox = Outbox::new(limits.outbox_len_max);
    let hello = Hello::new("properties", 3, limits, 7);
    let session = Session::new(role, hello, limits.clone(), &mut outbox, now);
    (session, outbox)
}

/// All that may leave now, as one piece.
fn drain(outbox: &mut Outbox) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !outbox.is_drained() {
        let next = outbox.next_bytes();
        bytes.extend_from_slice(next);
        let len = next.len();
        outbox.written(len);
    }
    bytes
}
