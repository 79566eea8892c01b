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
//!   has refused or could not take: that is known not to be applied.
//! - There is one batch in flight. It leaves when an agent says that it is applied, in an answer or in
//!   a welcome, and never for another reason before the worker ends.
//! - Attacks leave from the front, when an agent says that it has taken them.
//! - recorded = applied + dropped + pending, at every point between two calls.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pieces::{self, Piece};
use super::registry::Taken;
use crate::aggregator::attack::{Attack, AttackBody, CUT_MARK};
use crate::aggregator::ledger::{DropReason, Ledger, Totals};
use crate::aggregator::message::{
    AgentReply, AttackReport, Batch, ConfigDocument, Hello, WorkerEvent, WorkerRequest,
};
use crate::aggregator::moment::UnixMicros;
use crate::aggregator::series::cut;

/// What a shortened attack takes at most.
const SHORTENED_LEN: usize = 512;
/// The attacks that may be on their way at once.
const WINDOW: usize = 256;
/// An agent that has acknowledged no attack for so long is greeted again, which shows what it has.
const ATTACKS_PATIENCE: Duration = Duration::from_secs(5);
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

#[derive(Debug)]
struct InFlight {
    request: Arc<WorkerRequest>,
    seq: u64,
    totals: Totals,
    /// On this connection, since the last hello.
    said: bool,
    /// On any.
    ever_said: bool,
    /// An agent has refused it once.
    refused: bool,
}

#[derive(Debug)]
struct Waiting {
    event: Arc<WorkerEvent>,
    number: u64,
    len: usize,
}

/// How many there were, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) hellos: u64,
    pub(crate) hellos_refused: u64,
    pub(crate) batches_said: u64,
    pub(crate) batches_taken: u64,
    pub(crate) attacks_said: u64,
    pub(crate) attacks_taken: u64,
    pub(crate) attacks_shortened: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Outgoing {
    identity: Identity,
    phase: Phase,
    pieces: VecDeque<Piece>,
    in_flight: Option<InFlight>,
    /// The number given last.
    seq: u64,
    /// What an agent has acknowledged.
    applied: Totals,
    dropped: Ledger,
    /// All that was taken out of the cells.
    taken: Totals,
    /// The part of it that was put into batches, or dropped on the way there.
    batched: Totals,
    /// What the last batch has said: `recorded`, and the sum of `dropped`.
    reported: (Totals, Totals),
    attacks: VecDeque<Waiting>,
    attacks_len: usize,
    /// So many from the front were said on this connection, since the last hello.
    attacks_said: usize,
    /// When one was acknowledged last, or the first of them was said.
    attacks_heard: Option<Instant>,
    attack_number: u64,
    attacks_recorded: u64,
    /// The configuration that runs, to be told to each agent.
    config_runs: Option<u64>,
    config_say: VecDeque<WorkerEvent>,
    flush: Flush,
    leaving: bool,
    leave_said: bool,
    left: bool,
    /// Of an agent that is known to have forgotten what it had: gauges are to be said again.
    forgetful: bool,
    /// Nothing is tried again before.
    full_until: Option<Instant>,
    pub(crate) tally: Tally,
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
        Self {
            identity,
            phase: Phase::Apart,
            pieces: VecDeque::new(),
            in_flight: None,
            seq: 0,
            applied: Totals::default(),
            dropped: Ledger::default(),
            taken: Totals::default(),
            batched: Totals::default(),
            reported: (Totals::default(), Totals::default()),
            attacks: VecDeque::new(),
            attacks_len: 0,
            attacks_said: 0,
            attacks_heard: None,
            attack_number: 0,
            attacks_recorded: 0,
            config_runs: None,
            config_say: VecDeque::new(),
            flush: Flush::default(),
            leaving: false,
            leave_said: false,
            left: false,
            forgetful: false,
            full_until: None,
            tally: Tally::default(),
        }
    }

    // ---- what the application does ----

    /// Takes an attack that is so many bytes at most. Its number, or why it was dropped.
    pub(crate) fn add_attack(
        &mut self,
        at: UnixMicros,
        mut body: AttackBody,
        mut len: usize,
    ) -> Result<u64, DropReason> {
        self.attacks_recorded = self.attacks_recorded.saturating_add(1);
        if len > self.identity.message_len_max {
            body = shortened(&body);
            len = SHORTENED_LEN;
            self.tally.attacks_shortened += 1;
        }
        if self.attacks.len() >= self.identity.attacks_max
            || self.attacks_len.saturating_add(len) > self.identity.attacks_len_max
        {
            let reason = DropReason::QueueFull;
            self.dropped.drop_for(reason, one_attack());
            return Err(reason);
        }
        self.attack_number += 1;
        let number = self.attack_number;
        let event = WorkerEvent::Attack(Box::new(AttackReport { number, at, body }));
        self.attacks_len += len;
        self.attacks.push_back(Waiting {
            event: Arc::new(event),
            number,
            len,
        });
        Ok(number)
    }

    /// Counts an attack that was dropped before it came here.
    pub(crate) fn drop_attack(&mut self, reason: DropReason) {
        self.attacks_recorded = self.attacks_recorded.saturating_add(1);
        self.dropped.drop_for(reason, one_attack());
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

    /// Whether the agent is there, and nothing is in flight: the cells may be emptied.
    pub(crate) fn wants_more(&self) -> bool {
        self.phase == Phase::Ready && self.in_flight.is_none() && self.pieces.is_empty()
    }

    /// Takes what was in the cells.
    pub(crate) fn handle_taken_out(&mut self, taken: Taken) {
        if self.flush.asked > self.flush.covered {
            self.flush.covered = self.flush.asked;
            self.flush.attack = self.attack_number;
        }
        let (pieces, too_long) = pieces::cut(taken, self.identity.message_len_max);
        let pieces_sum = pieces.iter().map(|piece| piece.totals);
        let sum = pieces_sum.fold(too_long, Totals::plus);
        self.taken = self.taken.plus(sum);
        self.batched = self.batched.plus(too_long);
        self.dropped.drop_for(DropReason::TooLong, too_long);
        self.pieces.extend(pieces);
        self.load();
        self.see_flush();
    }

    /// Another configuration runs, or one was refused.
    pub(crate) fn handle_config(&mut self, hash: Option<u64>, said: WorkerEvent) {
        self.identity.hello.config_hash = hash;
        if let WorkerEvent::ConfigRuns { version } = said {
            self.config_runs = Some(version);
        }
        // What was to be said of an earlier one is of no interest any more.
        self.config_say.clear();
        self.config_say.push_back(said);
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
        self.dropped.drop_for(DropReason::Abandoned, pending);
        self.batched = self.taken;
        self.pieces.clear();
        self.in_flight = None;
        self.attacks.clear();
        self.attacks_len = 0;
        self.attacks_said = 0;
    }

    /// The ledger without what is still in the cells.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger {
            recorded: Totals {
                attacks: self.attacks_recorded,
                ..self.taken
            },
            applied: self.applied,
            dropped: self.dropped.dropped.clone(),
            pending: self.pending(),
        }
    }

    fn pending(&self) -> Totals {
        let in_flight = self.in_flight.iter().map(|batch| batch.totals);
        let pieces = self.pieces.iter().map(|piece| piece.totals);
        let attacks = Totals {
            attacks: u64::try_from(self.attacks.len()).unwrap_or(u64::MAX),
            ..Totals::default()
        };
        in_flight.chain(pieces).fold(attacks, Totals::plus)
    }

    // ---- what the connection does ----

    /// There is another connection: nothing that was said before is known to have arrived.
    pub(crate) fn handle_connected(&mut self) {
        self.phase = Phase::Greet(None);
        self.full_until = None;
        self.forget_said();
    }

    /// There is no connection.
    pub(crate) fn handle_lost(&mut self) {
        self.phase = Phase::Apart;
        self.forget_said();
    }

    fn forget_said(&mut self) {
        if let Some(batch) = &mut self.in_flight {
            batch.said = false;
        }
        self.attacks_said = 0;
        self.attacks_heard = None;
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
                batch_applied,
                attack_taken,
                config,
            }) => {
                self.phase = Phase::Ready;
                self.forgetful |= batch_applied < self.identity.hello.batch_acknowledged;
                self.settle_batch(batch_applied);
                self.handle_attacks_taken(attack_taken, now);
                if let Some(version) = self.config_runs {
                    self.config_say.clear();
                    self.config_say
                        .push_back(WorkerEvent::ConfigRuns { version });
                }
                config
            }
            Some(reply) => {
                self.tally.hellos_refused += 1;
                if let AgentReply::Refused { why } = reply {
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
            Some(AgentReply::HelloFirst) => self.greet(None),
            _ => self.greet(Some(now + UNANSWERED_PAUSE)),
        }
    }

    /// A refused batch is not applied, and won't be. The first time it may be a matter of order, which
    /// a hello settles; then it is its content, and that is dropped.
    fn handle_batch_refused(&mut self, why: &str, now: Instant) {
        log::warn!("the agent refuses a batch: {why}");
        if let Some(batch) = &mut self.in_flight {
            if batch.refused {
                let totals = std::mem::take(&mut batch.totals);
                self.dropped.drop_for(DropReason::Refused, totals);
                self.empty_in_flight();
            } else {
                batch.refused = true;
            }
        }
        self.greet(Some(now + UNANSWERED_PAUSE));
    }

    /// Attacks up to this number need not be kept any longer.
    pub(crate) fn handle_attacks_taken(&mut self, number: u64, now: Instant) {
        while self
            .attacks
            .front()
            .is_some_and(|attack| attack.number <= number)
        {
            let Some(attack) = self.attacks.pop_front() else {
                break;
            };
            self.attacks_len -= attack.len;
            self.attacks_said = self.attacks_said.saturating_sub(1);
            self.attacks_heard = Some(now);
            self.identity.hello.attack_acknowledged = attack.number;
            self.acknowledge(one_attack());
            self.tally.attacks_taken += 1;
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
            Say::Batch(_) => {
                if let Some(batch) = &mut self.in_flight {
                    batch.said = false;
                }
            }
            Say::Attack(_) => self.attacks_said = self.attacks_said.saturating_sub(1),
            Say::Config(event) => self.config_say.push_front(event.clone()),
            Say::Leave => self.leave_said = false,
        }
    }

    /// When there is something to do though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let greet = match self.phase {
            Phase::Greet(at) => at,
            _ => None,
        };
        let attacks = self.attacks_heard.map(|at| at + ATTACKS_PATIENCE);
        let attacks = attacks.filter(|_| self.attacks_said > 0);
        [greet, attacks, self.full_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Notices that time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let silent = self
            .attacks_heard
            .is_some_and(|at| now >= at + ATTACKS_PATIENCE);
        if self.phase == Phase::Ready && self.attacks_said > 0 && silent {
            self.greet(None);
        }
        self.full_until = self.full_until.filter(|until| now < *until);
    }

    /// Whether the agent was found to have forgotten what it had acknowledged, since the last time
    /// that this was asked.
    pub(crate) fn take_forgetful(&mut self) -> bool {
        std::mem::take(&mut self.forgetful)
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
                Some(Say::Hello(WorkerRequest::Hello(hello)))
            }
            Phase::Ready => self.poll_ready(now),
        }
    }

    fn poll_ready(&mut self, now: Instant) -> Option<Say> {
        if self.attacks_said < WINDOW {
            if let Some(attack) = self.attacks.get(self.attacks_said) {
                if self.attacks_said == 0 {
                    self.attacks_heard = Some(now);
                }
                self.attacks_said += 1;
                self.tally.attacks_said += 1;
                return Some(Say::Attack(Arc::clone(&attack.event)));
            }
        }
        if let Some(event) = self.config_say.pop_front() {
            return Some(Say::Config(event));
        }
        if let Some(batch) = &mut self.in_flight {
            if batch.said {
                return None;
            }
            batch.said = true;
            batch.ever_said = true;
            self.tally.batches_said += 1;
            return Some(Say::Batch(Arc::clone(&batch.request)));
        }
        if self.leaving && !self.leave_said && self.pending().is_zero() {
            self.leave_said = true;
            return Some(Say::Leave);
        }
        None
    }

    // ---- batches ----

    /// Puts the next batch in flight: of the next piece, or an empty one if there is something else
    /// to report.
    fn load(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        let piece = self.pieces.pop_front();
        let recorded = Totals {
            attacks: self.attacks_recorded,
            ..self.batched
        };
        let reported = (recorded, self.dropped.dropped_total());
        if piece.is_none() && reported == self.reported {
            return;
        }
        let piece = piece.unwrap_or_default();
        self.seq += 1;
        self.batched = self.batched.plus(piece.totals);
        let recorded = recorded.plus(piece.totals);
        self.reported = (recorded, self.dropped.dropped_total());
        let batch = Batch {
            seq: self.seq,
            recorded,
            dropped: self.dropped_list(),
            ..piece.content
        };
        self.in_flight = Some(InFlight {
            request: Arc::new(WorkerRequest::Batch(batch)),
            seq: self.seq,
            totals: piece.totals,
            said: false,
            ever_said: false,
            refused: false,
        });
    }

    fn dropped_list(&self) -> Vec<(DropReason, Totals)> {
        let each = self.dropped.dropped.iter();
        each.map(|(&reason, &what)| (reason, what)).collect()
    }

    /// The agent has applied all batches up to this number.
    fn settle_batch(&mut self, seq: u64) {
        let is_it = |batch: &&InFlight| batch.ever_said && batch.seq <= seq;
        if self.in_flight.as_ref().filter(is_it).is_none() {
            return;
        }
        if let Some(batch) = self.in_flight.take() {
            self.identity.hello.batch_acknowledged = batch.seq;
            self.acknowledge(batch.totals);
            self.tally.batches_taken += 1;
        }
        if !self.pieces.is_empty() {
            self.load();
        }
        self.see_flush();
    }

    fn acknowledge(&mut self, what: Totals) {
        self.applied = self.applied.plus(what);
    }

    /// Leaves nothing in the batch in flight but its number and the ledger.
    fn empty_in_flight(&mut self) {
        let dropped = self.dropped_list();
        let Some(batch) = &mut self.in_flight else {
            return;
        };
        let WorkerRequest::Batch(content) = &*batch.request else {
            return;
        };
        let empty = Batch {
            seq: content.seq,
            recorded: content.recorded,
            dropped,
            ..Batch::default()
        };
        batch.request = Arc::new(WorkerRequest::Batch(empty));
    }

    /// This agent takes less at a time than was thought.
    fn shorten(&mut self, say: &Say, max: usize) {
        self.identity.message_len_max = self.identity.message_len_max.min(max);
        match say {
            Say::Batch(_) => self.shorten_batch(),
            Say::Attack(event) => {
                if let WorkerEvent::Attack(report) = &**event {
                    self.shorten_attack(report);
                }
            }
            Say::Hello(_) | Say::Config(_) | Say::Leave => {}
        }
    }

    /// Cuts the batch in flight once more. The welcome has shown that its number is not applied, so
    /// the first part goes under it.
    fn shorten_batch(&mut self) {
        let Some(batch) = self.in_flight.take() else {
            return;
        };
        self.seq -= 1;
        self.batched = self.batched.minus(batch.totals);
        self.reported = (Totals::default(), Totals::default());
        if let WorkerRequest::Batch(content) = &*batch.request {
            let content = content.clone();
            let taken = Taken {
                counters: content.counters,
                gauges: content.gauges,
                histograms: content.histograms,
                inventories: content.inventories,
            };
            let (pieces, too_long) = pieces::cut(taken, self.identity.message_len_max);
            self.batched = self.batched.plus(too_long);
            self.dropped.drop_for(DropReason::TooLong, too_long);
            for piece in pieces.into_iter().rev() {
                self.pieces.push_front(piece);
            }
        }
        self.load();
    }

    /// Its number is given, so something has to go under it.
    fn shorten_attack(&mut self, report: &AttackReport) {
        let found = self
            .attacks
            .iter_mut()
            .find(|attack| attack.number == report.number);
        let Some(waiting) = found else {
            return;
        };
        let body = shortened(&report.body);
        let report = AttackReport {
            body,
            ..report.clone()
        };
        waiting.event = Arc::new(WorkerEvent::Attack(Box::new(report)));
        self.tally.attacks_shortened += 1;
    }

    fn see_flush(&mut self) {
        let settled = self.in_flight.is_none() && self.pieces.is_empty();
        let attacks = self.attacks.front();
        let attacks_settled = attacks.is_none_or(|attack| attack.number > self.flush.attack);
        if settled && attacks_settled {
            self.flush.done = self.flush.covered;
        }
    }
}

/// What is left of an attack that is too long to be sent: that there was one, of which kind.
fn shortened(body: &AttackBody) -> AttackBody {
    match body {
        AttackBody::Attack(attack) => AttackBody::Attack(Box::new(Attack {
            blocked: attack.blocked,
            payload: CUT_MARK.to_owned(),
            ..Attack::new(cut(&attack.kind))
        })),
        AttackBody::Own { kind, .. } => AttackBody::Own {
            kind: cut(kind).to_owned(),
            json: format!("\"{CUT_MARK}\""),
        },
    }
}

fn one_attack() -> Totals {
    Totals {
        attacks: 1,
        ..Totals::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! A random connection and random agents, against the one fact that counts: what was recorded is
    //! applied once.

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::aggregator::message::WorkerId;
    use crate::aggregator::series::Series;

    /// An agent and the way to it. What is said waits in `line` until the test lets it arrive.
    #[derive(Default)]
    struct World {
        /// Each with whether somebody still waits for its answer.
        line: VecDeque<(Say, bool)>,
        replies: VecDeque<(&'static str, AgentReply)>,
        connected: bool,
        greeted: bool,
        /// What the agent knows. `None` for one that forgets is the same as zero.
        applied: u64,
        attack_taken: u64,
        /// What all agents together have applied, by batch: kept by the sink, whatever agents forget.
        sums: BTreeMap<u64, Totals>,
        attacks: Vec<u64>,
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
                    self.applied = self.applied.max(hello.batch_acknowledged);
                    self.attack_taken = self.attack_taken.max(hello.attack_acknowledged);
                    let welcome = AgentReply::Welcome {
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
                        let before = self.sums.insert(seq, sum(batch));
                        assert_eq!(before, None, "{seq} was applied twice");
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
                        self.attacks.push(report.number);
                    }
                }
                Say::Leave => self.replies.push_back(("leave", AgentReply::Bye)),
                _ => {}
            }
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
                now: Instant::now(),
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
            self.outgoing.handle_taken_out(Taken {
                counters,
                ..Taken::default()
            });
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
            assert!(self.outgoing.attacks_len <= 10_000);
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
            prop_assert_eq!(applied.counted, play.recorded.counted);
            let ledger = play.outgoing.ledger();
            prop_assert!(ledger.pending.is_zero());
            let taken = u64::try_from(play.world.attacks.len()).unwrap();
            prop_assert_eq!(taken + ledger.dropped_total().attacks, play.recorded.attacks);
            prop_assert_eq!(ledger.applied.attacks, taken);
            prop_assert!(play.world.attacks.is_sorted());
            prop_assert_eq!(play.world.last_recorded.counted, play.recorded.counted);
        }
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
}
