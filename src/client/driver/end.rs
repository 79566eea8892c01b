//! The end of a connection, and of the client: each message and call gets its fate.

use std::sync::Arc;
use std::time::Instant;

use super::Driver;
use crate::client::calls::CallId;
use crate::client::error::{CallError, CloseError, NotConnected};
use crate::client::shared::{Outgoing, Status};
use crate::close::CloseReason;
use crate::envelope::{self, Head};
use crate::protocol::Protocol;
use crate::turn;
use crate::wire;

impl<P: Protocol> Driver<P> {
    /// After a panic in the backend: nothing more is asked of the link.
    pub(crate) fn give_up_link(&mut self, now: Instant) {
        let _turn = turn::begin();
        let link = self.shared.outgoing().wire.detach();
        wire::let_go(link);
        self.retry_at = None;
        self.lose(CloseReason::HandlerPanicked, now);
    }

    pub(super) fn lose(&mut self, mut reason: CloseReason, now: Instant) {
        if let Some(session) = &self.session {
            reason = session.at_end(reason);
        }
        self.end_connection(reason, now);
        self.wake();
    }

    fn end_connection(&mut self, reason: CloseReason, now: Instant) {
        self.more = false;
        self.seen = None;
        let endpoint = self.transports[self.current].to_string();
        let shared = Arc::clone(&self.shared);
        let mut outgoing = shared.outgoing();
        let mut link = None;
        if let Some(mut session) = self.session.take() {
            session.close(&reason, &mut outgoing.wire.outbox);
            // The last word; whether it arrives makes no difference here.
            outgoing.wire.flush(now).ok();
            link = outgoing.wire.detach();
            shared.counters.closed.count(&reason);
        }
        outgoing.flush_asked = false;
        self.settle(&mut outgoing, &reason);
        self.try_again_later(&mut outgoing, endpoint.clone(), reason.clone(), now);
        drop(outgoing);
        // Never under the lock: a logger may send what it is given by this very client.
        log::debug!("{endpoint}: {reason}");
        if let Some(link) = link {
            wire::release(&self.registry, link);
        }
    }

    /// Decides about each message of the session that has ended: still to be sent, handled, or in
    /// doubt; and about each call.
    fn settle(&mut self, outgoing: &mut Outgoing<P::Reply>, reason: &CloseReason) {
        let Outgoing { wire, calls, .. } = outgoing;
        let wakers = &mut self.wakers;
        let lost = |may_have_run| CallError::Lost {
            reason: reason.clone(),
            may_have_run,
        };
        let mut unsent = 0;
        wire.outbox.reset(|payload| {
            let (head, _) = envelope::decode_head(payload).expect("the head is one of ours");
            match head {
                Head::Event => {
                    unsent += 1;
                    return true;
                }
                Head::Request { id, .. } | Head::Sync { id } => {
                    calls.end(CallId(id), Err(lost(false)), wakers);
                }
                _ => {}
            }
            false
        });
        calls.end_each(wakers, |_, _| Some(lost(true)));
        debug_assert!(unsent <= outgoing.events, "every event is counted");
        let written = outgoing.events - unsent;
        // A server that acknowledges what it can't have read is believed, not subtracted from.
        let unacknowledged = written.saturating_sub(outgoing.events_acknowledged);
        let counters = &self.shared.counters;
        if matches!(reason, CloseReason::Finished) {
            counters.events_acknowledged.add(unacknowledged);
        } else {
            counters.events_in_doubt.add(unacknowledged);
        }
        outgoing.events = unsent;
        outgoing.events_acknowledged = 0;
    }

    pub(super) fn close_if_done(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let outgoing = shared.outgoing();
        let Some(closing) = outgoing.closing else {
            return;
        };
        let over = now >= closing.deadline;
        // With nothing to send there is no reason to connect once more.
        let idle = self.opened_at.is_none() && outgoing.events == 0;
        if !(over || idle) {
            return;
        }
        drop(outgoing);
        if self.session.is_some() {
            self.lose(CloseReason::ClosedHere, now);
        }
        let mut outgoing = shared.outgoing();
        self.closed = true;
        self.retry_at = None;
        let unsent = outgoing.events;
        shared.counters.events_unsent.add(unsent);
        let in_doubt = shared.counters.events_in_doubt.read() - closing.in_doubt_before;
        outgoing.calls.end_each(&mut self.wakers, |_, _| {
            Some(CallError::NotConnected(NotConnected::Closed))
        });
        let result = if unsent + in_doubt == 0 {
            Ok(())
        } else {
            Err(CloseError { unsent, in_doubt })
        };
        shared.set_status(&mut outgoing, Status::Closed(result), &mut self.states);
        drop(outgoing);
        self.wake();
        shared.pushes.close();
    }
}
