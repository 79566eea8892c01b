//! What whoever has the duty drives: the poll, and the driver with it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crate::ambient;
use crate::client::calls::CallId;
use crate::client::driver::Driver;
use crate::client::duty::Drive;
use crate::client::shared::Shared;
use crate::event_loop::EventLoop;
use crate::protocol::Protocol;
use crate::spin::{Looking, Spinner, Spun, spin};

pub(crate) struct Engine<P: Protocol> {
    event_loop: EventLoop,
    driver: Driver<P>,
    spinner: Spinner,
}

impl<P: Protocol> Drive for Engine<P> {
    type Protocol = P;

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
        let Some(mut spell) = self.spinner.begin(now, sent_len) else {
            return;
        };
        while !ended {
            let Engine {
                event_loop, driver, ..
            } = self;
            let due = driver.deadline(now).map_or(deadline, |at| at.min(deadline));
            shared.bell.before_spin();
            let spun = spin(driver, event_loop, &mut spell, Some(due), || {
                shared.bell.is_rung()
            });
            // The round that follows sees to a poll that fails.
            let Ok(Spun::Came) = spun else {
                break;
            };
            shared.bell.after_poll();
            self.turn(shared);
            ended = shared.outgoing().calls.has_ended(id);
        }
        self.spinner.ended(&spell, ended, ambient::now());
        if !ended {
            self.round(Some(deadline), shared);
        }
    }

    fn round(&mut self, until: Option<Instant>, shared: &Shared<P>) {
        let Engine {
            event_loop,
            driver,
            spinner,
        } = self;
        let now = ambient::now();
        let mut deadline = [driver.deadline(now), until].into_iter().flatten().min();
        if !shared.bell.before_poll() {
            deadline = Some(now);
        }
        let polled = spinner.sleep(event_loop, deadline, |event| driver.handle_event(event));
        shared.bell.after_poll();
        self.after_poll(polled, shared);
    }

    fn is_closed(&self) -> bool {
        self.driver.is_closed()
    }

    fn finish(&mut self) {
        // A dropped link may end for its peer only at the next poll, and the client may live on.
        if let Err(error) = self.event_loop.wait(Some(ambient::now()), |_| {}) {
            log::debug!("the client's last poll failed: {error}");
        }
    }
}

impl<P: Protocol> Engine<P> {
    pub(crate) fn new(event_loop: EventLoop, driver: Driver<P>, spinner: Spinner) -> Self {
        Self {
            event_loop,
            driver,
            spinner,
        }
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
        let driver = &mut self.driver;
        // Only a backend of the application's own can panic here. It costs that connection, not the
        // thread that happened to drive, nor those who wait for it.
        let turn = || driver.turn(ambient::now());
        if catch_unwind(AssertUnwindSafe(turn)).is_err() {
            driver.give_up_link(ambient::now());
        }
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
        let mut engine = Engine::new(event_loop, driver, Spinner::new(Spin::Off));
        engine.after_poll(Ok(false), &shared);
        assert!(matches!(shared.outgoing().status, Status::Waiting(_)));
        engine.after_poll(Err(io::Error::other("a bad descriptor")), &shared);
        assert!(matches!(shared.outgoing().status, Status::Closed(Ok(()))));
        assert!(engine.is_closed());
        engine.finish();
    }
}
