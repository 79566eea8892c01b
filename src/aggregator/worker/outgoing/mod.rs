//! What a worker has to say, and what has become of it: pure, so that a test can play the agent.
//!
//! Time goes in as an argument, what happens by `handle_…`, and what is to be said now comes out of
//! [`poll_say`](Outgoing::poll_say).
//!
//! ```text
//!   Apart ──connected──▶ Greet ──hello said──▶ Greeting ──welcome──▶ Ready
//!     ▲                    ▲                      │                    │ batches, one in flight
//!     └────lost────────────┼──── refused: later ──┘                    │ attacks, in a window
//!                          └──────── no answer, or `HelloFirst` ◀──────┘
//! ```
//!
//! Invariants:
//! - A number is given once, and its batch never changes after it was said, but for one that an agent
//!   has refused or could not take, which is known not to be applied; and for one that may have been
//!   applied by an agent that is forgotten, or has forgotten: its content is dropped, `in_doubt`.
//! - There is one batch in flight. It leaves when an agent says that it is applied, in an answer or in
//!   a welcome, and never for another reason before the worker ends.
//! - Attacks leave from the front, when an agent says that it has taken them.
//! - recorded = applied + dropped + pending, at every point between two calls.

mod attacks;
mod batches;
mod config_word;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::attacks::Attacks;
use self::batches::Batches;
use self::config_word::ConfigWord;
use super::pieces::Cut;
use crate::aggregator::attack::AttackBody;
use crate::aggregator::ledger::{DropReason, Ledger, Totals};
use crate::aggregator::message::{AgentReply, ConfigDocument, Hello, WorkerEvent, WorkerRequest};
use crate::aggregator::moment::UnixMicros;

/// An agent that has refused the worker is asked again after so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// After a call without an answer.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(200);

/// Who the worker is, as in each [`Hello`].
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) hello: Hello,
    pub(crate) attacks_max: usize,
    pub(crate) attacks_len_max: usize,
    /// The longest message.
    pub(crate) message_len_max: usize,
}

/// Something to be said now.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// Answered by [`Outgoing::handle_hello_reply`].
    Hello(WorkerRequest),
    /// Answered by [`Outgoing::handle_batch_reply`].
    Batch(Arc<WorkerRequest>),
    /// Urgent.
    Attack(Arc<WorkerEvent>),
    /// What has become of the configuration.
    Config(WorkerEvent),
    /// Answered by [`Outgoing::handle_left`].
    Leave,
}

/// Why something was not said after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// There is no connection.
    Apart,
    /// There is no room just now.
    Full,
    /// It is longer than this agent takes.
    TooLong {
        /// What it takes.
        max: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Apart,
    /// A hello is to be said, not before that time.
    Greet(Option<Instant>),
    Greeting,
    Ready,
}

/// How many there were, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) hellos: u64,
    pub(crate) hellos_refused: u64,
    pub(crate) batches_said: u64,
    pub(crate) batches_taken: u64,
    pub(crate) attacks: attacks::Tally,
}

/// The cells are being emptied: what for, and how.
#[derive(Debug)]
pub(crate) struct Taking {
    /// The last ticket of a flush that this is for.
    asked: u64,
    /// Attacks up to this number belong to it.
    attack: u64,
    /// There was a welcome: gauges are to be said again, as an agent keeps none of who is away.
    pub(crate) gauges_again: bool,
    /// The longest message.
    pub(crate) message_len_max: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Outgoing {
    identity: Identity,
    phase: Phase,
    batches: Batches,
    attacks: Attacks,
    /// What an agent has acknowledged.
    applied: Totals,
    config: ConfigWord,
    flush: Flush,
    leaving: bool,
    leave_said: bool,
    left: bool,
    /// There was a welcome since the cells were emptied.
    welcomed: bool,
    /// The agent at the other end of this connection won't have this worker.
    refused: bool,
    /// Nothing is tried again before.
    full_until: Option<Instant>,
    tally: Tally,
}

/// Who waits for everything so far to be acknowledged.
#[derive(Debug, Default)]
struct Flush {
    /// The last ticket that was given.
    asked: u64,
    /// The last that the cells were emptied for.
    covered: u64,
    /// Attacks up to this number belong to it.
    attack: u64,
    done: u64,
}

impl Outgoing {
    pub(crate) fn new(identity: Identity) -> Self {
        let attacks = Attacks::new(identity.attacks_max, identity.attacks_len_max);
        Self {
            identity,
            phase: Phase::Apart,
            batches: Batches::default(),
            attacks,
            applied: Totals::default(),
            config: ConfigWord::default(),
            flush: Flush::default(),
            leaving: false,
            leave_said: false,
            left: false,
            welcomed: false,
            refused: false,
            full_until: None,
            tally: Tally::default(),
        }
    }

    // ---- what the application does ----

    /// Takes an attack that is so many bytes at most. Its number, or why it was dropped.
    pub(crate) fn add_attack(
        &mut self,
        at: UnixMicros,
        body: AttackBody,
        len: usize,
    ) -> Result<u64, DropReason> {
        let message_len_max = self.identity.message_len_max;
        let added = self.attacks.add(at, body, len, message_len_max);
        if let Err(reason) = added {
            self.batches.dropped.drop_for(reason, of_attacks(1));
        }
        added
    }

    /// Counts an attack that was dropped before it came here.
    pub(crate) fn drop_attack(&mut self, reason: DropReason) {
        self.attacks.count_one();
        self.batches.dropped.drop_for(reason, of_attacks(1));
    }

    /// A ticket: [`is_flushed`](Outgoing::is_flushed) once everything so far is acknowledged.
    pub(crate) fn ask_flush(&mut self) -> u64 {
        self.flush.asked += 1;
        self.flush.asked
    }

    pub(crate) fn is_flushed(&self, ticket: u64) -> bool {
        self.flush.done >= ticket
    }

    /// Somebody waits for the cells to be emptied.
    pub(crate) fn is_flush_asked(&self) -> bool {
        self.flush.asked > self.flush.covered
    }

    /// Whether the agent knows this worker, on this connection.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether the agent has said that it won't have this worker. It is asked again now and then.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether nothing that was taken out of the cells or reported waits for an agent's word.
    pub(crate) fn is_empty(&self) -> bool {
        !self.batches.have_content() && self.attacks.count() == 0
    }

    /// Whether the agent is there, and nothing is in flight: the cells may be emptied.
    pub(crate) fn wants_more(&self) -> bool {
        self.phase == Phase::Ready && self.batches.are_settled()
    }

    /// The cells are about to be emptied, which takes a while. What is recorded or asked for meanwhile is
    /// not part of it.
    pub(crate) fn begin_taking(&mut self) -> Taking {
        Taking {
            asked: self.flush.asked,
            attack: self.attacks.last_number(),
            gauges_again: std::mem::take(&mut self.welcomed),
            message_len_max: self.identity.message_len_max,
        }
    }

    /// Takes what was in the cells.
    pub(crate) fn handle_taken_out(&mut self, taking: &Taking, cut: Cut) {
        if taking.asked > self.flush.covered {
            self.flush.covered = taking.asked;
            self.flush.attack = taking.attack;
        }
        self.batches.add(cut);
        self.batches.load(self.attacks.recorded());
        self.see_flush();
    }

    /// Another configuration runs, or one was refused.
    pub(crate) fn handle_config(&mut self, hash: Option<u64>, said: WorkerEvent) {
        self.identity.hello.config_hash = hash;
        self.config.set(said);
    }

    /// Says goodbye once everything is acknowledged.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Whether the agent has been told that the worker ends, or can't be.
    pub(crate) fn has_left(&self) -> bool {
        self.left
    }

    /// Gives everything up.
    pub(crate) fn abandon(&mut self) {
        let pending = self.pending();
        self.batches
            .dropped
            .drop_for(DropReason::Abandoned, pending);
        self.batches.abandon();
        self.attacks.clear();
    }

    /// The ledger without what is still in the cells.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger {
            recorded: Totals {
                attacks: self.attacks.recorded(),
                ..self.batches.taken
            },
            applied: self.applied,
            dropped: self.batches.dropped.dropped.clone(),
            pending: self.pending(),
        }
    }

    fn pending(&self) -> Totals {
        self.batches
            .pending()
            .plus(of_attacks(self.attacks.count()))
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            attacks: self.attacks.tally,
            ..self.tally
        }
    }

    // ---- what the connection does ----

    /// There is another connection: nothing that was said before is known to have arrived.
    pub(crate) fn handle_connected(&mut self) {
        self.phase = Phase::Greet(None);
        self.refused = false;
        self.full_until = None;
        self.forget_said();
    }

    /// There is no connection.
    pub(crate) fn handle_lost(&mut self) {
        self.phase = Phase::Apart;
        self.forget_said();
    }

    fn forget_said(&mut self) {
        self.batches.forget_said();
        self.attacks.forget_said();
        self.leave_said = false;
    }

    /// Greets again: what the agent has is not known.
    fn greet(&mut self, at: Option<Instant>) {
        self.phase = Phase::Greet(at);
        self.forget_said();
    }

    /// What the agent says to a hello. The configuration, if there is another.
    pub(crate) fn handle_hello_reply(
        &mut self,
        reply: Option<AgentReply>,
        now: Instant,
    ) -> Option<ConfigDocument> {
        if self.phase != Phase::Greeting {
            return None;
        }
        match reply {
            Some(AgentReply::Welcome {
                known,
                batch_applied,
                attack_taken,
                config,
            }) => {
                self.phase = Phase::Ready;
                self.welcomed = true;
                self.refused = false;
                self.settle_batch(batch_applied);
                if known {
                    self.batches.be_sure();
                } else {
                    self.batches.doubt();
                }
                self.handle_attacks_taken(attack_taken, now);
                self.config.greet();
                config
            }
            Some(reply) => {
                self.tally.hellos_refused += 1;
                if let AgentReply::Refused { why } = reply {
                    self.refused = true;
                    log::warn!("the agent refuses this worker: {why}");
                }
                self.greet(Some(now + REFUSED_PAUSE));
                None
            }
            None => {
                self.greet(Some(now + UNANSWERED_PAUSE));
                None
            }
        }
    }

    /// What the agent says to a batch.
    pub(crate) fn handle_batch_reply(&mut self, reply: Option<AgentReply>, now: Instant) {
        match reply {
            Some(AgentReply::Taken { seq }) => self.settle_batch(seq),
            Some(AgentReply::Refused { why }) => self.handle_batch_refused(&why, now),
            Some(AgentReply::HelloFirst) => {
                self.batches.unsaid();
                self.greet(None);
            }
            _ => self.greet(Some(now + UNANSWERED_PAUSE)),
        }
    }

    /// The connection was lost before anybody had looked at the batch.
    pub(crate) fn handle_batch_unseen(&mut self) {
        self.batches.unsaid();
    }

    fn handle_batch_refused(&mut self, why: &str, now: Instant) {
        log::warn!("the agent refuses a batch: {why}");
        self.batches.refuse();
        self.greet(Some(now + UNANSWERED_PAUSE));
    }

    /// Attacks up to this number need not be kept any longer.
    pub(crate) fn handle_attacks_taken(&mut self, number: u64, now: Instant) {
        while let Some(taken) = self.attacks.take(number, now) {
            self.identity.hello.attack_acknowledged = taken;
            self.applied = self.applied.plus(of_attacks(1));
        }
        self.see_flush();
    }

    /// The agent has heard that the worker ends, or does not answer.
    pub(crate) fn handle_left(&mut self) {
        self.left = true;
    }

    /// What was to be said was not.
    pub(crate) fn handle_unsaid(&mut self, say: &Say, why: Unsaid, now: Instant) {
        if why == Unsaid::Apart {
            if matches!(say, Say::Batch(_)) {
                self.batches.unsaid();
            }
            self.handle_lost();
            return;
        }
        if let Unsaid::TooLong { max } = why {
            self.shorten(say, max);
        } else {
            self.full_until = Some(now + UNANSWERED_PAUSE);
        }
        match say {
            Say::Hello(_) => self.phase = Phase::Greet(Some(now + UNANSWERED_PAUSE)),
            Say::Batch(_) => self.batches.unsaid(),
            Say::Attack(_) => self.attacks.unsaid(),
            Say::Config(event) => self.config.unsaid(event, why),
            Say::Leave => self.leave_said = false,
        }
    }

    /// When there is something to do though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let greet = match self.phase {
            Phase::Greet(at) => at,
            _ => None,
        };
        [greet, self.attacks.deadline(), self.full_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notices that time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let silent = self.attacks.deadline().is_some_and(|at| now >= at);
        if self.phase == Phase::Ready && silent {
            self.greet(None);
        }
        self.full_until = self.full_until.filter(|until| now < *until);
    }

    /// What is to be said now, one after the other until there is nothing.
    pub(crate) fn poll_say(&mut self, now: Instant) -> Option<Say> {
        if self.full_until.is_some() {
            return None;
        }
        match self.phase {
            Phase::Apart | Phase::Greeting => None,
            Phase::Greet(at) if at.is_some_and(|at| now < at) => None,
            Phase::Greet(_) => {
                self.phase = Phase::Greeting;
                self.tally.hellos += 1;
                let mut hello = self.identity.hello.clone();
                hello.acknowledged = self.applied;
                hello.batch_sent = self.batches.sent;
                Some(Say::Hello(WorkerRequest::Hello(hello)))
            }
            Phase::Ready => self.poll_ready(now),
        }
    }

    fn poll_ready(&mut self, now: Instant) -> Option<Say> {
        if let Some(event) = self.attacks.poll(now) {
            return Some(Say::Attack(event));
        }
        if let Some(event) = self.config.poll() {
            return Some(Say::Config(event));
        }
        if let Some(request) = self.batches.poll() {
            self.tally.batches_said += 1;
            return Some(Say::Batch(request));
        }
        if self.leaving && !self.leave_said && self.pending().is_zero() {
            self.leave_said = true;
            return Some(Say::Leave);
        }
        None
    }

    /// The agent has applied all batches up to this number.
    fn settle_batch(&mut self, seq: u64) {
        let Some((seq, totals)) = self.batches.settle(seq) else {
            return;
        };
        self.identity.hello.batch_acknowledged = seq;
        self.applied = self.applied.plus(totals);
        self.tally.batches_taken += 1;
        if !self.batches.are_settled() {
            self.batches.load(self.attacks.recorded());
        }
        self.see_flush();
    }

    /// This agent takes less at a time than was thought.
    fn shorten(&mut self, say: &Say, max: usize) {
        let len_max = self.identity.message_len_max.min(max);
        self.identity.message_len_max = len_max;
        match say {
            Say::Batch(_) => {
                self.batches.shorten(len_max);
                self.batches.load(self.attacks.recorded());
            }
            Say::Attack(event) => {
                if let WorkerEvent::Attack(report) = &**event {
                    self.attacks.shorten(report);
                }
            }
            Say::Hello(_) | Say::Config(_) | Say::Leave => {}
        }
    }

    fn see_flush(&mut self) {
        if self.batches.are_settled() && self.attacks.are_taken_through(self.flush.attack) {
            self.flush.done = self.flush.covered;
        }
    }
}

fn of_attacks(count: u64) -> Totals {
    Totals {
        attacks: count,
        ..Totals::default()
    }
}
