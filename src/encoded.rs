//! A message as it came: for those who would rather look at it where it lies than own it.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::close::CloseReason;
use crate::envelope;

/// A message of type `T` that has come and is not decoded yet, in the buffer that it was read into.
///
/// A handler that overrides [`Handler::event_encoded`] or [`Handler::request_encoded`] gets its
/// messages this way. It can decode one without a copy, as a type of its own that borrows `&str` and
/// `&[u8]` where `T` owns `String` and bytes, or not decode it at all. Whatever it is decoded as,
/// [the bounds](crate::Limits) on what a peer can make of it are the same.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wayside::{Encoded, Handler, Never, Peer, Protocol, Responder, Undecodable};
///
/// struct Log;
///
/// #[derive(Serialize, Deserialize)]
/// struct Line {
///     level: u8,
///     text: String,
/// }
///
/// /// As a `Line`: the same fields in the same order, which is all that is on the wire.
/// #[derive(Deserialize)]
/// struct BorrowedLine<'a> {
///     level: u8,
///     text: &'a str,
/// }
///
/// impl Protocol for Log {
///     const NAME: &'static str = "log";
///     const VERSION: u32 = 1;
///     type Event = Line;
///     type Request = Never;
///     type Reply = Never;
///     type Push = Never;
/// }
///
/// struct Errors(usize);
///
/// impl Errors {
///     fn line(&mut self, line: BorrowedLine<'_>) {
///         if line.level == 0 || line.text.contains("error") {
///             self.0 += 1;
///         }
///     }
/// }
///
/// impl Handler<Log> for Errors {
///     fn event_encoded(
///         &mut self,
///         _peer: &Peer<Log>,
///         line: Encoded<'_, Line>,
///     ) -> Result<(), Undecodable> {
///         self.line(line.decode_as()?);
///         Ok(())
///     }
///
///     // The server calls only the one above.
///     fn event(&mut self, _peer: &Peer<Log>, Line { level, text }: Line) {
///         self.line(BorrowedLine { level, text: &text });
///     }
///
///     fn request(&mut self, _peer: &Peer<Log>, never: Never, _responder: Responder<Log>) {
///         match never {}
///     }
/// }
/// ```
///
/// [`Handler::event_encoded`]: crate::Handler::event_encoded
/// [`Handler::request_encoded`]: crate::Handler::request_encoded
pub struct Encoded<'a, T> {
    bytes: &'a [u8],
    message: PhantomData<fn() -> T>,
}

impl<T> Clone for Encoded<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Encoded<'_, T> {}

impl<T> fmt::Debug for Encoded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.bytes.len())
    }
}

impl<'a, T> Encoded<'a, T> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            message: PhantomData,
        }
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// The bytes are not one.
    #[inline]
    pub fn decode(self) -> Result<T, Undecodable>
    where
        T: DeserializeOwned,
    {
        self.decode_as()
    }

    /// Decodes the message as another type with the same fields in the same order, which may borrow
    /// from where the message lies: `&str` in place of `String`, `&[u8]` in place of bytes.
    ///
    /// Nothing on the wire tells two types apart: one with other fields gives nonsense, or an error.
    ///
    /// # Errors
    /// The bytes are not one.
    #[inline]
    pub fn decode_as<B: Deserialize<'a>>(self) -> Result<B, Undecodable> {
        envelope::read_body(self.bytes).map_err(|wrong| Undecodable(wrong.to_string()))
    }

    /// The message as the client has encoded it: `docs/wire.md` describes how.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }
}

/// Bytes that are not the message that they should be.
///
/// A handler hands it back to the server, which closes the client that has sent them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message can't be decoded: {0}")]
pub struct Undecodable(String);

impl Undecodable {
    /// For what a handler itself finds wrong with a message.
    pub fn because(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<Undecodable> for CloseReason {
    fn from(Undecodable(what): Undecodable) -> Self {
        Self::Undecodable(what)
    }
}
