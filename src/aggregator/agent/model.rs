//! The state against a simple model: random workers, connections, crashes, resends and sinks.
//!
//! The model of a worker knows what it has recorded and what was acknowledged; that of a sink adds up
//! what it took. After every step the books balance and the bounds hold; at the end all sums are the
//! same to the last unit, and the journal gives the same state again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::account::Account;
use super::bounds::AgentBounds;
use super::record::{Fate, Record, Whose};
use super::state::State;
use super::workers::Order;
use crate::aggregator::*;
use crate::envelope;

const APPLICATIONS: [&str; 2] = ["shop", "cafe"];

#[derive(Debug, Clone)]
enum Step {
    /// The worker of this place connects, or says hello again.
    Hello(usize),
    /// It says hello, and does not hear the answer.
    HelloUnheard(usize),
    /// It sends its next batch: so much of the counter, histogram and key of this number.
    Batch(usize, u8, u64),
    /// It has not heard that the last batch was taken.
    BatchAgain(usize),
    Attack(usize),
    AttacksAgain(usize),
    Gone(usize),
    /// It ends; another takes its place.
    Left(usize),
    /// It is killed; another takes its place.
    Killed(usize),
    Freeze(usize),
    /// The sink takes the heartbeat, or will never.
    Closed(usize, bool),
    /// The sink takes so many reports.
    Reports(u8),
    /// The agent is killed, and its journal read again; so many records at its end were not synced.
    Crash(u8),
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0..6_usize;
    prop_oneof![
        4 => place.clone().prop_map(Step::Hello),
        2 => place.clone().prop_map(Step::HelloUnheard),
        8 => (place.clone(), 0..5_u8, 0..1000_u64).prop_map(|(w, c, v)| Step::Batch(w, c, v)),
        2 => place.clone().prop_map(Step::BatchAgain),
        6 => place.clone().prop_map(Step::Attack),
        2 => place.clone().prop_map(Step::AttacksAgain),
        2 => place.clone().prop_map(Step::Gone),
        1 => place.clone().prop_map(Step::Left),
        1 => place.prop_map(Step::Killed),
        2 => (0..2_usize).prop_map(Step::Freeze),
        2 => (0..2_usize, prop::bool::weighted(0.9)).prop_map(|(a, t)| Step::Closed(a, t)),
        2 => (0..8_u8).prop_map(Step::Reports),
        1 => (0..5_u8).prop_map(Step::Crash),
        1 => Just(Step::Compact),
    ]
}

fn bounds(returns_max: u32) -> AgentBounds {
    AgentBounds {
        returns_max,
        workers_max: 4,
        gone_periods: 1,
        counters_max: 3,
        histograms_max: 2,
        keys_max: 3,
        worker_gauges_max: 2,
        gauges_max: 5,
        reports_max: 6,
        ..AgentBounds::default()
    }
}

/// What a worker knows of itself.
#[derive(Debug, Clone, Default)]
struct Modeled {
    id: u128,
    recorded: Totals,
    batch: u64,
    last_batch: Option<Batch>,
    /// The agent may have it.
    was_sent: bool,
    /// The last one that was sent.
    sent: u64,
    /// What it has given up because it may have been counted.
    in_doubt: Totals,
    attacks: u64,
    acknowledged_batch: u64,
    acknowledged_attack: u64,
    acknowledged: Totals,
    /// The agent has it as connected.
    connected: bool,
}

impl Modeled {
    fn whose(&self, place: usize) -> Whose {
        Whose {
            application: APPLICATIONS[place % 2].to_owned(),
            worker: WorkerId(self.id),
        }
    }

    /// The agent does not know whether the last batch was counted: it does not go again.
    fn doubt(&mut self) {
        let Some(batch) = self.last_batch.as_mut().filter(|_| self.was_sent) else {
            return;
        };
        self.in_doubt = self.in_doubt.plus(stats_of(batch));
        batch.counters.clear();
        batch.histograms.clear();
        batch.inventories.clear();
        let dropped = self.dropped();
        if let Some(batch) = &mut self.last_batch {
            batch.dropped = dropped;
        }
    }

    fn dropped(&self) -> Vec<(DropReason, Totals)> {
        let any = !self.in_doubt.is_zero();
        let dropped = any.then_some((DropReason::InDoubt, self.in_doubt));
        dropped.into_iter().collect()
    }

    /// What it has not heard of.
    fn pending(&self) -> Totals {
        self.last_batch.as_ref().map(stats_of).unwrap_or_default()
    }
}

fn stats_of(batch: &Batch) -> Totals {
    let buckets = batch.histograms.iter().flat_map(|(_, buckets)| &buckets.0);
    Totals {
        counted: batch.counters.iter().map(|(_, value)| value).sum(),
        observed: buckets.map(|(_, count)| count).sum(),
        hits: batch.inventories.iter().map(|seen| seen.hits).sum(),
        attacks: 0,
    }
}

fn stats_in(heartbeat: &Heartbeat) -> Totals {
    let buckets = heartbeat.histograms.iter();
    let buckets = buckets.flat_map(|spread| &spread.buckets.0);
    Totals {
        counted: heartbeat.counters.iter().map(|count| count.value).sum(),
        observed: buckets.map(|(_, count)| count).sum(),
        hits: heartbeat.inventories.iter().map(|seen| seen.hits).sum(),
        attacks: 0,
    }
}

fn without_attacks(totals: Totals) -> Totals {
    Totals {
        attacks: 0,
        ..totals
    }
}

/// In each unit.
fn is_within(some: Totals, all: Totals) -> bool {
    some.minus(all).is_zero()
}

struct World {
    state: State,
    /// What a crash can't take: a snapshot, and the records since.
    snapshot: Option<State>,
    records: Vec<Record>,
    /// Records that are certainly kept.
    synced: usize,
    workers: Vec<Modeled>,
    next_id: u128,
    /// What all workers that ever were have recorded, without those that are there.
    past: Totals,
    /// Sums of what the sink has taken, by heartbeat.
    heartbeats: BTreeMap<String, Heartbeat>,
    reports: BTreeMap<String, u64>,
    frozen: u64,
    /// There is no journal: batches are in no heartbeat because a crash took them.
    lossy: bool,
    returns_max: u32,
    /// All that was ever recorded, and what any agent ever brought to the sink.
    ever_recorded: Totals,
    ever_taken: Totals,
    /// Of what was recorded, what nobody can be sure of: it was in doubt, or its worker was killed.
    unsure: Totals,
}

impl World {
    fn new(lossy: bool, returns_max: u32) -> Self {
        let mut world = Self {
            state: State::default(),
            snapshot: None,
            records: Vec::new(),
            synced: 0,
            workers: Vec::new(),
            next_id: 0,
            past: Totals::default(),
            heartbeats: BTreeMap::new(),
            reports: BTreeMap::new(),
            frozen: 0,
            lossy,
            returns_max,
            ever_recorded: Totals::default(),
            ever_taken: Totals::default(),
            unsure: Totals::default(),
        };
        world.start();
        for _ in 0..6 {
            let worker = world.fresh();
            world.workers.push(worker);
        }
        world
    }

    fn fresh(&mut self) -> Modeled {
        self.next_id += 1;
        Modeled {
            id: self.next_id,
            ..Modeled::default()
        }
    }

    fn start(&mut self) {
        let bounds = bounds(self.returns_max);
        self.record(Record::Started { bounds });
        for application in APPLICATIONS {
            self.record(Record::Opened {
                application: application.to_owned(),
                at: UnixMicros(1),
            });
        }
        // The last dismissal may not have been synced.
        self.keep_within_bounds();
        self.sync();
    }

    fn record(&mut self, record: Record) {
        self.records.push(record.clone());
        self.state.apply(record);
    }

    /// Nothing is acknowledged, nor given to a sink, before this.
    fn sync(&mut self) {
        self.synced = self.records.len();
    }

    fn replayed(&self, records: usize) -> State {
        let mut state = self.snapshot.clone().unwrap_or_default();
        for record in &self.records[..records] {
            state.apply(record.clone());
        }
        state
    }

    fn account(&self, place: usize) -> &Account {
        self.state.account(APPLICATIONS[place % 2]).unwrap()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Hello(place) => self.hello(place, true),
            Step::HelloUnheard(place) => self.hello(place, false),
            Step::Batch(place, counter, value) => {
                if self.workers[place].last_batch.is_some() {
                    // One is in flight.
                    return;
                }
                self.make_batch(place, counter, value);
                self.send_batch(place, value % 3 != 0);
            }
            Step::BatchAgain(place) => self.send_batch(place, true),
            Step::Attack(place) => {
                self.workers[place].attacks += 1;
                self.workers[place].recorded.attacks += 1;
                self.send_attacks(place, self.workers[place].attacks);
            }
            Step::AttacksAgain(place) => {
                self.send_attacks(place, self.workers[place].acknowledged_attack + 1);
            }
            Step::Gone(place) => self.gone(place),
            Step::Left(place) => {
                let worker = &self.workers[place];
                let all_told =
                    worker.last_batch.is_none() && worker.acknowledged_attack == worker.attacks;
                if worker.connected && all_told {
                    let whose = worker.whose(place);
                    self.record(Record::Left { whose });
                    self.replace(place);
                }
            }
            Step::Killed(place) => {
                self.gone(place);
                self.replace(place);
            }
            Step::Freeze(place) => self.freeze(place),
            Step::Closed(place, taken) => self.close(place, taken),
            Step::Reports(count) => self.deliver(count.into()),
            Step::Crash(unsynced) => self.crash(unsynced.into()),
            Step::Compact => {
                let bytes = envelope::encode_body(&self.state, u32::MAX).unwrap();
                let snapshot: State = envelope::decode_body(&bytes).unwrap();
                assert_eq!(snapshot, self.state);
                self.snapshot = Some(snapshot);
                self.records.clear();
                self.synced = 0;
            }
        }
    }

    fn hello(&mut self, place: usize, heard: bool) {
        let worker = &self.workers[place];
        let whose = worker.whose(place);
        if !self
            .account(place)
            .has_room_for(whose.worker, self.state.bounds())
        {
            return;
        }
        let hello = Hello {
            worker: whose.worker,
            application: whose.application.clone(),
            token: None,
            process: 1,
            batch_acknowledged: worker.acknowledged_batch,
            batch_sent: worker.sent,
            attack_acknowledged: worker.acknowledged_attack,
            acknowledged: worker.acknowledged,
            config_hash: None,
        };
        let known = self.account(place).knows(&hello);
        self.record(Record::Hello {
            hello: Box::new(hello),
        });
        self.sync();
        if !heard {
            // It does not go on before it is welcome.
            self.gone_after_hello(place);
            return;
        }
        self.workers[place].connected = true;
        self.hear_welcome(place);
        if !known {
            self.workers[place].doubt();
        }
    }

    fn gone_after_hello(&mut self, place: usize) {
        self.workers[place].connected = true;
        self.gone(place);
    }

    /// What was taken and not heard of is acknowledged by the welcome.
    fn hear_welcome(&mut self, place: usize) {
        let whose = self.workers[place].whose(place);
        let known = self.state.worker(&whose).unwrap();
        let (batch, attack) = (known.batch_applied, known.attack_taken);
        self.batch_acknowledged(place, batch);
        self.attack_acknowledged(place, attack);
    }

    fn batch_acknowledged(&mut self, place: usize, seq: u64) {
        let worker = &mut self.workers[place];
        if let Some(batch) = worker.last_batch.take_if(|batch| batch.seq <= seq) {
            worker.acknowledged_batch = batch.seq;
            worker.acknowledged = Totals {
                attacks: worker.acknowledged.attacks,
                ..batch.recorded.minus(worker.in_doubt)
            };
        }
    }

    fn attack_acknowledged(&mut self, place: usize, number: u64) {
        let worker = &mut self.workers[place];
        worker.acknowledged_attack = worker.acknowledged_attack.max(number);
        worker.acknowledged.attacks = worker.acknowledged_attack;
    }

    fn make_batch(&mut self, place: usize, counter: u8, value: u64) {
        let worker = &mut self.workers[place];
        worker.batch += 1;
        let name = format!("c{counter}");
        let series = Series::new(&name, &[]);
        let bucket = (u16::from(counter), value / 3);
        let seen = Sighting {
            inventory: "routes".to_owned(),
            key: name,
            hits: value / 7,
            first: UnixMicros(1),
            last: UnixMicros(2),
        };
        let mut batch = Batch {
            seq: worker.batch,
            counters: vec![(series.clone(), value)],
            gauges: vec![(series.clone(), 1.0)],
            histograms: vec![(series, Buckets(vec![bucket]))],
            inventories: vec![seen],
            dropped: worker.dropped(),
            ..Batch::default()
        };
        let stats = stats_of(&batch);
        worker.recorded = worker.recorded.plus(stats);
        batch.recorded = worker.recorded;
        worker.last_batch = Some(batch);
        worker.was_sent = false;
        self.ever_recorded = self.ever_recorded.plus(stats);
    }

    fn send_batch(&mut self, place: usize, heard: bool) {
        let worker = &self.workers[place];
        let whose = worker.whose(place);
        let Some(batch) = worker.last_batch.clone().filter(|_| worker.connected) else {
            return;
        };
        self.workers[place].was_sent = true;
        self.workers[place].sent = batch.seq;
        let seq = batch.seq;
        match self.state.worker(&whose).unwrap().batch_order(seq) {
            Order::Next => self.record(Record::Batch {
                whose,
                batch: Box::new(batch),
            }),
            Order::Again => {}
            Order::Gap { expected } => panic!("{seq} came, expected {expected}"),
        }
        if heard {
            self.sync();
            self.batch_acknowledged(place, seq);
        }
    }

    fn send_attacks(&mut self, place: usize, from: u64) {
        let worker = self.workers[place].clone();
        if !worker.connected {
            return;
        }
        let whose = worker.whose(place);
        for number in from..=worker.attacks {
            if self.state.worker(&whose).unwrap().attack_order(number) != Order::Next {
                continue;
            }
            let report = AttackReport {
                number,
                at: UnixMicros(number),
                body: AttackBody::Attack(Box::new(Attack::new("test"))),
            };
            self.record(Record::Attack {
                whose: whose.clone(),
                report: Box::new(report),
            });
            self.keep_within_bounds();
        }
        // Half of the time it does not hear of it.
        if worker.attacks % 2 == 0 {
            self.sync();
            let taken = self.state.worker(&whose).unwrap().attack_taken;
            self.attack_acknowledged(place, taken);
        }
    }

    fn keep_within_bounds(&mut self) {
        for application in APPLICATIONS {
            while let Some(ticket) = self.state.over_bound(application, &[]) {
                let fate = Fate::Lost;
                self.record(Record::Dismissed { ticket, fate });
            }
        }
    }

    fn gone(&mut self, place: usize) {
        if std::mem::take(&mut self.workers[place].connected) {
            let whose = self.workers[place].whose(place);
            self.record(Record::Gone { whose });
        }
    }

    fn replace(&mut self, place: usize) {
        let fresh = self.fresh();
        let old = std::mem::replace(&mut self.workers[place], fresh);
        self.past = self.past.plus(old.recorded);
        let unsure = old.in_doubt.plus(old.pending());
        self.unsure = self.unsure.plus(unsure);
    }

    fn freeze(&mut self, place: usize) {
        if self.account(place).frozen().is_some() {
            return;
        }
        self.frozen += 1;
        // The wall clock jumps about.
        let at = UnixMicros(self.frozen.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 30);
        self.record(Record::Freeze {
            application: APPLICATIONS[place % 2].to_owned(),
            id: format!("h{}", self.frozen),
            at,
        });
    }

    fn close(&mut self, place: usize, taken: bool) {
        self.sync();
        let Some(report) = self.account(place).frozen().cloned() else {
            return;
        };
        let Report::Heartbeat(heartbeat) = &*report else {
            panic!("it is a heartbeat");
        };
        assert!(heartbeat.from <= heartbeat.to);
        assert!(heartbeat.ledger.is_balanced());
        let id = heartbeat.id.clone();
        // What it had taken before a crash it takes again.
        let taken = taken || self.heartbeats.contains_key(&id);
        let fate = if taken { Fate::Taken } else { Fate::Lost };
        if taken {
            let before = self.heartbeats.insert(id.clone(), heartbeat.clone());
            if before.is_none() {
                self.ever_taken = self.ever_taken.plus(stats_in(heartbeat));
            }
            assert!(
                before.is_none_or(|before| before == *heartbeat),
                "{id} has changed"
            );
        }
        self.record(Record::Closed {
            application: APPLICATIONS[place % 2].to_owned(),
            id,
            fate,
        });
        if !taken {
            self.sync();
        }
    }

    fn deliver(&mut self, count: usize) {
        self.sync();
        let reports = self.state.reports_since(0);
        for ticketed in reports.iter().take(count) {
            let Report::Attack(notice) = &*ticketed.report else {
                panic!("it is an attack");
            };
            *self.reports.entry(notice.id.clone()).or_default() += 1;
            let through = ticketed.ticket;
            self.record(Record::Delivered { through });
        }
    }

    fn crash(&mut self, unsynced: usize) {
        if self.lossy {
            // There was no journal.
            self.state = State::default();
            self.snapshot = None;
            self.records.clear();
            self.heartbeats.clear();
            self.past = Totals::default();
            for worker in &mut self.workers {
                worker.connected = false;
            }
            self.start();
            return;
        }
        let kept = self.records.len().saturating_sub(unsynced).max(self.synced);
        self.state = self.replayed(kept);
        self.records.truncate(kept);
        for worker in &mut self.workers {
            worker.connected = false;
        }
        self.start();
    }

    /// What holds at every moment.
    fn check(&self) {
        let bounds = self.state.bounds();
        for application in APPLICATIONS {
            let account = self.state.account(application).unwrap();
            let ledger = account.ledger();
            assert!(ledger.is_balanced(), "{ledger:?}");
            for (_, worker) in account.workers() {
                let ledger = worker.ledger();
                assert!(ledger.is_balanced(), "{ledger:?}");
                assert!(worker.gauges().len() <= 2);
            }
            let gauges = account.workers().map(|(_, worker)| worker.gauges().len());
            assert!(gauges.sum::<usize>() <= 5);
            assert!(account.workers().count() <= 4);
            assert!(account.waiting().count() <= 6);
            assert!(account.open().series_count() <= 3 + 2 + 3 + 64);
            assert_eq!(account.over_bound(bounds, &[]), None);
        }
    }

    /// All workers say all, the sink takes all; then nothing is missing.
    fn settle(&mut self) {
        for place in 0..self.workers.len() {
            self.gone(place);
            self.hello(place, true);
            if self.workers[place].connected {
                self.send_batch(place, true);
                self.send_attacks(place, self.workers[place].acknowledged_attack + 1);
                self.make_batch(place, 0, 1);
                self.send_batch(place, true);
            }
            self.gone(place);
        }
        for place in 0..2 {
            self.close(place, true);
            self.freeze(place);
            self.close(place, true);
        }
        self.deliver(usize::MAX);
        assert_eq!(self.replayed(self.records.len()), self.state);
    }

    fn sum_taken(&self) -> Totals {
        let all = self.heartbeats.values().map(stats_in);
        all.fold(Totals::default(), Totals::plus)
    }

    fn ledger(&self) -> Ledger {
        let each = APPLICATIONS.map(|name| self.state.account(name).unwrap().ledger());
        each.iter().fold(Ledger::default(), Ledger::plus)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn with_a_journal_all_sums_are_those_of_the_workers(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(false, 100);
        for step in steps {
            world.take(step);
            world.check();
        }
        world.settle();
        world.check();
        let ledger = world.ledger();
        let dropped = |reason| ledger.dropped.get(&reason).copied().unwrap_or_default();
        prop_assert_eq!(dropped(DropReason::AgentLost), Totals::default());
        prop_assert_eq!(dropped(DropReason::Refused), Totals::default());
        // What the sink has, and what the ledger says is applied, is the same to the last unit.
        prop_assert_eq!(world.sum_taken(), without_attacks(ledger.applied));
        let mut recorded = world.past;
        for worker in &world.workers {
            recorded = recorded.plus(worker.recorded);
        }
        // Workers that were killed had something on its way that nobody heard of.
        prop_assert!(is_within(ledger.recorded, recorded));
        // Of those that are there nothing is missing.
        for (place, worker) in world.workers.iter().enumerate() {
            if let Some(known) = world.state.worker(&worker.whose(place)) {
                prop_assert_eq!(known.ledger().recorded, worker.recorded);
                prop_assert_eq!(known.ledger().pending, Totals::default());
            }
        }
        // Each attack that is counted as applied has reached the sink, under one id. Some may have
        // reached it before a crash took the record of it, and be counted as not having done so.
        let distinct = u64::try_from(world.reports.len()).unwrap();
        let withheld = dropped(DropReason::SinkBound).attacks;
        prop_assert!(ledger.applied.attacks <= distinct);
        prop_assert!(distinct <= ledger.applied.attacks + withheld);
    }

    #[test]
    fn without_one_what_a_crash_took_is_counted(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(true, 100);
        for step in steps {
            world.take(step);
            world.check();
        }
        world.settle();
        world.check();
        let ledger = world.ledger();
        // Whatever agents forget, nothing is reported twice.
        prop_assert!(is_within(world.ever_taken, world.ever_recorded));
        prop_assert_eq!(world.sum_taken(), without_attacks(ledger.applied));
        for (place, worker) in world.workers.iter().enumerate() {
            if let Some(known) = world.state.worker(&worker.whose(place)) {
                prop_assert_eq!(known.ledger().recorded, worker.recorded);
                // What a crash took is not on its way: it is counted as lost.
                prop_assert_eq!(known.ledger().pending, Totals::default());
            }
        }
    }
    #[test]
    fn who_was_forgotten_for_good_is_never_counted_twice(
        steps in prop::collection::vec(step(), 1..120), returns_max in 0..2_u32,
    ) {
        let mut world = World::new(false, returns_max);
        for step in steps {
            world.take(step);
            world.check();
        }
        world.settle();
        world.check();
        let mut accounted = world.ever_taken.plus(world.unsure);
        for worker in &world.workers {
            accounted = accounted.plus(worker.in_doubt).plus(worker.pending());
        }
        let ledger = world.ledger();
        let unsent = ledger.dropped.get(&DropReason::SinkBound).copied().unwrap_or_default();
        prop_assert!(is_within(world.ever_taken, world.ever_recorded));
        prop_assert!(is_within(world.ever_recorded, accounted.plus(unsent)));
    }
}
