//! What is sent: typed messages of four lengths, each of which shows when it is not what was sent.
//!
//! The two short ones own no memory, so that a count of allocations is the crate's own. The long
//! ones are a vector of bytes, as such messages are in real programs.

use std::fmt;

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The lengths that are measured.
pub const LENS: [usize; 4] = [64, 1024, 64 * 1024, 1024 * 1024];

/// The longest of those that own no memory.
pub const INLINE_LEN_MAX: usize = 1024;

/// A message that knows its place in the order and whether it is whole.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// One that is `len` bytes long on the wire, give or take a few.
    fn of_len(len: usize) -> Self;

    /// Gives it its place.
    fn number(&mut self, number: u64);

    /// Its place; `None` if it is not what was sent.
    fn verified(&self) -> Option<u64>;
}

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

impl Message for Small {
    fn of_len(_: usize) -> Self {
        Self {
            number: 0,
            // Takes eight bytes on the wire.
            source: 0x00ab_cdef_0123_4567,
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
}

/// 1 KiB: a record with a text in it, say.
#[derive(Serialize, Deserialize)]
pub struct Medium {
    number: u64,
    check: u64,
    body: Inline,
}

const INLINE_LEN: usize = 1008;

struct Inline([u8; INLINE_LEN]);

impl Serialize for Inline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Inline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(InlineVisitor)
    }
}

struct InlineVisitor;

impl Visitor<'_> for InlineVisitor {
    type Value = Inline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{INLINE_LEN} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Inline, E> {
        let bytes = bytes.try_into();
        bytes.map(Inline).map_err(|_| E::custom("another length"))
    }
}

impl Message for Medium {
    fn of_len(_: usize) -> Self {
        let mut body = [0; INLINE_LEN];
        body.iter_mut()
            .zip(pattern(INLINE_LEN))
            .for_each(|(to, byte)| *to = byte);
        Self {
            number: 0,
            check: sum(&body),
            body: Inline(body),
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
    fn of_len(len: usize) -> Self {
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
