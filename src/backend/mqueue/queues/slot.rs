//! The numbered names of pairs: taken, given back, and cleared after those who were killed.
//!
//! Invariants:
//! - A number belongs to who holds the lock of the queue that has the name `down` of it. Only the
//!   owner creates and removes the name `up`, and removes `down`.
//! - Whoever gets that lock looks again whether the name still leads to the queue: it may have been
//!   removed since it was opened.

use std::io;
use std::process;

use super::address::{MailboxName, PairNames};
use super::queue::{Queue, unlink};
use super::sys::{Access, Shape};
use crate::fork::Guarded;

/// How many numbers there are. They are only held while a client waits to be accepted, and the
/// mailbox holds ten of those.
pub(super) const SLOTS: u32 = 128;

/// A number that is ours. Dropped, it is free again: while the lock of `down` is still held.
#[derive(Debug)]
pub(super) struct Slot {
    names: PairNames,
    pub(super) number: u32,
    /// The process that took it: a forked child that drops its copy removes nothing.
    process: u32,
}

/// A slot and its queues.
#[derive(Debug)]
pub(super) struct Pair {
    // Dropped first: while the lock is held.
    pub(super) slot: Slot,
    pub(super) up: Guarded<Queue>,
    /// Locked.
    pub(super) down: Guarded<Queue>,
}

/// Takes a number and creates its queues.
///
/// # Errors
/// `WouldBlock` if all are taken; `PermissionDenied` if other users have them all; what says which
/// limit was hit.
pub(super) fn take(name: &MailboxName, shape: Shape) -> io::Result<Pair> {
    match take_any(name, shape) {
        // What the dead have left counts against the limits.
        Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
            sweep(name);
            take_any(name, shape)
        }
        other => other,
    }
}

fn take_any(name: &MailboxName, shape: Shape) -> io::Result<Pair> {
    // Not all begin at the same one.
    let start = process::id() % SLOTS;
    let mut others = 0;
    for step in 0..SLOTS {
        let number = (start + step) % SLOTS;
        match take_or_clear(name, number, shape) {
            Ok(Some(pair)) => return Ok(pair),
            Ok(None) => {}
            // The names are those of the whole system: anybody can have some.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => others += 1,
            Err(error) => return Err(error),
        }
    }
    if others == SLOTS {
        let text = format!(
            "other users have all queues from {name}.0.up to {name}.{}.down: use another name",
            SLOTS - 1
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let text = format!("{name}: as many wait there as can: try again");
    Err(io::Error::new(io::ErrorKind::WouldBlock, text))
}

/// Takes this number, also after a dead owner.
///
/// # Errors
/// `PermissionDenied` if another user has one of its names.
fn take_or_clear(name: &MailboxName, number: u32, shape: Shape) -> io::Result<Option<Pair>> {
    if let Some(pair) = take_one(name.pair(number), number, shape)? {
        return Ok(Some(pair));
    }
    match clear(&name.pair(number)) {
        Ok(true) => take_one(name.pair(number), number, shape),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // What keeps us from looking keeps us from this number only.
        Ok(false) | Err(_) => Ok(None),
    }
}

/// Takes this number, unless someone has it.
fn take_one(names: PairNames, number: u32, shape: Shape) -> io::Result<Option<Pair>> {
    let create = |name| Guarded::open(|| Ok((Queue::create(name, Access::Receive, shape)?, ())));
    let down = match create(&names.down) {
        Ok((down, ())) => down,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    if !down.try_lock()? {
        // Someone took it for one that was left behind.
        return Ok(None);
    }
    match down.has_name(&names.down) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        // It takes a descriptor to look. What we can't look at, nobody but us has had the time to take.
        Err(error) => {
            unlink(&names.down);
            return Err(error);
        }
    }
    let slot = Slot {
        names,
        number,
        process: process::id(),
    };
    unlink(&slot.names.up);
    let up = Guarded::open(|| {
        let queue = Queue::create(&slot.names.up, Access::Send, shape)?;
        Ok((queue, ()))
    });
    let (up, ()) = match up {
        Ok(up) => up,
        Err(error) => {
            // Before the lock goes.
            drop(slot);
            // The names are the user's and ours: what is still there is someone else's.
            return Err(if error.kind() == io::ErrorKind::AlreadyExists {
                io::ErrorKind::PermissionDenied.into()
            } else {
                error
            });
        }
    };
    Ok(Some(Pair { slot, up, down }))
}

impl Slot {
    /// Whether somebody holds the lock that goes with the number, as far as can be seen.
    fn is_locked(&self) -> bool {
        let opened = Guarded::open(|| Ok((Queue::open(&self.names.down, Access::Receive)?, ())));
        let free = opened.and_then(|(down, ())| down.is_free());
        !free.unwrap_or(false)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if process::id() == self.process {
            debug_assert!(self.is_locked(), "the lock went before the names");
            remove(&self.names);
        }
    }
}

/// Removes both names; the caller holds the lock.
fn remove(names: &PairNames) {
    unlink(&names.up);
    unlink(&names.down);
}

/// Clears a number whose owner has died. True if it is free.
fn clear(names: &PairNames) -> io::Result<bool> {
    let opened = Guarded::open(|| Ok((Queue::open(&names.down, Access::Receive)?, ())));
    match opened {
        Ok((down, ())) => clear_if_dead(&down, names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Clears a number if the owner of its open queue has died. True if it is free.
pub(super) fn clear_if_dead(down: &Queue, names: &PairNames) -> io::Result<bool> {
    if !down.try_lock()? {
        return Ok(false);
    }
    if down.has_name(&names.down)? {
        remove(names);
    }
    Ok(true)
}

/// Clears all numbers whose owners have died.
pub(super) fn sweep(name: &MailboxName) {
    for number in 0..SLOTS {
        if let Err(error) = clear(&name.pair(number)) {
            log::debug!("{name}: pair {number} can't be cleared: {error}");
        }
    }
}
