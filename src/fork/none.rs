//! Systems without fork: nothing to guard.

use std::io;

#[expect(dead_code, reason = "the session's, which is not here yet")]
/// How many forks lie between this process and the one that was started: none.
pub(crate) fn generation() -> u32 {
    0
}

/// Nothing. See the Unix file.
#[derive(Debug)]
pub(crate) struct Guard;

impl Guard {
    /// Guards nothing.
    pub(crate) fn new<T>(_descriptor: &T) -> io::Result<Self> {
        Ok(Self)
    }

    /// The process is always the one that made the descriptor.
    pub(crate) fn check(&self) -> io::Result<()> {
        Ok(())
    }
}
