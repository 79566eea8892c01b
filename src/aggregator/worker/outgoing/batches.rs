//! What was in the cells, on its way in numbered batches, one in flight. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::aggregator::ledger::{DropReason, Ledger, Totals};
use crate::aggregator::message::{Batch, WorkerRequest};
use crate::aggregator::worker::cells::Taken;
use crate::aggregator::worker::pieces::{self, Cut, Piece};

/// Batches, and the book of what was put into them.
#[derive(Debug, Default)]
pub(super) struct Batches {
    pieces: VecDeque<Piece>,
    in_flight: Option<InFlight>,
    /// The number given last.
    seq: u64,
    /// The number of the last one that was sent.
    pub(super) sent: u64,
    /// All that was taken out of the cells.
    pub(super) taken: Totals,
    /// The part of it that was put into batches, or dropped on the way there.
    batched: Totals,
    /// What the last batch has said: `recorded`, and the sum of `dropped`.
    reported: (Totals, Totals),
    /// What was dropped, and why. Attacks too: batches say it.
    pub(super) dropped: Ledger,
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
    /// It was said and may have been applied, for all that is known.
    in_doubt: bool,
    /// An agent has refused it once.
    refused: bool,
}

impl Batches {
    /// Takes what was in the cells.
    pub(super) fn add(&mut self, (pieces, too_long): Cut) {
        let pieces_sum = pieces.iter().map(|piece| piece.totals);
        let sum = pieces_sum.fold(too_long, Totals::plus);
        self.taken = self.taken.plus(sum);
        self.give_up(too_long);
        self.pieces.extend(pieces);
    }

    fn give_up(&mut self, too_long: Totals) {
        self.batched = self.batched.plus(too_long);
        self.dropped.drop_for(DropReason::TooLong, too_long);
    }

    /// Whether everything so far is acknowledged.
    pub(super) fn are_settled(&self) -> bool {
        self.in_flight.is_none() && self.pieces.is_empty()
    }

    /// Whether something is on its way: gauges too, which amount to nothing.
    pub(super) fn have_content(&self) -> bool {
        let in_flight = self.in_flight.as_ref().map(|batch| &*batch.request);
        let is_full = |request: &WorkerRequest| matches!(request, WorkerRequest::Batch(batch) if !is_empty(batch));
        !self.pieces.is_empty() || in_flight.is_some_and(is_full)
    }

    /// What is on its way.
    pub(super) fn pending(&self) -> Totals {
        let in_flight = self.in_flight.iter().map(|batch| batch.totals);
        let pieces = self.pieces.iter().map(|piece| piece.totals);
        in_flight
            .chain(pieces)
            .fold(Totals::default(), Totals::plus)
    }

    /// Puts the next batch in flight, unless there is one: of the next piece, or an empty one if there
    /// is something else to report.
    pub(super) fn load(&mut self, attacks_recorded: u64) {
        if self.in_flight.is_some() {
            return;
        }
        let piece = self.pieces.pop_front();
        let recorded = Totals {
            attacks: attacks_recorded,
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
            dropped: list(&self.dropped),
            ..piece.content
        };
        self.in_flight = Some(InFlight {
            request: Arc::new(WorkerRequest::Batch(batch)),
            seq: self.seq,
            totals: piece.totals,
            said: false,
            ever_said: false,
            in_doubt: false,
            refused: false,
        });
    }

    /// The one in flight, if it is to be said now.
    pub(super) fn poll(&mut self) -> Option<Arc<WorkerRequest>> {
        let batch = self.in_flight.as_mut().filter(|batch| !batch.said)?;
        batch.said = true;
        batch.ever_said = true;
        self.sent = batch.seq;
        Some(Arc::clone(&batch.request))
    }

    /// It was not said after all, or nobody has looked at it.
    pub(super) fn unsaid(&mut self) {
        if let Some(batch) = &mut self.in_flight {
            batch.said = false;
        }
    }

    /// What was said is not known to have arrived.
    pub(super) fn forget_said(&mut self) {
        if let Some(batch) = &mut self.in_flight {
            batch.in_doubt |= batch.said;
            batch.said = false;
        }
    }

    /// The agent has applied all up to this number. The number and the content of the one that was in
    /// flight, if it is among them.
    pub(super) fn settle(&mut self, seq: u64) -> Option<(u64, Totals)> {
        let is_it = |batch: &mut InFlight| batch.ever_said && batch.seq <= seq;
        let batch = self.in_flight.take_if(is_it)?;
        Some((batch.seq, batch.totals))
    }

    /// A refused batch is not applied, and won't be. The first time it may be a matter of order, which
    /// a hello settles; then it is its content, and that is dropped.
    pub(super) fn refuse(&mut self) {
        let Some(batch) = &mut self.in_flight else {
            return;
        };
        batch.in_doubt = false;
        batch.said = false;
        if batch.refused {
            self.empty(DropReason::Refused);
        } else {
            batch.refused = true;
        }
    }

    /// The agent knows that the one in flight was not applied.
    pub(super) fn be_sure(&mut self) {
        if let Some(batch) = &mut self.in_flight {
            batch.in_doubt = false;
        }
    }

    /// The agent does not know whether the one in flight was ever applied. If it may have been, its
    /// content does not go again.
    pub(super) fn doubt(&mut self) {
        if self.in_flight.as_ref().is_some_and(|batch| batch.in_doubt) {
            self.empty(DropReason::InDoubt);
        }
    }

    /// Leaves nothing in the batch in flight but its number and the ledger.
    fn empty(&mut self, reason: DropReason) {
        let Some(batch) = &mut self.in_flight else {
            return;
        };
        self.dropped
            .drop_for(reason, std::mem::take(&mut batch.totals));
        batch.in_doubt = false;
        let WorkerRequest::Batch(content) = &*batch.request else {
            return;
        };
        let empty = Batch {
            seq: content.seq,
            recorded: content.recorded,
            dropped: list(&self.dropped),
            ..Batch::default()
        };
        batch.request = Arc::new(WorkerRequest::Batch(empty));
    }

    /// Cuts the batch in flight once more. The welcome has shown that its number is not applied, so
    /// the first part goes under it.
    pub(super) fn shorten(&mut self, len_max: usize) {
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
            let (pieces, too_long) = pieces::cut(taken, len_max);
            self.give_up(too_long);
            for piece in pieces.into_iter().rev() {
                self.pieces.push_front(piece);
            }
        }
    }

    pub(super) fn abandon(&mut self) {
        self.batched = self.taken;
        self.pieces.clear();
        self.in_flight = None;
    }
}

fn is_empty(batch: &Batch) -> bool {
    batch.counters.is_empty()
        && batch.gauges.is_empty()
        && batch.histograms.is_empty()
        && batch.inventories.is_empty()
}

fn list(dropped: &Ledger) -> Vec<(DropReason, Totals)> {
    let each = dropped.dropped.iter();
    each.map(|(&reason, &what)| (reason, what)).collect()
}
