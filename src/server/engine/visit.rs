//! One visit of one peer: what it has sent is read and handled, what it is to read is written.

use std::sync::Arc;
use std::time::Instant;

use crate::ambient;
use crate::close::CloseReason;
use crate::encoded::Encoded;
use crate::envelope::{Failure, Head};
use crate::inbox::Inbox;
use crate::outbox::Lane;
use crate::protocol::Protocol;
use crate::server::TIMEOUT_MAX;
use crate::server::engine::{Engine, Entry, guard};
use crate::server::handler::Handler;
use crate::server::peer::{Peer, PeerShared};
use crate::server::responder::Responder;
use crate::session::{Incoming, Session};
use crate::wire::Read;

/// What one visit may read before it is the others' turn.
const VISIT_LEN_MAX: usize = 256 * 1024;

/// Whether a visit left something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

impl<P: Protocol, H: Handler<P>> Engine<P, H> {
    /// Reads what has come, handles it, and writes what is to be said. Gives the time at its end: the
    /// same, unless application's code was run meanwhile.
    pub(super) fn visit(&mut self, index: usize, mut now: Instant) -> Instant {
        let Some(mut entry) = self.entries.get_mut(index).and_then(Option::take) else {
            return now;
        };
        entry.ready = false;
        let timer_at = entry.timer_at;
        let result = self.exchange(&mut entry, &mut now);
        let again = matches!(result, Ok(More::Yes));
        self.entries[index] = Some(entry);
        match result {
            Ok(_) => {
                self.set_timer(index, timer_at);
                if again {
                    self.mark_ready(index);
                }
            }
            Err(reason) => self.close(index, reason, now),
        }
        while self.partials_len > self.limits.partial_len_max {
            let max = self.limits.partial_len_max;
            self.close(
                self.oldest_partial(index),
                CloseReason::PartialsFull { max },
                now,
            );
        }
        now
    }

    /// The peer that has kept its part of a frame back longest: those that only happen to be in the
    /// middle of one must not pay for it. If there is none, `visited`, which has left the most over.
    fn oldest_partial(&self, visited: usize) -> usize {
        (0..self.entries.len())
            .filter_map(|index| {
                let since = self.entries[index].as_ref()?.session.partial_since()?;
                Some((since, index))
            })
            .min()
            .map_or(visited, |(_, index)| index)
    }

    fn exchange(&mut self, entry: &mut Entry, now: &mut Instant) -> Result<More, CloseReason> {
        let was_partial = entry.inbox.partial_len();
        self.lend_to(entry);
        let received = self.receive(entry, now);
        if entry.inbox.is_swollen() {
            self.take_back(&mut entry.inbox);
        }
        self.partials_len = self.partials_len - was_partial + entry.inbox.partial_len();
        self.finish_visit(entry, received?, *now)
    }

    fn lend_to(&mut self, entry: &mut Entry) {
        let index = entry.shared.index;
        if self.lent_to == Some(index) {
            return;
        }
        if let Some(other) = self.lent_to.and_then(|other| self.entries[other].as_mut()) {
            other.inbox.give_back(&mut self.lent);
        }
        entry.inbox.lend(&mut self.lent);
        self.lent_to = Some(index);
    }

    pub(super) fn take_back(&mut self, inbox: &mut Inbox) {
        inbox.give_back(&mut self.lent);
        self.lent_to = None;
    }

    fn receive(&mut self, entry: &mut Entry, now: &mut Instant) -> Result<More, CloseReason> {
        let mut left = VISIT_LEN_MAX;
        loop {
            let read = {
                let mut outgoing = entry.shared.outgoing();
                if let Some(reason) = outgoing.doomed.take() {
                    return Err(entry.session.at_end(reason));
                }
                outgoing.corked = true;
                outgoing.paused = outgoing.wire.is_choked();
                if outgoing.paused {
                    entry.session.excuse(*now);
                    return Ok(More::No);
                }
                if entry.left_over {
                    Ok(Read::Bytes {
                        len: 0,
                        short: true,
                    })
                } else if let Some(seen) = entry.seen.take() {
                    seen
                } else {
                    outgoing.wire.recv(&mut entry.inbox)
                }
            };
            match read {
                Ok(Read::Bytes { len, short }) => {
                    left = left.saturating_sub(len);
                    entry.left_over = self.handle_frames(entry, now)?;
                    let partial_len = match entry.left_over {
                        true => 0,
                        false => entry.inbox.partial_len(),
                    };
                    entry.session.heard(partial_len, *now);
                    if left == 0 {
                        return Ok(More::Yes);
                    }
                    if short && entry.is_emptied_by_short_recv() {
                        return Ok(More::No);
                    }
                }
                Ok(Read::Blocked) => return Ok(More::No),
                Ok(Read::End) => return Err(entry.session.at_end(CloseReason::PeerGone)),
                Err(error) => {
                    let reason = CloseReason::LinkFailed(Arc::new(error));
                    return Err(entry.session.at_end(reason));
                }
            }
        }
    }

    /// Handles the whole frames in the inbox. True if some are left, because the peer has to read
    /// first what the others have led to: answers are bounded by the outbox, not by the requests
    /// that fit into one read.
    fn handle_frames(&mut self, entry: &mut Entry, now: &mut Instant) -> Result<bool, CloseReason> {
        // Around all of them at once: what is caught closes the peer, and nothing more of it is read.
        let counters = Arc::clone(&self.counters);
        let came = *now;
        let handled = guard(&counters, || self.handle_each(entry, came));
        if std::mem::take(&mut self.has_called) {
            *now = ambient::now();
        }
        handled?
    }

    fn handle_each(&mut self, entry: &mut Entry, now: Instant) -> Result<bool, CloseReason> {
        let Entry {
            shared,
            session,
            inbox,
            connected,
            ..
        } = entry;
        let peer = Peer::of(Arc::clone(shared));
        while let Some(payload) = inbox.next_payload(session.frame_len_max())? {
            match session.receive(payload)? {
                Incoming::Event(body) => {
                    self.has_called = true;
                    self.counters.events.one_alone();
                    self.handler.event_encoded(&peer, Encoded::new(body))?;
                }
                Incoming::Request { id, timeout, body } => {
                    self.asked_by = Some(shared.index);
                    let deadline = now + timeout.min(TIMEOUT_MAX);
                    if let Some(responder) = self.take_call(shared, id, deadline)? {
                        self.has_called = true;
                        let request = Encoded::new(body);
                        self.handler.request_encoded(&peer, request, responder)?;
                    }
                    if shared.outgoing().wire.is_choked() {
                        return Ok(true);
                    }
                }
                Incoming::Cancel { id } => shared.withdraw(id),
                Incoming::Sync { id } => {
                    let ack = session.acknowledgement(id);
                    let mut outgoing = shared.outgoing();
                    let appended = outgoing.wire.append(Lane::Bulk, ack, &());
                    let max = self.limits.outbox_len_max;
                    appended.map_err(|_| CloseReason::OutboxFull { max })?;
                    if outgoing.wire.is_choked() {
                        return Ok(true);
                    }
                }
                Incoming::Opened => {
                    self.open(shared, session);
                    *connected = true;
                    self.has_called = true;
                    self.handler.connected(&peer);
                }
                Incoming::Goodbye => shared.outgoing().ending = true,
                Incoming::Nothing
                | Incoming::Reply { .. }
                | Incoming::Failed { .. }
                | Incoming::Push(_)
                | Incoming::Acknowledged { .. }
                | Incoming::Draining => {}
            }
        }
        Ok(false)
    }

    /// The client is greeted back, and known to other threads from now on.
    fn open(&mut self, shared: &Arc<PeerShared>, session: &mut Session) {
        self.counters.opened.one();
        self.greeting_count -= 1;
        let mut outgoing = shared.outgoing();
        let theirs = session.peer().expect("an open session knows its peer");
        let wire = &mut outgoing.wire;
        wire.frame_len_max = theirs.frame_len_max().min(self.limits.frame_len_max);
        shared.greet(wire.peer(), theirs.epoch());
        session.welcome(&mut wire.outbox);
        wire.outbox.open();
        if self.stop_at.is_some() {
            session.drain(&mut wire.outbox);
        }
        drop(outgoing);
        self.control.add_peer(Arc::clone(shared));
    }

    /// Enters a request into the calls of the peer, or fails it.
    fn take_call(
        &self,
        shared: &Arc<PeerShared>,
        id: u64,
        deadline: Instant,
    ) -> Result<Option<Responder<P>>, CloseReason> {
        let mut outgoing = shared.outgoing();
        if outgoing.calls_at_work >= self.limits.calls_max {
            let head = Head::Failed {
                id,
                failure: Failure::TooManyCalls,
            };
            let max = self.limits.outbox_len_max;
            let appended = outgoing.wire.append(Lane::Bulk, head, &());
            appended.map_err(|_| CloseReason::OutboxFull { max })?;
            self.counters.failed.one();
            return Ok(None);
        }
        if !outgoing.calls.insert(id) {
            return Err(CloseReason::Malformed("the number of an open call again"));
        }
        outgoing.calls_at_work += 1;
        self.counters.requests.one();
        Ok(Some(Responder::new(Arc::clone(shared), id, deadline)))
    }

    /// Says what the session has to say, writes, and looks whether the session is over.
    fn finish_visit(
        &mut self,
        entry: &mut Entry,
        more: More,
        now: Instant,
    ) -> Result<More, CloseReason> {
        let mut outgoing = entry.shared.outgoing();
        outgoing.corked = false;
        if let Some(reason) = outgoing.doomed.take() {
            return Err(entry.session.at_end(reason));
        }
        if outgoing.ending && outgoing.calls.is_empty() && !outgoing.said_goodbye {
            outgoing.said_goodbye = true;
            entry.session.say_goodbye(&mut outgoing.wire.outbox, now);
        }
        // Twice: what was written may let the farewell follow.
        for _ in 0..2 {
            entry.session.answer(&mut outgoing.wire.outbox);
            if let Err(error) = entry.shared.flush(&mut outgoing, now) {
                let reason = CloseReason::LinkFailed(error);
                return Err(entry.session.at_end(reason));
            }
        }
        if entry.session.is_over(&mut outgoing.wire.outbox) {
            return Err(CloseReason::Finished);
        }
        // Choked and now relieved: what came meanwhile has had its edge already.
        let relieved = outgoing.paused && !outgoing.wire.is_choked();
        entry.timer_at = entry
            .timer_at
            .min(entry.session.deadline(&outgoing.wire.writing));
        Ok(if relieved { More::Yes } else { more })
    }
}
