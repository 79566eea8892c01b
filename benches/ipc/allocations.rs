//! Counts what this process allocates.
#![expect(unsafe_code, reason = "an allocator can't be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether a count of nought means that there were none.
pub const ARE_COUNTED: bool = true;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// How often memory was asked for since the program began, by all threads.
pub fn count() -> u64 {
    COUNT.load(Ordering::SeqCst)
}

/// The system's allocator, counted. Giving back is not counted: what is given back was asked for.
pub struct Counting;

fn one() {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

// SAFETY: every method hands its arguments on to the system's allocator and its answer back.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        one();
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        one();
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        one();
        // SAFETY: the caller keeps to the contract of `realloc`, which is the same.
        unsafe { System.realloc(old, layout, len) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`, which is the same.
        unsafe { System.dealloc(old, layout) }
    }
}
