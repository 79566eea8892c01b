//! From an attempt to an open session, and when the next attempt is.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use super::Driver;
use crate::client::error::ConnectFailures;
use crate::client::shared::{Outgoing, Status};
use crate::close::CloseReason;
use crate::protocol::Protocol;
use crate::session::{Role, Session};
use crate::wire::Watch;

impl<P: Protocol> Driver<P> {
    pub(super) fn attempt(&mut self, now: Instant) {
        self.retry_at = None;
        self.shared.counters.attempts.one();
        let transport = &self.transports[self.current];
        self.short_recv_is_last = transport.backend.capabilities().short_recv_is_last;
        self.ended = false;
        let connected = transport
            .backend
            .connect(&transport.address)
            .and_then(|mut link| {
                let watch = Watch::begin(&self.registry, self.token, &mut link)?;
                Ok((link, watch))
            });
        match connected {
            Ok((link, watch)) => {
                let mut outgoing = self.shared.outgoing();
                let wire = &mut outgoing.wire;
                self.inbox.clear();
                self.session = Some(Session::new(
                    Role::Client,
                    self.hello.clone(),
                    self.shared.limits.clone(),
                    &mut wire.outbox,
                    now,
                ));
                wire.attach(link, Some(watch), now);
            }
            Err(error) => {
                let error = if error.kind() == ErrorKind::WouldBlock {
                    std::io::Error::new(error.kind(), "the server is too busy to accept")
                } else {
                    error
                };
                self.lose(CloseReason::LinkFailed(Arc::new(error)), now);
            }
        }
    }

    pub(super) fn opened(&mut self, now: Instant) {
        let Some(session) = &mut self.session else {
            return;
        };
        self.opened_at = Some(now);
        self.failures = ConnectFailures::default();
        self.shared.counters.opened.one();
        let theirs = session.peer().expect("an open session knows its peer");
        let mut outgoing = self.shared.outgoing();
        let frame_len_max = theirs.frame_len_max().min(self.shared.limits.frame_len_max);
        // What was encoded for a server that takes more.
        if frame_len_max < outgoing.wire.frame_len_max {
            let len_max = usize::try_from(frame_len_max).unwrap_or(usize::MAX);
            let mut kept = 0;
            outgoing.wire.outbox.reset(|payload| {
                let fits = payload.len() <= len_max;
                kept += u64::from(fits);
                fits
            });
            let dropped = outgoing.events - kept;
            self.shared.counters.events_too_long.add(dropped);
            outgoing.events = kept;
        }
        outgoing.wire.frame_len_max = frame_len_max;
        outgoing.wire.outbox.open();
        if outgoing.closing.is_some() {
            // Told to close while there was no connection: nothing else would bring the next turn.
            session.say_goodbye(&mut outgoing.wire.outbox, now);
        }
        let endpoint = self.transports[self.current].to_string().into();
        self.shared
            .set_status(&mut outgoing, Status::Open { endpoint }, &mut self.states);
    }

    /// Decides what is tried next, and when.
    pub(super) fn try_again_later(
        &mut self,
        outgoing: &mut Outgoing<P::Reply>,
        endpoint: String,
        reason: CloseReason,
        now: Instant,
    ) {
        let was_open = self.opened_at.take();
        self.failures.0.push((endpoint, reason));
        let next = self.current + 1;
        if was_open.is_none() && next < self.transports.len() {
            self.current = next;
            self.retry_at = Some(now);
            return;
        }
        if was_open.is_some_and(|at| now >= at + self.shared.limits.reconnect_delay_max) {
            self.backoff.reset();
        }
        self.current = 0;
        self.retry_at = Some(now + self.backoff.pause());
        let failures = std::mem::take(&mut self.failures);
        self.shared
            .set_status(outgoing, Status::Waiting(failures), &mut self.states);
    }
}
