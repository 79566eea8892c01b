//! By the kernel's word: its list of all locks.
//!
//! ```text
//! 4: FLOCK  ADVISORY  WRITE 1234 00:14:952522 0 EOF
//!                           pid  device and inode of the file
//! ```

use std::fs;
use std::sync::atomic::{AtomicU8, Ordering};

use super::LockedFile;

const LIST: &str = "/proc/locks";

/// The list is read in pieces, between which it may shift: a line that was missed is looked for
/// again so often.
const READS_MAX: u32 = 5;

/// Whether this system tells.
///
/// Asked once, and not behind a `OnceLock`: whoever is forked while another thread is inside of one
/// waits for that thread for ever.
pub(crate) fn is_told() -> bool {
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

/// The process that holds the lock of a file. `None` if nobody does, or if it lives where we can't
/// see it.
pub(crate) fn of(file: LockedFile) -> Option<u32> {
    (0..READS_MAX).find_map(|_| find(&fs::read_to_string(LIST).ok()?, file))
}

fn find(list: &str, file: LockedFile) -> Option<u32> {
    let (major, minor) = (
        rustix::fs::major(file.device),
        rustix::fs::minor(file.device),
    );
    let whole = format!("{major:02x}:{minor:02x}:{}", file.inode);
    let inode = format!(":{}", file.inode);
    list.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        // Those that wait for a lock have an arrow here.
        let kind = words.next()?;
        let pid = words.nth(2)?.parse().ok()?;
        let locked = words.next()?;
        let is_it = locked == whole || (file.signed == Some(pid) && locked.ends_with(&inode));
        (kind == "FLOCK" && is_it).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "1: POSIX  ADVISORY  WRITE 11 00:14:9 0 EOF\n\
                        2: OFDLCK ADVISORY  READ  -1 00:14:9 0 EOF\n\
                        3: FLOCK  ADVISORY  WRITE 12 00:14:99 0 EOF\n\
                        4: FLOCK  ADVISORY  WRITE 13 00:14:9 0 EOF\n\
                        4: -> FLOCK  ADVISORY  WRITE 14 00:14:9 0 EOF\n";

    fn file(inode: u64, signed: Option<u32>) -> LockedFile {
        LockedFile {
            device: rustix::fs::makedev(0, 0x14),
            inode,
            signed,
        }
    }

    #[test]
    fn the_holder_is_the_one_with_the_lock_and_not_one_that_waits() {
        assert_eq!(find(LIST, file(9, None)), Some(13));
        assert_eq!(find(LIST, file(99, None)), Some(12));
        assert_eq!(find(LIST, file(999, None)), None);
        let waits = "4: -> FLOCK  ADVISORY  WRITE 14 00:14:9 0 EOF";
        assert_eq!(find(waits, file(9, None)), None);
        assert_eq!(find("nonsense\n\n1:", file(9, None)), None);
    }

    #[test]
    fn on_another_device_it_has_to_be_the_process_that_signed() {
        let elsewhere = |signed| LockedFile {
            device: rustix::fs::makedev(7, 7),
            ..file(9, signed)
        };
        assert_eq!(find(LIST, elsewhere(Some(13))), Some(13));
        assert_eq!(find(LIST, elsewhere(Some(12))), None);
        assert_eq!(find(LIST, elsewhere(None)), None);
    }
}
