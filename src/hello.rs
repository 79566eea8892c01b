//! The first words of both sides: who speaks what, within which bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::close::{CloseReason, ProtocolId};
use crate::envelope;
use crate::limits::{FRAME_LEN_MIN, Limits};
use crate::protocol::NAME_LEN_MAX;

/// The version of everything below the user's messages.
pub const WIRE_VERSION: u32 = 1;

/// "wayside" as the first bytes of every hello, so that a stray client is told from an old one.
const MAGIC: [u8; 4] = *b"WAYS";

/// The body of a hello. The order is the wire format: append, never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    magic: [u8; 4],
    wire: u32,
    protocol: String,
    version: u32,
    /// The longest payload that the sender takes.
    frame_len_max: u32,
    /// The sender takes the peer for dead when nothing has come for so long.
    silence_ms: u64,
    /// Drawn by the sending process once: tells its runs apart.
    epoch: [u8; 16],
}

impl Hello {
    /// What this side says.
    pub fn new(name: &str, version: u32, limits: &Limits, epoch: u128) -> Self {
        Self {
            magic: MAGIC,
            wire: WIRE_VERSION,
            protocol: name.to_owned(),
            version,
            frame_len_max: limits.frame_len_max,
            silence_ms: u64::try_from(limits.silence_timeout.as_millis()).unwrap_or(u64::MAX),
            epoch: epoch.to_le_bytes(),
        }
    }

    /// Reads what the other side says, as far as it makes sense on its own.
    ///
    /// # Errors
    /// It is no hello, not of this wire version, or its values make no sense.
    pub fn parse(body: &[u8]) -> Result<Self, CloseReason> {
        // The first two fields have stayed since the first version and always will.
        let ((magic, wire), _): (([u8; 4], u32), _) =
            envelope::decode_prefix(body).map_err(|_| CloseReason::NotWayside)?;
        if magic != MAGIC {
            return Err(CloseReason::NotWayside);
        }
        if wire != WIRE_VERSION {
            return Err(CloseReason::WireMismatch {
                ours: WIRE_VERSION,
                theirs: wire,
            });
        }
        let (hello, _): (Self, _) = envelope::decode_prefix(body)?;
        if !(1..=NAME_LEN_MAX).contains(&hello.protocol.len()) {
            let what = "a protocol name that is empty or beyond the limit";
            return Err(CloseReason::Malformed(what));
        }
        if hello.frame_len_max < FRAME_LEN_MIN {
            return Err(CloseReason::Malformed("a frame length below the least"));
        }
        Ok(hello)
    }

    /// Compares with what the other side says.
    ///
    /// # Errors
    /// Another protocol, or another version of it.
    pub fn agree(&self, theirs: &Self) -> Result<(), CloseReason> {
        if self.protocol_id() == theirs.protocol_id() {
            return Ok(());
        }
        Err(CloseReason::ProtocolMismatch {
            ours: self.protocol_id(),
            theirs: theirs.protocol_id(),
        })
    }

    /// Name and version.
    pub fn protocol_id(&self) -> ProtocolId {
        ProtocolId {
            name: self.protocol.clone(),
            version: self.version,
        }
    }

    /// The longest payload that the sender takes.
    pub fn frame_len_max(&self) -> u32 {
        self.frame_len_max
    }

    /// How long the sender waits for a sign of life.
    pub fn silence_timeout(&self) -> Duration {
        Duration::from_millis(self.silence_ms)
    }

    /// The run of the process that the sender is.
    pub fn epoch(&self) -> u128 {
        u128::from_le_bytes(self.epoch)
    }
}
