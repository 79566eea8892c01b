//! Systems without fork: nothing to guard.

use std::io;

/// How many forks lie between this process and the one that was started: none.
pub(crate) fn generation() -> u32 {
    0
}

/// Nothing. See the Unix file.
#[derive(Debug)]
pub struct Guard;

impl Guard {
    /// Guards nothing.
    ///
    /// # Errors
    /// Never.
    pub fn new<T>(_descriptor: &T) -> io::Result<Self> {
        Ok(Self)
    }

    /// The process is always the one that made the descriptor.
    ///
    /// # Errors
    /// Never.
    pub fn check(&self) -> io::Result<()> {
        Ok(())
    }
}
