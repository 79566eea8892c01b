//! Ends the process when a test hangs inside a call, where no panic can reach it.

use std::process;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// For a whole test. Longer than a wait for an event, which fails with a better text.
const PATIENCE: Duration = Duration::from_secs(120);

/// Watches while it lives.
pub(super) struct Watchdog {
    /// Dropped with it, which the thread sees.
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches over the test of this number.
    pub(super) fn over(number: &'static str) -> Self {
        let (alive, lost) = channel();
        thread::spawn(move || {
            if lost.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                complain(number);
                process::abort();
            }
        });
        Self { _alive: alive }
    }
}

#[expect(clippy::print_stderr, reason = "the last words before the abort")]
fn complain(number: &str) {
    eprintln!("{number}: not finished within {PATIENCE:?}: a call blocks, it seems");
}
