//! What two programs say to each other, as types.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The messages between a server and its clients.
///
/// Both sides name the same type, or one with the same name, version and messages. Where the
/// names or versions differ the connection is refused with an error that names both, before any
/// message is looked at.
///
/// The encoding is positional: fields are not named on the wire. A change of a type is a new
/// [`VERSION`](Protocol::VERSION), unless it only appends a variant to an enum.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wayside::{Never, Protocol};
///
/// struct Thermometer;
///
/// #[derive(Serialize, Deserialize)]
/// struct Measured {
///     celsius: f32,
/// }
///
/// impl Protocol for Thermometer {
///     const NAME: &'static str = "thermometer";
///     const VERSION: u32 = 1;
///     type Event = Measured;
///     type Request = Never;
///     type Reply = Never;
///     type Push = Never;
/// }
/// ```
pub trait Protocol: 'static {
    /// Tells this protocol from others. Not empty, and at most [`NAME_LEN_MAX`] bytes.
    const NAME: &'static str;
    /// To be raised with every change that the other side must know of.
    const VERSION: u32;
    /// From a client to the server, without an answer.
    type Event: Serialize + DeserializeOwned + 'static;
    /// From a client to the server, which answers with one [`Reply`](Protocol::Reply).
    type Request: Serialize + DeserializeOwned + 'static;
    /// The answer to a request.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// From the server to a client, without an answer.
    type Push: Serialize + DeserializeOwned + Send + 'static;
}

/// The bytes that a protocol's name may have.
pub const NAME_LEN_MAX: usize = 64;

/// The type of a message that a protocol does not have: it has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Never {}
