//! Which process holds a lock (flock), where the system tells: asked without touching the lock.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::sync::atomic::{AtomicU8, Ordering};

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        mod linux;
        use linux as platform;
    } else {
        mod elsewhere;
        use elsewhere as platform;
    }
}

#[cfg(any(feature = "uds", feature = "fifo"))]
pub(crate) use platform::sees_all;
pub(crate) use platform::{is_told, of};

/// A question to the system whose answer stays.
///
/// Not a `OnceLock`: whoever is forked while another thread is inside of one waits for that thread for ever.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
pub(crate) struct AskedOnce(AtomicU8);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl AskedOnce {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;

    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(Self::UNKNOWN))
    }

    /// The answer; asks if nobody has.
    pub(crate) fn answer(&self, ask: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            Self::UNKNOWN => {
                let answer = ask();
                let known = if answer { Self::YES } else { Self::NO };
                self.0.store(known, Ordering::Relaxed);
                answer
            }
            known => known == Self::YES,
        }
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockedFile {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// The process that has signed it, if that is known. Some file systems show another device in
    /// the list of locks: there inode and process are what is gone by.
    pub(crate) signed: Option<u32>,
}
