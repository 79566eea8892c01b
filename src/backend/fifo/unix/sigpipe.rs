//! Writing without SIGPIPE, where a file can't be told to raise none.
//!
//! The signal would end a host program that has not ignored it. Rust's own start-up code does, but
//! a library may be part of a program that is not Rust's. There it is held back for the time of the
//! write and, if one came of it, taken away: these systems send it to the thread that writes, and
//! to no other, so this thread finds it.
#![expect(
    unsafe_code,
    reason = "signal masks and dispositions have no safe form"
)]

use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ptr;

/// Writes once.
pub(super) fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    // Asked each time: one cheap system call, and the program may change its mind.
    if is_ignored() {
        return file.write(bytes);
    }
    let blocked = Blocked::new()?;
    let result = file.write(bytes);
    if matches!(&result, Err(error) if error.kind() == io::ErrorKind::BrokenPipe) {
        blocked.take_signal();
    }
    result
}

/// Whether the process ignores SIGPIPE.
fn is_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null pointer for the new action nothing changes; the other pointer leads to
    // room for the old one.
    let result = unsafe { libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) };
    if result != 0 {
        return false;
    }
    // SAFETY: the call has succeeded and has filled it; all zero it would be valid as well.
    let action = unsafe { action.assume_init() };
    action.sa_sigaction == libc::SIG_IGN
}

/// SIGPIPE is held back from this thread while it lives.
struct Blocked {
    before: libc::sigset_t,
    /// One waited already, which is not ours to take. (Then it was blocked before.)
    was_pending: bool,
}

impl Blocked {
    fn new() -> io::Result<Self> {
        let was_pending = is_pending();
        let set = only_sigpipe();
        let mut before = empty();
        // SAFETY: both pointers lead to initialized sets, the second writable.
        let code =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(Self {
            before,
            was_pending,
        })
    }

    /// Takes the signal that a write has raised.
    fn take_signal(&self) {
        if self.was_pending || !is_pending() {
            return;
        }
        let set = only_sigpipe();
        let mut signal = 0;
        // SAFETY: both pointers lead to initialized values, the second writable. It does not wait:
        // the signal is pending for this thread, so nobody else can take it.
        unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the first pointer leads to the set that was in force before; a null pointer for
        // the old set is allowed.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

fn is_pending() -> bool {
    let mut set = empty();
    // SAFETY: the pointer leads to a writable, initialized set.
    unsafe { libc::sigpending(&raw mut set) };
    // SAFETY: the pointer leads to an initialized set, and the signal's number is valid.
    let member = unsafe { libc::sigismember(&raw const set, libc::SIGPIPE) };
    member == 1
}

fn only_sigpipe() -> libc::sigset_t {
    let mut set = empty();
    // SAFETY: the pointer leads to a writable, initialized set, and the signal's number is valid.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPIPE) };
    set
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer leads to room for a set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: `sigemptyset` initializes it, and can't fail with a valid pointer.
    unsafe { set.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that nobody reads.
    fn broken() -> File {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        File::from(writer)
    }

    #[test]
    fn a_signal_that_came_meanwhile_is_taken_and_the_mask_is_as_before() {
        // The test's own process ignores the signal, so it is never raised; blocking must still
        // leave everything as it was.
        assert!(is_ignored(), "Rust's start-up code ignores it");
        let blocked = Blocked::new().unwrap();
        let error = (&broken()).write(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        blocked.take_signal();
        drop(blocked);
        let mut now = empty();
        // SAFETY: a null pointer for the new set changes nothing; the other leads to a set.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut now) };
        // SAFETY: the pointer leads to an initialized set, and the signal's number is valid.
        let member = unsafe { libc::sigismember(&raw const now, libc::SIGPIPE) };
        assert_eq!(member, 0);
        assert!(!is_pending());
    }

    /// Forked, because what a signal does holds for the whole process.
    #[test]
    fn a_program_that_the_signal_would_end_lives_on() {
        let file = broken();
        // SAFETY: the child makes system calls only, and leaves without running anything else.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: any disposition of a signal of this process is its own to set.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            let failed = matches!(
                write(&file, b"x"),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe
            );
            let good = !is_ignored() && failed && !is_pending();
            // SAFETY: it ends this process, which is only a copy.
            unsafe { libc::_exit(i32::from(!good)) };
        }
        assert!(child > 0, "{}", io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: the pointer leads to a writable number.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0));
    }
}
