//! Where the clerk posts what the sinks are to take, and the couriers say what was taken.
//!
//! ```text
//!   clerk   post, post_beat ──▶  reports by ticket, one heartbeat per application
//!           collect         ◀──  what all sinks are done with
//!   courier next, done           each has its own place in the order
//! ```
//!
//! One lock, held for moments: never while a sink is called. How much is on the board is bounded by
//! what the state keeps: the clerk takes away here what it takes away there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::record::Fate;
use super::waiting::Ticketed;
use crate::aggregator::Report;
use crate::sync::lock;

/// A sink that has failed for so long, or has been at one thing for so long, is not waited for by
/// heartbeats that others have taken.
pub(crate) const LAGGARD_AFTER: Duration = Duration::from_secs(5 * 60);

/// After so many the clerk is told, also if there is more.
const TOLD_AFTER: u64 = 256;

pub(crate) struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    reports: VecDeque<Posted>,
    beats: BTreeMap<String, Beat>,
    sinks: Vec<Progress>,
    ending: bool,
}

struct Posted {
    ticket: u64,
    report: Arc<Report>,
    taken: bool,
}

struct Beat {
    report: Arc<Report>,
    taken: bool,
    /// For each sink.
    done: Vec<bool>,
}

/// How far one sink has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) name: String,
    /// Everything before this ticket is done with.
    next: u64,
    /// What its courier is at.
    in_hand: Option<Item>,
    /// Since when.
    pub(crate) busy_since: Option<Duration>,
    /// It was a heartbeat's turn last: next it is a report's.
    beat_was_last: bool,
    /// Whose heartbeat it was at last: next it is another's turn.
    last_beat: Option<String>,
    pub(crate) failing_since: Option<Duration>,
    pub(crate) taken: u64,
    pub(crate) refused: u64,
    pub(crate) failures: u64,
    /// Heartbeats that went by while it failed or hung.
    pub(crate) missed: u64,
    /// Reports that were let go of before it had them.
    pub(crate) reports_missed: u64,
    pub(crate) last_error: Option<String>,
}

/// One thing on the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Report(u64),
    Beat { application: String, id: String },
}

/// What came of handing something to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Taken,
    /// It never will be.
    Refused(String),
    /// It is tried again.
    Failed(String),
}

/// What all sinks are done with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) through: Option<u64>,
    /// Of those, what none has taken.
    pub(crate) lost: Vec<u64>,
    pub(crate) beats: Vec<(String, String, Fate)>,
}

/// Whether a report was taken off the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// Some sink is at it right now.
    InHand,
    Done(Fate),
}

impl Board {
    pub(crate) fn new(sinks: Vec<String>) -> Arc<Self> {
        let progress = |name| Progress {
            name,
            ..Progress::default()
        };
        Arc::new(Self {
            inner: Mutex::new(Inner {
                reports: VecDeque::new(),
                beats: BTreeMap::new(),
                sinks: sinks.into_iter().map(progress).collect(),
                ending: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Adds reports, which have higher tickets than all before.
    pub(crate) fn post(&self, reports: Vec<Ticketed>) {
        if reports.is_empty() {
            return;
        }
        let posted = reports.into_iter().map(|ticketed| Posted {
            ticket: ticketed.ticket,
            report: ticketed.report,
            taken: false,
        });
        lock(&self.inner).reports.extend(posted);
        self.changed.notify_all();
    }

    pub(crate) fn post_beat(&self, application: &str, report: Arc<Report>) {
        let mut inner = lock(&self.inner);
        let beat = Beat {
            report,
            taken: false,
            done: vec![false; inner.sinks.len()],
        };
        inner.beats.insert(application.to_owned(), beat);
        self.changed.notify_all();
    }

    /// Takes a report off, unless a sink is at it.
    pub(crate) fn withhold(&self, ticket: u64) -> Withheld {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        let item = Some(Item::Report(ticket));
        if inner.sinks.iter().any(|sink| sink.in_hand == item) {
            return Withheld::InHand;
        }
        for sink in &mut inner.sinks {
            sink.reports_missed += u64::from(sink.next <= ticket);
        }
        let found = inner
            .reports
            .binary_search_by_key(&ticket, |posted| posted.ticket);
        // It may not have been posted yet. Before it stands at most what sinks have in hand.
        let posted = found.ok().and_then(|at| inner.reports.remove(at));
        Withheld::Done(posted.map_or(Fate::Lost, |posted| posted.fate()))
    }

    /// What all sinks are done with, once.
    pub(crate) fn collect(&self, now: Duration) -> Collected {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        let mut collected = Collected::default();
        let done_before = inner.sinks.iter().map(|sink| sink.next).min();
        // Without any sink there is nothing to lose.
        let none = inner.sinks.is_empty();
        let is_done = |posted: &Posted| done_before.is_none_or(|next| posted.ticket < next);
        while inner.reports.front().is_some_and(is_done) {
            let Some(posted) = inner.reports.pop_front() else {
                break;
            };
            collected.through = Some(posted.ticket);
            if posted.fate() == Fate::Lost && !none {
                collected.lost.push(posted.ticket);
            }
        }
        let sinks = &mut inner.sinks;
        inner.beats.retain(|application, beat| {
            let Some(fate) = beat.end(sinks, now) else {
                return true;
            };
            let id = beat.report.id().to_owned();
            collected.beats.push((application.clone(), id, fate));
            false
        });
        collected
    }

    /// What a sink is to take next; waits for it. `None` once it all ends.
    pub(crate) fn next(
        &self,
        sink: usize,
        now: impl Fn() -> Duration,
    ) -> Option<(Item, Arc<Report>)> {
        let mut inner = lock(&self.inner);
        while !inner.ending {
            if let Some((item, report)) = inner.next(sink) {
                inner.sinks[sink].in_hand = Some(item.clone());
                inner.sinks[sink].busy_since = Some(now());
                return Some((item, report));
            }
            let waited = self.changed.wait(inner);
            inner = waited.unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Notes what came of what [`next`](Board::next) gave. Whether the clerk is to hear of it: while
    /// there is more it hears of many at once.
    pub(crate) fn done(&self, sink: usize, item: Item, outcome: Outcome, now: Duration) -> bool {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        let progress = &mut inner.sinks[sink];
        progress.in_hand = None;
        progress.busy_since = None;
        let is_beat = match &item {
            Item::Report(_) => false,
            Item::Beat { application, .. } => {
                progress.last_beat = Some(application.clone());
                true
            }
        };
        let taken = outcome == Outcome::Taken;
        match outcome {
            Outcome::Taken => {
                progress.taken += 1;
                progress.failing_since = None;
            }
            Outcome::Refused(why) => {
                progress.refused += 1;
                progress.failing_since = None;
                progress.last_error = Some(why);
            }
            Outcome::Failed(why) => {
                progress.failures += 1;
                progress.failing_since.get_or_insert(now);
                progress.last_error = Some(why);
                // So that one that never succeeds does not keep the other kind from its turn.
                progress.beat_was_last = is_beat;
                return true;
            }
        }
        match item {
            Item::Report(ticket) => {
                progress.next = ticket + 1;
                let found = inner
                    .reports
                    .binary_search_by_key(&ticket, |posted| posted.ticket);
                if let Ok(at) = found {
                    inner.reports[at].taken |= taken;
                }
            }
            Item::Beat { application, id } => {
                // It may have been closed meanwhile.
                let beat = inner.beats.get_mut(&application);
                if let Some(beat) = beat.filter(|beat| beat.report.id() == id) {
                    beat.taken |= taken;
                    beat.done[sink] = true;
                }
            }
        }
        let handled = inner.sinks[sink].taken + inner.sinks[sink].refused;
        is_beat || handled % TOLD_AFTER == 0 || inner.next(sink).is_none()
    }

    /// Waits out a pause before another try, or for the end.
    pub(crate) fn pause(&self, until: std::time::Instant) {
        let mut inner = lock(&self.inner);
        while !inner.ending {
            let left = until.saturating_duration_since(crate::ambient::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Couriers end, whatever is left: who ends it has waited for them as long as it could.
    pub(crate) fn end(&self) {
        lock(&self.inner).ending = true;
        self.changed.notify_all();
    }

    /// Whether nothing is on the board.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = lock(&self.inner);
        inner.reports.is_empty() && inner.beats.is_empty()
    }

    /// How all sinks are doing, and how many reports wait for each.
    pub(crate) fn progress(&self) -> Vec<(Progress, usize)> {
        let inner = lock(&self.inner);
        let reports = &inner.reports;
        let waiting = |sink: &Progress| {
            let from = reports.partition_point(|posted| posted.ticket < sink.next);
            reports.len() - from
        };
        let each = inner.sinks.iter();
        each.map(|sink| (sink.clone(), waiting(sink))).collect()
    }
}

impl Inner {
    fn next(&self, sink: usize) -> Option<(Item, Arc<Report>)> {
        let report = || self.next_report(&self.sinks[sink]);
        let beat = || self.next_beat(sink);
        let progress = &self.sinks[sink];
        if progress.failing_since.is_some() && !progress.beat_was_last {
            beat().or_else(report)
        } else {
            report().or_else(beat)
        }
    }

    fn next_report(&self, progress: &Progress) -> Option<(Item, Arc<Report>)> {
        let from = self
            .reports
            .partition_point(|posted| posted.ticket < progress.next);
        let posted = self.reports.get(from)?;
        Some((Item::Report(posted.ticket), Arc::clone(&posted.report)))
    }

    /// Of several applications each has its turn, so that a heartbeat that a sink never takes keeps
    /// those of no other from it.
    fn next_beat(&self, sink: usize) -> Option<(Item, Arc<Report>)> {
        let last = self.sinks[sink].last_beat.as_ref();
        let open = || self.beats.iter().filter(|(_, beat)| !beat.done[sink]);
        let further = open().find(|(application, _)| Some(*application) > last);
        let (application, beat) = further.or_else(|| open().next())?;
        let item = Item::Beat {
            application: application.clone(),
            id: beat.report.id().to_owned(),
        };
        Some((item, Arc::clone(&beat.report)))
    }
}

impl Progress {
    fn is_laggard(&self, now: Duration) -> bool {
        let mut since = self.failing_since.into_iter().chain(self.busy_since);
        since.any(|since| now.saturating_sub(since) >= LAGGARD_AFTER)
    }
}

impl Posted {
    fn fate(&self) -> Fate {
        if self.taken { Fate::Taken } else { Fate::Lost }
    }
}

impl Beat {
    /// How it ended, if it has. Who has failed or hung for long is not waited for once another has it.
    fn end(&self, sinks: &mut [Progress], now: Duration) -> Option<Fate> {
        let open = || self.done.iter().enumerate().filter(|(_, done)| !**done);
        if open().any(|(at, _)| !(self.taken && sinks[at].is_laggard(now))) {
            return None;
        }
        for (at, _) in open() {
            sinks[at].missed += 1;
        }
        // Without any sink there is nothing to lose.
        let taken = self.taken || self.done.is_empty();
        Some(if taken { Fate::Taken } else { Fate::Lost })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::aggregator::{Finding, Heartbeat, UnixMicros};

    fn beat(id: &str) -> Arc<Report> {
        let id = id.to_owned();
        Arc::new(Report::Heartbeat(Heartbeat {
            id,
            ..Heartbeat::default()
        }))
    }

    /// What becomes of a sink's next item. At once, as none of these has to wait.
    fn give(board: &Board, sink: usize, outcome: Outcome, now: Duration) {
        let (item, _) = board.next(sink, || now).unwrap();
        board.done(sink, item, outcome, now);
    }

    #[test]
    fn a_sink_that_has_failed_for_five_minutes_is_not_waited_for() {
        let board = Board::new(vec!["good".to_owned(), "bad".to_owned()]);
        let failed = || Outcome::Failed("down".to_owned());
        let began = Duration::from_secs(100);
        board.post_beat("shop", beat("1"));
        give(&board, 0, Outcome::Taken, began);
        give(&board, 1, failed(), began);
        let almost = began + LAGGARD_AFTER - Duration::from_millis(1);
        give(&board, 1, failed(), almost);
        assert_eq!(board.collect(almost), Collected::default());
        let over = board.collect(began + LAGGARD_AFTER);
        let closed = |id: &str, fate| vec![("shop".to_owned(), id.to_owned(), fate)];
        assert_eq!(over.beats, closed("1", Fate::Taken));
        assert_eq!(board.progress()[1].0.missed, 1);
        // As long as no other has it, there is no end to waiting.
        board.post_beat("shop", beat("2"));
        give(&board, 1, failed(), began + LAGGARD_AFTER);
        let hours = began + 100 * LAGGARD_AFTER;
        assert!(board.collect(hours).beats.is_empty());
        give(&board, 0, Outcome::Taken, hours);
        assert_eq!(board.collect(hours).beats, closed("2", Fate::Taken));
        // Once it works again it is waited for again.
        board.post_beat("shop", beat("3"));
        give(&board, 1, Outcome::Taken, hours);
        give(&board, 0, Outcome::Taken, hours);
        assert_eq!(board.collect(hours).beats, closed("3", Fate::Taken));
        board.post_beat("shop", beat("4"));
        give(&board, 0, Outcome::Taken, hours);
        give(&board, 1, failed(), hours);
        assert!(board.collect(hours).beats.is_empty());
    }

    #[test]
    fn a_sink_that_hangs_for_five_minutes_is_not_waited_for() {
        let board = Board::new(vec!["good".to_owned(), "stuck".to_owned()]);
        let began = Duration::from_secs(100);
        board.post_beat("shop", beat("1"));
        give(&board, 0, Outcome::Taken, began);
        let (stuck_at, _) = board.next(1, || began).unwrap();
        let almost = began + LAGGARD_AFTER - Duration::from_millis(1);
        assert_eq!(board.collect(almost), Collected::default());
        let closed = |id: &str| vec![("shop".to_owned(), id.to_owned(), Fate::Taken)];
        let over = began + LAGGARD_AFTER;
        assert_eq!(board.collect(over).beats, closed("1"));
        // Nor by those that follow.
        board.post_beat("shop", beat("2"));
        give(&board, 0, Outcome::Taken, over);
        assert_eq!(board.collect(over).beats, closed("2"));
        assert_eq!(board.progress()[1].0.missed, 2);
        // Once it comes back it is waited for again.
        board.done(1, stuck_at, Outcome::Taken, over);
        board.post_beat("shop", beat("3"));
        give(&board, 0, Outcome::Taken, over);
        assert_eq!(board.collect(over), Collected::default());
        give(&board, 1, Outcome::Taken, over);
        assert_eq!(board.collect(over).beats, closed("3"));
    }

    fn finding(ticket: u64) -> Ticketed {
        let report = Arc::new(Report::Finding(Finding {
            id: ticket.to_string(),
            application: "shop".to_owned(),
            detector: String::new(),
            key: String::new(),
            at: UnixMicros(1),
            text: String::new(),
        }));
        Ticketed { ticket, report }
    }

    #[test]
    fn what_is_withheld_is_let_go_of_and_counted_for_who_missed_it() {
        let now = Duration::ZERO;
        let board = Board::new(vec!["good".to_owned(), "stuck".to_owned()]);
        board.post((1..=100).map(finding).collect());
        let (stuck_at, _) = board.next(1, || now).unwrap();
        for _ in 1..=60 {
            give(&board, 0, Outcome::Taken, now);
        }
        assert_eq!(board.withhold(1), Withheld::InHand);
        for ticket in 2..=90 {
            let taken = if ticket <= 60 {
                Fate::Taken
            } else {
                Fate::Lost
            };
            assert_eq!(board.withhold(ticket), Withheld::Done(taken));
        }
        assert_eq!(lock(&board.inner).reports.len(), 11);
        let missed = |sink: usize| board.progress()[sink].0.reports_missed;
        assert_eq!((missed(0), missed(1)), (30, 89));
        assert_eq!(board.progress()[1].1, 11);
        board.done(1, stuck_at, Outcome::Taken, now);
        for sink in [0, 1] {
            for _ in 0..10 {
                give(&board, sink, Outcome::Taken, now);
            }
        }
        let collected = board.collect(now);
        assert_eq!((collected.through, collected.lost), (Some(100), Vec::new()));
        assert!(board.is_empty());
    }

    #[test]
    fn a_heartbeat_that_is_never_taken_keeps_no_other_from_its_sink() {
        let now = Duration::ZERO;
        let board = Board::new(vec!["choosy".to_owned()]);
        for application in ["bar", "cafe", "shop"] {
            board.post_beat(application, beat(application));
        }
        let mut taken = Vec::new();
        for _ in 0..6 {
            let (item, report) = board.next(0, || now).unwrap();
            let outcome = match report.id() {
                "bar" => Outcome::Failed("not this one".to_owned()),
                other => {
                    taken.push(other.to_owned());
                    Outcome::Taken
                }
            };
            board.done(0, item, outcome, now);
        }
        assert_eq!(taken, ["cafe", "shop"]);
    }
}
