//! Who has what in hand. No I/O, no clock.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::Ledger;

/// Jobs that a worker has at a time: one to do, one so that it need not wait for the next.
pub const HAND_MAX: usize = 2;

/// A job that has cost so many workers their lives is given up.
pub const TRIES_MAX: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job<K> {
    pub number: u64,
    pub below: u32,
    pub owner: K,
    pub tries: u32,
}

/// Every job that is not finished is in exactly one place: `waiting`, or one worker's hand.
///
/// `K` is the name of a peer. No two peers have the same, also not one after the other.
#[derive(Debug)]
pub struct Queue<K> {
    next_number: u64,
    pub waiting: VecDeque<Job<K>>,
    pub hands: BTreeMap<K, Vec<Job<K>>>,
    pub ledgers: BTreeMap<K, Ledger>,
}

impl<K: Ord + Copy> Queue<K> {
    pub fn new() -> Self {
        Self {
            next_number: 1,
            waiting: VecDeque::new(),
            hands: BTreeMap::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// A batch comes in. False if its owner has one under way.
    pub fn submit(&mut self, owner: K, tasks: Vec<u32>) -> bool {
        if self.ledgers.contains_key(&owner) {
            return false;
        }
        let mut ledger = Ledger::default();
        for below in tasks {
            ledger.submitted += 1;
            let number = self.next_number;
            self.next_number += 1;
            self.waiting.push_back(Job {
                number,
                below,
                owner,
                tries: 0,
            });
        }
        self.ledgers.insert(owner, ledger);
        true
    }

    /// A worker is there.
    pub fn join(&mut self, worker: K) {
        self.hands.entry(worker).or_default();
    }

    /// Hands the next job to the worker that has least to do, if one has a hand free.
    pub fn hand_out(&mut self) -> Option<(K, Job<K>)> {
        let hands = self.hands.iter_mut();
        let (worker, hand) = hands.min_by_key(|(_, hand)| hand.len())?;
        if hand.len() >= HAND_MAX {
            return None;
        }
        let mut job = self.waiting.pop_front()?;
        job.tries += 1;
        hand.push(job.clone());
        if let Some(ledger) = self.ledgers.get_mut(&job.owner) {
            ledger.handed_out += 1;
        }
        Some((*worker, job))
    }

    /// A worker has done a job. Gives its owner; `None` if it was not in that worker's hand, as
    /// when the result comes by another connection than the job went.
    pub fn finish(&mut self, worker: K, number: u64, primes: u64) -> Option<K> {
        let hand = self.hands.get_mut(&worker)?;
        let place = hand.iter().position(|job| job.number == number)?;
        let owner = hand.remove(place).owner;
        let ledger = self.ledgers.get_mut(&owner)?;
        ledger.done += 1;
        ledger.primes += primes;
        Some(owner)
    }

    /// A peer has gone: a worker's jobs wait again, in front; an owner's are dropped.
    pub fn leave(&mut self, peer: K) {
        for job in self.hands.remove(&peer).into_iter().flatten().rev() {
            let Some(ledger) = self.ledgers.get_mut(&job.owner) else {
                continue;
            };
            ledger.lost += 1;
            if job.tries < TRIES_MAX {
                self.waiting.push_front(job);
            } else {
                ledger.given_up += 1;
            }
        }
        self.ledgers.remove(&peer);
        self.waiting.retain(|job| job.owner != peer);
    }

    /// A batch that is finished; it is forgotten here.
    pub fn take_finished(&mut self) -> Option<(K, Ledger)> {
        let mut ledgers = self.ledgers.iter();
        let owner = *ledgers.find(|(_, ledger)| ledger.is_finished())?.0;
        self.ledgers.remove_entry(&owner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// What can happen to a queue. Peers 0 to 4 work, those from 10 on submit.
    #[derive(Debug, Clone)]
    enum Step {
        Submit(usize),
        Join(u32),
        HandOut,
        Finish(u32, prop::sample::Index),
        /// A result that is nobody's, or comes by the wrong connection.
        Stray(u32, u64),
        Leave(u32),
        OwnerLeaves(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let worker = 0..5_u32;
        prop_oneof![
            1 => (0..20_usize).prop_map(Step::Submit),
            2 => worker.clone().prop_map(Step::Join),
            6 => Just(Step::HandOut),
            4 => (worker.clone(), any::<prop::sample::Index>())
                .prop_map(|(who, which)| Step::Finish(who, which)),
            1 => (worker.clone(), 0..100_u64).prop_map(|(who, job)| Step::Stray(who, job)),
            2 => worker.prop_map(Step::Leave),
            1 => any::<prop::sample::Index>().prop_map(Step::OwnerLeaves),
        ]
    }

    /// A queue, and what is known of it from outside.
    struct Observed {
        queue: Queue<u32>,
        next_owner: u32,
        finished: HashSet<u64>,
        reported: Vec<Ledger>,
    }

    impl Observed {
        fn apply(&mut self, step: Step) {
            let queue = &mut self.queue;
            match step {
                Step::Submit(count) => {
                    assert!(queue.submit(self.next_owner, vec![10; count]));
                    self.next_owner += 1;
                }
                Step::Join(worker) => queue.join(worker),
                Step::HandOut => {
                    queue.hand_out();
                }
                Step::Finish(worker, which) => {
                    let hand = queue.hands.get(&worker).filter(|hand| !hand.is_empty());
                    if let Some(number) = hand.map(|hand| which.get(hand).number) {
                        queue.finish(worker, number, 4);
                        assert!(self.finished.insert(number), "job {number} was done twice");
                    }
                }
                Step::Stray(worker, number) => {
                    let hand = queue.hands.get(&worker);
                    if !hand.is_some_and(|hand| hand.iter().any(|job| job.number == number)) {
                        assert_eq!(queue.finish(worker, number, 4), None);
                    }
                }
                Step::Leave(worker) => queue.leave(worker),
                Step::OwnerLeaves(which) => {
                    let owners: Vec<u32> = queue.ledgers.keys().copied().collect();
                    if !owners.is_empty() {
                        queue.leave(*which.get(&owners));
                    }
                }
            }
            while let Some((_, ledger)) = self.queue.take_finished() {
                self.reported.push(ledger);
            }
            self.check();
        }

        /// Nothing is in two places, and every ledger balances.
        fn check(&self) {
            let queue = &self.queue;
            let in_hand = || queue.hands.values().flatten();
            let mut seen = HashSet::new();
            for job in queue.waiting.iter().chain(in_hand()) {
                assert!(seen.insert(job.number), "{job:?} is in two places");
                assert!(!self.finished.contains(&job.number), "{job:?} is done");
                assert!(job.tries <= TRIES_MAX, "{job:?}");
            }
            assert!(queue.hands.values().all(|hand| hand.len() <= HAND_MAX));
            for (owner, ledger) in &queue.ledgers {
                let count = |jobs: &mut dyn Iterator<Item = &Job<u32>>| {
                    u64::try_from(jobs.filter(|job| job.owner == *owner).count()).unwrap()
                };
                let (waiting, held) = (count(&mut queue.waiting.iter()), count(&mut in_hand()));
                let known = ledger.done + ledger.given_up + waiting + held;
                assert_eq!(ledger.submitted, known, "{ledger:?}");
                let ways = ledger.done + ledger.lost + held;
                assert_eq!(ledger.handed_out, ways, "{ledger:?}");
                assert_eq!(ledger.primes, ledger.done * 4);
            }
        }
    }

    proptest! {
        #[test]
        fn every_job_is_done_once_or_reported_whoever_dies(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut observed = Observed {
                queue: Queue::new(),
                next_owner: 10,
                finished: HashSet::new(),
                reported: Vec::new(),
            };
            for step in steps {
                observed.apply(step);
            }
            // Then one worker lives, the others die, and what is left gets done.
            (0..5).for_each(|worker| observed.apply(Step::Leave(worker)));
            observed.apply(Step::Join(5));
            while let Some((worker, job)) = observed.queue.hand_out() {
                observed.queue.finish(worker, job.number, 4);
                prop_assert!(observed.finished.insert(job.number));
                while let Some((_, ledger)) = observed.queue.take_finished() {
                    observed.reported.push(ledger);
                }
            }
            prop_assert!(observed.queue.ledgers.is_empty(), "an owner waits for ever");
            for ledger in observed.reported {
                prop_assert_eq!(ledger.submitted, ledger.done + ledger.given_up);
                prop_assert_eq!(ledger.handed_out, ledger.done + ledger.lost);
            }
        }

        #[test]
        fn a_job_that_kills_its_workers_is_given_up_after_three(others in 0..5_usize) {
            let mut queue = Queue::new();
            queue.submit(10, vec![10; others + 1]);
            for worker in 0..TRIES_MAX {
                queue.join(worker);
                let (_, job) = queue.hand_out().unwrap();
                prop_assert_eq!((job.number, job.tries), (1, worker + 1));
                queue.leave(worker);
            }
            prop_assert_eq!(queue.ledgers[&10].given_up, 1);
            prop_assert_eq!(queue.waiting.len(), others);
        }
    }
}
