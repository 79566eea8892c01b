//! The agent's clock: where the time comes from that everything pure takes as an argument.

use std::time::Instant;

use crate::aggregator::{Moment, UnixMicros};
use crate::ambient;

/// Counts from the agent's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    wall: Wall,
}

/// Asks the clock on the wall, which may jump.
pub(crate) type Wall = fn() -> UnixMicros;

impl Clock {
    pub(crate) fn starting_now(wall: Wall) -> Self {
        Self {
            start: ambient::now(),
            wall,
        }
    }

    pub(crate) fn moment(self) -> Moment {
        Moment {
            steady: ambient::now().saturating_duration_since(self.start),
            unix: (self.wall)(),
        }
    }

    /// When so much time will have passed since the start.
    pub(crate) fn at(self, steady: std::time::Duration) -> Instant {
        self.start + steady.min(crate::limits::DURATION_MAX)
    }
}
