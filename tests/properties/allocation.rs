//! What a piece of code has allocated at most, on its own thread.
#![allow(
    clippy::missing_const_for_thread_local,
    reason = "on Windows with the GNU linker clippy does not see the `const` behind the macro"
)]

use std::alloc::{GlobalAlloc, Layout, System};

struct Counting;

#[allow(
    clippy::missing_const_for_thread_local,
    reason = "on Windows with the GNU linker clippy does not see the `const` behind the macro"
)]
mod counts {
    use std::cell::Cell;

    thread_local! {
        pub static LIVE: Cell<isize> = const { Cell::new(0) };
        pub static PEAK: Cell<isize> = const { Cell::new(0) };
    }
}
use counts::{LIVE, PEAK};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: isize) {
    // At the end of a thread nobody counts any more.
    let live = LIVE.try_with(|live| {
        live.set(live.get() + change);
        live.get()
    });
    if let Ok(live) = live {
        PEAK.try_with(|peak| peak.set(peak.get().max(live))).ok();
    }
}

fn len(layout: Layout) -> isize {
    isize::try_from(layout.size()).unwrap_or(isize::MAX)
}

#[expect(unsafe_code, reason = "an allocator that counts, around the system's")]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(len(layout));
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(len(layout));
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-len(layout));
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The bytes that were allocated at once beyond those before, at most, while `code` ran.
pub fn peak_of<T>(code: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = code();
    let peak = PEAK.get() - before;
    (result, usize::try_from(peak).unwrap_or(0))
}

#[test]
fn the_peak_is_what_was_there_at_once() {
    let ((), peak) = peak_of(|| {
        drop(vec![0_u8; 1000]);
        drop(vec![0_u8; 3000]);
    });
    assert_eq!(peak, 3000);
}
