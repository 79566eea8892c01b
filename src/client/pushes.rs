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
    len_max: usize,
}

struct Inner<T> {
    /// Each with the bytes that it came as.
    waiting: VecDeque<(T, usize)>,
    /// Their sum.
    len: usize,
    closed: bool,
}

impl<T> Inner<T> {
    fn pop(&mut self) -> Option<T> {
        let (message, len) = self.waiting.pop_front()?;
        self.len -= len;
        Some(message)
    }
}

impl<T> PushQueue<T> {
    pub(crate) fn new(max: u32, len_max: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                waiting: VecDeque::new(),
                len: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            max: usize::try_from(max).unwrap_or(usize::MAX),
            len_max,
        }
    }

    /// Adds one that came as so many bytes. Those that had to go for it: to be dropped by the
    /// caller, as dropping them runs code of the application's.
    pub(crate) fn add(&self, message: T, len: usize) -> Vec<T> {
        let mut inner = lock(&self.inner);
        let mut dropped = Vec::new();
        while inner.waiting.len() >= self.max || inner.len.saturating_add(len) > self.len_max {
            match inner.pop() {
                Some(oldest) => dropped.push(oldest),
                None => break,
            }
        }
        inner.waiting.push_back((message, len));
        inner.len += len;
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
            if let Some(message) = inner.pop() {
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
