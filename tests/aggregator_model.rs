//! Whatever happens to connections, agents and sinks, the sums are those of the workers.
//!
//! An agent also forgets workers: others have taken their places while they were away. Few of those are known
//! again when they come back; to the others it says that it does not know them, and what it may have
//! counted of them is in doubt, and not counted twice.
//!
//! Real agents with journals, over a real server. An agent is killed by taking a copy of its journal
//! at that moment, as a crash would leave it, and starting the next one from the copy; what the old one
//! does from then on, nobody sees. Workers are bare clients, driven step by step, so that it is known
//! what was acknowledged to them. The sink fails at random; what it took it tells by the ids.
#![cfg(all(feature = "aggregator", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agents::*;
use proptest::prelude::*;
use tempfile::TempDir;
use wayside::Transport;
use wayside::aggregator::sink::{Sink, SinkError};
use wayside::aggregator::*;
use wayside::backend::Tcp;

const WORKERS: usize = 4;
/// More than will ever come besides our own.
const STRANGERS_MAX: u32 = 1000;

#[derive(Debug, Clone)]
enum Step {
    Batch {
        worker: usize,
        value: u64,
        heard: bool,
    },
    Attacks {
        worker: usize,
        count: u64,
        heard: bool,
    },
    Reconnect {
        worker: usize,
        /// Hellos whose answer it does not hear.
        unheard: u32,
    },
    /// It is away for a while.
    Away {
        worker: usize,
    },
    /// So many others come, and are cut off.
    Crowd(u128),
    Beat,
    /// The sink fails so often.
    Failures(u32),
    Crash,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0..WORKERS;
    let heard = prop::bool::weighted(0.8);
    prop_oneof![
        8 => (worker.clone(), 0..1000_u64, heard)
            .prop_map(|(worker, value, heard)| Step::Batch { worker, value, heard }),
        5 => (worker.clone(), 1..20_u64, heard)
            .prop_map(|(worker, count, heard)| Step::Attacks { worker, count, heard }),
        2 => (worker, 0..2_u32)
            .prop_map(|(worker, unheard)| Step::Reconnect { worker, unheard }),
        2 => (0..WORKERS).prop_map(|worker| Step::Away { worker }),
        1 => (1..4_u128).prop_map(Step::Crowd),
        3 => Just(Step::Beat),
        2 => (1..5_u32).prop_map(Step::Failures),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// What the sink has taken, of all agents together.
#[derive(Default)]
struct Taken {
    /// The agent that it listens to: those that were killed don't count.
    agent: u64,
    /// The agents before this one may come to an end as they like.
    buried: u64,
    failures: u32,
    heartbeats: BTreeMap<String, Heartbeat>,
    attacks: BTreeMap<String, AttackNotice>,
    /// The last attack of each worker, by this agent.
    order: BTreeMap<WorkerId, u64>,
}

struct Fickle {
    agent: u64,
    taken: Arc<Mutex<Taken>>,
}

impl Sink for Fickle {
    fn name(&self) -> &str {
        "fickle"
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        let mut taken = self.taken.lock().unwrap();
        if self.agent < taken.buried {
            return Ok(());
        }
        if self.agent < taken.agent {
            // A copy is made of its journal: it must not note there what nobody has.
            return Err(SinkError::after(Duration::from_millis(1), "it is dead"));
        }
        if taken.failures > 0 {
            taken.failures -= 1;
            return Err(SinkError::after(Duration::from_millis(1), "it is fickle"));
        }
        match report {
            Report::Heartbeat(heartbeat) => {
                let id = heartbeat.id.clone();
                let before = taken.heartbeats.insert(id, heartbeat.clone());
                assert!(before.is_none_or(|before| before == *heartbeat));
            }
            Report::Attack(notice) => {
                let last = taken.order.insert(notice.worker, notice.number);
                assert!(
                    last.is_none_or(|last| notice.number <= last + 1),
                    "one is missing"
                );
                taken.attacks.insert(notice.id.clone(), notice.clone());
            }
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

struct Modeled {
    worker: Bare,
    seq: u64,
    attacks: u64,
    /// The batch that was not heard of.
    in_flight: Option<u64>,
    /// What was given up because it may have been counted.
    in_doubt: Totals,
    is_there: bool,
}

struct World {
    folder: TempDir,
    agent: Option<Agent>,
    place: Transport,
    journal: PathBuf,
    agents: u64,
    taken: Arc<Mutex<Taken>>,
    workers: Vec<Modeled>,
    returns_max: u32,
    /// Of the next worker that is none of ours.
    stranger: u128,
}

impl World {
    fn new(returns_max: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let taken = Arc::default();
        let journal = folder.path().join("journal-0");
        let (agent, place) = start(folder.path(), &journal, 0, returns_max, &taken);
        let workers = (0..WORKERS).map(|number| {
            let id = u128::try_from(number).unwrap() + 1;
            let mut worker = worker_at(&place, id);
            assert_eq!(worker.hello(), (0, 0));
            Modeled {
                worker,
                seq: 0,
                attacks: 0,
                in_flight: None,
                in_doubt: Totals::default(),
                is_there: true,
            }
        });
        Self {
            workers: workers.collect(),
            folder,
            agent: Some(agent),
            place,
            journal,
            agents: 0,
            taken,
            returns_max,
            stranger: 1000,
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Batch {
                worker,
                value,
                heard,
            } => self.batch(worker, value, heard),
            Step::Attacks {
                worker,
                count,
                heard,
            } => self.attacks(worker, count, heard),
            Step::Reconnect { worker, unheard } => self.reconnect_after(worker, unheard),
            Step::Away { worker } => self.away(worker),
            Step::Crowd(count) => self.crowd(count),
            Step::Beat => self.agent.as_ref().unwrap().beat(),
            Step::Failures(count) => self.taken.lock().unwrap().failures = count,
            Step::Crash => self.crash(),
            Step::Restart => self.restart(),
        }
    }

    fn batch(&mut self, at: usize, value: u64, heard: bool) {
        if self.workers[at].in_flight.is_some() || !self.workers[at].is_there {
            self.reconnect(at);
        }
        let modeled = &mut self.workers[at];
        modeled.seq += 1;
        let reply = modeled.send_batch(value);
        assert_eq!(reply, AgentReply::Taken { seq: modeled.seq });
        if heard {
            modeled.heard();
        } else {
            modeled.in_flight = Some(value);
        }
    }

    fn attacks(&mut self, at: usize, count: u64, heard: bool) {
        if !self.workers[at].is_there {
            self.reconnect(at);
        }
        let modeled = &mut self.workers[at];
        for _ in 0..count {
            modeled.attacks += 1;
            modeled.worker.recorded.attacks += 1;
            modeled.worker.attack(modeled.attacks);
        }
        if heard {
            modeled.worker.wait_taken(modeled.attacks);
            modeled.attacks_heard(modeled.attacks);
        }
    }

    fn reconnect(&mut self, at: usize) {
        self.reconnect_after(at, 0);
    }

    /// Another connection. What was not heard of is sent again.
    fn reconnect_after(&mut self, at: usize, unheard: u32) {
        let modeled = &mut self.workers[at];
        let fresh = worker_at(&self.place, modeled.worker.id.0);
        modeled.worker.client = fresh.client;
        modeled.is_there = true;
        for _ in 0..unheard {
            // The answer never comes; the worker says it again.
            modeled.worker.hello();
        }
        let (batch, attack) = modeled.worker.hello();
        if !modeled.worker.known {
            modeled.doubt();
        }
        modeled.attacks_heard(attack);
        for number in attack + 1..=modeled.attacks {
            modeled.worker.attack(number);
        }
        if let Some(value) = modeled.in_flight {
            assert!(batch + 1 >= modeled.seq);
            // It is the same batch, whether it was taken or not.
            modeled.worker.recorded = modeled.worker.recorded.minus(stats(value));
            let reply = modeled.send_batch(value);
            assert_eq!(reply, AgentReply::Taken { seq: modeled.seq });
            modeled.heard();
        }
        if modeled.attacks > attack {
            modeled.worker.wait_taken(modeled.attacks);
            modeled.attacks_heard(modeled.attacks);
        }
    }

    fn away(&mut self, at: usize) {
        if std::mem::take(&mut self.workers[at].is_there) {
            let client = &self.workers[at].worker.client;
            client.close(PATIENCE).unwrap();
            let there = self.workers.iter().filter(|modeled| modeled.is_there);
            let there = there.count();
            let agent = self.agent.as_ref().unwrap();
            eventually("it is away", || agent.status().connected == there);
        }
    }

    /// Each takes the place of one that is away.
    fn crowd(&mut self, count: u128) {
        let there = self.workers.iter().filter(|modeled| modeled.is_there);
        let there = there.count();
        if there == WORKERS {
            return;
        }
        for _ in 0..count {
            self.stranger += 1;
            let mut stranger = worker_at(&self.place, self.stranger);
            stranger.hello();
            stranger.client.close(PATIENCE).unwrap();
            let agent = self.agent.as_ref().unwrap();
            eventually("it is away", || agent.status().connected == there);
        }
    }

    fn crash(&mut self) {
        // From here on nobody sees what it does.
        self.taken.lock().unwrap().agent += 1;
        let old = self.agent.take().unwrap();
        let image = self
            .folder
            .path()
            .join(format!("journal-{}", self.agents + 1));
        copy(&self.journal, &image);
        self.journal = image;
        let mut taken = self.taken.lock().unwrap();
        taken.buried = taken.agent;
        drop(taken);
        drop(old);
        self.next();
    }

    fn restart(&mut self) {
        self.taken.lock().unwrap().failures = 0;
        let farewell = self.agent.take().unwrap().shutdown(PATIENCE);
        assert!(farewell.journaled);
        self.taken.lock().unwrap().agent += 1;
        self.next();
    }

    fn next(&mut self) {
        self.agents += 1;
        let mut taken = self.taken.lock().unwrap();
        assert_eq!(taken.agent, self.agents);
        taken.order.clear();
        drop(taken);
        let (folder, returns_max) = (self.folder.path(), self.returns_max);
        let (agent, place) = start(folder, &self.journal, self.agents, returns_max, &self.taken);
        self.agent = Some(agent);
        self.place = place;
        for at in 0..WORKERS {
            self.reconnect(at);
        }
    }

    fn check(mut self) {
        for at in 0..WORKERS {
            self.reconnect(at);
            // Says what it has recorded to the last.
            self.batch(at, 1, true);
        }
        self.taken.lock().unwrap().failures = 0;
        let agent = self.agent.take().unwrap();
        let status = agent.status();
        let farewell = agent.shutdown(PATIENCE);
        assert!(farewell.is_complete(), "{farewell:?}\n{status}");
        let taken = self.taken.lock().unwrap();
        let mut recorded = Totals::default();
        for modeled in &self.workers {
            recorded = recorded.plus(modeled.worker.recorded);
        }
        let heartbeats = taken.heartbeats.values();
        let attacks = u64::try_from(taken.attacks.len()).unwrap();
        let reported = heartbeats.clone().map(stats_in);
        let reported = Totals {
            attacks,
            ..reported.fold(Totals::default(), Totals::plus)
        };
        let in_doubt = self.workers.iter().map(|modeled| modeled.in_doubt);
        let in_doubt = in_doubt.fold(Totals::default(), Totals::plus);
        // Never twice; and what is missing is in doubt.
        assert!(reported.minus(recorded).is_zero(), "{reported:?}");
        assert!(recorded.minus(reported.plus(in_doubt)).is_zero());
        assert_eq!(attacks, recorded.attacks);
        for heartbeat in heartbeats.clone() {
            assert!(heartbeat.ledger.is_balanced(), "{heartbeat:?}");
            assert!(
                heartbeat
                    .workers
                    .iter()
                    .all(|worker| worker.ledger.is_balanced())
            );
        }
        if self.returns_max < STRANGERS_MAX {
            return;
        }
        // Nobody was forgotten for good: all of it is exact.
        assert_eq!(reported, recorded);
        let last = heartbeats.max_by_key(|heartbeat| heartbeat.ledger.applied.counted);
        let ledger = &last.unwrap().ledger;
        assert_eq!((ledger.recorded, ledger.applied), (recorded, recorded));
        assert!(ledger.dropped.is_empty(), "{ledger:?}");
    }
}

/// What a batch of this value has of each kind.
fn stats(value: u64) -> Totals {
    Totals {
        counted: value,
        observed: value / 3,
        hits: value / 7,
        attacks: 0,
    }
}

fn stats_in(heartbeat: &Heartbeat) -> Totals {
    Totals {
        counted: heartbeat.counters.iter().map(|count| count.value).sum(),
        observed: heartbeat.histograms.iter().map(|spread| spread.count).sum(),
        hits: heartbeat.inventories.iter().map(|seen| seen.hits).sum(),
        attacks: 0,
    }
}

impl Modeled {
    fn send_batch(&mut self, value: u64) -> AgentReply {
        let stats = stats(value);
        self.worker.batch_sent = self.seq;
        self.worker.recorded = self.worker.recorded.plus(stats);
        let is_known = self.in_flight != Some(0);
        let series = Series::new("requests", &[]);
        let seen = Sighting {
            inventory: "routes".to_owned(),
            key: format!("/{}", value % 3),
            hits: stats.hits,
            first: UnixMicros(1),
            last: UnixMicros(2),
        };
        let buckets = Buckets(vec![(7, stats.observed)]);
        let batch = Batch {
            seq: self.seq,
            counters: Vec::from_iter(is_known.then(|| (series.clone(), stats.counted))),
            histograms: Vec::from_iter((stats.observed > 0).then_some((series, buckets))),
            inventories: Vec::from_iter((stats.hits > 0).then_some(seen)),
            recorded: self.worker.recorded,
            dropped: vec![(DropReason::InDoubt, self.in_doubt)],
            ..Batch::default()
        };
        self.worker.call(WorkerRequest::Batch(batch))
    }

    /// The agent does not know whether it has counted what was not heard of: it goes without that.
    fn doubt(&mut self) {
        if let Some(value) = &mut self.in_flight {
            self.in_doubt = self.in_doubt.plus(stats(std::mem::take(value)));
        }
    }

    fn heard(&mut self) {
        self.in_flight = None;
        self.worker.batch_acknowledged = self.seq;
        self.worker.acknowledged = Totals {
            attacks: self.worker.acknowledged.attacks,
            ..self.worker.recorded.minus(self.in_doubt)
        };
    }

    fn attacks_heard(&mut self, number: u64) {
        self.worker.attack_acknowledged = self.worker.attack_acknowledged.max(number);
        self.worker.acknowledged.attacks = self.worker.attack_acknowledged;
    }
}

fn start(
    folder: &Path,
    journal: &Path,
    number: u64,
    returns_max: u32,
    taken: &Arc<Mutex<Taken>>,
) -> (Agent, Transport) {
    let tcp = Tcp::new(folder.join("key"));
    let place = Transport::new(tcp, "127.0.0.1:0");
    let agent = Agent::builder("shop")
        .listen(place.clone())
        .journal(journal)
        .bounds(AgentBounds {
            workers_max: u32::try_from(WORKERS).unwrap(),
            returns_max,
            ..AgentBounds::default()
        })
        .heartbeat(Duration::from_secs(3600))
        .first_heartbeat(Duration::from_secs(3600))
        .sink(Fickle {
            agent: number,
            taken: Arc::clone(taken),
        })
        .start()
        .unwrap();
    let place = place.at(agent.endpoints()[0].address());
    (agent, place)
}

/// As a crash leaves it at this moment: file by file, the newest last.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    restrict(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.to_str().unwrap().starts_with("journal-") {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[cfg(unix)]
fn restrict(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(not(unix))]
fn restrict(_: &Path) {}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 24,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_sums_are_those_of_the_workers(
        steps in prop::collection::vec(step(), 1..60),
        returns_max in prop_oneof![Just(0), Just(1), Just(STRANGERS_MAX)],
    ) {
        let mut world = World::new(returns_max);
        for step in &steps {
            world.take(step);
        }
        world.check();
    }
}
