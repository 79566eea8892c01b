//! Workers and agents in real processes, killed at any moment: what the workers recorded is in the
//! heartbeats that the sink took, once, and every attack with them.
//!
//! The sink is a file that outlives its agents. The roles are at the foot of this file.
#![cfg(feature = "aggregator")]
#![cfg_attr(unix, allow(unsafe_code, reason = "the limits of a process"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

mod books;
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use books::*;
use support::role::{Role, role, tell, told, transport};
use support::*;
use wayside::aggregator::*;

const WORKERS: usize = 8;
/// Killed agents on each transport, unless `WAYSIDE_TEST_KILLS` says another number.
const KILLS: u64 = 20;
/// What one round of a worker adds to its counters.
const PER_ROUND: u64 = 5050;
/// Values of the histogram, small enough for buckets of their own, and keys of the inventory.
const VALUES: u64 = 10;
const KEYS: u64 = 7;
/// Attacks of one worker that may be on their way: far fewer than would be dropped.
const ATTACKS_OPEN_MAX: u64 = 20;

fn kills() -> u64 {
    let said = std::env::var("WAYSIDE_TEST_KILLS").ok();
    said.map_or(KILLS, |kills| kills.parse().unwrap())
}

/// Chance that can be had again.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("WAYSIDE_TEST_SEED").map_or_else(
            |_| u64::from(SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()),
            |seed| seed.parse().unwrap(),
        );
        eprintln!("again with WAYSIDE_TEST_SEED={seed}");
        Self(seed)
    }

    /// One for a test on one transport.
    fn of(&self, place: &Place) -> Self {
        let scheme = place.transport.backend().capabilities().scheme;
        let bytes = scheme.bytes().map(u64::from);
        Self(bytes.fold(self.0, |mixed, byte| scramble(mixed ^ byte)))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = scramble(self.0);
        self.0 % bound
    }
}

/// Lets a process come to some point of its life: its start, the moment at which it is up, one in
/// the middle of its work, or any.
fn let_live(host: &mut Host<'_>, agent: &Role, chance: &mut Chance) {
    let kind = chance.below(8);
    if kind == 0 {
        // Anywhere in its start. Not a wait for something, but the chance itself.
        thread::park_timeout(Duration::from_micros(chance.below(8_000)));
        return;
    }
    host.is_up(agent);
    match kind {
        1 => {}
        2 | 3 => thread::park_timeout(Duration::from_micros(chance.below(60_000))),
        _ => {
            let enough = host.reports_len() + 1 + chance.below(30_000);
            eventually("the agent reports", || host.reports_len() >= enough);
        }
    }
}

#[test]
fn agents_that_are_killed_lose_and_double_nothing() {
    let chance = Chance::new();
    on_every_transport(|place| {
        let mut chance = chance.of(place);
        let began = Instant::now();
        let mut host = Host::with_journal(place);
        let mut agent = host.agent();
        let mut workers: Vec<Role> = (0..WORKERS)
            .map(|_| host.casting("recorder").start())
            .collect();
        for _ in 0..kills() {
            agent.kill();
            agent = host.begin_agent();
            let_live(&mut host, &agent, &mut chance);
        }
        agent.kill();
        let agent = host.agent();
        let mut recorded = BTreeMap::new();
        for mut worker in workers.drain(..) {
            worker.say("stop");
            let id = WorkerId(u128::from_str_radix(&worker.expect("id"), 16).unwrap());
            let tally = worker.ask("recorded");
            recorded.insert(id, (tally["rounds"], tally["attacks"]));
            assert_eq!(worker.expect("closed"), "true");
            worker.finish();
        }
        end(agent);
        let book = host.book();
        eprintln!(
            "{:?}: {} heartbeats, {} attacks, {} again, {} torn, {} rounds",
            began.elapsed(),
            book.heartbeats.len(),
            book.attacks.len(),
            book.again,
            book.torn,
            recorded.values().map(|known| known.0).sum::<u64>()
        );
        is_what_was_recorded(&book, &recorded);
    });
}

#[test]
fn workers_that_are_killed_leave_all_that_was_acknowledged() {
    let chance = Chance::new();
    on_every_transport(|place| {
        let mut chance = chance.of(place);
        let mut host = Host::with_journal(place);
        let mut agent = host.agent();
        let mut workers: Vec<Role> = (0..WORKERS)
            .map(|_| host.casting("flusher").start())
            .collect();
        let mut graves = Vec::new();
        for turn in 0..2 * kills() {
            // One that has told something was not killed before it began.
            let at = usize::try_from(chance.below(count(WORKERS))).unwrap();
            let first = workers[at].hear();
            thread::park_timeout(Duration::from_micros(chance.below(20_000)));
            let another = host.casting("flusher").start();
            let mut worker = std::mem::replace(&mut workers[at], another);
            worker.kill();
            graves.push(Grave::of(first, &worker));
            if turn % 4 == 3 {
                agent.kill();
                agent = host.agent();
            }
        }
        for mut worker in workers {
            let first = worker.hear();
            worker.kill();
            graves.push(Grave::of(first, &worker));
        }
        // Until the agent knows that all of them have gone.
        eventually("all are gone", || status_of(&mut agent).connected == 0);
        end(agent);
        let book = host.book();
        let (counters, attacks) = (book.counters(), book.attack_numbers());
        let said = book.workers();
        let mut counted = Totals::default();
        for grave in &graves {
            let rounds = format!("rounds{{worker=\"{}\"}}", grave.worker);
            let applied = counters.get(&rounds).copied().unwrap_or_default();
            grave.holds("rounds", applied);
            let numbers = attacks.get(&grave.worker).cloned().unwrap_or_default();
            let all: Vec<u64> = (1..=count(numbers.len())).collect();
            assert_eq!(numbers, all, "attacks of {}", grave.worker);
            grave.holds("attacks", count(numbers.len()));
            // Between two counters of a round a batch may have been cut.
            let ledger = said.get(&grave.worker).map(|said| &said.ledger);
            let ledger = ledger.cloned().unwrap_or_default();
            let range = grave.acknowledged * PER_ROUND..=grave.begun * PER_ROUND;
            assert!(range.contains(&ledger.applied.counted), "{ledger:?}");
            grave.holds("observations", ledger.applied.observed);
            grave.holds("hits", ledger.applied.hits);
            assert_eq!(ledger.applied.attacks, count(numbers.len()));
            counted = counted.plus(ledger.applied);
        }
        // And nothing of anybody else.
        let rounds: u64 = rounds_of(&counters).sum();
        let totals = Totals {
            counted: counters["requests"] + rounds,
            observed: book.buckets("us").values().sum(),
            hits: book.hits("routes").values().sum(),
            attacks: count(book.attacks.len()),
        };
        assert!(rounds_of(&counters).count() <= graves.len());
        assert_eq!(counted, totals);
        assert_eq!(book.ledger().applied, totals);
        let acknowledged: u64 = graves.iter().map(|grave| grave.acknowledged).sum();
        eprintln!("{} killed, {acknowledged} of {rounds} rounds", graves.len());
    });
}

fn rounds_of(counters: &BTreeMap<String, u64>) -> impl Iterator<Item = u64> {
    let rounds = counters
        .iter()
        .filter(|(name, _)| name.starts_with("rounds{"));
    rounds.map(|(_, rounds)| *rounds)
}

/// What a killed worker had told: which round it was in, and how many were acknowledged.
struct Grave {
    worker: WorkerId,
    begun: u64,
    acknowledged: u64,
}

impl Grave {
    fn of(first: String, worker: &Role) -> Self {
        let mut grave = Self {
            worker: WorkerId(0),
            begun: 0,
            acknowledged: 0,
        };
        for line in std::iter::once(first).chain(worker.last_words()) {
            let words: Vec<&str> = line.split(' ').collect();
            // The last one may be torn.
            let [worker, what, number, "."] = words[..] else {
                continue;
            };
            grave.worker = WorkerId(u128::from_str_radix(worker, 16).unwrap());
            let number = number.parse().unwrap();
            match what {
                "begins" => grave.begun = number,
                "acknowledged" => grave.acknowledged = number,
                other => panic!("nobody tells `{other}`"),
            }
        }
        grave
    }

    /// All that was acknowledged is there, and nothing that was never recorded.
    fn holds(&self, what: &str, count: u64) {
        let range = self.acknowledged..=self.begun;
        assert!(range.contains(&count), "{count} {what}, not in {range:?}");
    }
}

/// Each worker's rounds and attacks against what the sink was given.
fn is_what_was_recorded(book: &Book, recorded: &BTreeMap<WorkerId, (u64, u64)>) {
    let rounds: u64 = recorded.values().map(|known| known.0).sum();
    let attacks: u64 = recorded.values().map(|known| known.1).sum();
    assert!(rounds > 0 && attacks > 0);
    let mut counters = BTreeMap::from([("requests".to_owned(), rounds * (PER_ROUND - 1))]);
    for (id, known) in recorded {
        counters.insert(format!("rounds{{worker=\"{id}\"}}"), known.0);
    }
    assert_eq!(book.counters(), counters);
    let times = |every: u64, each: u64| -> u64 {
        let all = recorded.values();
        all.map(|known| (known.0 + every - 1 - each) / every).sum()
    };
    for (bucket, count) in book.buckets("us") {
        assert_eq!(count, times(VALUES, u64::from(bucket)), "bucket {bucket}");
    }
    let hits = book.hits("routes");
    for key in 0..KEYS {
        assert_eq!(hits[&format!("/{key}")], times(KEYS, key), "route {key}");
    }
    let totals = Totals {
        counted: rounds * PER_ROUND,
        observed: rounds,
        hits: rounds,
        attacks,
    };
    assert_eq!(hits.values().sum::<u64>(), totals.hits);
    assert_eq!(book.buckets("us").values().sum::<u64>(), totals.observed);
    let ledger = book.ledger();
    assert_eq!(ledger.recorded, totals);
    assert_eq!(ledger.applied, totals);
    assert!(ledger.dropped.is_empty(), "{ledger:?}");
    // Every attack, in its worker's order.
    for (id, numbers) in book.attack_numbers() {
        let all: Vec<u64> = (1..=recorded[&id].1).collect();
        assert_eq!(numbers, all, "attacks of {id}");
    }
    assert_eq!(count(book.attacks.len()), attacks);
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("agent") => be_agent(),
        Some("recorder") => be_recorder(),
        Some("flusher") => be_flusher(),
        Some(other) => panic!("no role `{other}`"),
    }
}

fn worker() -> Worker {
    let limits = WorkerLimits {
        flush_interval: Duration::from_millis(5),
        ..WorkerLimits::default()
    };
    let builder = Worker::builder("shop").transport(transport());
    builder
        .limits(limits)
        .client_limits(eager())
        .start()
        .unwrap()
}

/// Records as fast as it can until it is told to stop, and says how often it has.
fn be_recorder() {
    let worker = worker();
    let stop = AtomicBool::new(false);
    let (mut rounds, mut attacks) = (0, 0);
    let recording = Recording::new(&worker);
    thread::scope(|scope| {
        scope.spawn(|| {
            told().next();
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            recording.round(rounds);
            rounds += 1;
            if attacks < worker.counters().attacks_taken + ATTACKS_OPEN_MAX {
                let number = worker.attack(Attack::new("sql_injection"));
                attacks += 1;
                assert_eq!(number, Some(attacks));
            }
        }
    });
    worker.flush(PATIENCE).unwrap();
    tell(format!("id {}", worker.id()));
    told().next();
    tell(format!("recorded rounds={rounds} attacks={attacks}"));
    let closed = worker.close(PATIENCE).is_ok();
    let ledger = worker.ledger();
    let exact = ledger.is_balanced() && ledger.applied == ledger.recorded;
    tell(format!("closed {}", closed && exact));
}

/// Records and waits for the agent to have it, round by round, until it is killed.
fn be_flusher() {
    let worker = worker();
    let id = worker.id();
    let recording = Recording::new(&worker);
    thread::spawn(|| {
        // Nobody is there any more.
        told().for_each(drop);
        std::process::exit(0);
    });
    for round in 0.. {
        tell(format!("{id} begins {} .", round + 1));
        recording.round(round);
        worker.attack(Attack::new("sql_injection")).unwrap();
        worker.flush(PATIENCE).unwrap();
        tell(format!("{id} acknowledged {} .", round + 1));
    }
}

struct Recording {
    requests: Counter,
    rounds: Counter,
    us: Histogram,
    routes: Inventory,
}

impl Recording {
    fn new(worker: &Worker) -> Self {
        let id = worker.id().to_string();
        Self {
            requests: worker.counter("requests"),
            rounds: worker.counter_with("rounds", &[("worker", &id)]),
            us: worker.histogram("us"),
            routes: worker.inventory("routes"),
        }
    }

    fn round(&self, round: u64) {
        // 5049 in all.
        for value in 0..100 {
            self.requests.add(value);
        }
        self.requests.add(99);
        self.rounds.one();
        self.us.record(round % VALUES);
        self.routes.seen(&format!("/{}", round % KEYS));
    }
}
