//! Which process holds a lock (flock), where the system tells: asked without touching the lock.

cfg_if::cfg_if! {
    if #[cfg(any(target_os = "linux", target_os = "android"))] {
        mod linux;
        use linux as platform;
    } else {
        mod elsewhere;
        use elsewhere as platform;
    }
}

pub(crate) use platform::{is_told, of};

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LockedFile {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// The process that has signed it, if that is known. Some file systems show another device in
    /// the list of locks: there inode and process are what is gone by.
    pub(crate) signed: Option<u32>,
}
