//! What loom lacks, or has otherwise than the systems that we run on.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Duration;

use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::{Condvar, Mutex, MutexGuard};

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time is over at once: how long that is, is for loom to choose, which may let the others go
/// on first.
pub(crate) fn wait_timeout<'a, T>(
    _: &Condvar,
    guard: MutexGuard<'a, T>,
    _: Duration,
) -> MutexGuard<'a, T> {
    guard
}

/// A lock that is only ever tried. Loom's own tells the one that tries in vain more than a system
/// does: that one need not see that the lock has just become free.
pub(crate) struct Tried<T> {
    taken: AtomicBool,
    value: std::sync::Mutex<T>,
}

pub(crate) struct TriedGuard<'a, T> {
    taken: &'a AtomicBool,
    /// `None` once it is let go.
    value: Option<std::sync::MutexGuard<'a, T>>,
}

impl<T> Tried<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: std::sync::Mutex::new(value),
        }
    }
}

pub(crate) fn try_lock<T>(mutex: &Tried<T>) -> Option<TriedGuard<'_, T>> {
    if mutex.taken.load(Relaxed) {
        return None;
    }
    mutex
        .taken
        .compare_exchange(false, true, Acquire, Relaxed)
        .ok()?;
    Some(TriedGuard {
        taken: &mutex.taken,
        value: Some(mutex.value.try_lock().expect("one at a time takes it")),
    })
}

impl<T> Drop for TriedGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.taken.store(false, Release);
    }
}

impl<T> Deref for TriedGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("not yet let go")
    }
}

impl<T> DerefMut for TriedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("not yet let go")
    }
}

/// Parking. Loom's own forgets who was told to go on while it waited for a lock.
pub(crate) mod thread {
    use std::sync::Arc;
    use std::time::Duration;

    use loom::sync::Notify;

    loom::thread_local! {
        static TOLD: Arc<Notify> = Arc::new(Notify::new());
    }

    pub(crate) struct Thread(Arc<Notify>);

    impl Thread {
        pub(crate) fn unpark(&self) {
            self.0.notify();
        }
    }

    pub(crate) fn current() -> Thread {
        Thread(TOLD.with(Arc::clone))
    }

    /// The time is never over: nobody may rely on that.
    pub(crate) fn park_timeout(_: Duration) {
        TOLD.with(|told| told.wait());
    }
}
