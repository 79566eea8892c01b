//! The messages of the server that wait to be looked at.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ambient;
use crate::sync::lock;

/// A bounded queue: when it is full the oldest goes, because what a server says last counts most.
pub(crate) struct PushQueue<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
    max: usize,
}

struct Inner<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> PushQueue<T> {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            inner: Mutex::new(Inner {
                waiting: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
            max: usize::try_from(max).unwrap_or(usize::MAX),
        }
    }

    /// Adds one. True if another had to go for it.
    pub(crate) fn add(&self, message: T) -> bool {
        let mut inner = lock(&self.inner);
        let dropped = inner.waiting.len() >= self.max && inner.waiting.pop_front().is_some();
        inner.waiting.push_back(message);
        drop(inner);
        self.changed.notify_one();
        dropped
    }

    /// No more will come: those who wait are told.
    pub(crate) fn close(&self) {
        lock(&self.inner).closed = true;
        self.changed.notify_all();
    }

    /// Takes the oldest, waiting for one until `deadline`, or for as long as it takes.
    pub(crate) fn take(&self, deadline: Option<Instant>) -> Option<T> {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(message) = inner.waiting.pop_front() {
                return Some(message);
            }
            if inner.closed {
                return None;
            }
            inner = match deadline {
                None => self
                    .changed
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let left = at.saturating_duration_since(ambient::now());
                    if left == Duration::ZERO {
                        return None;
                    }
                    self.changed
                        .wait_timeout(inner, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}
