//! Cuts what was taken out of the cells into pieces that fit into a message.
//!
//! Lengths are upper bounds, computed from the longest that each part can become in the encoding:
//! knowing it exactly would mean to encode it.

use std::collections::VecDeque;

use super::cells::Taken;
use crate::aggregator::distribution::Buckets;
use crate::aggregator::ledger::Totals;
use crate::aggregator::message::Batch;
use crate::aggregator::series::Series;

/// A batch that has no number yet, and what it amounts to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Piece {
    pub(crate) content: Batch,
    pub(crate) totals: Totals,
}

/// The head of the message, and what each batch says of itself besides its content.
const OVERHEAD_LEN: usize = 512;
/// A number or a length in the encoding, at most.
const NUMBER_LEN: usize = 10;
/// A bucket: its index and its count.
const BUCKET_LEN: usize = 3 + NUMBER_LEN;

/// Pieces, and what did not fit into any because it alone is too long.
pub(crate) type Cut = (VecDeque<Piece>, Totals);

/// Cuts what was taken.
pub(crate) fn cut(taken: Taken, message_len_max: usize) -> Cut {
    let mut cutter = Cutter {
        room: message_len_max.saturating_sub(OVERHEAD_LEN),
        len: 0,
        pieces: VecDeque::new(),
        too_long: Totals::default(),
    };
    for (series, count) in taken.counters {
        let totals = counted(count);
        if let Some(batch) = cutter.place(len_of(&series) + NUMBER_LEN, totals) {
            batch.counters.push((series, count));
        }
    }
    for (series, value) in taken.gauges {
        if let Some(batch) = cutter.place(len_of(&series) + 8, Totals::default()) {
            batch.gauges.push((series, value));
        }
    }
    for (series, buckets) in taken.histograms {
        cutter.place_buckets(&series, &buckets);
    }
    for sighting in taken.inventories {
        let len = sighting.inventory.len() + sighting.key.len() + 5 * NUMBER_LEN;
        let totals = Totals {
            hits: sighting.hits,
            ..Totals::default()
        };
        if let Some(batch) = cutter.place(len, totals) {
            batch.inventories.push(sighting);
        }
    }
    (cutter.pieces, cutter.too_long)
}

struct Cutter {
    room: usize,
    /// Of the last piece.
    len: usize,
    pieces: VecDeque<Piece>,
    too_long: Totals,
}

impl Cutter {
    /// The batch that has room for so much. `None` if none can have.
    fn place(&mut self, len: usize, totals: Totals) -> Option<&mut Batch> {
        if len > self.room {
            self.too_long = self.too_long.plus(totals);
            return None;
        }
        if self.pieces.is_empty() || self.len + len > self.room {
            self.pieces.push_back(Piece::default());
            self.len = 0;
        }
        self.len += len;
        let piece = self.pieces.back_mut()?;
        piece.totals = piece.totals.plus(totals);
        Some(&mut piece.content)
    }

    /// Buckets can be merged, so a long histogram may go in several batches.
    fn place_buckets(&mut self, series: &Series, buckets: &Buckets) {
        let head_len = len_of(series) + NUMBER_LEN;
        let in_all = self.room.saturating_sub(head_len) / BUCKET_LEN;
        for part in buckets.0.chunks(in_all.max(1)) {
            let part = Buckets(part.to_vec());
            let totals = Totals {
                observed: part.count(),
                ..Totals::default()
            };
            let len = head_len + part.0.len() * BUCKET_LEN;
            if let Some(batch) = self.place(len, totals) {
                batch.histograms.push((series.clone(), part));
            }
        }
    }
}

fn counted(count: u64) -> Totals {
    Totals {
        counted: count,
        ..Totals::default()
    }
}

fn len_of(series: &Series) -> usize {
    series.texts_len() + (1 + series.labels.len()) * 2 * NUMBER_LEN
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aggregator::message::{Sighting, WorkerRequest};
    use crate::aggregator::moment::UnixMicros;
    use crate::envelope::encode_body;

    fn series() -> impl Strategy<Value = Series> {
        let labels = prop::collection::vec(("[a-z]{0,40}", "[a-zä]{0,60}"), 0..4);
        ("[a-z.]{0,128}", labels).prop_map(|(name, labels)| {
            let labels: Vec<_> = labels
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            Series::new(&name, &labels)
        })
    }

    fn taken() -> impl Strategy<Value = Taken> {
        let counters = prop::collection::vec((series(), 1..u64::MAX >> 20), 0..60);
        let gauges = prop::collection::vec((series(), -1e9..1e9), 0..20);
        let buckets = prop::collection::btree_map(0..1952_u16, 1..u64::MAX >> 20, 1..300);
        let buckets = buckets.prop_map(|buckets| Buckets(buckets.into_iter().collect()));
        let histograms = prop::collection::vec((series(), buckets), 0..5);
        let keys = prop::collection::vec(("[a-z]{0,128}", 1..u64::MAX >> 20), 0..60);
        (counters, gauges, histograms, keys).prop_map(|(counters, gauges, histograms, keys)| {
            let at = UnixMicros(u64::MAX);
            let sighting = |(key, hits)| Sighting {
                inventory: "routes".to_owned(),
                key,
                hits,
                first: at,
                last: at,
            };
            Taken {
                counters,
                gauges,
                histograms,
                inventories: keys.into_iter().map(sighting).collect(),
            }
        })
    }

    fn totals(taken: &Taken) -> Totals {
        Totals {
            counted: taken.counters.iter().map(|(_, count)| count).sum(),
            observed: taken
                .histograms
                .iter()
                .map(|(_, buckets)| buckets.count())
                .sum(),
            hits: taken.inventories.iter().map(|seen| seen.hits).sum(),
            attacks: 0,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_of_it_is_in_pieces_that_fit(taken in taken(), len_max in 1024_u32..20_000) {
            let whole = totals(&taken);
            let gauges = taken.gauges.len();
            let (pieces, too_long) = cut(taken, usize::try_from(len_max).unwrap());
            let mut sum = too_long;
            let mut gauges_kept = 0;
            for piece in &pieces {
                sum = sum.plus(piece.totals);
                gauges_kept += piece.content.gauges.len();
                let request = WorkerRequest::Batch(piece.content.clone());
                let len = encode_body(&request, u32::MAX).unwrap().len();
                prop_assert!(len + 300 <= usize::try_from(len_max).unwrap());
            }
            prop_assert_eq!(sum, whole);
            if len_max > 4096 {
                prop_assert!(too_long.is_zero());
                prop_assert_eq!(gauges_kept, gauges);
            }
        }
    }
}
