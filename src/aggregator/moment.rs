//! The time as an argument.
//!
//! Everything in the aggregator that decides by time takes a [`Moment`]. Durations are measured with
//! the clock that only goes forward; the wall clock is for what people read, and may jump.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::ambient;

/// Microseconds since 1970 by the wall clock.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMicros(pub u64);

impl UnixMicros {
    /// The wall clock's time. Before 1970 it is 1970.
    #[must_use]
    pub fn now() -> Self {
        ambient::wall_clock().into()
    }
}

impl From<SystemTime> for UnixMicros {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A point in time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By a clock that only goes forward, since some start.
    pub steady: Duration,
    /// By the wall clock.
    pub unix: UnixMicros,
}
