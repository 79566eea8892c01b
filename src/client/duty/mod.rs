//! Who drives: whoever waits.
//!
//! A blocking caller that waits for its answer reads the link itself: being woken by another
//! thread would cost it a second sleep. The duty to drive (the poll, and the driver with it) is a
//! lock that is only ever tried:
//!
//! ```text
//!   caller      tries to take the duty and drives until its answer is there; if another thread
//!               has the duty, parks until that one has brought the answer or passes the duty on
//!   background  drives while no caller does; steps aside as soon as callers are about
//! ```
//!
//! Stepping aside costs nothing per call: after the background thread has brought a parked
//! caller's answer, it lets go of the duty and naps for [`NAP`]. The caller's next call finds the
//! duty free. The background thread looks after each nap whether anybody has driven meanwhile; if
//! so it naps on, if not it drives again, so a push or a ping is late by two naps at most. A caller
//! that has driven for longer than a nap (its call is slow) calls the background thread when it
//! lets go, so a long call costs no naps.
//!
//! Whoever lets go of the duty wakes one parked caller, if there is any: it drives on.

use std::time::{Duration, Instant};

use crate::ambient;
use crate::client::calls::CallId;
use crate::client::shared::Shared;
use crate::protocol::Protocol;
use crate::sync::checked::atomic::Ordering::{Relaxed, SeqCst};
use crate::sync::checked::atomic::{AtomicBool, AtomicU64, fence};
use crate::sync::checked::{Tried, TriedGuard, try_lock};

/// How long the background thread stays away once callers drive.
const NAP: Duration = Duration::from_millis(2);

/// What there is to drive: an [`Engine`](crate::client::engine::Engine), or what stands in for it
/// where loom tries all orders.
pub(crate) trait Drive {
    type Protocol: Protocol;

    /// Looks for the answer of the call for a moment, if that pays. As soon as something else is
    /// wanted or due that comes first, and there is no hurry any more.
    fn spin_for(&mut self, id: CallId, deadline: Instant, shared: &Shared<Self::Protocol>);

    /// One poll, for as long as nothing comes, and one turn.
    fn round(&mut self, until: Option<Instant>, shared: &Shared<Self::Protocol>);

    /// Whether the client is closed: there is nothing left to drive.
    fn is_closed(&self) -> bool;

    /// The last that is done once the client is closed.
    fn finish(&mut self);
}

pub(crate) struct Duty<E> {
    engine: Tried<E>,
    /// How often somebody has taken the duty.
    taken: AtomicU64,
    /// The background thread sleeps until it is told that the duty is free.
    tell_background: AtomicBool,
}

/// The duty, while somebody has it.
struct OnDuty<'a, E> {
    engine: TriedGuard<'a, E>,
}

impl<E: Drive> Duty<E> {
    pub(crate) fn new(engine: E) -> Self {
        Self {
            engine: Tried::new(engine),
            taken: AtomicU64::new(0),
            tell_background: AtomicBool::new(false),
        }
    }

    fn try_take(&self) -> Option<OnDuty<'_, E>> {
        let engine = try_lock(&self.engine)?;
        self.taken.fetch_add(1, SeqCst);
        Some(OnDuty { engine })
    }

    fn let_go(&self, on_duty: OnDuty<'_, E>, shared: &Shared<E::Protocol>) {
        drop(on_duty);
        // The background thread asks to be told, then looks whether the duty is free; here it
        // becomes free before we look whether to tell. A lock that is tried in vain orders nothing:
        // it takes a fence on both sides for one of the two to see the other.
        fence(SeqCst);
        if self.tell_background.load(Relaxed) && self.tell_background.swap(false, Relaxed) {
            shared.bell.call_background();
        }
        pass_on(shared);
    }

    /// Drives until the call has ended or the deadline has passed. False if another thread drives.
    pub(crate) fn drive_for(
        &self,
        id: CallId,
        deadline: Instant,
        shared: &Shared<E::Protocol>,
    ) -> bool {
        let Some(mut on_duty) = self.try_take() else {
            return false;
        };
        on_duty.engine.spin_for(id, deadline, shared);
        while !shared.outgoing().calls.has_ended(id) && ambient::now() < deadline {
            on_duty.engine.round(Some(deadline), shared);
        }
        self.let_go(on_duty, shared);
        true
    }

    /// Drives whenever nobody else does, until the client is closed.
    pub(crate) fn drive_in_background(&self, shared: &Shared<E::Protocol>) {
        let mut called = true;
        let mut seen = 0;
        loop {
            let taken = self.taken.load(SeqCst);
            let idle = taken == seen;
            seen = taken;
            if called || idle {
                match self.try_take() {
                    Some(mut on_duty) => {
                        let closed = on_duty.drive_until_callers_come(shared);
                        self.let_go(on_duty, shared);
                        if closed {
                            return;
                        }
                        seen = self.taken.load(SeqCst);
                    }
                    // Somebody has driven for a whole nap: it calls when it is done.
                    None if idle => {
                        self.tell_background.store(true, Relaxed);
                        fence(SeqCst);
                        if self.try_take().is_none() {
                            shared.bell.nap(None);
                        }
                        called = true;
                        continue;
                    }
                    None => {}
                }
            }
            called = shared.bell.nap(Some(NAP));
        }
    }
}

impl<E: Drive> OnDuty<'_, E> {
    /// True if the client is closed.
    fn drive_until_callers_come(&mut self, shared: &Shared<E::Protocol>) -> bool {
        while !self.engine.is_closed() {
            self.engine.round(None, shared);
            if shared.outgoing().has_ended_parked() {
                return false;
            }
        }
        self.engine.finish();
        true
    }
}

/// Wakes one of the parked callers, so that it takes the duty.
pub(crate) fn pass_on<P: Protocol>(shared: &Shared<P>) {
    let parked = shared.outgoing().parked.pop();
    if let Some((_, waker)) = parked {
        waker.wake();
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
