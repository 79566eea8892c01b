//! Systems that are not asked.

use crate::Error;

/// How many cores this process may be pinned to: none by us.
pub fn cores() -> usize {
    0
}

/// Not supported here.
pub fn pin(_: usize) -> Result<(), Error> {
    Err("pinning is for Linux only".into())
}

/// Not known here.
pub fn cpu_time_ns() -> Option<u64> {
    None
}

/// Not known here.
pub fn sleeps() -> Option<u64> {
    None
}
