//! The attacks that wait to be taken by an agent: by number, said in a window, acknowledged from the
//! front. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aggregator::attack::{Attack, AttackBody, CUT_MARK};
use crate::aggregator::ledger::DropReason;
use crate::aggregator::message::{AttackReport, WorkerEvent};
use crate::aggregator::moment::UnixMicros;
use crate::aggregator::series::cut;

/// What a shortened attack takes at most.
const SHORTENED_LEN: usize = 512;
/// The attacks that may be on their way at once.
const WINDOW: usize = 256;
/// An agent that has acknowledged none for so long is greeted again, which shows what it has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Attacks in the order of their numbers, without a gap.
#[derive(Debug)]
pub(super) struct Attacks {
    waiting: VecDeque<Waiting>,
    count_max: usize,
    len: usize,
    len_max: usize,
    /// So many from the front were said on this connection, since the last hello.
    said: usize,
    /// When one was acknowledged last, or the first of them was said.
    heard: Option<Instant>,
    /// The number given last.
    number: u64,
    /// All that there were, those that were dropped included.
    recorded: u64,
    pub(super) tally: Tally,
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
    pub(crate) said: u64,
    pub(crate) taken: u64,
    pub(crate) shortened: u64,
}

impl Attacks {
    pub(super) fn new(count_max: usize, len_max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            count_max,
            len: 0,
            len_max,
            said: 0,
            heard: None,
            number: 0,
            recorded: 0,
            tally: Tally::default(),
        }
    }

    /// Takes an attack that is so many bytes at most. Its number, or why it is dropped.
    pub(super) fn add(
        &mut self,
        at: UnixMicros,
        mut body: AttackBody,
        mut len: usize,
        message_len_max: usize,
    ) -> Result<u64, DropReason> {
        self.count_one();
        if len > message_len_max {
            body = shortened(&body);
            len = SHORTENED_LEN;
            self.tally.shortened += 1;
        }
        if self.waiting.len() >= self.count_max || self.len.saturating_add(len) > self.len_max {
            return Err(DropReason::QueueFull);
        }
        self.number += 1;
        let number = self.number;
        let event = WorkerEvent::Attack(Box::new(AttackReport { number, at, body }));
        self.len += len;
        self.waiting.push_back(Waiting {
            event: Arc::new(event),
            number,
            len,
        });
        Ok(number)
    }

    /// There was one more, whatever becomes of it.
    pub(super) fn count_one(&mut self) {
        self.recorded = self.recorded.saturating_add(1);
    }

    pub(super) fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(super) fn last_number(&self) -> u64 {
        self.number
    }

    /// Those that no agent has taken.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.waiting.len()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether all up to this number are taken.
    pub(super) fn are_taken_through(&self, number: u64) -> bool {
        let first = self.waiting.front();
        first.is_none_or(|attack| attack.number > number)
    }

    /// The number of the one at the front, which leaves, if it is at most this.
    pub(super) fn take(&mut self, through: u64, now: Instant) -> Option<u64> {
        self.waiting
            .front()
            .filter(|attack| attack.number <= through)?;
        let attack = self.waiting.pop_front()?;
        self.len -= attack.len;
        self.said = self.said.saturating_sub(1);
        self.heard = Some(now);
        self.tally.taken += 1;
        Some(attack.number)
    }

    /// What was said is not known to have arrived.
    pub(super) fn forget_said(&mut self) {
        self.said = 0;
        self.heard = None;
    }

    /// The next one, if it may be said now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Arc<WorkerEvent>> {
        if self.said >= WINDOW {
            return None;
        }
        let attack = self.waiting.get(self.said)?;
        if self.said == 0 {
            self.heard = Some(now);
        }
        self.said += 1;
        self.tally.said += 1;
        Some(Arc::clone(&attack.event))
    }

    /// The last one was not said after all.
    pub(super) fn unsaid(&mut self) {
        self.said = self.said.saturating_sub(1);
    }

    /// When the agent will have been silent for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let heard = self.heard.filter(|_| self.said > 0);
        heard.map(|at| at + PATIENCE)
    }

    /// Its number is given, so something has to go under it.
    pub(super) fn shorten(&mut self, report: &AttackReport) {
        let found = self
            .waiting
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
        self.tally.shortened += 1;
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.len = 0;
        self.said = 0;
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
