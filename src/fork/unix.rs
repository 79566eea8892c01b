//! Unix: a handler that runs in each forked child and makes our descriptors harmless.
//!
//! Invariants:
//! - A slot of the table is 0, or one more than a descriptor that is open and guarded. A guard is
//!   dropped before its descriptor is closed, so that a slot never names a reused number.
//! - The handler does only what is allowed between fork and exec of a threaded process: atomics,
//!   `dup2` and `fcntl`. It takes no lock and allocates nothing.
//!
//! A fork between the drop of a guard and the close behind it leaves the child with one copy. That
//! is a window of an instant, and [`Guard::check`] keeps the child from using it all the same.
#![expect(
    unsafe_code,
    reason = "pthread_atfork, and what its handler may call, have no safe form"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};

/// How many descriptors can be guarded: those of a server with the default `peers_max` of 4096 and
/// as many again. What does not fit is still refused to the child by [`Guard::check`] and closed
/// by exec, but stays open in a child that does neither, so that peers see the end late. All zero
/// at first, the table takes memory only where it is used.
const SLOTS: usize = 8192;

static GENERATION: AtomicU32 = AtomicU32::new(0);
static TABLE: [AtomicI32; SLOTS] = [const { AtomicI32::new(0) }; SLOTS];
/// Where to look for a free slot first, so that a full table is not walked from its start.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// A descriptor of `/dev/null`, open for ever once the handler is installed; -1 before.
static HARMLESS: AtomicI32 = AtomicI32::new(-1);
/// Set once the handler is installed; holds the system's error number if it could not be.
static ARMED: OnceLock<Result<(), i32>> = OnceLock::new();

/// How many forks lie between this process and the one that first asked, or held a [`Guard`].
pub(crate) fn generation() -> u32 {
    // Asking counts from now on. Where the handler can't be installed (out of memory) the answer
    // stays 0, and the first guard fails with the reason.
    ARMED.get_or_init(arm);
    GENERATION.load(Ordering::Relaxed)
}

/// Keeps a descriptor out of forked children: there it becomes one of `/dev/null`.
///
/// Declare it before the descriptor in a struct: fields are dropped in order.
#[derive(Debug)]
pub(crate) struct Guard {
    slot: Option<usize>,
    generation: u32,
}

impl Guard {
    /// Guards a descriptor, which must stay open for as long as the guard lives.
    pub(crate) fn new(descriptor: &impl AsFd) -> io::Result<Self> {
        ARMED
            .get_or_init(arm)
            .map_err(io::Error::from_raw_os_error)?;
        Ok(Self {
            slot: claim(descriptor.as_fd().as_raw_fd()),
            generation: generation(),
        })
    }

    /// Fails in a forked child: the descriptor is its parent's.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.generation == generation() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "this process is a fork of the one that made the connection: connect again",
        ))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            TABLE[slot].store(0, Ordering::Release);
            NEXT.store(slot, Ordering::Relaxed);
        }
    }
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

/// Opens the harmless descriptor and installs the handler.
fn arm() -> Result<(), i32> {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(number)?;
    HARMLESS.store(null.into_raw_fd(), Ordering::Release);
    // SAFETY: the handler is a function of this crate with the signature asked for. It only loads
    // and stores atomics and calls `dup2` and `fcntl`, all of which are async-signal-safe, as the
    // child of a threaded process must be. It can't unwind: nothing in it panics. If this code was
    // loaded with dlopen, the C library forgets the handler when it is unloaded.
    let code = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    if code == 0 { Ok(()) } else { Err(code) }
}

/// Runs in the child, before fork returns there.
extern "C" fn in_child() {
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
    fn a_slot_is_free_again_after_its_guard() {
        let file = File::open("/dev/null").unwrap();
        let entry = file.as_raw_fd() + 1;
        let guard = Guard::new(&file).unwrap();
        let slot = guard.slot.unwrap();
        assert_eq!(TABLE[slot].load(Ordering::Relaxed), entry);
        guard.check().unwrap();
        drop(guard);
        assert_ne!(TABLE[slot].load(Ordering::Relaxed), entry);
    }
}
