//! When a peer's time is over, and how it goes.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use crate::close::CloseReason;
use crate::counters::LiveServerCounters;
use crate::envelope;
use crate::envelope::Head;
use crate::identity::PeerId;
use crate::outbox::Outbox;
use crate::protocol::Protocol;
use crate::server::engine::{Engine, Entry, guard};
use crate::server::handler::Handler;
use crate::server::peer::Peer;
use crate::wire::release;

impl<P: Protocol, H: Handler<P>> Engine<P, H> {
    pub(super) fn set_timer(&mut self, index: usize, before: Instant) {
        if let Some(Some(entry)) = self.entries.get(index) {
            if entry.timer_at < before {
                self.timers.push(entry.timer_at, index);
            }
        }
    }

    /// As a visit, this gives the time at its end.
    pub(super) fn handle_timer(&mut self, index: usize, mut now: Instant) -> Instant {
        let due = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.timer_at <= now);
        if !self.entries.get(index).is_some_and(due) {
            return now;
        }
        // What has come but was not yet read counts as a sign of life. Whoever is ready has been
        // visited in this turn, and has more: that must not put the other limits off.
        if self.entries[index]
            .as_ref()
            .is_some_and(|entry| !entry.ready)
        {
            now = self.visit(index, now);
        }
        let Some(entry) = &mut self.entries[index] else {
            return now;
        };
        let shared = Arc::clone(&entry.shared);
        let mut outgoing = shared.outgoing();
        if outgoing.paused {
            entry.session.excuse(now);
        }
        let writing = outgoing.wire.writing;
        let wire = &mut outgoing.wire;
        let timeout = entry
            .session
            .handle_timeout(&mut wire.outbox, &writing, now);
        wire.outbox.shrink();
        entry.timer_at = entry.session.deadline(&writing);
        let timer_at = entry.timer_at;
        drop(outgoing);
        match timeout {
            Ok(()) => self.timers.push(timer_at, index),
            Err(reason) => self.close(index, reason, now),
        }
        now
    }

    // ---- the end of a peer ----

    pub(super) fn close(&mut self, index: usize, reason: CloseReason, now: Instant) {
        let Some(entry) = self.entries.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let shared = Arc::clone(&entry.shared);
        let mut outgoing = shared.outgoing();
        let stays = entry.session.close(&reason, &mut outgoing.wire.outbox);
        let flushed = outgoing.wire.flush(now);
        if stays && flushed.is_ok() {
            // The refusal is on its way: the link goes when the peer lets go of it.
            entry.refused = Some(reason);
            return;
        }
        let identity = match entry.connected {
            true => PeerId::default(),
            false => outgoing.wire.peer(),
        };
        let link = outgoing.wire.detach();
        count_unsent(&mut outgoing.wire.outbox, &self.counters);
        let reason = entry.refused.take().unwrap_or(reason);
        shared.end(&mut outgoing, reason.clone());
        drop(outgoing);
        if let Some(link) = link {
            release(&self.registry, link);
        }
        let mut entry = self.entries[index].take().expect("it was there above");
        self.free.push(index);
        self.partials_len -= entry.inbox.partial_len();
        if self.lent_to == Some(index) {
            self.take_back(&mut entry.inbox);
        }
        self.asked_by = self.asked_by.filter(|asked| *asked != index);
        if !entry.session.is_open() {
            self.greeting_count -= 1;
        }
        self.counters.closed.count(&reason);
        if self.stop_at.is_some() && entry.connected && !matches!(reason, CloseReason::Finished) {
            self.control.unfinished.one();
        }
        self.control.remove_peer(entry.shared.key());
        // A descriptor is free again.
        for listening in &mut self.listeners {
            listening.retry_at = None;
        }
        if entry.connected {
            let peer = Peer::of(entry.shared);
            // The peer is gone already: after a panic there is nothing more to close.
            guard(&self.counters, || self.handler.disconnected(&peer, &reason)).ok();
        } else {
            if is_unproven(&reason) {
                self.counters.refused.one();
            }
            self.tell_refused(entry.shared.transport(), &identity, &reason);
        }
    }

    /// The application hears of who never became a peer of it, and why.
    pub(super) fn tell_refused(&mut self, transport: &str, who: &PeerId, reason: &CloseReason) {
        // Whoever only looks in and leaves was not refused.
        if !matches!(reason, CloseReason::PeerGone) {
            log::debug!("{transport}: refused: {reason}");
            let handler = &mut self.handler;
            guard(&self.counters, || handler.refused(transport, who, reason)).ok();
        }
    }
}

/// What a link says of one that could not prove who it is, or left without trying.
fn is_unproven(reason: &CloseReason) -> bool {
    let CloseReason::LinkFailed(error) = reason else {
        return false;
    };
    let kinds = [ErrorKind::PermissionDenied, ErrorKind::ConnectionAborted];
    kinds.contains(&error.kind())
}

/// Empties the outbox of a peer that is gone. What a push says is lost with it, but not silently; a
/// call that has no reply ends with an error at the client.
fn count_unsent(outbox: &mut Outbox, counters: &LiveServerCounters) {
    outbox.reset(|payload| {
        if let Ok((Head::Push, _)) = envelope::decode_head(payload) {
            counters.pushes_unsent.one();
        }
        false
    });
}
