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

mod configs;
mod guests;
mod says;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::application::Application;
use super::beats::Beats;
use super::board::{Board, Withheld};
use super::clock::Clock;
use super::desk::{Refusals, answer};
use super::detector::Detector;
use super::ended::{Ended, Vitals};
use super::farewell::Farewell;
use super::memory::{Keeping, Memory};
use super::meter::Meter;
use super::record::{ConfigOrigin, Fate, Record, Whose};
use super::tray::{Order as FromHere, Task, Tray};
use crate::aggregator::{AgentPush, AgentReply, Moment, Reports, UnixMicros};
use crate::ambient;
use crate::server::{Peer, PeerKey, PushError, Responder};

/// The workers that a status names.
const STATUS_WORKERS_MAX: usize = 1000;
/// How often it looks after what could not be done at once.
const TICK: Duration = Duration::from_millis(500);

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
    /// The longest configuration or status that fits into a message.
    pub(crate) text_len_max: usize,
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
    /// Hellos, likewise.
    welcomes: Vec<(Responder<Reports>, PeerKey, AgentReply)>,
    /// The version of the configuration that is too long for a connection.
    unsendable: BTreeMap<PeerKey, u64>,
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
        // The bounds may be others now, or the last record that kept them was not synced.
        let accounts = self.memory.state.accounts();
        let names: Vec<String> = accounts.map(|(name, _)| name.to_owned()).collect();
        for name in names {
            self.keep_within_bounds(&name, now);
        }
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
        let was_set = account.is_some_and(|account| account.config_was_set());
        match json {
            // What was set since then must not be undone by an agent that was killed.
            Some(json) if !was_set => {
                let origin = ConfigOrigin::Beginning;
                self.set_config(name, json, origin, now).map(drop)
            }
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
                self.desks.unsendable.remove(&peer);
                if let Some(whose) = self.end_of(peer) {
                    self.record(Record::Gone { whose }, now);
                }
            }
            Task::Status { responder } => {
                let json = self.status_json(now);
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
                answer.send(self.status(STATUS_WORKERS_MAX, now)).ok();
            }
            FromHere::Config {
                application,
                json,
                answer,
            } => {
                let set = self.set_config(application, json, ConfigOrigin::Set, now);
                answer.send(set).ok();
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

    // Sinks.

    /// Lets go of an application's oldest reports while there are more than there may be.
    fn keep_within_bounds(&mut self, application: &str, now: Moment) {
        let mut in_hand = Vec::new();
        while let Some(ticket) = self.memory.state.over_bound(application, &in_hand) {
            match self.board.withhold(ticket) {
                Withheld::InHand => in_hand.push(ticket),
                Withheld::Done(fate) => self.record(Record::Dismissed { ticket, fate }, now),
            }
        }
    }

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
        self.welcome(now);
        for (responder, reply) in std::mem::take(&mut self.desks.answers) {
            answer(responder, &reply);
        }
        self.acknowledge_attacks();
        self.push_configs(now);
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
        let connected = self.desks.present.len();
        // While somebody is there nobody asks.
        self.vitals
            .set(connected, connected == 0 && self.has_unreported());
    }

    /// Whether there is something that not every sink has, or that none was given yet.
    fn has_unreported(&self) -> bool {
        let mut accounts = self.memory.state.accounts();
        !self.board.is_empty()
            || accounts.any(|(_, account)| account.frozen().is_some() || account.has_news())
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
            unanswered: false,
        };
        if let Some(finish) = self.desks.finish.take() {
            self.vitals.end(finish.why);
            finish.answer.send(farewell).ok();
        }
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
