//! More room in the FIFO of a link that has much to say.
//!
//! A FIFO holds 64 KiB on Linux: of a longer message, or of many, each 64 KiB cost both sides a
//! sleep. It can be made to hold more, but its pages count against a bound of the user's
//! (`fs.pipe-user-pages-soft`, 64 MiB), beyond which new FIFOs hold next to nothing. So only a link
//! that was seen to need it gets more, and only the first few of a process.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};

use super::system;

/// Whoever writes so much at once and can't get it all in gets more room.
const MUCH_LEN: usize = 32 * 1024;

/// As much as a server's visit reads.
const MORE_LEN: usize = 256 * 1024;

/// The links of a process that have more room at a time: 6 MiB together.
const MORE_MAX: u32 = 32;

/// The links of this process that have more room.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// How much room the FIFO of a link has.
#[derive(Debug, Default)]
pub(super) enum Room {
    /// What the system gives.
    #[default]
    Stock,
    More(Share),
    /// Others have it, or the system has refused.
    NoMore,
}

/// One of the links that have more: counted until it is dropped.
#[derive(Debug)]
pub(super) struct Share(());

impl Room {
    /// Takes note that of `len` bytes not all went in. True if there is more room than before.
    pub(super) fn was_short(&mut self, len: usize, fifo: &File) -> bool {
        if len < MUCH_LEN || !matches!(self, Self::Stock) {
            return false;
        }
        let share = Share::take().filter(|_| system::lengthen(fifo, MORE_LEN).is_ok());
        *self = share.map_or(Self::NoMore, Self::More);
        matches!(self, Self::More(_))
    }
}

impl Share {
    fn take() -> Option<Self> {
        let more = |count: u32| (count < MORE_MAX).then_some(count + 1);
        let taken = COUNT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Self(()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_writes_little_needs_no_more_and_the_first_that_write_much_get_it() {
        let (_reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let writer = File::from(writer);
        let stock = rustix::pipe::fcntl_getpipe_size(&writer).expect("a pipe has a size");
        let mut rooms: Vec<Room> = (0..=MORE_MAX).map(|_| Room::default()).collect();
        assert!(!rooms[0].was_short(MUCH_LEN - 1, &writer));
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&writer), Ok(stock));
        for room in &mut rooms {
            room.was_short(MUCH_LEN, &writer);
        }
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&writer), Ok(MORE_LEN));
        assert!(matches!(rooms.first(), Some(Room::More(_))));
        assert!(matches!(rooms.last(), Some(Room::NoMore)));
        assert!(!rooms[0].was_short(MUCH_LEN, &writer), "once is enough");
        drop(rooms);
        assert!(Room::default().was_short(MUCH_LEN, &writer));
    }
}
