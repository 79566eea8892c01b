//! What the threads of a client share: the way out, the open calls, and how things stand.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::ambient;
use crate::client::bell::Bell;
use crate::client::calls::{Answer, CallId, Calls, Progress, State};
use crate::client::error::{
    CallError, CloseError, ConnectError, ConnectFailures, NotConnected, SendAllError, SendError,
};
use crate::client::pushes::PushQueue;
use crate::client::state::ClientState;
use crate::counters::LiveClientCounters;
use crate::envelope::{EncodeError, Head};
use crate::limits::Limits;
use crate::outbox::{Lane, Refusal};
use crate::protocol::Protocol;
use crate::sync::checked::{Condvar, Mutex, MutexGuard, lock, wait_timeout};
use crate::turn;
use crate::wire::Wire;

pub(crate) struct Shared<P: Protocol> {
    outgoing: Mutex<Outgoing<P::Reply>>,
    /// The status has changed, or there is room again for those who wait for it.
    changed: Condvar,
    pub(crate) bell: Arc<Bell>,
    pub(crate) pushes: PushQueue<P::Push>,
    pub(crate) counters: LiveClientCounters,
    pub(crate) limits: Limits,
}

/// Everything that needs the lock. It is held while a message is encoded, and while what waits is
/// written as far as the link takes it.
pub(crate) struct Outgoing<R> {
    pub(crate) wire: Wire,
    pub(crate) calls: Calls<R>,
    pub(crate) status: Status,
    /// Whoever drives has been asked to write what waits.
    pub(crate) flush_asked: bool,
    /// The events in the outbox, and those that were written in this session.
    pub(crate) events: u64,
    /// How many of those the server has handled.
    pub(crate) events_acknowledged: u64,
    /// Set once the client is told to close: until then it may finish.
    pub(crate) closing: Option<Closing>,
    /// Blocking callers that wait for their answer while another thread drives.
    pub(crate) parked: Vec<(CallId, Waker)>,
    /// Whoever drives sleeps until then, if nothing happens.
    pub(crate) sleeps_until: Option<Instant>,
    /// The threads that wait for room.
    wait_for_room: u32,
}

/// How things stand.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    Connecting,
    Open { endpoint: Arc<str> },
    Draining,
    Waiting(ConnectFailures),
    Closed(Result<(), CloseError>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    pub(crate) deadline: Instant,
    /// The count of events in doubt when closing began.
    pub(crate) in_doubt_before: u64,
}

/// As many bytes are written by the thread that adds the last of them, without waiting for whoever
/// drives.
const WRITE_LEN: usize = 64 * 1024;

/// After a write, what is sent within this time is packed: it is left to whoever drives, who
/// writes it together with what else has come until it is awake.
const PACK_TIME: Duration = Duration::from_micros(50);

impl<P: Protocol> Shared<P> {
    pub(crate) fn new(limits: Limits, bell: Arc<Bell>) -> Self {
        let wire = Wire::new(limits.outbox_len_max, limits.frame_len_max, ambient::now());
        Self {
            outgoing: Mutex::new(Outgoing {
                wire,
                calls: Calls::new(),
                status: Status::Connecting,
                flush_asked: false,
                events: 0,
                events_acknowledged: 0,
                closing: None,
                parked: Vec::new(),
                sleeps_until: None,
                wait_for_room: 0,
            }),
            changed: Condvar::new(),
            bell,
            pushes: PushQueue::new(limits.pushes_max, limits.pushes_len_max),
            counters: LiveClientCounters::default(),
            limits,
        }
    }

    pub(crate) fn outgoing(&self) -> MutexGuard<'_, Outgoing<P::Reply>> {
        lock(&self.outgoing)
    }

    /// Changes the status and tells those who wait for that. It is noted in `states` too, for those
    /// who can't be told under the lock.
    pub(crate) fn set_status(
        &self,
        outgoing: &mut Outgoing<P::Reply>,
        status: Status,
        states: &mut Vec<ClientState>,
    ) {
        states.push((&status).into());
        outgoing.status = status;
        self.changed.notify_all();
    }

    // ---- events ----

    pub(crate) fn send(&self, lane: Lane, event: &P::Event) -> Result<(), SendError> {
        self.append_event(self.outgoing(), lane, event)
    }

    /// The same once there is room to spare, or the time is over.
    pub(crate) fn send_within(&self, timeout: Duration, event: &P::Event) -> Result<(), SendError> {
        let outgoing = self.outgoing_with_room(|| ambient::now() + timeout.min(TIMEOUT_MAX));
        self.append_event(outgoing, Lane::Bulk, event)
    }

    /// The same for many. Others can get the lock each time that there is enough for a write.
    pub(crate) fn send_all(
        &self,
        timeout: Duration,
        events: &[P::Event],
    ) -> Result<(), SendAllError> {
        let deadline = ambient::now() + timeout.min(TIMEOUT_MAX);
        let mut sent = 0;
        while sent < events.len() {
            let mut outgoing = self.outgoing_with_room(|| deadline);
            let before = outgoing.events;
            // What was taken before a panic is taken, and has to leave.
            let result = catch_unwind(AssertUnwindSafe(|| {
                self.append_a_write(&mut outgoing, &events[sent..])
            }));
            let taken = outgoing.events - before;
            if taken > 0 {
                self.write_or_ask(outgoing);
            }
            sent += usize::try_from(taken).expect("no more than there are in a slice");
            result
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map_err(|error| SendAllError { sent, error })?;
        }
        Ok(())
    }

    /// The lock, once there is room to spare or the deadline is over, which is asked for if need be.
    fn outgoing_with_room(
        &self,
        deadline: impl FnOnce() -> Instant,
    ) -> MutexGuard<'_, Outgoing<P::Reply>> {
        let mut outgoing = self.outgoing();
        if outgoing.wire.is_ample() && !turn::is_under_way() {
            let deadline = deadline();
            // It may nap, after calls: then nobody would see that the link takes more.
            self.bell.call_background();
            while outgoing.wire.is_ample() && outgoing.check_open().is_ok() {
                let left = deadline.saturating_duration_since(ambient::now());
                if left == Duration::ZERO {
                    break;
                }
                outgoing.wait_for_room += 1;
                outgoing = wait_timeout(&self.changed, outgoing, left);
                outgoing.wait_for_room -= 1;
            }
        }
        outgoing
    }

    fn append_event(
        &self,
        mut outgoing: MutexGuard<'_, Outgoing<P::Reply>>,
        lane: Lane,
        event: &P::Event,
    ) -> Result<(), SendError> {
        self.append(&mut outgoing, lane, event)?;
        self.write_or_ask(outgoing);
        Ok(())
    }

    /// As many of them as make a write, or as there are; one at least. The next may have to wait.
    fn append_a_write(
        &self,
        outgoing: &mut Outgoing<P::Reply>,
        events: &[P::Event],
    ) -> Result<(), SendError> {
        let waiting = outgoing.wire.outbox.queued_len();
        let enough = match waiting {
            ..WRITE_LEN => WRITE_LEN,
            _ => waiting + WRITE_LEN,
        };
        for event in events {
            self.append(outgoing, Lane::Bulk, event)?;
            if outgoing.wire.outbox.queued_len() >= enough || outgoing.wire.is_choked() {
                break;
            }
        }
        Ok(())
    }

    #[inline]
    fn append(
        &self,
        outgoing: &mut Outgoing<P::Reply>,
        lane: Lane,
        event: &P::Event,
    ) -> Result<(), SendError> {
        let appended = outgoing.check_open().and_then(|()| {
            let appended = outgoing.wire.append(lane, Head::Event, event);
            appended.map_err(SendError::from)
        });
        if let Err(error) = appended {
            match error {
                SendError::Full { .. } => self.counters.events_full.one(),
                _ => self.counters.events_refused.one(),
            }
            return Err(error);
        }
        outgoing.events += 1;
        self.counters.events.one_alone();
        Ok(())
    }

    /// The first message of a quiet link goes out at once; while more follow they are packed.
    fn write_or_ask(&self, mut outgoing: MutexGuard<'_, Outgoing<P::Reply>>) {
        if outgoing.wire.outbox.queued_len() < WRITE_LEN {
            if outgoing.flush_asked {
                return;
            }
            let now = ambient::now();
            if now < outgoing.wire.writing.last + PACK_TIME && outgoing.is_flowing() {
                outgoing.flush_asked = true;
                drop(outgoing);
                self.bell.ring();
                return;
            }
        }
        self.write(outgoing);
    }

    /// Writes what waits, as far as the link takes it. Without a connection, or while the link is
    /// blocked, whoever drives will do it when the time comes.
    fn write(&self, mut outgoing: MutexGuard<'_, Outgoing<P::Reply>>) {
        if outgoing.is_flowing() && self.flush(&mut outgoing, ambient::now()).is_err() {
            drop(outgoing);
            self.bell.ring();
        }
    }

    /// Writes what the link takes.
    pub(crate) fn flush(
        &self,
        outgoing: &mut Outgoing<P::Reply>,
        now: Instant,
    ) -> Result<usize, Arc<io::Error>> {
        let flushed = outgoing.wire.flush(now);
        if outgoing.wait_for_room > 0 && !outgoing.wire.is_ample() {
            self.changed.notify_all();
        }
        flushed
    }

    // ---- calls ----

    /// Sends a request. The connection has to be there.
    pub(crate) fn begin(
        &self,
        request: &P::Request,
        timeout: Duration,
    ) -> Result<(CallId, Instant), CallError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.begin_with(timeout, |wire, id| {
            wire.append(Lane::Bulk, Head::Request { id, timeout_ms }, request)
        })
    }

    /// Asks the server to say when it has handled everything so far.
    pub(crate) fn begin_sync(&self, timeout: Duration) -> Result<(CallId, Instant), CallError> {
        self.begin_with(timeout, |wire, id| {
            wire.append_reserved(Lane::Bulk, Head::Sync { id })
        })
    }

    fn begin_with(
        &self,
        timeout: Duration,
        append: impl FnOnce(&mut Wire, u64) -> Result<(), Refusal<EncodeError>>,
    ) -> Result<(CallId, Instant), CallError> {
        let begun = self.try_begin(timeout, append);
        if begun.is_err() {
            self.counters.calls_refused.one();
        }
        begun
    }

    fn try_begin(
        &self,
        timeout: Duration,
        append: impl FnOnce(&mut Wire, u64) -> Result<(), Refusal<EncodeError>>,
    ) -> Result<(CallId, Instant), CallError> {
        let mut outgoing = self.outgoing();
        outgoing.check_connected()?;
        let max = self.limits.calls_max;
        if outgoing.calls.open_count() >= max {
            return Err(CallError::TooManyCalls { max });
        }
        let now = ambient::now();
        let deadline = now + timeout.min(TIMEOUT_MAX);
        // The message's own code runs here, and may panic: nothing has begun then.
        let id = outgoing.calls.next_id();
        append(&mut outgoing.wire, id.0).map_err(|refusal| CallError::NotSent(refusal.into()))?;
        outgoing.calls.begin(deadline);
        self.counters.calls.one();
        self.write(outgoing);
        Ok((id, deadline))
    }

    /// Makes sure that whoever drives will notice the deadline of a call that nobody waits for in
    /// a blocking way.
    pub(crate) fn watch_deadline(&self, deadline: Instant) {
        let sooner = self
            .outgoing()
            .sleeps_until
            .is_none_or(|until| deadline < until);
        if sooner {
            self.bell.ring();
        }
    }

    /// Takes the end of a call.
    pub(crate) fn poll(&self, id: CallId, waker: &Waker) -> Progress<P::Reply> {
        let progress = self.outgoing().calls.poll(id, waker);
        if let Progress::Ended(result) = &progress {
            self.count_end(result);
        }
        progress
    }

    pub(crate) fn count_end(&self, result: &Result<Answer<P::Reply>, CallError>) {
        match result {
            Ok(_) => self.counters.replies.one(),
            Err(_) => self.counters.calls_failed.one(),
        }
    }

    /// Lets go of a call; the server hears that nobody waits any more.
    pub(crate) fn abandon(&self, id: CallId) {
        let mut outgoing = self.outgoing();
        let state = outgoing.calls.abandon(id);
        match &state {
            State::Open { .. } => {
                self.counters.calls_failed.one();
                outgoing.cancel(id);
                self.write(outgoing);
            }
            State::Ended(result) => {
                drop(outgoing);
                self.count_end(result);
            }
            State::Free => drop(outgoing),
        }
        // The lock was let go: the state that goes here holds what is the application's.
    }

    // ---- status ----

    /// Waits until the client is connected.
    pub(crate) fn wait_connected(&self, timeout: Duration) -> Result<(), ConnectError> {
        let deadline = ambient::now() + timeout.min(TIMEOUT_MAX);
        let mut outgoing = self.outgoing();
        loop {
            let why = match &outgoing.status {
                Status::Open { .. } => return Ok(()),
                Status::Closed(_) => return Err(ConnectError::Closed),
                Status::Waiting(failures) if failures.is_final() => {
                    return Err(ConnectError::Mismatch(failures.clone()));
                }
                Status::Waiting(failures) => NotConnected::Waiting(failures.clone()),
                Status::Connecting => NotConnected::Connecting,
                Status::Draining => NotConnected::Draining,
            };
            let left = deadline.saturating_duration_since(ambient::now());
            if left == Duration::ZERO {
                return Err(ConnectError::TimedOut {
                    waited: timeout,
                    why,
                });
            }
            outgoing = wait_timeout(&self.changed, outgoing, left);
        }
    }

    /// Takes nothing new from now on.
    pub(crate) fn begin_close(&self, timeout: Duration) {
        let deadline = ambient::now() + timeout.min(TIMEOUT_MAX);
        let mut outgoing = self.outgoing();
        let in_doubt_before = self.counters.events_in_doubt.read();
        let closing = outgoing.closing.get_or_insert(Closing {
            deadline,
            in_doubt_before,
        });
        closing.deadline = closing.deadline.min(deadline);
        drop(outgoing);
        self.changed.notify_all();
        self.bell.ring();
    }

    /// Waits until whoever drives has closed the client.
    pub(crate) fn wait_closed(&self) -> Result<(), CloseError> {
        let mut outgoing = self.outgoing();
        loop {
            if let Status::Closed(result) = &outgoing.status {
                return result.clone();
            }
            outgoing = self
                .changed
                .wait(outgoing)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same where the application's own loop drives, which may stand still: at the latest once
    /// closing had to be over, with what may be lost by then.
    pub(crate) fn wait_closed_by_others(&self) -> Result<(), CloseError> {
        let mut outgoing = self.outgoing();
        loop {
            if let Status::Closed(result) = &outgoing.status {
                return result.clone();
            }
            let Some(closing) = outgoing.closing else {
                return Ok(());
            };
            let until = closing.deadline + LOOP_TIME;
            let left = until.saturating_duration_since(ambient::now());
            if left == Duration::ZERO {
                let doubted = self.counters.events_in_doubt.read() - closing.in_doubt_before;
                return outgoing.may_be_lost(doubted);
            }
            outgoing = wait_timeout(&self.changed, outgoing, left);
        }
    }
}

/// What a loop gets to notice that the time for closing is over.
const LOOP_TIME: Duration = Duration::from_millis(100);

/// The longest that a deadline is taken to lie ahead.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl<R> Outgoing<R> {
    fn check_open(&self) -> Result<(), SendError> {
        if self.closing.is_some() || matches!(self.status, Status::Closed(_)) {
            return Err(SendError::Closed);
        }
        Ok(())
    }

    /// Of the events that were taken: those that the server has not acknowledged, and those that were
    /// in doubt already.
    fn may_be_lost(&self, doubted: u64) -> Result<(), CloseError> {
        let left = self.events.saturating_sub(self.events_acknowledged);
        let (unsent, in_doubt) = match self.status {
            Status::Open { .. } | Status::Draining => (0, doubted + left),
            _ => (left, doubted),
        };
        if unsent + in_doubt == 0 {
            return Ok(());
        }
        Err(CloseError { unsent, in_doubt })
    }

    fn check_connected(&self) -> Result<(), CallError> {
        self.check_open()
            .map_err(|_| CallError::NotConnected(NotConnected::Closed))?;
        let why = match &self.status {
            Status::Open { .. } => return Ok(()),
            Status::Connecting => NotConnected::Connecting,
            Status::Draining => NotConnected::Draining,
            Status::Waiting(failures) => NotConnected::Waiting(failures.clone()),
            Status::Closed(_) => NotConnected::Closed,
        };
        Err(CallError::NotConnected(why))
    }

    /// Whether what is appended now can be written now.
    fn is_flowing(&self) -> bool {
        matches!(self.status, Status::Open { .. }) && self.wire.writing.blocked_since.is_none()
    }

    /// Whether a caller that was parked has its answer since the last time.
    pub(crate) fn has_ended_parked(&mut self) -> bool {
        let Self { parked, calls, .. } = self;
        parked.iter().any(|(id, _)| calls.has_ended(*id))
    }

    /// Tells the server that nobody waits for the answer. Without room it will find out when the
    /// answer is not wanted.
    pub(crate) fn cancel(&mut self, id: CallId) {
        if matches!(self.status, Status::Open { .. }) {
            let head = Head::Cancel { id: id.0 };
            self.wire.append_reserved(Lane::Bulk, head).ok();
        }
    }
}

impl From<Refusal<EncodeError>> for SendError {
    fn from(refusal: Refusal<EncodeError>) -> Self {
        match refusal {
            Refusal::Full { len, max } => Self::Full { len, max },
            Refusal::Encode(EncodeError::TooLong { max }) => Self::TooLong { max },
            Refusal::Encode(EncodeError::Refused(error)) => Self::Unencodable(error.to_string()),
        }
    }
}
