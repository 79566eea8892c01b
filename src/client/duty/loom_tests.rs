//! The orders that callers and the background thread can come in: `ci/loom.sh`.
//!
//! All that is between them is the real code: the duty, how callers wait ([`block`]), the calls, and
//! how the background thread naps. In place of the link stands a list of what comes by it, one at
//! each poll.
//!
//! Time helps nobody: a caller parks until it is woken, and a poll by which nothing can come any
//! more fails the test. Only a short nap ends by itself, as soon as loom likes.

use std::collections::VecDeque;

use loom::sync::{Arc, Notify};
use loom::thread;

use super::*;
use crate::client::bell::Bell;
use crate::client::calls::Answer;
use crate::client::shared::TIMEOUT_MAX;
use crate::client::wait::block;
use crate::limits::Limits;
use crate::protocol::Never;

struct Silence;

impl Protocol for Silence {
    const NAME: &'static str = "silence";
    const VERSION: u32 = 1;
    type Event = Never;
    type Request = Never;
    type Reply = Never;
    type Push = Never;
}

/// What comes by the link.
#[derive(Debug, Clone, Copy)]
enum Item {
    Answer(CallId),
    /// Nothing, until the first caller has left.
    Pause,
    /// Nobody waits for it but the background thread, which ends with it.
    End,
}

struct Link {
    to_come: VecDeque<Item>,
    left: Arc<Notify>,
    closed: bool,
}

impl Drive for Link {
    type Protocol = Silence;

    fn spin_for(&mut self, _: CallId, _: Instant, _: &Shared<Silence>) {}

    fn round(&mut self, _: Option<Instant>, shared: &Shared<Silence>) {
        let item = self.to_come.pop_front();
        match item.expect("a poll that would never end") {
            Item::Answer(id) => {
                let mut wakers = Vec::new();
                let mut outgoing = shared.outgoing();
                let open = outgoing.calls.end(id, Ok(Answer::Synced), &mut wakers);
                drop(outgoing);
                assert!(open, "answered once");
                for waker in wakers {
                    waker.wake();
                }
            }
            Item::Pause => self.left.wait(),
            Item::End => self.closed = true,
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn finish(&mut self) {}
}

struct Client {
    shared: Shared<Silence>,
    duty: Duty<Link>,
    deadline: Instant,
    ids: Vec<CallId>,
    /// The first caller has left.
    left: Arc<Notify>,
}

impl Client {
    /// With so many calls begun.
    fn new(calls: usize, deadline: Instant, items: impl Fn(&[CallId]) -> Vec<Item>) -> Arc<Self> {
        let bell = std::sync::Arc::new(Bell::new(Box::new(|| unreachable!("nobody rings"))));
        let shared = Shared::new(Limits::default(), bell);
        let begin = |_| shared.outgoing().calls.begin(deadline);
        let ids: Vec<_> = (0..calls).map(begin).collect();
        let left = Arc::new(Notify::new());
        let link = Link {
            to_come: items(&ids).into(),
            left: Arc::clone(&left),
            closed: false,
        };
        Arc::new(Self {
            shared,
            duty: Duty::new(link),
            deadline,
            ids,
            left,
        })
    }

    fn wait_for(&self, nth: usize) {
        let answer = block(&self.shared, Some(&self.duty), self.ids[nth], self.deadline);
        assert!(matches!(answer, Ok(Answer::Synced)));
        if nth == 0 {
            self.left.notify();
        }
    }
}

/// Tries the orders in which no more than so many times a thread is interrupted where it could go
/// on. Whoever sleeps for ever is reported by loom.
fn check(
    preemptions: usize,
    callers: usize,
    items: impl Fn(&[CallId]) -> Vec<Item> + Sync + Send + 'static,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    let deadline = ambient::now() + TIMEOUT_MAX;
    model.check(move || {
        let client = Client::new(callers, deadline, &items);
        let mut threads = Vec::new();
        if items(&client.ids)
            .iter()
            .any(|item| matches!(item, Item::End))
        {
            let client = Arc::clone(&client);
            threads.push(thread::spawn(move || {
                client.duty.drive_in_background(&client.shared);
            }));
        }
        for nth in 1..callers {
            let client = Arc::clone(&client);
            threads.push(thread::spawn(move || client.wait_for(nth)));
        }
        client.wait_for(0);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Whoever has its answer leaves, and the one that is parked drives on.
#[test]
fn of_two_callers_none_sleeps_for_ever() {
    check(4, 2, |ids| ids.iter().copied().map(Item::Answer).collect());
}

/// The duty may be passed to a caller whose answer has come meanwhile: that one passes it on.
#[test]
fn of_three_callers_none_sleeps_for_ever() {
    check(2, 3, |ids| ids.iter().copied().map(Item::Answer).collect());
}

/// Whoever brought it goes on driving, for an answer that takes longer.
#[test]
fn a_caller_whose_answer_another_thread_brings_is_woken_at_once() {
    check(4, 2, |ids| {
        vec![Item::Answer(ids[0]), Item::Pause, Item::Answer(ids[1])]
    });
}

/// Who drives brings the other's answer, and what comes after the last answer is for the background
/// thread.
#[test]
fn the_background_thread_takes_over_from_a_caller() {
    check(4, 1, |ids| vec![Item::Answer(ids[0]), Item::End]);
}

#[test]
fn the_background_thread_takes_over_from_two_callers() {
    check(2, 2, |ids| {
        vec![Item::Answer(ids[0]), Item::Answer(ids[1]), Item::End]
    });
}
