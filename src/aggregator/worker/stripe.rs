//! A place of its own for each thread, so that threads that count the same don't wait for each
//! other's cache lines.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many threads can count at once without meeting. A power of two. More threads share, which
/// is slower and just as right.
pub(crate) const STRIPES: usize = 8;

/// Alone on its cache lines: processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded(pub(crate) AtomicU64);

thread_local! {
    /// Beyond the stripes: not given out yet.
    static STRIPE: Cell<usize> = const { Cell::new(STRIPES) };
}

/// The stripe of this thread.
#[inline]
pub(crate) fn stripe() -> usize {
    let known = STRIPE.get();
    if known < STRIPES { known } else { give_out() }
}

#[cold]
fn give_out() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let stripe = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    STRIPE.set(stripe);
    stripe
}
