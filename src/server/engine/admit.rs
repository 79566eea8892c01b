//! How clients come in: accepted, bounded, not yet greeted.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use mio::Token;

use crate::backend::Link;
use crate::close::CloseReason;
use crate::identity::PeerId;
use crate::inbox::Inbox;
use crate::protocol::Protocol;
use crate::server::engine::{Engine, Entry};
use crate::server::handler::Handler;
use crate::server::listening::Accepted;
use crate::server::peer::{PeerKey, PeerShared};
use crate::session::{Role, Session};
use crate::wire::{Watch, Wire, let_go};

/// Accepted in one turn before it is the others' turn.
const ACCEPTS_MAX: usize = 64;

impl<P: Protocol, H: Handler<P>> Engine<P, H> {
    pub(super) fn accept(&mut self, now: Instant) {
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_MAX {
                if !self.listeners[index].is_due(now) {
                    break;
                }
                match self.listeners[index].accept(now) {
                    Accepted::Link(link) => self.admit(link, index, now),
                    Accepted::Nobody => {}
                    Accepted::Refused(error) => self.not_let_in(error, index),
                    Accepted::Failed { error, first } => {
                        self.counters.accept_failures.one();
                        if first {
                            let endpoint = &self.listeners[index].endpoint;
                            log::warn!("{endpoint}: can't accept for now: {error}");
                        }
                    }
                }
            }
        }
    }

    /// One that the backend has turned away.
    fn not_let_in(&mut self, error: io::Error, listener: usize) {
        let endpoint = Arc::clone(&self.listeners[listener].endpoint);
        log::info!("{endpoint}: {error}");
        let reason = CloseReason::LinkFailed(Arc::new(error));
        self.counters.refused.one();
        self.tell_refused(&endpoint, &PeerId::default(), &reason);
    }

    fn admit(&mut self, mut link: Box<dyn Link>, listener: usize, now: Instant) {
        self.counters.accepted.one();
        let reason = CloseReason::Crowded {
            max: self.limits.peers_max,
        };
        if self.is_full() {
            // Nobody who only waits keeps out someone who may have something to say.
            if let Some(stranger) = self.oldest_stranger() {
                self.close(stranger, reason.clone(), now);
            }
        }
        if self.is_full() {
            self.turn_away(link, listener, &reason, now);
            return;
        }
        let index = self.free.last().copied().unwrap_or(self.entries.len());
        let token = Token(self.first_token + self.listener_count + index);
        let watch = match Watch::begin(&self.registry, token, &mut link) {
            Ok(watch) => watch,
            Err(error) => {
                let_go(link);
                let endpoint = Arc::clone(&self.listeners[listener].endpoint);
                let reason = CloseReason::LinkFailed(Arc::new(error));
                self.counters.closed.count(&reason);
                self.tell_refused(&endpoint, &PeerId::default(), &reason);
                return;
            }
        };
        let limits = &self.limits;
        let mut wire = Wire::new(limits.outbox_len_max, limits.frame_len_max, now);
        let session = Session::new(
            Role::Server,
            self.hello.clone(),
            limits.clone(),
            &mut wire.outbox,
            now,
        );
        wire.attach(link, Some(watch), now);
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        let timer_at = session.deadline(&wire.writing);
        let entry = Entry {
            shared: Arc::new(PeerShared::new(
                key,
                index,
                Arc::clone(&self.listeners[listener].endpoint),
                wire,
                Arc::clone(&self.counters),
                Arc::clone(&self.control.attention),
            )),
            session,
            inbox: Inbox::default(),
            seen: None,
            short_recv_is_last: self.listeners[listener].short_recv_is_last,
            ended: false,
            left_over: false,
            ready: false,
            connected: false,
            timer_at,
            refused: None,
        };
        if self.free.pop().is_none() {
            self.entries.push(Some(entry));
        } else {
            self.entries[index] = Some(entry);
        }
        self.timers.push(timer_at, index);
        self.greeting.push_back((index, key));
        self.greeting_count += 1;
        self.mark_ready(index);
        self.shed_strangers(now);
    }

    /// Says the reason to a link that gets no session, as far as it takes it at once.
    fn turn_away(
        &mut self,
        link: Box<dyn Link>,
        listener: usize,
        reason: &CloseReason,
        now: Instant,
    ) {
        let mut wire = Wire::new(self.limits.outbox_len_max, self.limits.frame_len_max, now);
        let mut session = Session::new(
            Role::Server,
            self.hello.clone(),
            self.limits.clone(),
            &mut wire.outbox,
            now,
        );
        wire.attach(link, None, now);
        session.close(reason, &mut wire.outbox);
        self.counters.closed.count(reason);
        if let Err(error) = wire.flush(now) {
            log::debug!("a peer that was turned away did not hear why: {error}");
        }
        let identity = wire.peer();
        let_go(wire.detach());
        let endpoint = Arc::clone(&self.listeners[listener].endpoint);
        self.tell_refused(&endpoint, &identity, reason);
    }

    fn is_full(&self) -> bool {
        let max = usize::try_from(self.limits.peers_max).unwrap_or(usize::MAX);
        self.peer_count() >= max
    }

    /// Closes the oldest of those that have not said hello, while there are too many.
    fn shed_strangers(&mut self, now: Instant) {
        let max = self.limits.handshakes_max;
        while let Some(index) = self.oldest_stranger() {
            if u32::try_from(self.greeting_count).is_ok_and(|count| count <= max) {
                break;
            }
            self.close(index, CloseReason::HandshakesCrowded { max }, now);
        }
    }

    /// Of those that have not said hello, the one that has waited longest.
    fn oldest_stranger(&mut self) -> Option<usize> {
        while let Some(&(index, key)) = self.greeting.front() {
            let entry = self.entries[index].as_ref();
            if entry.is_some_and(|entry| entry.shared.key() == key && !entry.session.is_open()) {
                return Some(index);
            }
            self.greeting.pop_front();
        }
        None
    }
}
