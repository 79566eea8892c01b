//! Systems without fork: nothing to guard.

use std::io;
use std::ops::{Deref, DerefMut};

/// How many forks lie between this process and the one that was started: none.
pub(crate) fn generation() -> u32 {
    0
}

/// As [`generation`].
#[cfg(feature = "aggregator")]
#[inline]
pub(crate) fn generation_once_armed() -> u32 {
    0
}

/// Just the value. See the Unix file.
#[derive(Debug)]
pub struct Guarded<T>(T);

impl<T> Guarded<T> {
    /// Opens the value. What else comes with it is handed on.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open<X>(open: impl FnOnce() -> io::Result<(T, X)>) -> io::Result<(Self, X)> {
        open().map(|(value, extra)| (Self(value), extra))
    }

    /// The process is always the one that opened it.
    ///
    /// # Errors
    /// Never.
    pub fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
