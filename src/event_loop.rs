//! A poll, a waker and the loop around them: for those who have no loop of their own.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::ambient;

/// The token of the waker. All others count up from [`FIRST_TOKEN`].
const WAKER_TOKEN: Token = Token(0);

/// The first token that sources may use.
pub(crate) const FIRST_TOKEN: usize = 1;

/// How many events one turn takes from the system.
const EVENTS_MAX: usize = 1024;

pub(crate) struct EventLoop {
    pub(crate) poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// When whoever spins has asked the poll the last time.
    pub(crate) polled_at: Option<Instant>,
}

impl EventLoop {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER_TOKEN)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            waker,
            polled_at: None,
        })
    }

    /// What ends a [`wait`](EventLoop::wait) from another thread.
    pub(crate) fn wake(&self) -> Box<dyn Fn() + Send + Sync> {
        let waker = Arc::clone(&self.waker);
        Box::new(move || {
            if let Err(error) = waker.wake() {
                log::warn!("waking the event loop failed: {error}");
            }
        })
    }

    /// Waits for readiness, a wake-up or the deadline, whichever is first; then hands each event
    /// to `ready`. False if it was the deadline.
    pub(crate) fn wait(
        &mut self,
        deadline: Option<Instant>,
        mut ready: impl FnMut(&Event),
    ) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, time_left(deadline)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            if event.token() != WAKER_TOKEN {
                ready(event);
            }
        }
        Ok(!self.events.is_empty())
    }
}

/// Whether nothing more will come from the source of this event than what has.
pub(crate) fn is_end(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

/// What a poll takes as its timeout.
pub(crate) fn time_left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|at| at.saturating_duration_since(ambient::now()))
}
