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
    pub(super) slot: Slot,
    pub(super) up: Guarded<Queue>,
    /// Locked.
    pub(super) down: Guarded<Queue>,
}

/// Takes a number and creates its queues.
///
/// # Errors
/// `WouldBlock` if all are taken; what says which limit was hit.
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
    for step in 0..SLOTS {
        let number = (start + step) % SLOTS;
        let names = name.pair(number);
        if let Some(pair) = take_one(names, number, shape)? {
            return Ok(pair);
        }
        if clear(&name.pair(number)).unwrap_or(false) {
            if let Some(pair) = take_one(name.pair(number), number, shape)? {
                return Ok(pair);
            }
        }
    }
    let text = format!("{name}: as many wait there as can: try again");
    Err(io::Error::new(io::ErrorKind::WouldBlock, text))
}

/// Takes this number, unless someone has it.
fn take_one(names: PairNames, number: u32, shape: Shape) -> io::Result<Option<Pair>> {
    let create = |name| Guarded::open(|| Ok((Queue::create(name, Access::Receive, shape)?, ())));
    let down = match create(&names.down) {
        Ok((down, ())) => down,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    if !down.try_lock()? || !down.has_name(&names.down)? {
        // Someone took it for one that was left behind.
        return Ok(None);
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
            return Err(error);
        }
    };
    Ok(Some(Pair { slot, up, down }))
}

impl Drop for Slot {
    fn drop(&mut self) {
        if process::id() == self.process {
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
