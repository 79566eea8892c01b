//! Which process holds a lock, by the kernel's word: its list of all locks.
//!
//! ```text
//! 4: FLOCK  ADVISORY  WRITE 1234 00:14:952522 0 EOF
//!                           pid  device and inode of the file
//! ```
//!
//! A process id found here can't be forged, and when it is found again after a descriptor of the
//! process was opened, the descriptor is that of the holder: nobody else could have come to the lock
//! in between without the holder, whose id it was, letting go of it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::limit;
use super::queue::{Queue, QueueId};
use crate::fork::Guarded;

const LIST: &str = "/proc/locks";

/// The list is read in pieces, between which it may shift: a line that was missed is looked for
/// again so often.
const READS_MAX: u32 = 5;

/// Whether this system tells.
///
/// Asked once, and not behind a `OnceLock`: whoever is forked while another thread is inside of one
/// waits for that thread for ever.
pub(super) fn is_told() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static TOLD: AtomicU8 = AtomicU8::new(UNKNOWN);
    match TOLD.load(Ordering::Relaxed) {
        UNKNOWN => {
            let told = fs::File::open(LIST).is_ok();
            TOLD.store(if told { YES } else { NO }, Ordering::Relaxed);
            told
        }
        told => told == YES,
    }
}

/// The process that holds the lock of a queue. `None` if nobody does, or if it lives where we
/// can't see it.
pub(super) fn of(queue: QueueId) -> Option<u32> {
    let device = (
        rustix::fs::major(queue.device),
        rustix::fs::minor(queue.device),
    );
    let file = format!("{:02x}:{:02x}:{}", device.0, device.1, queue.inode);
    (0..READS_MAX).find_map(|_| find(&fs::read_to_string(LIST).ok()?, &file))
}

fn find(list: &str, file: &str) -> Option<u32> {
    list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        // Those that wait for a lock have an arrow here.
        let kind = words.next()?;
        let pid = words.nth(2)?;
        let is_it = kind == "FLOCK" && words.next()? == file;
        is_it.then(|| pid.parse().ok()).flatten()
    })
}

/// The process that holds the lock of a queue, and what becomes readable when it ends.
///
/// # Errors
/// Out of descriptors. What can't be found out is `None`.
pub(super) fn watch(queue: &Queue) -> io::Result<(Option<u32>, Option<Guarded<OwnedFd>>)> {
    let Some(number) = queue.holder()? else {
        return Ok((None, None));
    };
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Ok((None, None));
    };
    let opened = Guarded::open(|| {
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        Ok((descriptor, ()))
    });
    match opened {
        Ok((descriptor, ())) if queue.holder()? == Some(number) => {
            Ok((Some(number), Some(descriptor)))
        }
        // It has gone meanwhile: the lock will tell.
        Ok(_) => Ok((None, None)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => Err(limit::explain(error, None)),
            // It has gone, or the kernel is older than 5.3.
            _ => Ok((Some(number), None)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_one_with_the_lock_and_not_one_that_waits() {
        let list = "1: POSIX  ADVISORY  WRITE 11 00:14:9 0 EOF\n\
                    2: OFDLCK ADVISORY  READ  -1 00:14:9 0 EOF\n\
                    3: FLOCK  ADVISORY  WRITE 12 00:14:99 0 EOF\n\
                    4: FLOCK  ADVISORY  WRITE 13 00:14:9 0 EOF\n\
                    4: -> FLOCK  ADVISORY  WRITE 14 00:14:9 0 EOF\n";
        assert_eq!(find(list, "00:14:9"), Some(13));
        assert_eq!(find(list, "00:14:99"), Some(12));
        assert_eq!(find(list, "00:14:999"), None);
        assert_eq!(
            find("4: -> FLOCK  ADVISORY  WRITE 14 00:14:9 0 EOF", "00:14:9"),
            None
        );
        assert_eq!(find("nonsense\n\n1:", "00:14:9"), None);
    }
}
