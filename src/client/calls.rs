//! The calls of a client that wait for an answer, and the answers that wait to be taken.
//!
//! A slot is used again and again, so that a call allocates nothing; a generation in the number
//! of a call tells late answers to an earlier one.
//!
//! All of this is behind a lock. Wakers and replies are the application's own, and waking or
//! dropping one may run code that comes back here: so they are handed out, to be woken or dropped
//! once the lock is let go.

use std::task::Waker;
use std::time::Instant;

use crate::client::error::CallError;

/// The number of a call, as it goes over the wire. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallId(pub(crate) u64);

/// How a call ended well.
#[derive(Debug)]
pub(crate) enum Answer<R> {
    /// A request's.
    Reply(R),
    /// A sync's: everything before it was handled.
    Synced,
}

pub(crate) struct Calls<R> {
    slots: Vec<Slot<R>>,
    free: Vec<u32>,
    open: u32,
    /// No open call ends sooner; `None` without open calls.
    earliest: Option<Instant>,
}

struct Slot<R> {
    generation: u32,
    state: State<R>,
}

pub(crate) enum State<R> {
    Free,
    Open {
        deadline: Instant,
        waker: Option<Waker>,
    },
    Ended(Result<Answer<R>, CallError>),
}

/// What has become of a call.
pub(crate) enum Progress<R> {
    /// Whom the one that asks now has replaced as the one to be woken.
    Open {
        _replaced: Option<Waker>,
    },
    Ended(Result<Answer<R>, CallError>),
}

impl<R> Calls<R> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            open: 0,
            earliest: None,
        }
    }

    /// The calls that wait for an answer.
    pub(crate) fn open_count(&self) -> u32 {
        self.open
    }

    /// The number that the next call to begin will have.
    pub(crate) fn next_id(&self) -> CallId {
        match self.free.last() {
            Some(&index) => self.id(index),
            None => id(FIRST_GENERATION, self.slot_count()),
        }
    }

    /// Begins the call of [`next_id`](Calls::next_id).
    pub(crate) fn begin(&mut self, deadline: Instant) -> CallId {
        let state = State::Open {
            deadline,
            waker: None,
        };
        self.open += 1;
        self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[position(index)].state = state;
                index
            }
            None => {
                let index = self.slot_count();
                let generation = FIRST_GENERATION;
                self.slots.push(Slot { generation, state });
                index
            }
        };
        self.id(index)
    }

    /// Ends an open call. Whoever waits for it is added to `wakers`. False if there is no such
    /// call.
    pub(crate) fn end(
        &mut self,
        id: CallId,
        result: Result<Answer<R>, CallError>,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let Some(slot) = self.slot(id) else {
            return false;
        };
        let State::Open { waker, .. } = &mut slot.state else {
            return false;
        };
        wakers.extend(waker.take());
        slot.state = State::Ended(result);
        self.one_less_open();
        true
    }

    /// Ends all open calls that `error` has one for.
    pub(crate) fn end_each(
        &mut self,
        wakers: &mut Vec<Waker>,
        mut error: impl FnMut(CallId, Instant) -> Option<CallError>,
    ) {
        for index in 0..self.slot_count() {
            let id = self.id(index);
            if let State::Open { deadline, .. } = self.slots[position(index)].state {
                if let Some(error) = error(id, deadline) {
                    self.end(id, Err(error), wakers);
                }
            }
        }
    }

    /// Takes the end of a call, once; until then notes whom to wake.
    pub(crate) fn poll(&mut self, id: CallId, waker: &Waker) -> Progress<R> {
        let slot = self.slot(id).expect("only its owner frees a slot");
        if let State::Open { waker: old, .. } = &mut slot.state {
            let known = old.as_ref().is_some_and(|old| old.will_wake(waker));
            let replaced = if known {
                None
            } else {
                old.replace(waker.clone())
            };
            return Progress::Open {
                _replaced: replaced,
            };
        }
        match self.free_slot(id) {
            State::Ended(result) => Progress::Ended(result),
            State::Open { .. } | State::Free => unreachable!("neither, as was seen above"),
        }
    }

    /// Whether a call has ended.
    pub(crate) fn has_ended(&mut self, id: CallId) -> bool {
        self.slot(id)
            .is_none_or(|slot| !matches!(slot.state, State::Open { .. }))
    }

    /// Lets go of a call, and gives what it was until now.
    pub(crate) fn abandon(&mut self, id: CallId) -> State<R> {
        if !self.has_ended(id) {
            self.one_less_open();
        }
        if self.slot(id).is_some() {
            self.free_slot(id)
        } else {
            State::Free
        }
    }

    /// When a call is over without an answer, at the soonest.
    pub(crate) fn earliest_deadline(&self) -> Option<Instant> {
        self.earliest
    }

    /// Ends the calls whose time is over, and says which.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        wakers: &mut Vec<Waker>,
        mut expired: impl FnMut(CallId),
    ) {
        if self.earliest.is_none_or(|at| now < at) {
            return;
        }
        let mut earliest: Option<Instant> = None;
        self.end_each(wakers, |id, deadline| {
            if deadline <= now {
                expired(id);
                return Some(CallError::TimedOut);
            }
            earliest = Some(earliest.map_or(deadline, |at| at.min(deadline)));
            None
        });
        self.earliest = earliest;
    }

    fn slot_count(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("calls_max is a u32")
    }

    fn one_less_open(&mut self) {
        self.open -= 1;
        if self.open == 0 {
            self.earliest = None;
        }
    }

    fn free_slot(&mut self, id: CallId) -> State<R> {
        let index = index(id);
        let slot = &mut self.slots[position(index)];
        slot.generation = slot.generation.wrapping_add(1).max(1);
        self.free.push(index);
        std::mem::replace(&mut slot.state, State::Free)
    }

    fn slot(&mut self, id: CallId) -> Option<&mut Slot<R>> {
        let slot = self.slots.get_mut(position(index(id)))?;
        let current = !matches!(slot.state, State::Free) && slot.generation == generation(id);
        current.then_some(slot)
    }

    fn id(&self, index: u32) -> CallId {
        id(self.slots[position(index)].generation, index)
    }
}

/// Not 0, so that no number is.
const FIRST_GENERATION: u32 = 1;

fn id(generation: u32, index: u32) -> CallId {
    CallId(u64::from(generation) << 32 | u64::from(index))
}

fn generation(id: CallId) -> u32 {
    u32::try_from(id.0 >> 32).expect("32 bits are left")
}

fn index(id: CallId) -> u32 {
    u32::try_from(id.0 & u64::from(u32::MAX)).expect("32 bits are left")
}

fn position(index: u32) -> usize {
    usize::try_from(index).expect("mio runs on no platform with pointers below 32 bits")
}
