//! Unix: handlers that run around each fork, and make our descriptors harmless in the child.
//!
//! Invariants:
//! - A slot of the table is 0, or one more than a descriptor that is open and guarded. It is freed
//!   before its descriptor is closed, so that a slot never names a reused number.
//! - A descriptor is opened and entered, or freed and closed, within a section, and a fork waits
//!   until no thread is in one: the child never gets a descriptor that the table does not know.
//! - The child's handler does only what is allowed between fork and exec of a threaded process:
//!   atomics, `dup2` and `fcntl`. It takes no lock and allocates nothing.
//!
//! Both waits, of a fork for the sections and of a section for the fork, are bounded: a program that
//! forks in a signal handler might otherwise wait for itself. Then the child may keep a copy, which
//! [`Guarded::check`] still keeps it from using. And as fork may return in the parent before the
//! child has come to its handler, a dropped socket is shut down before it is closed: that ends it
//! for the peer, or frees its address, whatever copies there still are.
#![expect(
    unsafe_code,
    reason = "pthread_atfork, and what its handlers may call, have no safe form"
)]

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::{process, thread};

/// How many descriptors can be guarded: those of a server with the default `peers_max` of 4096 and
/// as many again. What does not fit is still refused to the child by [`Guarded::check`] and closed
/// by exec, but stays open in a child that does neither, so that peers see the end late. All zero
/// at first, the table takes memory only where it is used.
const SLOTS: usize = 8192;

/// How often a wait looks again, giving way to other threads in between: some milliseconds, where a
/// section takes some microseconds.
const PATIENCE: u32 = 20_000;

static GENERATION: AtomicU32 = AtomicU32::new(0);
static TABLE: [AtomicI32; SLOTS] = [const { AtomicI32::new(0) }; SLOTS];
/// Where to look for a free slot first, so that a full table is not walked from its start.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// How many threads are in a section. Below zero in a child that was forked, by a signal handler,
/// from within one: it starts at zero and then ends that section.
static SECTIONS: AtomicI32 = AtomicI32::new(0);
/// How many threads are forking.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// A descriptor of `/dev/null`, open for ever once the handlers are installed; -1 before.
static HARMLESS: AtomicI32 = AtomicI32::new(-1);
/// Set once the handlers are installed; holds the system's error number if they could not be.
static ARMED: OnceLock<Result<(), i32>> = OnceLock::new();

/// How many forks lie between this process and the one that first asked, or guarded something.
pub(crate) fn generation() -> u32 {
    // Asking counts from now on. Where the handlers can't be installed (out of memory) the answer
    // stays 0, and the first guarded value fails with the reason.
    ARMED.get_or_init(arm);
    GENERATION.load(Ordering::Relaxed)
}

/// As [`generation`], for those who have asked that before: one load, for paths that are hot.
#[cfg(feature = "aggregator")]
#[inline]
pub(crate) fn generation_once_armed() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// A value whose descriptor becomes one of `/dev/null` in forked children.
#[derive(Debug)]
pub struct Guarded<T: AsFd> {
    // Dropped in this order: the entry begins a section and frees the slot, the value closes its
    // descriptor, and the last ends the section.
    entry: Entry,
    value: T,
    _end: SectionEnd,
}

impl<T: AsFd> Guarded<T> {
    /// Opens the value, which must not block. What else comes with it is handed on.
    ///
    /// # Errors
    /// Those of `open`; the system has no memory left for its list of fork handlers, or no
    /// `/dev/null`.
    pub fn open<X>(open: impl FnOnce() -> io::Result<(T, X)>) -> io::Result<(Self, X)> {
        ARMED
            .get_or_init(arm)
            .map_err(io::Error::from_raw_os_error)?;
        let _section = begin_section();
        let (value, extra) = open()?;
        let guarded = Self {
            entry: Entry {
                slot: claim(value.as_fd().as_raw_fd()),
                generation: generation(),
                process: process::id(),
            },
            value,
            _end: SectionEnd,
        };
        Ok((guarded, extra))
    }
}

impl<T: AsFd> Guarded<T> {
    /// Fails in a forked child: the descriptor is its parent's.
    ///
    /// # Errors
    /// `NotConnected`, with a text that says why.
    pub fn check(&self) -> io::Result<()> {
        if self.entry.generation == GENERATION.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "this process is a fork of the one that made the connection: connect again",
        ))
    }
}

impl<T: AsFd> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: AsFd> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: AsFd> Drop for Guarded<T> {
    fn drop(&mut self) {
        if self.entry.process == process::id() {
            // It may be no socket, or not connected: then there is nothing to shut down.
            let _nothing_to_do = rustix::net::shutdown(&self.value, rustix::net::Shutdown::Both);
        }
    }
}

/// A place in the table, if there was one, and the process that took it.
#[derive(Debug)]
struct Entry {
    slot: Option<usize>,
    generation: u32,
    /// Also tells a child that was made without the handlers, by a bare `clone`.
    process: u32,
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Ended by the field behind the value.
        std::mem::forget(begin_section());
        if let Some(slot) = self.slot {
            TABLE[slot].store(0, Ordering::Release);
            NEXT.store(slot, Ordering::Relaxed);
        }
    }
}

/// Ends a section when it is dropped.
#[derive(Debug)]
struct SectionEnd;

impl Drop for SectionEnd {
    fn drop(&mut self) {
        SECTIONS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps forks away until the answer is dropped. May be nested: the wait is bounded.
fn begin_section() -> SectionEnd {
    for _ in 0..PATIENCE {
        SECTIONS.fetch_add(1, Ordering::SeqCst);
        if FORKS.load(Ordering::SeqCst) == 0 {
            return SectionEnd;
        }
        // A fork is on its way and may have seen us, or not: let it pass.
        drop(SectionEnd);
        thread::yield_now();
    }
    SECTIONS.fetch_add(1, Ordering::SeqCst);
    SectionEnd
}

/// Writes the descriptor into a free slot; `None` if there is none.
fn claim(descriptor: RawFd) -> Option<usize> {
    // The system hands out descriptors below its limit, far from the largest number.
    let entry = descriptor.checked_add(1)?;
    let start = NEXT.load(Ordering::Relaxed);
    let slot = (0..SLOTS)
        .map(|step| (start + step) % SLOTS)
        .find(|&slot| {
            TABLE[slot]
                .compare_exchange(0, entry, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })?;
    NEXT.store((slot + 1) % SLOTS, Ordering::Relaxed);
    Some(slot)
}

/// Opens the harmless descriptor and installs the handlers.
fn arm() -> Result<(), i32> {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(number)?;
    HARMLESS.store(null.into_raw_fd(), Ordering::Release);
    // SAFETY: the handlers are functions of this crate with the signature asked for, and can't
    // unwind: nothing in them panics. The child's only uses atomics and calls `dup2` and `fcntl`,
    // all async-signal-safe, as the child of a threaded process must. If this code was loaded with
    // dlopen, the C library forgets the handlers when it is unloaded.
    let code = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    if code == 0 { Ok(()) } else { Err(code) }
}

/// Runs before the fork: waits until no thread is in a section, and keeps them out.
extern "C" fn before() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    for _ in 0..PATIENCE {
        if SECTIONS.load(Ordering::SeqCst) <= 0 {
            return;
        }
        thread::yield_now();
    }
}

/// Runs in the parent after the fork, also after one that failed.
extern "C" fn in_parent() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// Runs in the child, before fork returns there. Only the thread that forked is left.
extern "C" fn in_child() {
    FORKS.store(0, Ordering::SeqCst);
    SECTIONS.store(0, Ordering::SeqCst);
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let harmless = HARMLESS.load(Ordering::Acquire);
    for slot in &TABLE {
        let descriptor = slot.load(Ordering::Acquire) - 1;
        if descriptor < 0 {
            continue;
        }
        // SAFETY: `dup2` takes any numbers. `harmless` is open for ever; `descriptor` is a guarded
        // one by the table's invariant, of this process, and nothing else here runs yet.
        unsafe { libc::dup2(harmless, descriptor) };
        // SAFETY: as above. `dup2` clears close-on-exec, which every descriptor of ours has.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_once_the_value_is_dropped() {
        let (guarded, ()) = Guarded::open(|| Ok((File::open("/dev/null")?, ()))).unwrap();
        let entry = guarded.as_raw_fd() + 1;
        let slot = guarded.entry.slot.unwrap();
        assert_eq!(TABLE[slot].load(Ordering::Relaxed), entry);
        guarded.check().unwrap();
        drop(guarded);
        assert_ne!(TABLE[slot].load(Ordering::Relaxed), entry);
    }

    #[test]
    fn a_section_within_a_section_ends() {
        let outer = begin_section();
        drop(begin_section());
        drop(outer);
    }
}
