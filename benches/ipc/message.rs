//! What is sent: typed messages of five lengths, each of which shows when it is not what was sent.
//!
//! The short ones own no memory, so that a count of allocations is the crate's own. The long
//! ones are a vector of bytes, as such messages are in real programs.

use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::platform;

/// The lengths that are measured.
pub const LENS: [usize; 4] = [64, 1024, 64 * 1024, 1024 * 1024];

/// The length of a message in a burst.
pub const BURST_LEN: usize = 256;

/// Set in the number of a message that wants to be confirmed, by mechanisms that have nothing else
/// for it.
pub const CONFIRM: u64 = 1 << 63;

/// The longest of those that own no memory.
pub const INLINE_LEN_MAX: usize = 1024;

/// A message that knows its place in the order and whether it is whole.
pub trait Message: Send + 'static {
    /// One that is `len` bytes long on the wire, give or take a few. Where many clients send, it
    /// knows which it comes from.
    fn of_len(len: usize, source: usize) -> Self;

    /// Gives it its place, immediately before it is sent.
    fn number(&mut self, number: u64);

    /// Its place; `None` if it is not what was sent.
    fn verified(&self) -> Option<u64>;

    /// Which client it comes from.
    fn source(&self) -> usize {
        0
    }

    /// When it was sent, if its delay is of interest.
    fn sent_ns(&self) -> Option<u64> {
        None
    }
}

/// The same, for whoever leaves the encoding to serde.
pub trait Typed: Message + Serialize + DeserializeOwned + Sync {}

impl<M: Message + Serialize + DeserializeOwned + Sync> Typed for M {}

/// Evaluates an expression with the type of a length.
macro_rules! for_len {
    ($len:expr, $message:ident => $expression:expr) => {
        match $len {
            64 => {
                type $message = $crate::message::Small;
                $expression
            }
            $crate::message::BURST_LEN => {
                type $message = $crate::message::Timed;
                $expression
            }
            1024 => {
                type $message = $crate::message::Medium;
                $expression
            }
            _ => {
                type $message = $crate::message::Large;
                $expression
            }
        }
    };
}
pub(crate) use for_len;

/// A sum over all bytes: quick, and different for every single wrong byte.
pub fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().map(|byte| u64::from(*byte));
    words
        .map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
        .chain(rest)
        .fold(0, u64::wrapping_add)
}

/// Bytes that are easy to make and not all alike.
pub fn pattern(len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(|at| u8::try_from(at * 7 % 251).expect("below 251"))
}

/// 64 bytes: what a sensor might tell.
#[derive(Serialize, Deserialize)]
pub struct Small {
    number: u64,
    source: u64,
    values: [f64; 6],
    check: u32,
}

impl Small {
    fn sum(&self) -> u32 {
        let values = self.values.iter().map(|value| value.to_bits());
        let sum = values.fold(self.number.wrapping_add(self.source), u64::wrapping_add);
        u32::try_from(sum & u64::from(u32::MAX)).expect("32 bits are left")
    }
}

/// Makes the source of a message eight bytes long on the wire.
const SOURCE_BASE: u64 = 0x00ab_cdef_0123_0000;

impl Message for Small {
    fn of_len(_: usize, source: usize) -> Self {
        Self {
            number: 0,
            source: SOURCE_BASE + u64::try_from(source).expect("a small number"),
            values: [0.5, -1.25, 3.75e9, 1e-9, 273.15, 42.0],
            check: 0,
        }
    }

    fn number(&mut self, number: u64) {
        self.number = number;
        self.check = self.sum();
    }

    fn verified(&self) -> Option<u64> {
        (self.check == self.sum()).then_some(self.number)
    }

    fn source(&self) -> usize {
        usize::try_from(self.source.wrapping_sub(SOURCE_BASE)).unwrap_or(usize::MAX)
    }
}

/// 256 bytes: knows when it was sent.
#[derive(Serialize, Deserialize)]
pub struct Timed {
    number: u64,
    check: u64,
    sent_ns: u64,
    body: Inline<TIMED_BODY_LEN>,
}

const TIMED_BODY_LEN: usize = 232;

impl Message for Timed {
    fn of_len(_: usize, _: usize) -> Self {
        let body = Inline::new();
        Self {
            number: 0,
            check: sum(&body.0),
            sent_ns: 0,
            body,
        }
    }

    fn number(&mut self, number: u64) {
        let before = self.number.wrapping_add(self.sent_ns);
        self.number = number;
        self.sent_ns = platform::now_ns();
        let now = number.wrapping_add(self.sent_ns);
        self.check = self.check.wrapping_sub(before).wrapping_add(now);
    }

    fn verified(&self) -> Option<u64> {
        let sum = sum(&self.body.0).wrapping_add(self.number);
        (self.check == sum.wrapping_add(self.sent_ns)).then_some(self.number)
    }

    fn sent_ns(&self) -> Option<u64> {
        Some(self.sent_ns)
    }
}

/// 1 KiB: a record with a text in it, say.
#[derive(Serialize, Deserialize)]
pub struct Medium {
    number: u64,
    check: u64,
    body: Inline<MEDIUM_BODY_LEN>,
}

const MEDIUM_BODY_LEN: usize = 1008;

struct Inline<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> Inline<LEN> {
    fn new() -> Self {
        let mut body = [0; LEN];
        body.iter_mut()
            .zip(pattern(LEN))
            .for_each(|(to, byte)| *to = byte);
        Self(body)
    }
}

impl<const LEN: usize> Serialize for Inline<LEN> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de, const LEN: usize> Deserialize<'de> for Inline<LEN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(InlineVisitor)
    }
}

struct InlineVisitor<const LEN: usize>;

impl<const LEN: usize> Visitor<'_> for InlineVisitor<LEN> {
    type Value = Inline<LEN>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LEN} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Inline<LEN>, E> {
        let bytes = bytes.try_into();
        bytes.map(Inline).map_err(|_| E::custom("another length"))
    }
}

impl Message for Medium {
    fn of_len(_: usize, _: usize) -> Self {
        let body = Inline::new();
        Self {
            number: 0,
            check: sum(&body.0),
            body,
        }
    }

    fn number(&mut self, number: u64) {
        self.check = self.check.wrapping_sub(self.number).wrapping_add(number);
        self.number = number;
    }

    fn verified(&self) -> Option<u64> {
        let sum = sum(&self.body.0).wrapping_add(self.number);
        (self.check == sum).then_some(self.number)
    }
}

/// As long as it is told: a picture, say.
#[derive(Serialize, Deserialize)]
pub struct Large {
    number: u64,
    check: u64,
    body: Bytes,
}

struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }
}

impl Message for Large {
    fn of_len(len: usize, _: usize) -> Self {
        let body: Vec<u8> = pattern(len - 24).collect();
        Self {
            number: 0,
            check: sum(&body),
            body: Bytes(body),
        }
    }

    fn number(&mut self, number: u64) {
        self.check = self.check.wrapping_sub(self.number).wrapping_add(number);
        self.number = number;
    }

    fn verified(&self) -> Option<u64> {
        let sum = sum(&self.body.0).wrapping_add(self.number);
        (self.check == sum).then_some(self.number)
    }
}
