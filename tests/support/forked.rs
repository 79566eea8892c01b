//! Children that a test forks, for which the crate promises more than the system does.
#![allow(unsafe_code, reason = "fork is what is tested")]

/// A child of this process, or in the child nothing: it runs its part and ends, without exec.
pub struct Forked(libc::pid_t);

impl Forked {
    /// Forks.
    pub fn new(child: impl FnOnce()) -> Self {
        // SAFETY: what runs in the child is what the crate promises to work there. On the systems
        // tested the C library makes its own locks usable in a child of a threaded process.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork failed");
        if pid > 0 {
            return Self(pid);
        }
        // SAFETY: no pointers; ends a child that hangs.
        unsafe { libc::alarm(60) };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        std::process::exit(i32::from(result.is_err()));
    }

    /// Waits until it has ended, which must be well.
    pub fn wait(self) {
        let mut status = 0;
        // SAFETY: the pointer leads to a live integer.
        let pid = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!((pid, status), (self.0, 0), "the child has failed");
    }
}
