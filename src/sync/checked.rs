//! For what loom tries in every order that its steps can come in (`ci/loom.sh`): there it stands in for
//! the standard library.

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
