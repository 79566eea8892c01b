//! How any thread gets the attention of whoever drives a client, without a system call when that
//! one is awake anyway.
//!
//! Two flags, and one order: who rings raises `attention`, then looks at `polling`; who drives
//! raises `polling`, then looks at `attention` before it sleeps. Sequentially consistent, so at
//! least one of the two sees the other: no ring is lost.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::sync::lock;

pub(crate) struct Bell {
    /// Ends a poll.
    wake: Box<dyn Fn() + Send + Sync>,
    /// A turn is wanted.
    attention: AtomicBool,
    /// Somebody sleeps in the poll, or is about to.
    polling: AtomicBool,
    /// The background thread has been called while it naps.
    called: Mutex<bool>,
    napping: Condvar,
}

impl Bell {
    pub(crate) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            wake,
            attention: AtomicBool::new(false),
            polling: AtomicBool::new(false),
            called: Mutex::new(false),
            napping: Condvar::new(),
        }
    }

    /// For a client that is driven by a poll of the application's own, which may sleep any time.
    pub(crate) fn always_polling(self) -> Self {
        self.polling.store(true, SeqCst);
        self
    }

    /// Asks for a turn, by whoever drives.
    pub(crate) fn ring(&self) {
        if self.attention.swap(true, SeqCst) {
            return;
        }
        if self.polling.load(SeqCst) {
            (self.wake)();
        } else {
            self.call_background();
        }
    }

    /// About to poll. False if there is no time to sleep, because a turn is wanted.
    pub(crate) fn before_poll(&self) -> bool {
        self.polling.store(true, SeqCst);
        !self.attention.load(SeqCst)
    }

    /// Back from the poll: the turn that follows is the one that was wanted.
    pub(crate) fn after_poll(&self) {
        self.polling.store(false, SeqCst);
        self.attention.store(false, SeqCst);
    }

    /// A turn that follows a poll of the application's own.
    pub(crate) fn before_turn(&self) {
        self.attention.store(false, SeqCst);
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
                Some(time) => {
                    self.napping
                        .wait_timeout(called, time)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .napping
                    .wait(called)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        std::mem::take(&mut *called)
    }
}
