//! What stands in a frame: a head that says what it is, then the body. All of postcard is here.
//!
//! The layout is described byte by byte in `docs/wire.md`, and held by `tests/wire_format.rs`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::close::CloseReason;
use crate::decode::{Budget, Guarded};

/// What a frame is. The order is the wire format: append, never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// The first frame of a client; the body is a [`Hello`](crate::hello::Hello).
    Hello,
    /// The first frame of a server; the body is its `Hello`.
    Welcome,
    /// In place of a welcome, with the server's `Hello`: no session will come of this.
    Refuse {
        /// The code of the [`CloseReason`].
        code: u32,
    },
    /// A one-way message of the client.
    Event,
    /// A message of the client that wants an answer.
    Request {
        /// The client's number for it, of no open call.
        id: u64,
        /// After so many milliseconds nobody waits for the answer any more.
        timeout_ms: u64,
    },
    /// The answer to a request.
    Reply {
        /// The number of the request.
        id: u64,
    },
    /// A request that will not be answered.
    Failed {
        /// The number of the request.
        id: u64,
        /// Why.
        failure: Failure,
    },
    /// Nobody waits for the answer any more.
    Cancel {
        /// The number of the request.
        id: u64,
    },
    /// A one-way message of the server.
    Push,
    /// Asks for a [`Head::Pong`].
    Ping {
        /// To tell pings apart.
        id: u64,
    },
    /// Answers a [`Head::Ping`].
    Pong {
        /// The number of the ping.
        id: u64,
    },
    /// Asks for a [`Head::Ack`] with the same number once everything before it is handled.
    Sync {
        /// The client's number for it, of no open call.
        id: u64,
    },
    /// How many events of this session the server has handled.
    Ack {
        /// The number of the sync; 0 if this was not asked for.
        id: u64,
        /// All events since the hello.
        events: u64,
    },
    /// The server wants to end the session: the client says goodbye when it can.
    Drain,
    /// The last message of this side. It still listens.
    Goodbye,
    /// Both sides have said goodbye, and this one has heard it: the link can go.
    Farewell,
    /// The sender closes the link without waiting.
    Abort {
        /// The code of the [`CloseReason`].
        code: u32,
    },
}

/// Why a server does not answer a request. The order is the wire format: append, never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Failure {
    /// The handler let go of its responder without an answer.
    Unanswered,
    /// The client had as many open calls as the server allows.
    TooManyCalls,
    /// The answer was longer than a frame may be, or could not be encoded at all.
    ReplyUnencodable,
    /// The answer found no room: more waits for the client already than the server keeps.
    OutboxFull,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unanswered => "the server let go of the request without an answer",
            Self::TooManyCalls => "the server has too many open calls of this client",
            Self::ReplyUnencodable => "the server's answer could not be encoded, or is too long",
            Self::OutboxFull => "the server's answer found no room behind what waits to be read",
        })
    }
}

/// Why a message could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeError {
    /// Longer than a frame may be.
    TooLong {
        /// The bound.
        max: u32,
    },
    /// The message's own `Serialize` refused.
    Refused(postcard::Error),
}

/// Appends a frame's payload to `bytes`.
///
/// # Errors
/// See [`EncodeError`]; `bytes` may then end in a part of the payload.
#[inline]
pub fn encode<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    head: &Head,
    body: &T,
    payload_len_max: u32,
) -> Result<(), EncodeError> {
    match head {
        // What comes by the million is one byte.
        Head::Event => encode_pair(bytes, &EVENT, body, payload_len_max),
        head => encode_pair(bytes, head, body, payload_len_max),
    }
}

/// Appends a body alone to `bytes`: what [`decode_body`] reads.
///
/// # Errors
/// See [`EncodeError`]; `bytes` may then end in a part of the body.
#[cfg(feature = "aggregator")]
pub fn append_body<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    body: &T,
    len_max: u32,
) -> Result<(), EncodeError> {
    // A unit takes no bytes.
    encode_pair(bytes, &(), body, len_max)
}

#[inline]
fn encode_pair<A: Serialize, B: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    first: &A,
    second: &B,
    len_max: u32,
) -> Result<(), EncodeError> {
    let max = usize::try_from(len_max).unwrap_or(usize::MAX);
    let bound = bytes.len().saturating_add(max);
    let mut serializer = postcard::Serializer {
        output: Bounded {
            bytes,
            len_max: bound,
        },
    };
    first
        .serialize(&mut serializer)
        .and_then(|()| second.serialize(&mut serializer))
        .map_err(|error| match error {
            postcard::Error::SerializeBufferFull => EncodeError::TooLong { max: len_max },
            other => EncodeError::Refused(other),
        })
}

/// Encodes a value on its own, to travel within another message. [`decode_body`] is its opposite.
///
/// # Errors
/// See [`EncodeError`].
#[cfg(feature = "aggregator")]
pub fn encode_body<T: Serialize + ?Sized>(body: &T, len_max: u32) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    append_body(&mut bytes, body, len_max)?;
    Ok(bytes)
}

/// How [`Head::Event`] is encoded.
const EVENT: u8 = 3;

/// The body of an event, if the payload is one: known by one byte.
#[inline]
pub(crate) fn event(payload: &[u8]) -> Option<&[u8]> {
    match payload {
        [EVENT, body @ ..] => Some(body),
        _ => None,
    }
}

/// Splits a payload into its head and its body.
///
/// # Errors
/// The head is none of this version.
pub fn decode_head(payload: &[u8]) -> Result<(Head, &[u8]), CloseReason> {
    postcard::take_from_bytes(payload).map_err(|_| CloseReason::Malformed("an unknown head"))
}

/// Decodes a whole body, within bounds that follow from its length.
///
/// # Errors
/// It is not a `T`, or longer than one, or its code panicked.
pub fn decode_body<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, CloseReason> {
    caught(|| read_body(body))
}

/// Decodes a `T` at the front of a body that later versions may have appended to.
///
/// # Errors
/// It does not start with a `T`.
pub fn decode_prefix<'de, T: Deserialize<'de>>(
    body: &'de [u8],
) -> Result<(T, &'de [u8]), CloseReason> {
    caught(|| Ok(read_prefix(body)?))
}

/// The message's own code may panic over bytes that it did not expect. Nothing that it can have
/// left half-done is used again.
fn caught<T>(decode: impl FnOnce() -> Result<T, Wrong>) -> Result<T, CloseReason> {
    catch_unwind(AssertUnwindSafe(decode))
        .map_err(|_| CloseReason::HandlerPanicked)?
        .map_err(|wrong| CloseReason::Undecodable(wrong.to_string()))
}

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// What the message's own type says.
    #[error(transparent)]
    Message(#[from] postcard::Error),
    /// There is more behind it.
    #[error("{0} bytes behind the message")]
    Trailing(usize),
}

/// As [`decode_body`], for whoever catches panics, many messages at a time.
///
/// # Errors
/// It is not a `T`, or longer than one.
#[inline]
pub fn read_body<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, Wrong> {
    let (value, rest) = read_prefix(body)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(Wrong::Trailing(rest.len()))
    }
}

#[inline]
fn read_prefix<'de, T: Deserialize<'de>>(body: &'de [u8]) -> postcard::Result<(T, &'de [u8])> {
    let mut deserializer = postcard::Deserializer::from_bytes(body);
    let budget = Budget::for_len(body.len());
    let value = T::deserialize(Guarded::new(&mut deserializer, &budget))?;
    Ok((value, deserializer.finalize()?))
}

/// Appends to a vector, up to a length.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    len_max: usize,
}

impl Flavor for Bounded<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.bytes.len() >= self.len_max {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.bytes.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > self.len_max - self.bytes.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_by_its_first_byte() {
        let mut payload = Vec::new();
        encode(&mut payload, &Head::Event, &7_u8, 16).unwrap();
        assert_eq!(payload, [EVENT, 7]);
        assert_eq!(event(&payload), Some(&[7][..]));
        assert_eq!(event(&[EVENT + 1, 7]), None);
        assert_eq!(decode_head(&payload).unwrap(), (Head::Event, &[7][..]));
    }
}
