//! By the kernel's word: its list of all locks.
//!
//! ```text
//! 4: FLOCK  ADVISORY  WRITE 1234 00:14:952522 0 EOF
//!                           pid  device and inode of the file
//! ```

use std::fs;
use std::io::{self, Read};

use super::{AskedOnce, LockedFile};

const LIST: &str = "/proc/locks";

/// A list that is read in pieces may shift between them: a line that was missed is looked for again
/// so often.
const READS_MAX: u32 = 5;

/// Longer than any piece that the kernel gives at once: a page.
const PIECE_LEN_MAX: usize = 64 << 10;

/// Whether this system tells.
pub(crate) fn is_told() -> bool {
    static TOLD: AskedOnce = AskedOnce::new();
    TOLD.answer(|| fs::File::open(LIST).is_ok())
}

/// Whether it tells of all processes. The list leaves out the locks of those that the reader's process
/// namespace does not contain: only the first one, which has this number in every kernel, contains all.
#[cfg(any(feature = "uds", feature = "fifo"))]
pub(crate) fn sees_all() -> bool {
    static FIRST: AskedOnce = AskedOnce::new();
    is_told()
        && FIRST.answer(|| {
            let own = fs::read_link("/proc/self/ns/pid");
            own.is_ok_and(|own| own.as_os_str() == "pid:[4026531836]")
        })
}

/// The process that holds the lock of a file. `None` if nobody does, or if it lives where we can't
/// see it.
pub(crate) fn of(file: LockedFile) -> Option<u32> {
    for _ in 0..READS_MAX {
        let (list, pieces) = read().ok()?;
        let found = find(&list, file);
        // What came in one piece has missed nobody.
        if found.is_some() || pieces <= 1 {
            return found;
        }
    }
    None
}

/// The list, and in how many pieces it came.
fn read() -> io::Result<(String, u32)> {
    let mut file = fs::File::open(LIST)?;
    let mut list = Vec::new();
    let mut piece = vec![0; PIECE_LEN_MAX];
    let mut pieces = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((String::from_utf8_lossy(&list).into_owned(), pieces)),
            Ok(len) => list.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        pieces += 1;
    }
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
        // Who shares a lock only looks whether it is free.
        let access = words.nth(1)?;
        let pid = words.next()?.parse().ok()?;
        let locked = words.next()?;
        let is_it = locked == whole || (file.signed == Some(pid) && locked.ends_with(&inode));
        (kind == "FLOCK" && access == "WRITE" && is_it).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "1: POSIX  ADVISORY  WRITE 11 00:14:9 0 EOF\n\
                        2: OFDLCK ADVISORY  READ  -1 00:14:9 0 EOF\n\
                        3: FLOCK  ADVISORY  WRITE 12 00:14:99 0 EOF\n\
                        3: FLOCK  ADVISORY  READ  15 00:14:9 0 EOF\n\
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
