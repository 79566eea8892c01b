//! What goes over one connection: what has come is read and handed on, what waits is written.

use std::sync::Arc;
use std::time::Instant;

use super::Driver;
use crate::client::calls::{Answer, CallId};
use crate::client::error::CallError;
use crate::client::shared::{Outgoing, Status};
use crate::close::CloseReason;
use crate::envelope;
use crate::protocol::Protocol;
use crate::session::Incoming;
use crate::wire::Read;

/// What one turn may read before it is the turn of writing and of whoever waits.
const TURN_LEN_MAX: usize = 1 << 20;

impl<P: Protocol> Driver<P> {
    /// Does what other threads have asked for.
    pub(super) fn obey(&mut self, now: Instant) {
        let mut outgoing = self.shared.outgoing();
        outgoing.flush_asked = false;
        if outgoing.closing.is_some() {
            if let Some(session) = self.session.as_mut().filter(|session| session.is_open()) {
                session.say_goodbye(&mut outgoing.wire.outbox, now);
            }
        }
    }

    /// There is nobody else who could want the buffer.
    pub(super) fn take_buffer(&mut self) {
        if !self.inbox.is_lent() {
            self.inbox.lend(&mut self.lent);
        }
    }

    pub(super) fn receive_all(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.take_buffer();
        let received = self.receive(now);
        if self.inbox.is_swollen() {
            self.inbox.give_back(&mut self.lent);
        }
        received
    }

    pub(super) fn exchange(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.receive_all(now)?;
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let mut outgoing = self.shared.outgoing();
        let flush = |outgoing: &mut Outgoing<P::Reply>| {
            let flushed = self.shared.flush(outgoing, now);
            flushed.map_err(CloseReason::LinkFailed)
        };
        // Twice: what was written may let the farewell follow.
        for _ in 0..2 {
            session.answer(&mut outgoing.wire.outbox);
            flush(&mut outgoing)?;
        }
        if session.is_over(&mut outgoing.wire.outbox) {
            return Err(CloseReason::Finished);
        }
        if !self.more {
            let writing = outgoing.wire.writing;
            session.handle_timeout(&mut outgoing.wire.outbox, &writing, now)?;
            flush(&mut outgoing)?;
        }
        Ok(())
    }

    fn receive(&mut self, now: Instant) -> Result<(), CloseReason> {
        let mut left = TURN_LEN_MAX;
        self.more = false;
        loop {
            let read = match self.seen.take() {
                Some(seen) => seen,
                None => self.shared.outgoing().wire.recv(&mut self.inbox),
            };
            match read {
                Ok(Read::Bytes { len, short }) => {
                    left = left.saturating_sub(len);
                    self.handle_frames(now)?;
                    if left == 0 {
                        self.more = true;
                        return Ok(());
                    }
                    if short && self.short_recv_is_last && !self.ended {
                        return Ok(());
                    }
                }
                Ok(Read::Blocked) => return Ok(()),
                Ok(Read::End) => return Err(CloseReason::PeerGone),
                Err(error) => return Err(CloseReason::LinkFailed(Arc::new(error))),
            }
        }
    }

    fn handle_frames(&mut self, now: Instant) -> Result<(), CloseReason> {
        loop {
            let Some(session) = &mut self.session else {
                return Ok(());
            };
            let Some(payload) = self.inbox.next_payload(session.frame_len_max())? else {
                session.heard(self.inbox.partial_len(), now);
                return Ok(());
            };
            match session.receive(payload)? {
                Incoming::Opened => self.opened(now),
                Incoming::Reply { id, body } => {
                    let reply = envelope::decode_body(body)?;
                    self.end_call(id, Ok(Answer::Reply(reply)));
                }
                Incoming::Failed { id, failure } => {
                    self.end_call(id, Err(CallError::Failed(failure)));
                }
                Incoming::Push(body) => {
                    let push = envelope::decode_body(body)?;
                    self.shared.counters.pushes.one();
                    let dropped = self.shared.pushes.add(push, body.len());
                    let count = u64::try_from(dropped.len()).unwrap_or(u64::MAX);
                    self.shared.counters.pushes_dropped.add(count);
                }
                Incoming::Acknowledged { id, events } => self.acknowledged(id, events)?,
                Incoming::Draining => {
                    let mut outgoing = self.shared.outgoing();
                    session.say_goodbye(&mut outgoing.wire.outbox, now);
                    self.shared
                        .set_status(&mut outgoing, Status::Draining, &mut self.states);
                }
                Incoming::Goodbye => {
                    let mut outgoing = self.shared.outgoing();
                    session.say_goodbye(&mut outgoing.wire.outbox, now);
                    if !matches!(outgoing.status, Status::Draining) {
                        self.shared
                            .set_status(&mut outgoing, Status::Draining, &mut self.states);
                    }
                }
                Incoming::Nothing
                | Incoming::Event(_)
                | Incoming::Request { .. }
                | Incoming::Cancel { .. }
                | Incoming::Sync { .. } => {}
            }
        }
    }

    fn end_call(&mut self, id: u64, result: Result<Answer<P::Reply>, CallError>) {
        let mut outgoing = self.shared.outgoing();
        let wanted = outgoing.calls.end(CallId(id), result, &mut self.wakers);
        drop(outgoing);
        if !wanted {
            self.shared.counters.replies_unwanted.one();
        }
        self.wake();
    }

    /// Wakes those whose calls have ended. Not to be called under the lock.
    pub(super) fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    fn acknowledged(&mut self, id: u64, events: u64) -> Result<(), CloseReason> {
        let mut outgoing = self.shared.outgoing();
        if events > outgoing.events {
            return Err(CloseReason::Malformed("more events acknowledged than sent"));
        }
        // The answer to a sync waits in line, and an acknowledgement that nobody asked for may
        // have overtaken it with a higher number.
        let new = events.saturating_sub(outgoing.events_acknowledged);
        outgoing.events_acknowledged += new;
        self.shared.counters.events_acknowledged.add(new);
        if id != 0 {
            // A sync that nobody waits for any more has still told how many.
            let synced = Ok(Answer::Synced);
            outgoing.calls.end(CallId(id), synced, &mut self.wakers);
        }
        drop(outgoing);
        self.wake();
        Ok(())
    }
}
