//! Brings reports to one sink, on a thread of its own: a sink that is slow, dead or panics delays
//! no other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::board::{Board, Outcome};
use super::clock::Clock;
use super::desk::cut;
use super::tray::Tray;
use crate::aggregator::Report;
use crate::aggregator::sink::{Retry, Sink, SinkError};
use crate::ambient;

/// The pause after the first failure; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest pause that a sink can ask for.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(3600);

pub(crate) struct Courier {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) index: usize,
    pub(crate) board: Arc<Board>,
    pub(crate) tray: Arc<Tray>,
    pub(crate) clock: Clock,
}

impl Courier {
    /// Until the board ends.
    pub(crate) fn run(mut self) {
        let mut pause = PAUSE_MIN;
        let mut well = true;
        let clock = self.clock;
        while let Some((item, report)) = self.board.next(self.index, || clock.moment().steady) {
            let (outcome, again_after) = match deliver(&mut *self.sink, &report) {
                Ok(()) => (Outcome::Taken, None),
                Err(error) if error.retry == Retry::Never => (Outcome::Refused(error.why), None),
                Err(error) => {
                    let after = match error.retry {
                        Retry::After(asked) => asked.min(ASKED_PAUSE_MAX),
                        _ => with_jitter(pause),
                    };
                    (Outcome::Failed(error.why), Some(after))
                }
            };
            if let Outcome::Refused(why) | Outcome::Failed(why) = &outcome {
                // Of many failures in a row the first is news.
                if std::mem::replace(&mut well, false) {
                    log::warn!("sink {}: {}: {why}", self.sink.name(), report.id());
                }
            } else {
                well = true;
            }
            let now = clock.moment().steady;
            if self.board.done(self.index, item, outcome, now) {
                self.tray.nudge();
            }
            match again_after {
                Some(after) => {
                    self.board.pause(ambient::now() + after);
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                }
                None => pause = PAUSE_MIN,
            }
        }
    }
}

/// A panic is a failure like any other.
fn deliver(sink: &mut dyn Sink, report: &Report) -> Result<(), SinkError> {
    let delivered = catch_unwind(AssertUnwindSafe(|| sink.deliver(report)));
    let delivered = delivered.unwrap_or_else(|_| Err(SinkError::soon("it panicked")));
    delivered.map_err(|mut error| {
        // It is kept, and shown to whoever asks.
        cut(&mut error.why);
        error
    })
}

/// Between half and the whole of it.
fn with_jitter(pause: Duration) -> Duration {
    let byte = ambient::fresh_number().to_le_bytes()[0];
    pause.mul_f64(0.5 + f64::from(byte) / 510.0)
}
