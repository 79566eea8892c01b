//! Systems that are not asked.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// Not known here.
pub fn stolen_ns() -> Option<u64> {
    None
}

/// A clock that all processes share.
pub fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// Not known here.
pub fn peak_kib() -> Option<u64> {
    None
}

/// Left as it is.
pub fn allow_many_files() -> Result<(), Error> {
    Ok(())
}
