//! Locks that a panic elsewhere does not take away.

#[cfg(not(loom))]
use std::sync::TryLockError;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks, also after a panic: what our locks guard is whole at every point where user code runs.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks if nobody has the lock, also after a panic. In vain it orders nothing: what another thread
/// has done until then need not be seen.
#[cfg(not(loom))]
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Lets go of the lock until it is told, or for so long.
pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> MutexGuard<'a, T> {
    let waited = condition.wait_timeout(guard, timeout);
    waited.unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(loom)]
mod modelled;

/// For what loom tries in every order that its steps can come in (`ci/loom.sh`): there it stands in
/// for the standard library.
pub(crate) mod checked {
    #[cfg(loom)]
    pub(crate) use super::modelled::{Tried, TriedGuard, lock, thread, try_lock, wait_timeout};
    #[cfg(loom)]
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
    #[cfg(loom)]
    pub(crate) use loom::thread_local;

    #[cfg(not(loom))]
    pub(crate) use super::{lock, try_lock, wait_timeout};
    #[cfg(not(loom))]
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
    /// A lock that is only ever tried.
    #[cfg(not(loom))]
    pub(crate) use std::sync::{Mutex as Tried, MutexGuard as TriedGuard};
    #[cfg(not(loom))]
    pub(crate) use std::{thread, thread_local};
}
