//! How other threads tell a loop that a peer needs a look, with at most one wake-up a turn.

use std::sync::Mutex;

use crate::sync::lock;

/// Wakes a poll.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// The places that want the loop's attention.
pub(crate) struct Attention {
    /// Bounded by the number of peers: the loop takes all at each turn, and a peer calls again
    /// only when something new has happened to it.
    wanted: Mutex<Wanted>,
    wake: Wake,
}

#[derive(Default)]
struct Wanted {
    indices: Vec<usize>,
    /// For each index, whether it is among them.
    listed: Vec<bool>,
    woken: bool,
}

impl Attention {
    pub(crate) fn new(wake: Wake) -> Self {
        Self {
            wanted: Mutex::default(),
            wake,
        }
    }

    /// Asks for a look at the peer of this index.
    pub(crate) fn call(&self, index: usize) {
        let mut wanted = lock(&self.wanted);
        if wanted.listed.len() <= index {
            wanted.listed.resize(index + 1, false);
        }
        if !std::mem::replace(&mut wanted.listed[index], true) {
            wanted.indices.push(index);
        }
        self.wake_once(wanted);
    }

    /// Asks for a turn.
    pub(crate) fn wake(&self) {
        self.wake_once(lock(&self.wanted));
    }

    /// What was asked for since the last time, appended to `indices`.
    pub(crate) fn take(&self, indices: &mut Vec<usize>) {
        let mut wanted = lock(&self.wanted);
        let Wanted {
            indices: called,
            listed,
            woken,
        } = &mut *wanted;
        *woken = false;
        for index in called.iter() {
            listed[*index] = false;
        }
        indices.append(called);
    }

    fn wake_once(&self, mut wanted: std::sync::MutexGuard<'_, Wanted>) {
        let first = !std::mem::replace(&mut wanted.woken, true);
        drop(wanted);
        if first {
            (self.wake)();
        }
    }
}
