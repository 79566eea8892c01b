//! How any thread gets the attention of whoever drives a client, without a system call when that
//! one is awake anyway.
//!
//! Two values, and one order: who rings raises `attention`, then looks at `waiting`; who drives
//! sets `waiting`, then looks at `attention` before it sleeps. With a fence between the two on both
//! sides at least one of them sees the other: no ring is lost. After a wait of either kind whoever
//! drives takes back first `waiting`, then `attention`, and takes a turn, which does what was rung
//! for until then.

use std::sync::PoisonError;
use std::time::Duration;

use crate::sync::checked::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::checked::atomic::{AtomicBool, AtomicU8, fence};
use crate::sync::checked::{Condvar, Mutex, lock, wait_timeout};

pub(crate) struct Bell {
    /// Ends a poll.
    wake: Box<dyn Fn() + Send + Sync>,
    /// A turn is wanted.
    attention: AtomicBool,
    /// What whoever drives is doing: one of the three below.
    waiting: AtomicU8,
    /// The background thread has been called while it naps.
    called: Mutex<bool>,
    napping: Condvar,
}

/// Nobody waits for the link: there is a turn under way, or nobody drives.
const AWAY: u8 = 0;
/// Somebody sleeps in the poll, or is about to.
const POLLING: u8 = 1;
/// Somebody waits for the link and looks at `attention` all the time.
const SPINNING: u8 = 2;

impl Bell {
    pub(crate) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            wake,
            attention: AtomicBool::new(false),
            waiting: AtomicU8::new(AWAY),
            called: Mutex::new(false),
            napping: Condvar::new(),
        }
    }

    /// For a client that is driven by a poll of the application's own, which may sleep any time.
    pub(crate) fn always_polling(self) -> Self {
        self.waiting.store(POLLING, Relaxed);
        self
    }

    /// Asks for a turn, by whoever drives.
    pub(crate) fn ring(&self) {
        if self.attention.swap(true, AcqRel) {
            return;
        }
        fence(SeqCst);
        match self.waiting.load(Relaxed) {
            POLLING => (self.wake)(),
            SPINNING => {}
            _ => self.call_background(),
        }
    }

    /// About to poll. False if there is no time to sleep, because a turn is wanted.
    pub(crate) fn before_poll(&self) -> bool {
        self.waiting.store(POLLING, Relaxed);
        fence(SeqCst);
        !self.attention.load(Acquire)
    }

    /// About to spin. A poll or a turn has to follow.
    pub(crate) fn before_spin(&self) {
        self.waiting.store(SPINNING, Relaxed);
    }

    /// Whether a turn is wanted: for whoever spins.
    pub(crate) fn is_rung(&self) -> bool {
        self.attention.load(Acquire)
    }

    /// Back from the poll or from spinning: the turn that follows is the one that was wanted.
    pub(crate) fn after_poll(&self) {
        self.waiting.store(AWAY, Relaxed);
        // Whoever rings after this sees the other too.
        self.attention.store(false, Release);
    }

    /// A turn that follows a poll of the application's own.
    pub(crate) fn before_turn(&self) {
        self.attention.store(false, Release);
    }

    /// Ends the background thread's nap.
    pub(crate) fn call_background(&self) {
        *lock(&self.called) = true;
        self.napping.notify_one();
    }

    /// Sleeps until called, or for `time`. True if called.
    pub(crate) fn nap(&self, time: Option<Duration>) -> bool {
        let mut called = lock(&self.called);
        if !*called {
            called = match time {
                Some(time) => wait_timeout(&self.napping, called, time),
                None => self
                    .napping
                    .wait(called)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        std::mem::take(&mut *called)
    }
}

/// Every order that the threads can come in: `ci/loom.sh`.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::*;

    /// A bell, how a poll is ended, and what a ring is for: a number under the lock that stands for
    /// all that threads append and a turn takes.
    struct Client {
        bell: Bell,
        wakes: Arc<Notify>,
        wanted: Mutex<u32>,
    }

    impl Client {
        fn new() -> Arc<Self> {
            let wakes = Arc::new(Notify::new());
            let wake = Arc::clone(&wakes);
            Arc::new(Self {
                bell: Bell::new(Box::new(move || wake.notify())),
                wakes,
                wanted: Mutex::new(0),
            })
        }

        fn want(&self) {
            *self.wanted.lock().unwrap() += 1;
            self.bell.ring();
        }

        fn turn(&self) -> u32 {
            std::mem::take(&mut *self.wanted.lock().unwrap())
        }

        /// As `Engine::round`: a poll that sleeps until it is woken.
        fn round(&self) -> u32 {
            if self.bell.before_poll() {
                self.wakes.wait();
            }
            self.bell.after_poll();
            self.turn()
        }

        /// As `Engine::spin_for` with one look: a spin and, if that was in vain, a round.
        fn spin(&self, something_came: bool) -> u32 {
            self.bell.before_spin();
            if something_came {
                self.bell.after_poll();
                self.turn()
            } else {
                self.round()
            }
        }
    }

    /// Runs `ring` in threads of their own beside `drive`.
    fn beside(rings: u32, drive: impl Fn(&Client) + Sync + Send + Copy + 'static) {
        let mut model = loom::model::Builder::new();
        // Each mistake that was tried shows with two: a store that the other side has not seen.
        model.preemption_bound = Some(3);
        model.check(move || {
            let client = Client::new();
            let threads: Vec<_> = (0..rings)
                .map(|_| {
                    let client = Arc::clone(&client);
                    thread::spawn(move || client.want())
                })
                .collect();
            drive(&client);
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }

    /// A lost ring would leave the poll asleep for ever, which loom reports.
    #[test]
    fn no_ring_is_lost_to_whoever_polls() {
        beside(2, |client| {
            let mut seen = 0;
            while seen < 2 {
                seen += client.round();
            }
        });
    }

    #[test]
    fn no_ring_is_lost_to_whoever_spins_and_then_polls() {
        beside(2, |client| {
            let mut seen = 0;
            while seen < 2 {
                seen += client.spin(false);
            }
        });
    }

    /// Whoever drove has its answer and goes: what the turn has not done, the background thread is
    /// called for.
    #[test]
    fn a_ring_behind_the_last_turn_calls_the_background_thread() {
        beside(1, |client| {
            if client.spin(true) == 0 {
                assert!(client.bell.nap(None));
                assert_eq!(client.round_in_background(), 1);
            }
        });
    }

    impl Client {
        /// The background thread's first round after it was called does not sleep.
        fn round_in_background(&self) -> u32 {
            assert!(!self.bell.before_poll(), "a turn is wanted");
            self.bell.after_poll();
            self.turn()
        }
    }
}
