//! A random connection and random agents, against the one fact that counts: what was recorded is
//! applied once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::aggregator::attack::Attack;
use crate::aggregator::message::{Batch, WorkerId};
use crate::aggregator::series::Series;
use crate::aggregator::worker::cells::Taken;
use crate::aggregator::worker::pieces;

/// An agent and the way to it. What is said waits in `line` until the test lets it arrive.
#[derive(Default)]
struct World {
    /// Each with whether somebody still waits for its answer.
    line: VecDeque<(Say, bool)>,
    replies: VecDeque<(&'static str, AgentReply)>,
    connected: bool,
    greeted: bool,
    /// The agent knows the worker.
    known: bool,
    applied: u64,
    /// Of batches up to this one the agent can't say that no other has applied them.
    unsure_through: u64,
    attack_taken: u64,
    /// What all agents together have applied, by batch: kept by the sink, whatever agents forget.
    sums: BTreeMap<u64, Totals>,
    attacks: BTreeSet<u64>,
    last_recorded: Totals,
}

impl World {
    /// Something arrives at the agent, which may answer.
    fn arrive(&mut self) {
        let Some((say, wanted)) = self.line.pop_front() else {
            return;
        };
        let answers = self.replies.len();
        self.hear(say);
        if !wanted {
            self.replies.truncate(answers);
        }
    }

    fn hear(&mut self, say: Say) {
        match say {
            Say::Hello(WorkerRequest::Hello(hello)) => {
                self.greeted = true;
                if !self.known || self.applied < hello.batch_acknowledged {
                    self.unsure_through = hello.batch_sent;
                }
                let settled = hello.batch_acknowledged.max(self.unsure_through);
                let known = self.known && self.applied >= settled;
                self.known = true;
                self.applied = self.applied.max(hello.batch_acknowledged);
                self.attack_taken = self.attack_taken.max(hello.attack_acknowledged);
                let welcome = AgentReply::Welcome {
                    known,
                    batch_applied: self.applied,
                    attack_taken: self.attack_taken,
                    config: None,
                };
                self.replies.push_back(("hello", welcome));
            }
            Say::Batch(_) if !self.greeted => {
                self.replies.push_back(("batch", AgentReply::HelloFirst));
            }
            Say::Batch(request) => {
                let WorkerRequest::Batch(batch) = &*request else {
                    unreachable!()
                };
                let seq = batch.seq;
                assert!(seq <= self.applied + 1, "a batch was left out");
                if seq == self.applied + 1 {
                    self.applied = seq;
                    // By an agent that has forgotten it, it may have been: then nothing is left of it.
                    let content = sum(batch);
                    let before = self.sums.entry(seq).or_default();
                    assert!(before.is_zero() || content.is_zero(), "{seq} again");
                    *before = before.plus(content);
                    self.last_recorded = batch.recorded;
                }
                self.replies.push_back(("batch", AgentReply::Taken { seq }));
            }
            Say::Attack(event) if self.greeted => {
                let WorkerEvent::Attack(report) = &*event else {
                    unreachable!()
                };
                if report.number == self.attack_taken + 1 {
                    self.attack_taken += 1;
                    self.attacks.insert(report.number);
                }
            }
            Say::Leave => self.replies.push_back(("leave", AgentReply::Bye)),
            _ => {}
        }
    }

    /// Another agent, or one that has had to make room.
    fn forget(&mut self) {
        self.known = false;
        self.applied = 0;
        self.attack_taken = 0;
    }

    fn cut_off(&mut self) {
        self.line.clear();
        self.replies.clear();
        self.connected = false;
        self.greeted = false;
    }
}

fn sum(batch: &Batch) -> Totals {
    Totals {
        counted: batch.counters.iter().map(|(_, count)| count).sum(),
        ..Totals::default()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Record(u64),
    Attack,
    Flush,
    Say,
    Arrive,
    Reply,
    /// The agent's word on attacks comes.
    AttacksTaken,
    /// The answer to a call that was answered never comes.
    Unanswered,
    /// A call ends without an answer, and arrives later.
    TimedOut,
    Lose,
    /// The connection is lost, and the one who was told knows that nobody has seen the batch.
    LoseUnseen,
    /// The connection is lost, and the agent forgets the worker.
    Forget,
    Connect,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..100_u64).prop_map(Step::Record),
        2 => Just(Step::Attack),
        3 => Just(Step::Flush),
        8 => Just(Step::Say),
        8 => Just(Step::Arrive),
        6 => Just(Step::Reply),
        2 => Just(Step::AttacksTaken),
        1 => Just(Step::Unanswered),
        1 => Just(Step::TimedOut),
        1 => Just(Step::Lose),
        1 => Just(Step::LoseUnseen),
        1 => Just(Step::Forget),
        2 => Just(Step::Connect),
        1 => (1..12_000_u64).prop_map(Step::Wait),
    ]
}

struct Play {
    outgoing: Outgoing,
    world: World,
    now: Instant,
    /// In the cells.
    waiting: u64,
    recorded: Totals,
}

impl Play {
    fn new() -> Self {
        let hello = Hello {
            worker: WorkerId(7),
            application: "shop".to_owned(),
            token: None,
            process: 1,
            batch_acknowledged: 0,
            batch_sent: 0,
            attack_acknowledged: 0,
            acknowledged: Totals::default(),
            config_hash: None,
        };
        Self {
            outgoing: Outgoing::new(Identity {
                hello,
                attacks_max: 20,
                attacks_len_max: 10_000,
                message_len_max: 1024,
            }),
            world: World::default(),
            now: crate::ambient::now(),
            waiting: 0,
            recorded: Totals::default(),
        }
    }

    /// Several series, so that a set is several batches.
    fn flush(&mut self) {
        if !self.outgoing.wants_more() {
            return;
        }
        let count = std::mem::take(&mut self.waiting);
        let series = |n: u64| Series::new(&format!("{n}{}", "x".repeat(100)), &[]);
        let counters = (0..count).map(|n| (series(n % 7), 1)).collect();
        self.empty_cells(Taken {
            counters,
            ..Taken::default()
        });
    }

    fn empty_cells(&mut self, taken: Taken) {
        let taking = self.outgoing.begin_taking();
        let cut = pieces::cut(taken, taking.message_len_max);
        self.outgoing.handle_taken_out(&taking, cut);
    }

    fn say(&mut self) {
        let Some(say) = self.outgoing.poll_say(self.now) else {
            return;
        };
        if self.world.connected {
            self.world.line.push_back((say, true));
        } else {
            self.outgoing.handle_unsaid(&say, Unsaid::Apart, self.now);
        }
    }

    fn reply(&mut self) {
        let Some((to, reply)) = self.world.replies.pop_front() else {
            return;
        };
        match to {
            "hello" => drop(self.outgoing.handle_hello_reply(Some(reply), self.now)),
            "batch" => self.outgoing.handle_batch_reply(Some(reply), self.now),
            _ => self.outgoing.handle_left(),
        }
    }

    fn unanswered(&mut self, to: &str) {
        match to {
            "hello" => drop(self.outgoing.handle_hello_reply(None, self.now)),
            "batch" => self.outgoing.handle_batch_reply(None, self.now),
            _ => {}
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Record(count) => {
                self.waiting += count;
                self.recorded.counted += count;
            }
            Step::Attack => {
                let body = AttackBody::Attack(Box::new(Attack::new("x")));
                self.outgoing.add_attack(UnixMicros(1), body, 100).ok();
                self.recorded.attacks += 1;
            }
            Step::Flush => self.flush(),
            Step::Say => self.say(),
            Step::Arrive => self.world.arrive(),
            Step::Reply => self.reply(),
            Step::AttacksTaken if self.world.connected => {
                let number = self.world.attack_taken;
                self.outgoing.handle_attacks_taken(number, self.now);
            }
            Step::Unanswered => {
                if let Some((to, _)) = self.world.replies.pop_front() {
                    self.unanswered(to);
                }
            }
            Step::TimedOut => {
                let mut line = self.world.line.iter_mut();
                let call = line.find_map(|(say, wanted)| match say {
                    Say::Hello(_) if *wanted => Some(("hello", wanted)),
                    Say::Batch(_) if *wanted => Some(("batch", wanted)),
                    _ => None,
                });
                if let Some((to, wanted)) = call {
                    *wanted = false;
                    self.unanswered(to);
                }
            }
            Step::Lose => {
                self.world.cut_off();
                self.outgoing.handle_lost();
            }
            Step::LoseUnseen => {
                // In the line it was not seen by anybody; answered it was.
                let mut line = self.world.line.iter();
                if line.any(|(say, wanted)| *wanted && matches!(say, Say::Batch(_))) {
                    self.outgoing.handle_batch_unseen();
                }
                self.world.cut_off();
                self.outgoing.handle_lost();
            }
            Step::Forget => {
                self.world.cut_off();
                self.world.forget();
                self.outgoing.handle_lost();
            }
            Step::Connect => {
                self.world.cut_off();
                self.world.connected = true;
                self.outgoing.handle_connected();
            }
            Step::Wait(ms) => {
                self.now += Duration::from_millis(*ms);
                self.outgoing.handle_timeout(self.now);
            }
            Step::AttacksTaken => {}
        }
    }

    fn check(&self) {
        let mut ledger = self.outgoing.ledger();
        ledger.recorded.counted += self.waiting;
        ledger.pending.counted += self.waiting;
        assert!(ledger.is_balanced(), "{ledger:?}");
        assert_eq!(ledger.recorded, self.recorded);
        let applied = self
            .world
            .sums
            .values()
            .copied()
            .fold(Totals::default(), Totals::plus);
        assert!(
            ledger.applied.counted <= applied.counted,
            "acknowledged and not applied"
        );
        assert!(self.outgoing.attacks.len() <= 10_000);
    }

    /// A good connection, until nothing happens any more.
    fn settle(&mut self) {
        self.take(&Step::Connect);
        let ticket = self.outgoing.ask_flush();
        for _ in 0..100_000 {
            if self.outgoing.is_flushed(ticket) && self.waiting == 0 {
                return;
            }
            for step in [
                Step::Say,
                Step::Arrive,
                Step::Reply,
                Step::AttacksTaken,
                Step::Flush,
                Step::Wait(1),
            ] {
                self.take(&step);
                self.check();
            }
        }
        panic!("it does not come to an end: {:?}", self.outgoing);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_applied_once_over_any_connections(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut play = Play::new();
        for step in &steps {
            play.take(step);
            play.check();
        }
        play.settle();
        let applied = play.world.sums.values().copied().fold(Totals::default(), Totals::plus);
        let ledger = play.outgoing.ledger();
        let in_doubt = ledger.dropped.get(&DropReason::InDoubt).copied().unwrap_or_default();
        // Never twice, and never lost without being in doubt.
        prop_assert!(applied.counted <= play.recorded.counted);
        prop_assert!(applied.counted + in_doubt.counted >= play.recorded.counted);
        if !steps.iter().any(|step| matches!(step, Step::Forget)) {
            prop_assert!(in_doubt.is_zero());
        }
        prop_assert!(ledger.pending.is_zero());
        let taken = u64::try_from(play.world.attacks.len()).unwrap();
        prop_assert_eq!(taken + ledger.dropped_total().attacks, play.recorded.attacks);
        prop_assert_eq!(ledger.applied.attacks, taken);
        prop_assert_eq!(play.world.last_recorded.counted, play.recorded.counted);
    }
}

#[test]
fn a_welcome_that_never_came_makes_nothing_sure() {
    let mut play = Play::new();
    // One agent applies a batch and is gone with its answer; the next one has no memory of it, and its
    // first welcome is lost.
    let steps = [
        Step::Connect,
        Step::Say,
        Step::Arrive,
        Step::Reply,
        Step::Record(1),
        Step::Flush,
        Step::Say,
        Step::Arrive,
        Step::Forget,
        Step::Connect,
        Step::Say,
        Step::Arrive,
        Step::Unanswered,
    ];
    for step in steps {
        play.take(&step);
    }
    play.settle();
    let in_doubt = play.outgoing.ledger().dropped[&DropReason::InDoubt];
    assert_eq!((in_doubt.counted, play.world.sums[&1].counted), (1, 1));
}

#[test]
fn what_is_given_up_is_in_the_book() {
    let mut play = Play::new();
    play.take(&Step::Attack);
    play.take(&Step::Record(5));
    play.take(&Step::Connect);
    for step in [Step::Say, Step::Arrive, Step::Reply, Step::Flush] {
        play.take(&step);
    }
    play.outgoing.abandon();
    play.check();
    let ledger = play.outgoing.ledger();
    let abandoned = ledger.dropped[&DropReason::Abandoned];
    assert_eq!((abandoned.attacks, abandoned.counted), (1, 5));
}
