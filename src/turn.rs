//! Whether this thread is turning a loop just now, and with it the application's code that the loop
//! calls: such a thread must not wait for what only its own loop brings.

use std::cell::Cell;

thread_local! {
    static TURNING: Cell<bool> = const { Cell::new(false) };
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    within_another: bool,
}

/// Begins a turn on this thread.
pub(crate) fn begin() -> Turn {
    Turn {
        within_another: TURNING.replace(true),
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNING.set(self.within_another);
    }
}

/// Whether there is one on this thread.
pub(crate) fn is_under_way() -> bool {
    TURNING.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_with_the_outermost_also_if_it_panics() {
        assert!(!is_under_way());
        let outer = begin();
        let panicked = std::panic::catch_unwind(|| {
            let _inner = begin();
            panic!("in a handler");
        });
        assert!(panicked.is_err());
        assert!(is_under_way());
        drop(outer);
        assert!(!is_under_way());
        let elsewhere = begin();
        std::thread::spawn(|| assert!(!is_under_way()))
            .join()
            .expect("no turn is under way there");
        drop(elsewhere);
    }
}
