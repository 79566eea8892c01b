//! How long each side waits for the other, and when it asks for a sign of life.

use std::time::{Duration, Instant};

use super::{Phase, Role, Session, Writing, control};
use crate::close::CloseReason;
use crate::envelope::Head;
use crate::hello::Hello;
use crate::outbox::Outbox;

/// How long the second to say goodbye waits for the farewell of a peer whose end doesn't show.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// No server gets signs of life more often, however short its patience is said to be: they cost this
/// side a wake-up each.
const WISHED_INTERVAL_MIN: Duration = Duration::from_millis(10);

impl Session {
    /// Takes note that bytes have come, and how many of them are a frame only begun.
    pub fn heard(&mut self, partial_len: usize, now: Instant) {
        self.last_heard = now;
        self.partial_since = (partial_len > 0).then(|| self.partial_since.unwrap_or(now));
    }

    /// When the frame was begun of which a part is there.
    pub fn partial_since(&self) -> Option<Instant> {
        self.partial_since
    }

    /// Takes note that nobody has listened: what the peer has not said until now is no fault of its
    /// own.
    pub fn excuse(&mut self, now: Instant) {
        self.last_heard = now;
        self.partial_since = self.partial_since.map(|_| now);
    }

    /// Takes note that a frame was finished.
    pub(super) fn frame_finished(&mut self) {
        self.partial_since = None;
    }

    /// When [`handle_timeout`](Session::handle_timeout) has to be called.
    pub fn deadline(&self, writing: &Writing) -> Instant {
        if self.phase != Phase::Open {
            return self.started + self.limits.handshake_timeout;
        }
        let stalled = self.stall_deadline(writing);
        let unfinished = self
            .partial_since
            .map(|since| since + self.limits.frame_timeout);
        let farewell = self.farewell_deadline(writing);
        let ping =
            (self.role == Role::Client && self.ping_sent.is_none()).then(|| self.ping_due(writing));
        [stalled, unfinished, farewell, ping]
            .into_iter()
            .flatten()
            .fold(self.silence_deadline(), Instant::min)
    }

    /// Does what is due by now: pings, or gives up.
    ///
    /// # Errors
    /// Why the connection has to be closed.
    pub fn handle_timeout(
        &mut self,
        outbox: &mut Outbox,
        writing: &Writing,
        now: Instant,
    ) -> Result<(), CloseReason> {
        let limits = &self.limits;
        if self.phase != Phase::Open {
            if now >= self.started + limits.handshake_timeout {
                return Err(CloseReason::HandshakeTimeout(limits.handshake_timeout));
            }
            return Ok(());
        }
        if self.farewell_deadline(writing).is_some_and(|at| now >= at) {
            return Err(self.at_end(CloseReason::PeerGone));
        }
        if self.stall_deadline(writing).is_some_and(|at| now >= at) {
            return Err(CloseReason::NotReading(limits.stall_timeout));
        }
        if let Some(since) = self.partial_since {
            if now >= since + limits.frame_timeout {
                return Err(CloseReason::FrameStalled(limits.frame_timeout));
            }
        }
        if now >= self.silence_deadline() {
            return Err(CloseReason::Silent(limits.silence_timeout));
        }
        if self.role == Role::Client && self.ping_sent.is_none() && now >= self.ping_due(writing) {
            self.ping_id += 1;
            self.ping_sent = Some(now);
            control(outbox, Head::Ping { id: self.ping_id }, &());
        }
        Ok(())
    }

    /// A server does not listen to a client that has much to read. So a client that is sent something
    /// is itself the slow one, and goes on reading. A server grants nobody that much: whoever only
    /// speaks would hold the memory of what waits for it as long as it likes.
    fn stall_deadline(&self, writing: &Writing) -> Option<Instant> {
        let since = writing.blocked_since?;
        let since = match self.role {
            Role::Client => since.max(self.last_heard),
            Role::Server => since,
        };
        Some(since + self.limits.stall_timeout)
    }

    fn silence_deadline(&self) -> Instant {
        self.last_heard + self.limits.silence_timeout
    }

    /// A client pings when either direction has been quiet: its own so that the server hears of
    /// it, the other so that it hears of the server.
    fn ping_due(&self, writing: &Writing) -> Instant {
        let patience = self
            .theirs
            .as_ref()
            .map_or(Duration::MAX, Hello::silence_timeout);
        let wished = (patience / 3).max(WISHED_INTERVAL_MIN);
        let interval = self.limits.ping_interval.min(wished);
        self.last_heard.min(writing.last) + interval
    }

    /// The peer has that long once it could have read the goodbye; while it still takes what was
    /// written before, the stall timeout is for it.
    fn farewell_deadline(&self, writing: &Writing) -> Option<Instant> {
        let said = self.ending.said.filter(|_| self.ending.heard)?;
        let all_written = writing.blocked_since.is_none();
        all_written.then(|| said.max(self.last_heard).max(writing.last) + FAREWELL_TIMEOUT)
    }
}
