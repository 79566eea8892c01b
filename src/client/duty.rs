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

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ambient;
use crate::client::calls::CallId;
use crate::client::driver::Driver;
use crate::client::shared::Shared;
use crate::event_loop::EventLoop;
use crate::protocol::Protocol;
use crate::spin::{Looking, Spinner, Spun, spin};

/// How long the background thread stays away once callers drive.
const NAP: Duration = Duration::from_millis(2);

pub(crate) struct Duty<P: Protocol> {
    engine: Mutex<Engine<P>>,
    /// How often somebody has taken the duty.
    taken: AtomicU64,
    /// The background thread sleeps until it is told that the duty is free.
    tell_background: AtomicBool,
}

struct Engine<P: Protocol> {
    event_loop: EventLoop,
    driver: Driver<P>,
    spinner: Spinner,
}

/// The duty, while somebody has it.
pub(crate) struct OnDuty<'a, P: Protocol> {
    engine: MutexGuard<'a, Engine<P>>,
}

impl<P: Protocol> Duty<P> {
    pub(crate) fn new(event_loop: EventLoop, driver: Driver<P>, spinner: Spinner) -> Self {
        Self {
            engine: Mutex::new(Engine {
                event_loop,
                driver,
                spinner,
            }),
            taken: AtomicU64::new(0),
            tell_background: AtomicBool::new(false),
        }
    }

    fn try_take(&self) -> Option<OnDuty<'_, P>> {
        let engine = match self.engine.try_lock() {
            Ok(engine) => engine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.taken.fetch_add(1, SeqCst);
        Some(OnDuty { engine })
    }

    fn let_go(&self, on_duty: OnDuty<'_, P>, shared: &Shared<P>) {
        drop(on_duty);
        if self.tell_background.swap(false, SeqCst) {
            shared.bell.call_background();
        }
        pass_on(shared);
    }

    /// Drives until the call has ended or the deadline has passed. False if another thread drives.
    pub(crate) fn drive_for(&self, id: CallId, deadline: Instant, shared: &Shared<P>) -> bool {
        let Some(mut on_duty) = self.try_take() else {
            return false;
        };
        on_duty.spin_for(id, deadline, shared);
        while !shared.outgoing().calls.has_ended(id) && ambient::now() < deadline {
            on_duty.round(Some(deadline), shared);
        }
        self.let_go(on_duty, shared);
        true
    }

    /// Drives whenever nobody else does, until the client is closed.
    pub(crate) fn drive_in_background(&self, shared: &Shared<P>) {
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
                        self.tell_background.store(true, SeqCst);
                        if self.engine.try_lock().is_err() {
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

impl<P: Protocol> OnDuty<'_, P> {
    /// Looks for the answer of the call for a moment, if that pays. As soon as something else is
    /// wanted or due that comes first, and there is no hurry any more.
    ///
    /// Every spin is followed by a turn, as every poll is: whoever rings meanwhile relies on it.
    fn spin_for(&mut self, id: CallId, deadline: Instant, shared: &Shared<P>) {
        let now = ambient::now();
        let mut outgoing = shared.outgoing();
        let sent_len = outgoing.wire.spoken_len();
        let mut ended = outgoing.calls.has_ended(id);
        drop(outgoing);
        if ended {
            return;
        }
        let Some(until) = self.engine.spinner.begin(now, sent_len) else {
            return;
        };
        while !ended {
            let Engine {
                event_loop, driver, ..
            } = &mut *self.engine;
            let due = driver.deadline(now).map_or(deadline, |at| at.min(deadline));
            shared.bell.before_spin();
            let spun = catch_unwind(AssertUnwindSafe(|| {
                spin(driver, event_loop, until.min(due), || shared.bell.is_rung())
            }));
            match spun {
                Ok(Ok(Spun::Came)) => {
                    shared.bell.after_poll();
                    self.turn(shared);
                    ended = shared.outgoing().calls.has_ended(id);
                    continue;
                }
                // The round that follows sees to a poll that fails.
                Ok(Ok(Spun::InVain | Spun::Called) | Err(_)) => {}
                // As in a turn.
                Err(_) => driver.give_up_link(ambient::now()),
            }
            break;
        }
        self.engine.spinner.ended(until, ended, ambient::now());
        if !ended {
            self.round(Some(deadline), shared);
        }
    }

    /// One poll and one turn.
    fn round(&mut self, until: Option<Instant>, shared: &Shared<P>) {
        let Engine {
            event_loop, driver, ..
        } = &mut *self.engine;
        let now = ambient::now();
        let mut deadline = [driver.deadline(now), until].into_iter().flatten().min();
        if !shared.bell.before_poll() {
            deadline = Some(now);
        }
        let polled = event_loop.wait(deadline, |event| driver.handle_event(event));
        shared.bell.after_poll();
        self.after_poll(polled, shared);
    }

    fn after_poll(&mut self, polled: io::Result<bool>, shared: &Shared<P>) {
        if let Err(error) = polled {
            // It fails for good: somebody else has closed its descriptor, say. Nothing would be heard
            // of the link any more, and to ask again would only burn the core.
            log::error!("the client's poll failed, so the client closes: {error}");
            shared.begin_close(Duration::ZERO);
        }
        self.turn(shared);
    }

    fn turn(&mut self, shared: &Shared<P>) {
        if shared.outgoing().flush_asked {
            // Whoever sends may share this core: let it go on, so that more is packed. It writes
            // by itself once that is much. On a core of our own this takes no time.
            thread::yield_now();
        }
        let driver = &mut self.engine.driver;
        // Only a backend of the application's own can panic here. It costs that connection, not the
        // thread that happened to drive, nor those who wait for it.
        let turn = || driver.turn(ambient::now());
        if catch_unwind(AssertUnwindSafe(turn)).is_err() {
            driver.give_up_link(ambient::now());
        }
    }

    /// True if the client is closed.
    fn drive_until_callers_come(&mut self, shared: &Shared<P>) -> bool {
        while !self.engine.driver.is_closed() {
            self.round(None, shared);
            if shared.outgoing().has_ended_parked() {
                return false;
            }
        }
        // A dropped link may end for its peer only at the next poll, and the client may live on.
        if let Err(error) = self.engine.event_loop.wait(Some(ambient::now()), |_| {}) {
            log::debug!("the client's last poll failed: {error}");
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mio::Token;

    use super::*;
    use crate::backend::{Backend, Capabilities, Link, Listener};
    use crate::client::bell::Bell;
    use crate::client::shared::Status;
    use crate::limits::Limits;
    use crate::protocol::Never;
    use crate::spin::Spin;
    use crate::transport::Transport;

    struct Silence;

    impl Protocol for Silence {
        const NAME: &'static str = "silence";
        const VERSION: u32 = 1;
        type Event = Never;
        type Request = Never;
        type Reply = Never;
        type Push = Never;
    }

    /// Where nobody is at home.
    struct Nowhere;

    impl Backend for Nowhere {
        fn capabilities(&self) -> Capabilities {
            Capabilities::stream("nowhere")
        }

        fn bind(&self, _: &str) -> io::Result<Box<dyn Listener>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn connect(&self, _: &str) -> io::Result<Box<dyn Link>> {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }

    #[test]
    fn a_poll_that_fails_closes_the_client_and_is_not_asked_again() {
        let event_loop = EventLoop::new().unwrap();
        let bell = Arc::new(Bell::new(event_loop.wake()));
        let shared = Arc::new(Shared::<Silence>::new(Limits::default(), bell));
        let driver = Driver::new(
            Arc::clone(&shared),
            event_loop.poll.registry().try_clone().unwrap(),
            Token(1),
            vec![Transport::new(Nowhere, "anywhere")],
            None,
            ambient::now(),
        );
        let duty = Duty::new(event_loop, driver, Spinner::new(Spin::Off));
        let mut on_duty = duty.try_take().expect("nobody else has it");
        on_duty.after_poll(Ok(false), &shared);
        assert!(matches!(shared.outgoing().status, Status::Waiting(_)));
        on_duty.after_poll(Err(io::Error::other("a bad descriptor")), &shared);
        assert!(matches!(shared.outgoing().status, Status::Closed(Ok(()))));
        assert!(on_duty.drive_until_callers_come(&shared));
    }
}
