//! One client, as any thread of the server's process can talk to it.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::ambient;
use crate::close::CloseReason;
use crate::counters::LiveServerCounters;
use crate::envelope::{EncodeError, Failure, Head};
use crate::identity::PeerId;
use crate::outbox::{Lane, Refusal};
use crate::protocol::Protocol;
use crate::server::TIMEOUT_MAX;
use crate::server::attention::Attention;
use crate::spin::Look;
use crate::sync::{lock, wait_timeout};
use crate::turn;
use crate::wire::Wire;

/// The number of a peer: no other peer of the same server ever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub(crate) u64);

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A client of a server: cheap to clone, usable from any thread, also after the client has gone.
pub struct Peer<P> {
    pub(crate) shared: Arc<PeerShared>,
    protocol: PhantomData<fn() -> P>,
}

/// The part of a peer that the loop shares with other threads.
pub(crate) struct PeerShared {
    key: PeerKey,
    /// Where the loop keeps it.
    pub(crate) index: usize,
    /// The endpoint that it came in by.
    transport: Arc<str>,
    greeted: OnceLock<Greeted>,
    outgoing: Mutex<Outgoing>,
    /// There is room again, or nothing to wait for.
    room: Condvar,
    pub(crate) counters: Arc<LiveServerCounters>,
    attention: Arc<Attention>,
}

/// What is known of a peer once it has said hello.
struct Greeted {
    identity: PeerId,
    epoch: u128,
}

/// What a thread needs to write to a peer. The loop holds the lock while it reads once, and while it
/// writes what waits as far as the link takes it.
pub(crate) struct Outgoing {
    pub(crate) wire: Wire,
    /// The calls that the peer waits for.
    pub(crate) calls: HashSet<u64>,
    /// The calls that the application has not let go of, also those that were withdrawn: what
    /// counts against the limit is the work that a peer causes.
    pub(crate) calls_at_work: u32,
    /// The loop is about to write anyway: others only append.
    pub(crate) corked: bool,
    /// The loop does not read from the peer until it has read what it was sent.
    pub(crate) paused: bool,
    /// The loop wants to hear when the last call was answered.
    pub(crate) ending: bool,
    /// The goodbye is in the outbox: nothing may follow it.
    pub(crate) said_goodbye: bool,
    /// The loop is asked to close the peer.
    pub(crate) doomed: Option<CloseReason>,
    /// Set once the loop has let go of the peer.
    pub(crate) ended: Option<CloseReason>,
    /// The threads that wait for room.
    wait_for_room: u32,
}

impl<P> Clone for Peer<P> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }
}

impl<P> fmt::Debug for Peer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} by {})", self.key(), self.transport())
    }
}

impl<P> Peer<P> {
    pub(crate) fn of(shared: Arc<PeerShared>) -> Self {
        Self {
            shared,
            protocol: PhantomData,
        }
    }

    /// The number of this connection.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.shared.key
    }

    /// What the system vouches for about the client.
    #[must_use]
    pub fn identity(&self) -> &PeerId {
        static UNKNOWN: OnceLock<PeerId> = OnceLock::new();
        match self.shared.greeted.get() {
            Some(greeted) => &greeted.identity,
            None => UNKNOWN.get_or_init(PeerId::default),
        }
    }

    /// The run of the client's process: the same for all its connections, another after a restart
    /// or a fork.
    #[must_use]
    pub fn epoch(&self) -> u128 {
        self.shared.greeted.get().map_or(0, |greeted| greeted.epoch)
    }

    /// The endpoint that the client came in by.
    #[must_use]
    pub fn transport(&self) -> &str {
        &self.shared.transport
    }

    /// Closes the connection at once. What was on its way is in doubt.
    pub fn close(&self) {
        self.shared.doom(CloseReason::ClosedHere);
    }
}

impl<P: Protocol> Peer<P> {
    /// Sends a message to the client, behind everything that waits for it. Never blocks.
    ///
    /// # Errors
    /// See [`PushError`]. The message was not sent.
    pub fn push(&self, message: &P::Push) -> Result<(), PushError> {
        self.shared.push(Lane::Bulk, message)
    }

    /// Sends a message in step with the client: as long as much waits for it, this waits for room,
    /// at most for `timeout`. It does not wait within a turn of a loop, as in a handler.
    ///
    /// # Errors
    /// See [`PushError`]; [`PushError::Full`] if there is no room when the time is over.
    pub fn push_within(&self, message: &P::Push, timeout: Duration) -> Result<(), PushError> {
        self.shared.push_within(timeout, message)
    }

    /// Sends a message to the client that overtakes everything that waits for it and is not urgent.
    ///
    /// # Errors
    /// See [`PushError`]. The message was not sent.
    pub fn push_urgent(&self, message: &P::Push) -> Result<(), PushError> {
        self.shared.push(Lane::Urgent, message)
    }
}

impl PeerShared {
    pub(crate) fn new(
        key: PeerKey,
        index: usize,
        transport: Arc<str>,
        wire: Wire,
        counters: Arc<LiveServerCounters>,
        attention: Arc<Attention>,
    ) -> Self {
        Self {
            key,
            index,
            transport,
            greeted: OnceLock::new(),
            outgoing: Mutex::new(Outgoing {
                wire,
                calls: HashSet::new(),
                calls_at_work: 0,
                corked: false,
                paused: false,
                ending: false,
                said_goodbye: false,
                doomed: None,
                ended: None,
                wait_for_room: 0,
            }),
            room: Condvar::new(),
            counters,
            attention,
        }
    }

    pub(crate) fn key(&self) -> PeerKey {
        self.key
    }

    pub(crate) fn transport(&self) -> &str {
        &self.transport
    }

    pub(crate) fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        lock(&self.outgoing)
    }

    pub(crate) fn greet(&self, identity: PeerId, epoch: u128) {
        // A session opens once: the cell is empty.
        self.greeted.set(Greeted { identity, epoch }).ok();
    }

    pub(crate) fn push<T: Serialize>(&self, lane: Lane, message: &T) -> Result<(), PushError> {
        self.append_push(self.outgoing(), lane, message)
    }

    fn push_within<T: Serialize>(&self, timeout: Duration, message: &T) -> Result<(), PushError> {
        let outgoing = self.wait_for_room(timeout, |_| true);
        self.append_push(outgoing, Lane::Bulk, message)
    }

    /// The lock once there is room to spare, the time is over, or it has become pointless.
    fn wait_for_room(
        &self,
        timeout: Duration,
        wanted: impl Fn(&Outgoing) -> bool,
    ) -> MutexGuard<'_, Outgoing> {
        let mut outgoing = self.outgoing();
        if !outgoing.wire.is_ample() || turn::is_under_way() {
            return outgoing;
        }
        let deadline = ambient::now() + timeout.min(TIMEOUT_MAX);
        while outgoing.wire.is_ample() && outgoing.gone().is_none() && wanted(&outgoing) {
            let left = deadline.saturating_duration_since(ambient::now());
            if left == Duration::ZERO {
                break;
            }
            outgoing.wait_for_room += 1;
            outgoing = wait_timeout(&self.room, outgoing, left);
            outgoing.wait_for_room -= 1;
        }
        outgoing
    }

    fn append_push<T: Serialize>(
        &self,
        mut outgoing: MutexGuard<'_, Outgoing>,
        lane: Lane,
        message: &T,
    ) -> Result<(), PushError> {
        if let Some(reason) = outgoing.gone() {
            self.counters.pushes_refused.one();
            return Err(PushError::Gone(reason));
        }
        match outgoing.wire.append(lane, Head::Push, message) {
            Ok(()) => {
                self.counters.pushes.one();
                self.written(outgoing);
                Ok(())
            }
            Err(Refusal::Full { len, max }) => {
                self.counters.pushes_full.one();
                Err(PushError::Full { len, max })
            }
            Err(Refusal::Encode(error)) => {
                self.counters.pushes_refused.one();
                Err(match error {
                    EncodeError::TooLong { max } => PushError::TooLong { max },
                    EncodeError::Refused(error) => PushError::Unencodable(error.to_string()),
                })
            }
        }
    }

    /// Ends the call with a reply or a failure. Called once by each responder.
    pub(crate) fn answer<T: Serialize>(
        &self,
        id: u64,
        answer: Result<&T, Failure>,
    ) -> Result<(), ReplyError> {
        self.append_answer(self.outgoing(), id, answer)
    }

    /// The same, with a reply that waits for room.
    pub(crate) fn reply_within<T: Serialize>(
        &self,
        id: u64,
        reply: &T,
        timeout: Duration,
    ) -> Result<(), ReplyError> {
        let outgoing = self.wait_for_room(timeout, |outgoing| outgoing.calls.contains(&id));
        self.append_answer(outgoing, id, Ok(reply))
    }

    /// Nobody waits for the answer any more.
    pub(crate) fn withdraw(&self, id: u64) {
        let mut outgoing = self.outgoing();
        if outgoing.calls.remove(&id) {
            // Under the lock: whoever sees that the call is gone sees it counted, too.
            self.counters.cancelled.one();
            if outgoing.wait_for_room > 0 {
                self.room.notify_all();
            }
        }
    }

    fn append_answer<T: Serialize>(
        &self,
        mut outgoing: MutexGuard<'_, Outgoing>,
        id: u64,
        answer: Result<&T, Failure>,
    ) -> Result<(), ReplyError> {
        let unwanted = match outgoing.gone() {
            Some(reason) => Some(ReplyError::Gone(reason)),
            None if outgoing.calls.contains(&id) => None,
            None => Some(ReplyError::Cancelled),
        };
        if let Some(error) = unwanted {
            outgoing.calls_at_work -= 1;
            self.counters.replies_unwanted.one();
            return Err(error);
        }
        let wire = &mut outgoing.wire;
        let counters = &self.counters;
        let failed = |wire: &mut Wire, failure| {
            wire.append_reserved(Lane::Bulk, Head::Failed { id, failure })
        };
        let (mut appended, mut count) = match answer {
            Ok(reply) => (
                wire.append(Lane::Bulk, Head::Reply { id }, reply),
                &counters.replies,
            ),
            Err(failure) => (failed(wire, failure), &counters.failed),
        };
        let mut result = Ok(());
        if let (Ok(_), Err(refusal)) = (answer, &appended) {
            let (error, failure) = match refusal {
                Refusal::Full { len, max } => {
                    let (len, max) = (*len, *max);
                    (ReplyError::Full { len, max }, Failure::OutboxFull)
                }
                Refusal::Encode(EncodeError::TooLong { max }) => {
                    (ReplyError::TooLong { max: *max }, Failure::ReplyUnencodable)
                }
                Refusal::Encode(EncodeError::Refused(error)) => {
                    let error = ReplyError::Unencodable(error.to_string());
                    (error, Failure::ReplyUnencodable)
                }
            };
            result = Err(error);
            (appended, count) = (failed(wire, failure), &counters.failed);
        }
        // Not sooner: if encoding has panicked, the responder is dropped and answers once more.
        outgoing.calls_at_work -= 1;
        outgoing.calls.remove(&id);
        if let Err(Refusal::Full { max, .. }) = appended {
            // A call must end one way or the other: with no room even to say that it has failed,
            // the connection goes, and the client knows that the call may have run.
            let reason = CloseReason::OutboxFull { max };
            outgoing.doomed.get_or_insert(reason.clone());
            self.room.notify_all();
            self.attention.call(self.index);
            return Err(ReplyError::Gone(reason));
        }
        count.one();
        if outgoing.ending && outgoing.calls.is_empty() {
            self.attention.call(self.index);
        }
        self.written(outgoing);
        result
    }

    /// Whether the call still waits for its answer.
    pub(crate) fn waits_for(&self, id: u64) -> bool {
        self.outgoing().calls.contains(&id)
    }

    /// Asks the loop to close the peer.
    pub(crate) fn doom(&self, reason: CloseReason) {
        let mut outgoing = self.outgoing();
        if outgoing.ended.is_none() {
            outgoing.doomed.get_or_insert(reason);
            self.room.notify_all();
            self.attention.call(self.index);
        }
    }

    /// Lets go of everything that waits for the peer.
    pub(crate) fn end(&self, outgoing: &mut Outgoing, reason: CloseReason) {
        outgoing.calls.clear();
        outgoing.corked = false;
        outgoing.ended = Some(reason);
        self.room.notify_all();
    }

    /// Writes what the link takes.
    pub(crate) fn flush(
        &self,
        outgoing: &mut Outgoing,
        now: Instant,
    ) -> Result<usize, Arc<io::Error>> {
        let flushed = outgoing.wire.flush(now);
        if outgoing.wait_for_room > 0 && (!outgoing.wire.is_ample() || outgoing.said_goodbye) {
            self.room.notify_all();
        }
        flushed
    }

    /// Writes what did not leave before, for the loop, as far as the link takes it by now. That may
    /// call for a visit.
    pub(crate) fn write_on(&self, outgoing: &mut Outgoing) -> Look {
        // Behind control frames the session may have more to say.
        let goes_on = outgoing.paused
            || outgoing.ending
            || outgoing.said_goodbye
            || !outgoing.wire.outbox.is_control_empty();
        match self.flush(outgoing, ambient::now()) {
            Ok(_) if goes_on && outgoing.wire.writing.blocked_since.is_none() => Look::Came,
            Ok(0) => Look::Nothing,
            Ok(_) => Look::WroteOn,
            // The visit first reads its share of what has come, and then meets the error.
            Err(_) => Look::Came,
        }
    }

    /// Something was appended: writes it at once, unless the loop is about to.
    fn written(&self, mut outgoing: MutexGuard<'_, Outgoing>) {
        let wire = &outgoing.wire;
        // A handler that says much in one visit must not fill the outbox of a peer that reads.
        let waits = outgoing.corked && !wire.is_choked();
        if waits || wire.writing.blocked_since.is_some() {
            return;
        }
        let flushed = self.flush(&mut outgoing, ambient::now());
        let goes_well = flushed.is_ok() && outgoing.wire.writing.blocked_since.is_none();
        if !goes_well || outgoing.paused {
            self.attention.call(self.index);
        }
    }
}

impl Outgoing {
    /// Why nothing can be sent any more.
    fn gone(&self) -> Option<CloseReason> {
        let reason = self.ended.as_ref().or(self.doomed.as_ref()).cloned();
        reason.or_else(|| self.said_goodbye.then_some(CloseReason::Finished))
    }
}

/// Why a message was not sent to a client.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The client has gone.
    #[error("the client has gone: {0}")]
    Gone(CloseReason),
    /// The client reads more slowly than it is written to.
    #[error("{len} bytes wait for the client, outbox_len_max is {max}: it reads too slowly")]
    Full {
        /// What waits.
        len: usize,
        /// [`Limits::outbox_len_max`](crate::Limits::outbox_len_max).
        max: usize,
    },
    /// The message is longer than both sides take.
    #[error("the message is longer than frame_len_max, which is {max} bytes between these two")]
    TooLong {
        /// The lesser of both sides' limits.
        max: u32,
    },
    /// The message's own `Serialize` refused.
    #[error("the message can't be encoded: {0}")]
    Unencodable(String),
}

/// Why an answer was not sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The client has gone.
    #[error("the client has gone: {0}")]
    Gone(CloseReason),
    /// The client has stopped waiting.
    #[error("the client does not wait for the answer any more")]
    Cancelled,
    /// The client reads more slowly than it is answered; it was told so.
    #[error("{len} bytes wait for the client, outbox_len_max is {max}: it reads too slowly")]
    Full {
        /// What waits.
        len: usize,
        /// [`Limits::outbox_len_max`](crate::Limits::outbox_len_max).
        max: usize,
    },
    /// The answer is longer than both sides take; the client was told so.
    #[error("the answer is longer than frame_len_max, which is {max} bytes between these two")]
    TooLong {
        /// The lesser of both sides' limits.
        max: u32,
    },
    /// The answer's own `Serialize` refused; the client was told so.
    #[error("the answer can't be encoded: {0}")]
    Unencodable(String),
}
