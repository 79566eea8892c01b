//! An agent that a test can look into: it keeps the rules of docs/aggregator.md in memory, and nothing
//! more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use wayside::aggregator::{
    AgentPush, AgentReply, AttackReport, Batch, ConfigDocument, Hello, Reports, Totals,
    WorkerEvent, WorkerId, WorkerRequest,
};
use wayside::{Handler, Limits, Peer, PeerKey, Responder, Server, ServerThread, Transport};

use crate::support::{PATIENCE, eventually};

/// What the agent knows. Outlives its servers, like a journal.
#[derive(Default)]
pub struct Book {
    pub workers: HashMap<WorkerId, Known>,
    pub hellos: Vec<Hello>,
    pub left: Vec<WorkerId>,
    pub config: Option<ConfigDocument>,
    pub config_runs: Vec<u64>,
    pub config_refused: Vec<(u64, String)>,
    /// Answers to `Allow`, by key; others are allowed.
    pub denied: Vec<String>,
    /// Batches are applied and not acknowledged.
    pub silent: bool,
    /// Refuses every worker.
    pub closed: bool,
    /// Refuses every batch.
    pub picky: bool,
}

/// What the agent knows of a worker.
#[derive(Default)]
pub struct Known {
    pub applied: u64,
    pub batches: Vec<Batch>,
    pub attack_taken: u64,
    pub attacks: Vec<AttackReport>,
}

impl Known {
    /// What all batches add up to.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            attacks: self.attacks.len().try_into().unwrap(),
            ..Totals::default()
        };
        for batch in &self.batches {
            totals.counted += batch.counters.iter().map(|(_, n)| n).sum::<u64>();
            totals.observed += batch.histograms.iter().map(|(_, b)| b.count()).sum::<u64>();
            totals.hits += batch.inventories.iter().map(|seen| seen.hits).sum::<u64>();
        }
        totals
    }

    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (series, count) in self.batches.iter().flat_map(|batch| &batch.counters) {
            *sums.entry(series.to_string()).or_default() += count;
        }
        sums
    }

    pub fn gauges(&self) -> BTreeMap<String, f64> {
        let gauges = self.batches.iter().flat_map(|batch| &batch.gauges);
        gauges
            .map(|(series, value)| (series.to_string(), *value))
            .collect()
    }
}

#[derive(Clone, Default)]
pub struct Agent {
    book: Arc<Mutex<Book>>,
    peers: Arc<Mutex<HashMap<PeerKey, WorkerId>>>,
    gate: Arc<Gate>,
}

/// Shut, nothing that is said to the agent gets any further: its thread hangs in the first of it.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// The agent hangs for as long as this is there.
pub struct Hanging(Arc<Gate>);

impl Drop for Hanging {
    fn drop(&mut self) {
        *self.0.shut.lock().unwrap() = false;
        self.0.opened.notify_all();
    }
}

impl Agent {
    /// Stays connected and does nothing, as a process that was stopped.
    pub fn hang(&self) -> Hanging {
        *self.gate.shut.lock().unwrap() = true;
        Hanging(Arc::clone(&self.gate))
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// The only worker that there was.
    pub fn the_worker<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        let book = self.book();
        assert_eq!(book.workers.len(), 1);
        look(book.workers.values().next().unwrap())
    }

    /// Serves here until the server is dropped.
    pub fn serve(&self, at: &Transport) -> (ServerThread<Reports>, Transport) {
        self.serve_within(at, Limits::default())
    }

    pub fn serve_within(
        &self,
        at: &Transport,
        limits: Limits,
    ) -> (ServerThread<Reports>, Transport) {
        let mut server = None;
        eventually("the address is free", || {
            let builder = Server::builder().listen(at.clone()).limits(limits.clone());
            server = builder.bind(self.clone()).ok();
            server.is_some()
        });
        let server = server.unwrap().spawn().unwrap();
        let at = at.at(server.endpoints()[0].address());
        (server, at)
    }

    fn hello(&mut self, peer: &Peer<Reports>, hello: Hello) -> AgentReply {
        let mut book = self.book.lock().unwrap();
        book.hellos.push(hello.clone());
        if book.closed {
            return AgentReply::Refused {
                why: "closed".to_owned(),
            };
        }
        self.peers.lock().unwrap().insert(peer.key(), hello.worker);
        let config = book.config.clone();
        let is_known = book.workers.contains_key(&hello.worker);
        let known = book.workers.entry(hello.worker).or_default();
        let is_known = is_known && known.applied >= hello.batch_acknowledged;
        // What another agent has acknowledged is not asked for again.
        known.applied = known.applied.max(hello.batch_acknowledged);
        known.attack_taken = known.attack_taken.max(hello.attack_acknowledged);
        AgentReply::Welcome {
            known: is_known,
            batch_applied: known.applied,
            attack_taken: known.attack_taken,
            config: config.filter(|config| hello.config_hash != Some(config.hash)),
        }
    }
}

impl Handler<Reports> for Agent {
    fn event(&mut self, peer: &Peer<Reports>, event: WorkerEvent) {
        self.gate.pass();
        let Some(worker) = self.peers.lock().unwrap().get(&peer.key()).copied() else {
            return;
        };
        let mut book = self.book.lock().unwrap();
        match event {
            WorkerEvent::Attack(attack) => {
                let silent = book.silent;
                let known = book.workers.get_mut(&worker).unwrap();
                if attack.number == known.attack_taken + 1 {
                    known.attack_taken += 1;
                    known.attacks.push(*attack);
                }
                let number = known.attack_taken;
                if !silent {
                    peer.push(&AgentPush::AttacksTaken { number }).ok();
                }
            }
            WorkerEvent::ConfigRuns { version } => book.config_runs.push(version),
            WorkerEvent::ConfigRefused { version, why } => book.config_refused.push((version, why)),
        }
    }

    fn request(
        &mut self,
        peer: &Peer<Reports>,
        request: WorkerRequest,
        responder: Responder<Reports>,
    ) {
        self.gate.pass();
        let worker = self.peers.lock().unwrap().get(&peer.key()).copied();
        let reply = match (request, worker) {
            (WorkerRequest::Hello(hello), _) => self.hello(peer, hello),
            (_, None) => AgentReply::HelloFirst,
            (WorkerRequest::Batch(batch), Some(worker)) => {
                let mut book = self.book.lock().unwrap();
                if book.picky {
                    let why = "as the test wants".to_owned();
                    drop(responder.reply(&AgentReply::Refused { why }));
                    return;
                }
                let known = book.workers.get_mut(&worker).unwrap();
                let seq = batch.seq;
                if seq == known.applied + 1 {
                    known.applied = seq;
                    known.batches.push(batch);
                }
                if seq > known.applied {
                    let why = format!("{seq} after {}", known.applied);
                    AgentReply::Refused { why }
                } else if book.silent {
                    return;
                } else {
                    AgentReply::Taken { seq }
                }
            }
            (WorkerRequest::Allow { key, rule, .. }, _) => {
                let denied = self.book().denied.contains(&key);
                AgentReply::Allowed((rule != "unknown").then_some(!denied))
            }
            (WorkerRequest::Ask { topic, question }, _) => {
                AgentReply::Answer((topic == "echo").then_some(question))
            }
            (WorkerRequest::Leave, Some(worker)) => {
                self.book().left.push(worker);
                AgentReply::Bye
            }
            (other, _) => panic!("nobody asks for {other:?}"),
        };
        // Who has gone meanwhile needs no answer.
        responder.reply(&reply).ok();
    }
}

/// As long as the slowest machine needs.
pub const A_WHILE: Duration = PATIENCE;
