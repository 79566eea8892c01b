//! Every bound, in one place. Sizes are bytes; `_max` counts what is named before it.

use std::time::Duration;

/// The bounds of a server or client. The defaults suit some hundred processes on one host.
///
/// What others can make this process hold follows from them:
///
/// - a server: `partial_len_max` for all half-received frames together; for each peer
///   `outbox_len_max` of what it does not read, and `calls_max` calls; at most `peers_max` peers, and
///   as long as they say nothing some kilobytes for each;
/// - a client: `pushes_len_max` of pushes, `outbox_len_max` of what the server does not read, and
///   one half-received frame.
///
/// These count bytes as they go over the link. Buffers that grow by doubling take up to four times
/// as much memory, a message that is decoded what its type takes. On top come the buffers that a
/// server or client has once, for reading: `frame_len_max`, at least 64 KiB, doubled likewise.
///
/// ```
/// let limits = wayside::Limits {
///     frame_len_max: 64 * 1024,
///     ..wayside::Limits::default()
/// };
/// assert!(limits.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame: head and body of one message. A peer that announces more is closed.
    pub frame_len_max: u32,
    /// The bytes of encoded messages that wait to be written to one peer.
    pub outbox_len_max: usize,
    /// The bytes of half-received frames over all peers of a server. Beyond it, the peer whose
    /// frame was begun first is closed.
    pub partial_len_max: usize,
    /// The calls of one peer that wait for an answer. On a server a call that was withdrawn counts
    /// until the handler has let go of its responder.
    pub calls_max: u32,
    /// The peers of a server. When one more comes, the oldest of those that have not said hello is
    /// closed for it; if there is none, it is turned away.
    pub peers_max: u32,
    /// The peers of a server that have connected but not yet said hello. When one more comes, the
    /// one that has waited longest is closed: idle connections can't keep others out.
    pub handshakes_max: u32,
    /// The pushes of a client that wait to be looked at. When one more comes the oldest is
    /// dropped, and counted.
    pub pushes_max: u32,
    /// The bytes of those pushes, as they came. More drop the oldest, but never the last.
    pub pushes_len_max: usize,
    /// From the connection to the end of both hellos, proof of a key included.
    pub handshake_timeout: Duration,
    /// A client that has heard nothing for so long asks the server for a sign of life.
    pub ping_interval: Duration,
    /// A peer from which nothing has come for so long is dead.
    pub silence_timeout: Duration,
    /// From the first byte of a frame to its last.
    pub frame_timeout: Duration,
    /// A peer that has taken no byte for so long, while some waited, is closed; by a client only if
    /// none has come from it either.
    pub stall_timeout: Duration,
    /// The pause before the first attempt to connect again; doubled each time, with jitter.
    pub reconnect_delay_min: Duration,
    /// The longest pause between two attempts.
    pub reconnect_delay_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_len_max: 4 << 20,
            outbox_len_max: 8 << 20,
            partial_len_max: 64 << 20,
            calls_max: 1024,
            peers_max: 4096,
            handshakes_max: 256,
            pushes_max: 1024,
            pushes_len_max: 64 << 20,
            handshake_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            silence_timeout: Duration::from_secs(15),
            frame_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(15),
            reconnect_delay_min: Duration::from_millis(20),
            reconnect_delay_max: Duration::from_secs(2),
        }
    }
}

/// The shortest `frame_len_max` that still holds every control frame.
pub(crate) const FRAME_LEN_MIN: u32 = 1024;

/// The longest of all times, a year: a point in time so far ahead can always be named.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl Limits {
    /// Checks that the bounds fit each other.
    ///
    /// # Errors
    /// Names the bounds that don't, and their values.
    pub fn check(&self) -> Result<(), LimitsError> {
        let error =
            |bounds: &'static [&'static str], problem: String| Err(LimitsError { bounds, problem });
        let frame_len_max = self.frame_len_max;
        if frame_len_max < FRAME_LEN_MIN {
            return error(
                &["frame_len_max"],
                format!("frame_len_max is {frame_len_max}, must be at least {FRAME_LEN_MIN}"),
            );
        }
        if u64::try_from(self.outbox_len_max).is_ok_and(|len| len < u64::from(frame_len_max) + 4) {
            let len = self.outbox_len_max;
            return error(
                &["outbox_len_max", "frame_len_max"],
                format!(
                    "outbox_len_max is {len}, must hold one frame of frame_len_max {frame_len_max} and 4 bytes"
                ),
            );
        }
        if u64::try_from(self.partial_len_max).is_ok_and(|len| len < u64::from(frame_len_max) + 4) {
            let len = self.partial_len_max;
            return error(
                &["partial_len_max", "frame_len_max"],
                format!(
                    "partial_len_max is {len}, must hold one frame of frame_len_max {frame_len_max} and 4 bytes"
                ),
            );
        }
        for (bounds, value) in [
            (&["handshake_timeout"], self.handshake_timeout),
            (&["ping_interval"], self.ping_interval),
            (&["silence_timeout"], self.silence_timeout),
            (&["frame_timeout"], self.frame_timeout),
            (&["stall_timeout"], self.stall_timeout),
            (&["reconnect_delay_max"], self.reconnect_delay_max),
        ] {
            if value > DURATION_MAX {
                let name = bounds[0];
                return error(
                    bounds,
                    format!("{name} is {value:?}, can be {DURATION_MAX:?} at most"),
                );
            }
        }
        if self.silence_timeout < self.ping_interval * 2 {
            let (silence, ping) = (self.silence_timeout, self.ping_interval);
            return error(
                &["silence_timeout", "ping_interval"],
                format!(
                    "silence_timeout is {silence:?}, must be at least twice ping_interval {ping:?}"
                ),
            );
        }
        if self.reconnect_delay_max < self.reconnect_delay_min {
            let (max, min) = (self.reconnect_delay_max, self.reconnect_delay_min);
            return error(
                &["reconnect_delay_max", "reconnect_delay_min"],
                format!(
                    "reconnect_delay_max is {max:?}, must be at least reconnect_delay_min {min:?}"
                ),
            );
        }
        for (bounds, value) in [
            (&["calls_max"], self.calls_max),
            (&["peers_max"], self.peers_max),
            (&["handshakes_max"], self.handshakes_max),
            (&["pushes_max"], self.pushes_max),
        ] {
            if value == 0 {
                return error(bounds, format!("{} is 0, must be at least 1", bounds[0]));
            }
        }
        for (bounds, value) in [
            (&["handshake_timeout"], self.handshake_timeout),
            (&["ping_interval"], self.ping_interval),
            (&["frame_timeout"], self.frame_timeout),
            (&["stall_timeout"], self.stall_timeout),
            (&["reconnect_delay_min"], self.reconnect_delay_min),
        ] {
            if value < Duration::from_millis(1) {
                return error(
                    bounds,
                    format!("{} is {value:?}, must be at least 1ms", bounds[0]),
                );
            }
        }
        Ok(())
    }
}

/// Bounds that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limits don't fit: {problem}")]
pub struct LimitsError {
    /// Not empty: first the bound that is wrong, then what it contradicts.
    bounds: &'static [&'static str],
    problem: String,
}

impl LimitsError {
    /// The fields that don't fit: first the one that is wrong, then the one it contradicts.
    #[must_use]
    pub fn bounds(&self) -> &'static [&'static str] {
        self.bounds
    }

    /// What is wrong, without the words before it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_end_are_refused() {
        let changes: [fn(&mut Limits); 6] = [
            |limits| limits.handshake_timeout = Duration::MAX,
            |limits| limits.ping_interval = Duration::MAX,
            |limits| limits.silence_timeout = Duration::MAX,
            |limits| limits.frame_timeout = Duration::MAX,
            |limits| limits.stall_timeout = Duration::MAX,
            |limits| limits.reconnect_delay_max = Duration::MAX,
        ];
        for change in changes {
            let mut limits = Limits::default();
            change(&mut limits);
            let text = limits.check().unwrap_err().to_string();
            assert!(text.contains("at most"), "{text}");
        }
    }
}
