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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// With a deadline so many seconds from the start.
        Begin(u64),
        /// Of the n-th number that ever was.
        End(usize),
        Poll(usize),
        Abandon(usize),
        Expire(u64),
        Lose,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u64..100).prop_map(Step::Begin),
            6 => (0_usize..50).prop_map(Step::End),
            6 => (0_usize..50).prop_map(Step::Poll),
            3 => (0_usize..50).prop_map(Step::Abandon),
            1 => (0_u64..100).prop_map(Step::Expire),
            1 => Just(Step::Lose),
        ]
    }

    /// What a call is in the model: open until its deadline, or ended, with what.
    #[derive(Debug, Clone, PartialEq)]
    enum Fate {
        Open(u64),
        Replied(u64),
        TimedOut,
        Lost,
    }

    fn fate(result: Result<Answer<u64>, CallError>) -> Fate {
        match result {
            Ok(Answer::Reply(number)) => Fate::Replied(number),
            Err(CallError::TimedOut) => Fate::TimedOut,
            Err(CallError::TooManyCalls { .. }) => Fate::Lost,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Also of numbers that are over: an answer to an earlier call of a slot is not taken.
        #[test]
        fn they_do_what_a_map_by_number_does(steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            let mut calls = Calls::<u64>::new();
            let mut model = HashMap::<u64, Fate>::new();
            let mut ever = Vec::<CallId>::new();
            let mut wakers = Vec::new();
            for (number, step) in (0_u64..).zip(steps) {
                let nth = |n: usize| ever.get(n % ever.len().max(1)).copied();
                match step {
                    Step::Begin(deadline) => {
                        let next = calls.next_id();
                        let id = calls.begin(at(deadline));
                        prop_assert_eq!(id, next);
                        prop_assert!(id.0 != 0 && !ever.contains(&id), "{:?} again", id);
                        ever.push(id);
                        model.insert(id.0, Fate::Open(deadline));
                    }
                    Step::End(n) => if let Some(id) = nth(n) {
                        let open = matches!(model.get(&id.0), Some(Fate::Open(_)));
                        let ended = calls.end(id, Ok(Answer::Reply(number)), &mut wakers);
                        prop_assert_eq!(ended, open);
                        if open {
                            model.insert(id.0, Fate::Replied(number));
                        }
                    },
                    Step::Poll(n) => if let Some(id) = nth(n).filter(|id| model.contains_key(&id.0)) {
                        match calls.poll(id, Waker::noop()) {
                            Progress::Open { .. } => {
                                prop_assert!(matches!(model[&id.0], Fate::Open(_)));
                            }
                            Progress::Ended(result) => {
                                prop_assert_eq!(Some(fate(result)), model.remove(&id.0));
                            }
                        }
                    },
                    Step::Abandon(n) => if let Some(id) = nth(n).filter(|id| model.contains_key(&id.0)) {
                        let expected = model.remove(&id.0).unwrap();
                        match calls.abandon(id) {
                            State::Open { .. } => prop_assert!(matches!(expected, Fate::Open(_))),
                            State::Ended(result) => prop_assert_eq!(fate(result), expected),
                            State::Free => prop_assert!(false, "it was there"),
                        }
                    },
                    Step::Expire(now) => {
                        let mut expired = Vec::new();
                        calls.expire(at(now), &mut wakers, |id| expired.push(id.0));
                        for (id, fate) in &mut model {
                            if matches!(fate, Fate::Open(deadline) if *deadline <= now) {
                                prop_assert!(expired.contains(id));
                                *fate = Fate::TimedOut;
                            } else {
                                prop_assert!(!expired.contains(id));
                            }
                        }
                    }
                    Step::Lose => {
                        let lost = CallError::TooManyCalls { max: 0 };
                        calls.end_each(&mut wakers, |_, _| Some(lost.clone()));
                        for fate in model.values_mut().filter(|fate| matches!(fate, Fate::Open(_))) {
                            *fate = Fate::Lost;
                        }
                    }
                }
                let open = model.values().filter_map(|fate| match fate {
                    Fate::Open(deadline) => Some(*deadline),
                    _ => None,
                });
                prop_assert_eq!(u32::try_from(open.clone().count()).unwrap(), calls.open_count());
                // It may be too early, never too late.
                match (open.min(), calls.earliest_deadline()) {
                    (Some(first), earliest) => prop_assert!(earliest.unwrap() <= at(first)),
                    (None, earliest) => prop_assert_eq!(earliest, None),
                }
                prop_assert!(calls.slots.len() <= ever.len());
                for id in &ever {
                    let over = !matches!(model.get(&id.0), Some(Fate::Open(_)));
                    prop_assert_eq!(calls.has_ended(*id), over);
                }
            }
        }
    }

    #[test]
    fn as_many_slots_as_were_open_at_once() {
        let mut calls = Calls::<u64>::new();
        let deadline = Instant::now();
        for _ in 0..1000 {
            let ids = [calls.begin(deadline), calls.begin(deadline)];
            for id in ids {
                drop(calls.abandon(id));
            }
        }
        assert_eq!(calls.slots.len(), 2);
    }

    #[test]
    fn a_generation_that_wraps_around_skips_0() {
        let mut calls = Calls::<u64>::new();
        let id = calls.begin(Instant::now());
        drop(calls.abandon(id));
        calls.slots[0].generation = u32::MAX;
        let last = calls.begin(Instant::now());
        drop(calls.abandon(last));
        let next = calls.begin(Instant::now());
        assert_eq!((generation(next), index(next)), (1, 0));
        assert!(calls.has_ended(last));
    }
}
