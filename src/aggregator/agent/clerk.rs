//! The one thread that decides and remembers.
//!
//! ```text
//!   take all that waits ─▶ record each: journal, state ─▶ freeze what is due ─▶ one sync
//!        ▲                                                                          │
//!        └── post reports and heartbeats for the sinks ◀── acknowledge to workers ◀─┘
//! ```
//!
//! Nothing is acknowledged, and nothing given to a sink, before it is kept as well as it can be.
//! However many workers wait, there is one sync for all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::application::Application;
use super::beats::Beats;
use super::board::{Board, Withheld};
use super::clock::Clock;
use super::config;
use super::desk::{Refusals, answer, bounded};
use super::detector::{Detector, Sight};
use super::ended::{Ended, Vitals};
use super::farewell::Farewell;
use super::memory::{Keeping, Memory};
use super::meter::Meter;
use super::record::{Fate, Record, Whose};
use super::status::{ApplicationStatus, MemoryStatus, QueueStatus, SinkStatus, Status};
use super::tray::{Order as FromHere, Task, Tray};
use super::workers::Order;
use crate::aggregator::{
    AgentPush, AgentReply, AttackReport, Batch, Finding, Hello, Moment, Reports, UnixMicros,
};
use crate::ambient;
use crate::server::{Peer, PeerKey, PushError, Responder};
use crate::sync::lock;

/// How often it looks after what could not be done at once.
const TICK: Duration = Duration::from_millis(500);

/// The workers that a status names.
const STATUS_WORKERS_MAX: usize = 1000;

pub(crate) struct Clerk {
    pub(crate) memory: Memory,
    pub(crate) tray: Arc<Tray>,
    pub(crate) board: Arc<Board>,
    pub(crate) clock: Clock,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) beats: Beats,
    pub(crate) detectors: HashMap<String, Vec<Box<dyn Detector>>>,
    /// The key of a configuration that says the interval.
    pub(crate) interval_key: Option<String>,
    /// The longest configuration that fits into a message.
    pub(crate) config_len_max: usize,
    pub(crate) since: UnixMicros,
    /// What the journal could not read when it was opened.
    pub(crate) lost: Option<String>,
    pub(crate) desks: Desks,
}

/// Who is connected, and what is owed to them.
#[derive(Default)]
pub(crate) struct Desks {
    guests: HashMap<PeerKey, Guest>,
    /// The connection that speaks for a worker: its latest.
    present: HashMap<Whose, PeerKey>,
    meters: BTreeMap<String, Meters>,
    /// What is wrong with the sources of configurations, by application.
    config_trouble: BTreeMap<String, String>,
    /// To be answered after the sync.
    answers: Vec<(Responder<Reports>, AgentReply)>,
    /// To be told after the sync which of their attacks are taken.
    attacked: BTreeSet<PeerKey>,
    /// A push found no room: to be tried again.
    owed: BTreeSet<PeerKey>,
    /// Others than those of the state: applications whose configuration has changed in this turn.
    configured: BTreeSet<String>,
    /// Reports from this ticket on are not posted yet.
    unposted: u64,
    /// Heartbeats that are frozen and not posted yet.
    frozen: Vec<String>,
    finish: Option<Finish>,
}

struct Guest {
    peer: Peer<Reports>,
    whose: Whose,
}

#[derive(Debug, Clone, Copy, Default)]
struct Meters {
    batches: Meter,
    attacks: Meter,
}

struct Finish {
    deadline: Instant,
    why: Ended,
    answer: mpsc::Sender<Farewell>,
}

impl Clerk {
    /// Until it is told to finish.
    pub(crate) fn run(mut self) {
        self.begin();
        let mut tasks = Vec::new();
        loop {
            self.tray.take(Some(self.wake_at()), &mut tasks);
            let now = self.clock.moment();
            for task in tasks.drain(..) {
                self.handle(task, now);
            }
            self.collect(now);
            self.freeze(now);
            self.settle(now);
            if self.is_finished(now) {
                break;
            }
        }
    }

    /// What an earlier agent has left is on its way first.
    fn begin(&mut self) {
        let now = self.clock.moment();
        self.desks.unposted = 0;
        let accounts = self.memory.state.accounts();
        let known: Vec<(String, bool)> = accounts
            .map(|(name, account)| (name.to_owned(), account.frozen().is_some()))
            .collect();
        for (name, is_frozen) in known {
            self.beats.begin(&name, now.steady, ambient::fresh_number());
            self.adopt_interval(&name, now);
            if is_frozen {
                self.desks.frozen.push(name);
            }
        }
        self.vitals.set_connected(0);
        // The bounds may be others now, or the last record that kept them was not synced.
        self.keep_within_bounds(now);
        self.settle(now);
    }

    /// Before it runs: an application of this program.
    pub(crate) fn add(&mut self, application: &mut Application, now: Moment) -> Result<(), String> {
        let name = application.name.clone();
        let detectors = std::mem::take(&mut application.detectors);
        self.detectors.insert(name.clone(), detectors);
        if self.memory.state.account(&name).is_none() {
            self.open_application(name.clone(), now);
        }
        let json = application.config.take().transpose()?;
        let account = self.memory.state.account(&name);
        let is_remembered = account.is_some_and(|account| account.config().is_some());
        match json {
            // What was set since then must not be undone by an agent that was killed.
            Some(json) if !is_remembered => self.set_config(name, json, now).map(drop),
            _ => Ok(()),
        }
    }

    /// When to look around without being asked.
    fn wake_at(&self) -> Instant {
        let state = &self.memory.state;
        let is_frozen = |name: &str| {
            let account = state.account(name);
            account.is_some_and(|account| account.frozen().is_some())
        };
        let beat = self.beats.next(is_frozen);
        let tend = self.memory.tend_at();
        let now = self.clock.moment().steady;
        let waits = !self.desks.owed.is_empty() || !self.board.is_empty();
        let tick = waits.then(|| now + TICK);
        let far = now + Duration::from_secs(60);
        let soonest = [beat, tend, tick]
            .into_iter()
            .flatten()
            .fold(far, Duration::min);
        let at = self.clock.at(soonest);
        match &self.desks.finish {
            Some(finish) => at.min(finish.deadline).min(ambient::now() + TICK / 10),
            None => at,
        }
    }

    fn handle(&mut self, task: Task, now: Moment) {
        match task {
            Task::Hello {
                peer,
                hello,
                responder,
            } => self.hello(peer, hello, responder, now),
            Task::Batch {
                peer,
                batch,
                responder,
            } => self.batch(peer, batch, responder, now),
            Task::Attack { peer, report } => self.attack(peer, report, now),
            Task::ConfigRuns { peer, version } => {
                if let Some(whose) = self.whose(peer) {
                    self.record(Record::ConfigRuns { whose, version }, now);
                }
            }
            Task::ConfigRefused { peer, version, why } => {
                if let Some(whose) = self.whose(peer) {
                    log::warn!(
                        "worker {} of {} refuses configuration {version}: {why}",
                        whose.worker,
                        whose.application
                    );
                    let record = Record::ConfigRefused {
                        whose,
                        version,
                        why,
                    };
                    self.record(record, now);
                }
            }
            Task::Leave { peer, responder } => {
                if let Some(whose) = self.end_of(peer) {
                    self.record(Record::Left { whose }, now);
                }
                self.desks.answers.push((responder, AgentReply::Bye));
            }
            Task::Gone { peer } => {
                if let Some(whose) = self.end_of(peer) {
                    self.record(Record::Gone { whose }, now);
                }
            }
            Task::Status { responder } => {
                let status = self.status(now);
                let json = serde_json::to_string(&status);
                let json = json.expect("a status is texts and numbers");
                answer(responder, &AgentReply::Status(json));
            }
            Task::HandOver { build, responder } => {
                self.desks.answers.push((responder, AgentReply::Bye));
                self.vitals.end(Ended::HandedOver { build });
            }
            Task::Here(order) => self.obey(order, now),
        }
    }

    fn obey(&mut self, order: FromHere, now: Moment) {
        match order {
            FromHere::Status(answer) => {
                // Who asked may have given up.
                answer.send(self.status(now)).ok();
            }
            FromHere::Config {
                application,
                json,
                answer,
            } => {
                answer.send(self.set_config(application, json, now)).ok();
            }
            FromHere::ConfigTrouble {
                application,
                trouble,
            } => match trouble {
                Some(why) => drop(self.desks.config_trouble.insert(application, why)),
                None => drop(self.desks.config_trouble.remove(&application)),
            },
            FromHere::Interval {
                application,
                interval,
            } => self.set_interval(&application, interval, now),
            FromHere::Beat => self.beats.all_now(),
            FromHere::Finish {
                deadline,
                why,
                answer,
            } => {
                self.desks.finish = Some(Finish {
                    deadline,
                    why,
                    answer,
                });
            }
        }
    }

    // Workers.

    fn hello(
        &mut self,
        peer: Peer<Reports>,
        hello: Box<Hello>,
        responder: Responder<Reports>,
        now: Moment,
    ) {
        let whose = Whose {
            application: hello.application.clone(),
            worker: hello.worker,
        };
        if let Err(why) = self.open(&whose, now) {
            self.refusals.note(&why);
            self.desks
                .answers
                .push((responder, AgentReply::Refused { why }));
            return;
        }
        // On one connection there is one worker: another hello replaces it.
        if let Some(before) = self.end_of(peer.key()).filter(|before| *before != whose) {
            self.record(Record::Gone { whose: before }, now);
        }
        let hash = hello.config_hash;
        self.record(Record::Hello { hello }, now);
        let key = peer.key();
        self.desks.present.insert(whose.clone(), key);
        self.desks.guests.insert(
            key,
            Guest {
                peer,
                whose: whose.clone(),
            },
        );
        let account = self.memory.state.account(&whose.application);
        let config = account.and_then(|account| account.config());
        let config = config.filter(|document| hash != Some(document.hash));
        let worker = self.memory.state.worker(&whose);
        let welcome = AgentReply::Welcome {
            batch_applied: worker.map_or(0, |worker| worker.batch_applied),
            attack_taken: worker.map_or(0, |worker| worker.attack_taken),
            config: config.cloned(),
        };
        self.desks.answers.push((responder, welcome));
    }

    /// Makes sure that there is room for a worker.
    fn open(&mut self, whose: &Whose, now: Moment) -> Result<(), String> {
        let state = &self.memory.state;
        let bounds = state.bounds();
        let name = &whose.application;
        match state.account(name) {
            Some(account) if account.has_room_for(whose.worker, bounds) => Ok(()),
            Some(_) => Err(format!(
                "{} workers of application {name:?} are connected, as many as this agent takes",
                bounds.workers_max
            )),
            None if state.has_room() => {
                self.open_application(name.clone(), now);
                Ok(())
            }
            None => Err(format!(
                "there are {} applications, as many as this agent takes",
                bounds.applications_max
            )),
        }
    }

    fn open_application(&mut self, application: String, now: Moment) {
        self.beats
            .begin(&application, now.steady, ambient::fresh_number());
        let at = now.unix;
        self.record(Record::Opened { application, at }, now);
    }

    /// Who speaks on this connection.
    fn whose(&self, peer: PeerKey) -> Option<Whose> {
        self.desks
            .guests
            .get(&peer)
            .map(|guest| guest.whose.clone())
    }

    /// A connection ends. Whose it was, if no later one speaks for that worker.
    fn end_of(&mut self, peer: PeerKey) -> Option<Whose> {
        let whose = self.desks.guests.remove(&peer)?.whose;
        self.desks.attacked.remove(&peer);
        self.desks.owed.remove(&peer);
        let speaks = self.desks.present.get(&whose) == Some(&peer);
        if speaks {
            self.desks.present.remove(&whose);
        }
        speaks.then_some(whose)
    }

    fn batch(
        &mut self,
        peer: PeerKey,
        batch: Box<Batch>,
        responder: Responder<Reports>,
        now: Moment,
    ) {
        let seq = batch.seq;
        let whose = self.whose(peer);
        let known = whose.and_then(|whose| {
            let order = self.memory.state.worker(&whose)?.batch_order(seq);
            Some((whose, order))
        });
        let reply = match known {
            None => AgentReply::HelloFirst,
            Some((_, Order::Again)) => AgentReply::Taken { seq },
            Some((_, Order::Gap { expected })) => AgentReply::Refused {
                why: format!("batch {seq} came where {expected} was expected: say hello again"),
            },
            Some((whose, Order::Next)) => {
                self.observe(&whose, now, |detector| {
                    detector.batch(whose.worker, &batch, now)
                });
                self.meters(&whose.application).batches.add(1, now.steady);
                self.record(Record::Batch { whose, batch }, now);
                AgentReply::Taken { seq }
            }
        };
        self.desks.answers.push((responder, reply));
    }

    fn attack(&mut self, peer: PeerKey, report: Box<AttackReport>, now: Moment) {
        let Some(whose) = self.whose(peer) else {
            return;
        };
        let Some(worker) = self.memory.state.worker(&whose) else {
            return;
        };
        // Also what was taken before is acknowledged again. What is behind a gap is not: it comes
        // again after the next hello.
        self.desks.attacked.insert(peer);
        if worker.attack_order(report.number) != Order::Next {
            return;
        }
        let report = bounded(report);
        self.meters(&whose.application).attacks.add(1, now.steady);
        self.observe(&whose, now, |detector| {
            detector.attack(whose.worker, &report, now)
        });
        self.record(Record::Attack { whose, report }, now);
        self.keep_within_bounds(now);
    }

    fn meters(&mut self, application: &str) -> &mut Meters {
        if !self.desks.meters.contains_key(application) {
            let name = application.to_owned();
            self.desks.meters.insert(name, Meters::default());
        }
        self.desks
            .meters
            .get_mut(application)
            .expect("it was inserted")
    }

    /// Shows something to all detectors of an application, and records what they find.
    fn observe(
        &mut self,
        whose: &Whose,
        now: Moment,
        mut look: impl FnMut(&mut dyn Detector) -> Option<Sight>,
    ) {
        let Some(detectors) = self.detectors.get_mut(&whose.application) else {
            return;
        };
        let mut found = Vec::new();
        for detector in detectors {
            let seen = std::panic::AssertUnwindSafe(|| look(&mut **detector));
            match std::panic::catch_unwind(seen) {
                Ok(Some(sight)) => found.push((detector.name().to_owned(), sight)),
                Ok(None) => {}
                Err(_) => log::error!("detector {} panicked", detector.name()),
            }
        }
        for (detector, sight) in found {
            let finding = Finding {
                id: fresh_id(),
                application: whose.application.clone(),
                detector,
                key: sight.key,
                at: now.unix,
                text: sight.text,
            };
            let finding = Box::new(finding);
            self.record(Record::Found { finding }, now);
        }
    }

    /// Lets go of the oldest reports while there are more than there may be.
    fn keep_within_bounds(&mut self, now: Moment) {
        let mut in_hand = Vec::new();
        while let Some(ticket) = self.memory.state.over_bound(&in_hand) {
            match self.board.withhold(ticket) {
                Withheld::InHand => in_hand.push(ticket),
                Withheld::Done(fate) => self.record(Record::Dismissed { ticket, fate }, now),
            }
        }
    }

    // Configurations.

    fn set_config(
        &mut self,
        application: String,
        json: String,
        now: Moment,
    ) -> Result<u64, String> {
        let Some(account) = self.memory.state.account(&application) else {
            return Err(format!("there is no application {application:?}"));
        };
        if json.len() > self.config_len_max {
            return Err(format!(
                "the configuration has {} bytes, and frame_len_max has room for {}",
                json.len(),
                self.config_len_max
            ));
        }
        let document = match config::next(account.config(), json, now.unix) {
            Ok(document) => document,
            // It is the one that there is.
            Err(version) => return Ok(version),
        };
        let version = document.version;
        let record = Record::Config {
            application: application.clone(),
            document,
        };
        self.record(record, now);
        self.adopt_interval(&application, now);
        self.desks.configured.insert(application);
        Ok(version)
    }

    /// Takes the interval from the configuration, if it is there.
    fn adopt_interval(&mut self, application: &str, now: Moment) {
        let Some(key) = &self.interval_key else {
            return;
        };
        let account = self.memory.state.account(application);
        let document = account.and_then(|account| account.config());
        match document.and_then(|document| config::interval(&document.json, key)) {
            Some(Ok(interval)) => self.set_interval(application, interval, now),
            Some(Err(why)) => log::warn!("the configuration of {application}: {key} {why}"),
            None => {}
        }
    }

    fn set_interval(&mut self, application: &str, interval: Duration, now: Moment) {
        let chance = ambient::fresh_number();
        self.beats
            .set_interval(application, interval, now.steady, chance);
    }

    // Sinks.

    /// Notes what the sinks have taken.
    fn collect(&mut self, now: Moment) {
        let collected = self.board.collect(now.steady);
        for ticket in collected.lost {
            let fate = Fate::Lost;
            self.record(Record::Dismissed { ticket, fate }, now);
        }
        if let Some(through) = collected.through {
            self.record(Record::Delivered { through }, now);
        }
        for (application, id, fate) in collected.beats {
            let record = Record::Closed {
                application,
                id,
                fate,
            };
            self.record(record, now);
        }
    }

    /// Ends the periods that are due, where the last one is closed.
    fn freeze(&mut self, now: Moment) {
        for application in self.beats.due(now.steady) {
            let Some(account) = self.memory.state.account(&application) else {
                continue;
            };
            if account.frozen().is_some() {
                continue;
            }
            self.beats
                .beaten(&application, now.steady, ambient::fresh_number());
            self.freeze_one(application, now);
        }
    }

    fn freeze_one(&mut self, application: String, now: Moment) {
        let record = Record::Freeze {
            application: application.clone(),
            id: fresh_id(),
            at: now.unix,
        };
        self.record(record, now);
        self.desks.frozen.push(application);
    }

    // The end of a turn.

    fn record(&mut self, record: Record, now: Moment) {
        self.memory.record(record, now.steady);
    }

    /// Makes sure that it is kept; then tells everybody.
    fn settle(&mut self, now: Moment) {
        self.memory.sync(now.steady);
        for (responder, reply) in std::mem::take(&mut self.desks.answers) {
            answer(responder, &reply);
        }
        self.acknowledge_attacks();
        self.push_configs();
        let reports = self.memory.state.reports_since(self.desks.unposted);
        self.desks.unposted = self.memory.state.next_ticket();
        self.board.post(reports);
        for application in std::mem::take(&mut self.desks.frozen) {
            let account = self.memory.state.account(&application);
            if let Some(report) = account.and_then(|account| account.frozen()) {
                self.board.post_beat(&application, Arc::clone(report));
            }
        }
        self.memory.tend(now.steady);
        self.vitals.set_connected(self.desks.present.len());
    }

    fn acknowledge_attacks(&mut self) {
        for key in std::mem::take(&mut self.desks.attacked) {
            let Some(guest) = self.desks.guests.get(&key) else {
                continue;
            };
            let worker = self.memory.state.worker(&guest.whose);
            let number = worker.map_or(0, |worker| worker.attack_taken);
            let push = AgentPush::AttacksTaken { number };
            // The acknowledgement has room before all others, or is tried again.
            if let Err(PushError::Full { .. }) = guest.peer.push_urgent(&push) {
                self.desks.owed.insert(key);
            }
        }
    }

    fn push_configs(&mut self) {
        let configured = std::mem::take(&mut self.desks.configured);
        let owed = std::mem::take(&mut self.desks.owed);
        if configured.is_empty() && owed.is_empty() {
            return;
        }
        for (key, guest) in &self.desks.guests {
            let is_owed = owed.contains(key);
            if !is_owed && !configured.contains(&guest.whose.application) {
                continue;
            }
            let account = self.memory.state.account(&guest.whose.application);
            let config = account.and_then(|account| account.config());
            if let Some(document) = config {
                let push = AgentPush::Config(document.clone());
                match guest.peer.push(&push) {
                    Ok(()) | Err(PushError::Gone(_)) => {}
                    Err(PushError::Full { .. }) => {
                        self.desks.owed.insert(*key);
                    }
                    // Its own limit is lower than ours.
                    Err(error) => {
                        log::warn!("a configuration can't be sent to {:?}: {error}", guest.peer);
                    }
                }
            }
            if is_owed {
                self.desks.attacked.insert(*key);
            }
        }
    }

    // The end.

    /// Reports what is left; whether there is nothing to wait for any more.
    fn is_finished(&mut self, now: Moment) -> bool {
        let Some(finish) = &self.desks.finish else {
            return false;
        };
        let is_late = ambient::now() >= finish.deadline;
        let state = &self.memory.state;
        let unreported: Vec<String> = state
            .accounts()
            .filter(|(_, account)| account.frozen().is_none() && account.has_news())
            .map(|(name, _)| name.to_owned())
            .collect();
        if !is_late && !unreported.is_empty() {
            for application in unreported {
                self.freeze_one(application, now);
            }
            self.settle(now);
            return false;
        }
        if !is_late && !self.board.is_empty() {
            return false;
        }
        self.leave();
        true
    }

    fn leave(&mut self) {
        self.board.end();
        self.tray.close();
        let accounts = || self.memory.state.accounts();
        let farewell = Farewell {
            clients_cut: false,
            reports: accounts()
                .map(|(_, account)| account.waiting().count())
                .sum(),
            heartbeats: accounts()
                .filter(|(_, account)| account.frozen().is_some() || !account.open().is_empty())
                .count(),
            journaled: self.memory.keeping() == Keeping::Journal,
        };
        if let Some(finish) = self.desks.finish.take() {
            self.vitals.end(finish.why);
            finish.answer.send(farewell).ok();
        }
    }

    // What it says of itself.

    fn status(&mut self, now: Moment) -> Status {
        let names: Vec<String> = self
            .memory
            .state
            .accounts()
            .map(|(name, _)| name.to_owned())
            .collect();
        let applications = names.into_iter();
        let applications = applications.filter_map(|name| self.application_status(name, now));
        let applications = applications.collect();
        let level = self.tray.level();
        Status {
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: self.since,
            at: now.unix,
            connected: self.desks.present.len(),
            memory: MemoryStatus {
                keeping: self.memory.keeping(),
                journal_len: self.memory.journal_len(),
                failures: self.memory.failures(),
                recoveries: self.memory.recoveries(),
                last_error: self.memory.last_error().map(str::to_owned),
                lost: self.lost.clone(),
            },
            queue: QueueStatus {
                waiting: level.waiting,
                waiting_max: level.waiting_max,
                refused: level.refused,
            },
            applications,
            sinks: self.sink_statuses(now),
            refused: self.refusals.count.load(Ordering::Relaxed),
            last_refused: lock(&self.refusals.last).clone(),
        }
    }

    fn application_status(&mut self, name: String, now: Moment) -> Option<ApplicationStatus> {
        let meters = self.meters(&name);
        let batches_per_second = meters.batches.per_second(now.steady);
        let attacks_per_second = meters.attacks.per_second(now.steady);
        let account = self.memory.state.account(&name)?;
        let mut workers: Vec<_> = account.workers().collect();
        let workers_known = workers.len();
        workers.sort_by_key(|(_, worker)| worker.presence.latest_first());
        workers.truncate(STATUS_WORKERS_MAX);
        let workers = workers.into_iter();
        Some(ApplicationStatus {
            workers: workers.map(|(id, worker)| worker.report(id)).collect(),
            workers_known,
            ledger: account.ledger(),
            config: account.config().map(|document| document.version),
            config_trouble: self.desks.config_trouble.get(&name).cloned(),
            batches_per_second,
            attacks_per_second,
            series: account.open().series_count(),
            reports_waiting: account.waiting().count(),
            heartbeat_waiting: account.frozen().map(|report| report.id().to_owned()),
            heartbeat_interval: self.beats.interval(&name),
            overflowed: account.spilled.entries,
            gauges_left_out: account.spilled.gauges,
            workers_forgotten: account.spilled.workers,
            reports_lost: account.spilled.reports,
            name,
        })
    }

    fn sink_statuses(&self, now: Moment) -> Vec<SinkStatus> {
        let all = self.board.progress().into_iter();
        let statuses = all.map(|(progress, waiting)| SinkStatus {
            name: progress.name,
            waiting,
            taken: progress.taken,
            refused: progress.refused,
            failures: progress.failures,
            missed: progress.missed,
            failing_for: progress
                .failing_since
                .map(|since| now.steady.saturating_sub(since)),
            last_error: progress.last_error,
        });
        statuses.collect()
    }
}

impl Drop for Clerk {
    /// Also after a panic nobody waits for what will not come.
    fn drop(&mut self) {
        self.board.end();
        self.tray.close();
        self.vitals
            .end(Ended::Failed("its clerk has panicked".to_owned()));
    }
}

/// An id that nothing else has.
fn fresh_id() -> String {
    format!("{:032x}", ambient::fresh_number())
}
