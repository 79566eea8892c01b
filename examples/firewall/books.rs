//! The books: what the workers say that they have recorded, and what the agent has reported. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use wayside::aggregator::{AttackBody, Finding, Ledger, Report, Totals};

/// The counter of requests, by what has become of them.
pub const REQUESTS: &str = "requests";

/// What has become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Served,
    /// An attack: stopped.
    Attack,
    /// Of a user that is blocked.
    Blocked,
    /// Too many of this client.
    Limited,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Served, Self::Attack, Self::Blocked, Self::Limited];

    /// As in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Attack => "attack",
            Self::Blocked => "blocked",
            Self::Limited => "limited",
        }
    }
}

/// Requests, by what has become of them.
pub type Tally = BTreeMap<Outcome, u64>;

/// What a worker says at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub process: u32,
    /// Counted by the program itself.
    pub tally: Tally,
    /// Logins that were let through.
    pub logins: u64,
    /// Times that the agent was away when a limit was asked for.
    pub fallbacks: u64,
    /// Counted by wayside, all its kinds of stats.
    pub recorded: Totals,
}

/// What came to the sink, each report once.
#[derive(Debug, Default)]
pub struct Reported {
    ids: HashSet<String>,
    /// Reports that came again.
    pub again: u64,
    pub heartbeats: u64,
    pub totals: Totals,
    pub tally: Tally,
    pub findings: Vec<Finding>,
    /// The addresses that attacks came from.
    pub attackers: BTreeSet<String>,
    /// Of the latest heartbeat.
    pub ledger: Ledger,
}

impl Reported {
    /// Takes a report, unless it was here before.
    pub fn take(&mut self, report: Report) {
        if !self.ids.insert(report.id().to_owned()) {
            self.again += 1;
            return;
        }
        match report {
            Report::Heartbeat(heartbeat) => {
                self.heartbeats += 1;
                for count in heartbeat.counters {
                    self.totals.counted += count.value;
                    self.count(&count.series.name, &count.series.labels, count.value);
                }
                self.totals.observed += heartbeat
                    .histograms
                    .iter()
                    .map(|each| each.count)
                    .sum::<u64>();
                self.totals.hits += heartbeat
                    .inventories
                    .iter()
                    .map(|each| each.hits)
                    .sum::<u64>();
                self.ledger = heartbeat.ledger;
            }
            Report::Attack(attack) => {
                self.totals.attacks += 1;
                if let AttackBody::Attack(attack) = attack.body {
                    self.attackers
                        .extend(attack.request.map(|request| request.ip));
                }
            }
            Report::Finding(finding) => self.findings.push(finding),
            _ => {}
        }
    }

    fn count(&mut self, name: &str, labels: &[(String, String)], value: u64) {
        let is_named = |outcome: &Outcome| {
            let [(_, label)] = labels else {
                return false;
            };
            name == REQUESTS && label == outcome.name()
        };
        if let Some(outcome) = Outcome::ALL.into_iter().find(is_named) {
            *self.tally.entry(outcome).or_default() += value;
        }
    }
}

/// The three sides that have to agree.
#[derive(Debug)]
pub struct Books<'a> {
    /// Requests that were handed out.
    pub handed_out: u64,
    pub said: &'a [Said],
    pub reported: &'a Reported,
}

impl Books<'_> {
    /// All workers' tallies together.
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::new();
        for (outcome, count) in self.said.iter().flat_map(|said| &said.tally) {
            *sum.entry(*outcome).or_default() += count;
        }
        sum
    }

    /// All that workers have recorded.
    pub fn recorded(&self) -> Totals {
        let each = self.said.iter().map(|said| said.recorded);
        each.fold(Totals::default(), Totals::plus)
    }

    /// What does not agree, a line each. None: they balance.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut compare = |what: &str, one: u64, other: u64| {
            if one != other {
                faults.push(format!("{what}: {one} is not {other}"));
            }
        };
        let tally = self.tally();
        let served = tally.values().sum();
        compare(
            "requests handed out, and worked on",
            self.handed_out,
            served,
        );
        for outcome in Outcome::ALL {
            let of = |tally: &Tally| tally.get(&outcome).copied().unwrap_or_default();
            let what = format!("requests {}, said and reported", outcome.name());
            compare(&what, of(&tally), of(&self.reported.tally));
        }
        let ledger = &self.reported.ledger;
        let recorded = self.recorded();
        let accounted = self.reported.totals.plus(ledger.dropped_total());
        for (what, of) in UNITS {
            let title = format!("{what}, recorded, and reported or dropped");
            compare(&title, of(recorded), of(accounted));
            let title = format!("{what}, recorded, and in the ledger");
            compare(&title, of(recorded), of(ledger.recorded));
            compare(
                &format!("{what}, pending at the end"),
                of(ledger.pending),
                0,
            );
        }
        if !ledger.is_balanced() {
            faults.push(format!("the ledger itself: {ledger:?}"));
        }
        faults
    }
}

type Unit = (&'static str, fn(Totals) -> u64);

/// The units of a ledger.
const UNITS: [Unit; 4] = [
    ("counted", |totals| totals.counted),
    ("observed", |totals| totals.observed),
    ("hits", |totals| totals.hits),
    ("attacks", |totals| totals.attacks),
];

impl fmt::Display for Books<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, said: u64, reported: u64| {
            let mark = if said == reported { "" } else { "  <- differ" };
            writeln!(f, "  {name:22} {said:>12} {reported:>12}{mark}")
        };
        let tally = self.tally();
        for outcome in Outcome::ALL {
            let of = |tally: &Tally| tally.get(&outcome).copied().unwrap_or_default();
            let name = format!("requests {}", outcome.name());
            row(&name, of(&tally), of(&self.reported.tally))?;
        }
        let recorded = self.recorded();
        for (what, of) in UNITS {
            row(what, of(recorded), of(self.reported.totals))?;
        }
        let ledger = &self.reported.ledger;
        let sum = |totals: Totals| UNITS.iter().map(|(_, of)| of(totals)).sum::<u64>();
        write!(
            f,
            "  ledger: {} recorded = {} applied + {} dropped + {} pending",
            sum(ledger.recorded),
            sum(ledger.applied),
            sum(ledger.dropped_total()),
            sum(ledger.pending),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wayside::aggregator::{Count, DropReason, Heartbeat, Listing, Series, UnixMicros};

    use super::*;

    /// What some workers have done, and in which heartbeats it came.
    #[derive(Debug, Clone)]
    struct Run {
        /// Of each worker: served, blocked.
        workers: Vec<(u64, u64)>,
        /// What comes first of all that was served: the rest is in the second heartbeat.
        first: u64,
        /// And this is dropped.
        dropped: u64,
    }

    fn run() -> impl Strategy<Value = Run> {
        let workers = prop::collection::vec((0..1000_u64, 0..1000_u64), 1..6);
        (workers, 0..1000_u64, 0..50_u64).prop_map(|(workers, first, dropped)| Run {
            workers,
            first,
            dropped,
        })
    }

    impl Run {
        fn said(&self) -> Vec<Said> {
            let each = self.workers.iter().zip(1..);
            let said = each.map(|(&(served, blocked), process)| Said {
                process,
                tally: Tally::from([(Outcome::Served, served), (Outcome::Blocked, blocked)]),
                logins: 0,
                fallbacks: 0,
                recorded: Totals {
                    counted: served + blocked,
                    hits: served,
                    ..Totals::default()
                },
            });
            said.collect()
        }

        fn heartbeats(&self) -> [Heartbeat; 2] {
            let served: u64 = self.workers.iter().map(|worker| worker.0).sum();
            let blocked = self.workers.iter().map(|worker| worker.1).sum();
            let recorded = Totals {
                counted: served + blocked,
                hits: served,
                ..Totals::default()
            };
            let mut ledger = Ledger {
                recorded,
                applied: recorded,
                ..Ledger::default()
            };
            let first = self.first.min(served);
            let dropped = self.dropped.min(served - first);
            let hits_dropped = Totals {
                hits: dropped,
                ..Totals::default()
            };
            ledger.drop_for(DropReason::Refused, hits_dropped);
            ledger.applied = recorded.minus(hits_dropped);
            let count = |outcome: Outcome, value| Count {
                series: Series::new(REQUESTS, &[("outcome", outcome.name())]),
                value,
            };
            let hits = |hits| Listing {
                inventory: "routes".to_owned(),
                key: "/".to_owned(),
                hits,
                first: UnixMicros(1),
                last: UnixMicros(2),
            };
            let one = Heartbeat {
                id: "1".to_owned(),
                counters: vec![count(Outcome::Served, first)],
                inventories: vec![hits(first)],
                ..Heartbeat::default()
            };
            let two = Heartbeat {
                id: "2".to_owned(),
                counters: vec![
                    count(Outcome::Served, served - first),
                    count(Outcome::Blocked, blocked),
                ],
                inventories: vec![hits(served - first - dropped)],
                ledger,
                ..Heartbeat::default()
            };
            [one, two]
        }

        fn handed_out(&self) -> u64 {
            self.workers
                .iter()
                .map(|(served, blocked)| served + blocked)
                .sum()
        }
    }

    fn faults(run: &Run, change: impl FnOnce(&mut Vec<Heartbeat>)) -> Vec<String> {
        let mut heartbeats = run.heartbeats().to_vec();
        change(&mut heartbeats);
        let mut reported = Reported::default();
        for heartbeat in heartbeats {
            reported.take(Report::Heartbeat(heartbeat));
        }
        let (handed_out, said) = (run.handed_out(), run.said());
        Books {
            handed_out,
            said: &said,
            reported: &reported,
        }
        .faults()
    }

    #[test]
    fn the_report_at_the_top_of_the_example_is_the_one_that_is_printed() {
        let tally = Tally::from([
            (Outcome::Served, 3020),
            (Outcome::Attack, 400),
            (Outcome::Blocked, 200),
            (Outcome::Limited, 380),
        ]);
        let recorded = Totals {
            counted: 4000,
            observed: 4000,
            hits: 4000,
            attacks: 400,
        };
        let said = Said {
            process: 1,
            tally: tally.clone(),
            logins: 20,
            fallbacks: 0,
            recorded,
        };
        let reported = Reported {
            totals: recorded,
            tally,
            ledger: Ledger {
                recorded,
                applied: recorded,
                ..Ledger::default()
            },
            ..Reported::default()
        };
        let books = Books {
            handed_out: 4000,
            said: &[said],
            reported: &reported,
        };
        assert_eq!(books.faults(), Vec::<String>::new());
        let page = include_str!("main.rs");
        for line in books.to_string().lines() {
            assert!(page.contains(&format!("//! {line}\n")), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_came_once_or_again_balances(run in run()) {
            prop_assert_eq!(faults(&run, |_| {}), Vec::<String>::new());
            let twice = |beats: &mut Vec<Heartbeat>| beats.extend(beats.clone());
            prop_assert_eq!(faults(&run, twice), Vec::<String>::new());
        }

        #[test]
        fn one_unit_more_or_less_anywhere_does_not(run in run(), which in 0..4_usize, more: bool) {
            let change = |number: &mut u64| {
                *number = if more { *number + 1 } else { number.wrapping_sub(1).min(1 << 40) };
            };
            let found = faults(&run, |beats| match which {
                0 => change(&mut beats[0].counters[0].value),
                1 => change(&mut beats[1].counters[1].value),
                2 => change(&mut beats[1].inventories[0].hits),
                _ => change(&mut beats[1].ledger.applied.counted),
            });
            prop_assert!(!found.is_empty());
        }

        #[test]
        fn a_heartbeat_that_is_missing_is_noticed(run in run()) {
            prop_assume!(run.workers.iter().any(|worker| worker.0 > 0) && run.first > 0);
            let found = faults(&run, |beats| drop(beats.remove(0)));
            prop_assert!(!found.is_empty());
        }

        #[test]
        fn a_request_that_nobody_worked_on_is_noticed(run in run()) {
            let said = run.said();
            let mut reported = Reported::default();
            for heartbeat in run.heartbeats() {
                reported.take(Report::Heartbeat(heartbeat));
            }
            let handed_out = run.handed_out() + 1;
            let books = Books { handed_out, said: &said, reported: &reported };
            prop_assert_eq!(books.faults().len(), 1);
        }
    }
}
