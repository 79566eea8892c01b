//! Where workers arrive: the server's handler. On the server's thread, so it never waits: what takes
//! a decision of the state goes to the clerk, and finds a bounded tray; rules and questions are
//! answered at once.
//!
//! Who has not said hello gets nothing taken. When the tray is full a call is let go of, to be tried
//! again, and a connection that brings attacks is closed: only a new hello makes its worker send
//! again what was not taken.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Answerer;
use super::application::Application;
use super::clock::Clock;
use super::detector::Limiter;
use super::tray::{Task, Tray};
use super::waiting::len_of;
use crate::aggregator::series::CharBoundary;
use crate::aggregator::{
    AgentReply, AttackBody, AttackReport, Batch, Hello, Reports, TEXT_LEN_MAX, WorkerEvent,
    WorkerRequest,
};
use crate::close::CloseReason;
use crate::server::{Handler, Peer, PeerKey, Responder};
use crate::sync::lock;

pub(crate) struct Desk {
    tray: Arc<Tray>,
    clock: Clock,
    applications: HashMap<String, Counter>,
    /// Also applications that were not named.
    any: bool,
    guests: HashMap<PeerKey, Guest>,
    hand_over: Option<HandOver>,
    refusals: Arc<Refusals>,
    /// Those that are in the log.
    unknown_rules: HashSet<String>,
}

/// Decides whether an agent of another build may take over.
pub(crate) type HandOver = Box<dyn FnMut(&str) -> bool + Send>;

/// What the desk does for one application.
struct Counter {
    token: Option<String>,
    rules: HashMap<String, Limiter>,
    answerers: HashMap<String, Answerer>,
}

/// A connection whose hello was in order.
struct Guest {
    application: String,
    /// Something of it found the tray full: nothing more is taken.
    cut: bool,
}

/// What was turned away at the desk.
#[derive(Default)]
pub(crate) struct Refusals {
    pub(crate) count: AtomicU64,
    pub(crate) last: std::sync::Mutex<Option<String>>,
    /// Questions about rules that there are not.
    pub(crate) unknown_rules: AtomicU64,
    pub(crate) last_unknown_rule: std::sync::Mutex<Option<String>>,
}

/// Of unknown rules so many are logged by name: workers may ask for any.
const UNKNOWN_RULES_LOGGED_MAX: usize = 64;

impl Refusals {
    pub(crate) fn note(&self, why: &str) {
        self.count.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last) = Some(why.to_owned());
    }

    fn note_unknown_rule(&self, what: &str) {
        self.unknown_rules.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_unknown_rule) = Some(what.to_owned());
    }
}

impl Desk {
    pub(crate) fn new(
        tray: Arc<Tray>,
        clock: Clock,
        any: bool,
        hand_over: Option<HandOver>,
        refusals: Arc<Refusals>,
    ) -> Self {
        Self {
            tray,
            clock,
            applications: HashMap::new(),
            any,
            guests: HashMap::new(),
            hand_over,
            refusals,
            unknown_rules: HashSet::new(),
        }
    }

    pub(crate) fn add(&mut self, application: &mut Application) {
        let rules = application.rules.iter();
        let rules = rules.map(|(name, rule)| (name.clone(), Limiter::new(rule)));
        let counter = Counter {
            token: application.token.take(),
            rules: rules.collect(),
            answerers: std::mem::take(&mut application.answerers),
        };
        self.applications.insert(application.name.clone(), counter);
    }

    fn hello(&mut self, peer: &Peer<Reports>, mut hello: Hello, responder: Responder<Reports>) {
        if let Err(why) = self.check(&hello) {
            self.refusals.note(&why);
            answer(responder, &AgentReply::Refused { why });
            return;
        }
        // It has served.
        hello.token = None;
        let guest = Guest {
            application: hello.application.clone(),
            cut: false,
        };
        let task = Task::Hello {
            peer: peer.clone(),
            hello: Box::new(hello),
            responder,
        };
        // Full: the responder goes, the worker says hello again.
        if self.tray.push(task, size_of::<Hello>()).is_ok() {
            self.guests.insert(peer.key(), guest);
        }
    }

    fn check(&self, hello: &Hello) -> Result<(), String> {
        let name = &hello.application;
        if name.is_empty() || name.len() > TEXT_LEN_MAX {
            return Err(format!(
                "an application's name has 1 to {TEXT_LEN_MAX} bytes"
            ));
        }
        let Some(counter) = self.applications.get(name) else {
            if self.any {
                return Ok(());
            }
            let mut known: Vec<&str> = self.applications.keys().map(String::as_str).collect();
            known.sort_unstable();
            let known = known.join(", ");
            return Err(format!(
                "application {name:?} is not known here; known: {known}"
            ));
        };
        match &counter.token {
            Some(token) if !is_same(token, hello.token.as_deref().unwrap_or_default()) => {
                Err(format!("the token is not that of application {name:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The application of a connection that has said hello.
    fn counter(&mut self, peer: &Peer<Reports>) -> Option<&mut Counter> {
        let guest = self.guests.get(&peer.key())?;
        self.applications.get_mut(&guest.application)
    }

    fn is_guest(&self, peer: &Peer<Reports>) -> bool {
        let guest = self.guests.get(&peer.key());
        guest.is_some_and(|guest| !guest.cut)
    }

    fn allow(&mut self, peer: &Peer<Reports>, rule: &str, key: &str, cost: u32) -> Option<bool> {
        let now = self.clock.moment();
        let counter = self.counter(peer);
        match counter.and_then(|counter| counter.rules.get_mut(rule)) {
            Some(limiter) => Some(limiter.allow(key, cost, now)),
            None => {
                self.note_unknown_rule(peer, rule);
                None
            }
        }
    }

    /// A limit that nobody keeps is a mistake that would not show otherwise: workers go on by their policy.
    fn note_unknown_rule(&mut self, peer: &Peer<Reports>, rule: &str) {
        let guest = self.guests.get(&peer.key());
        let application = guest.map_or("", |guest| guest.application.as_str());
        let kept = rule.floor_char_boundary_at(TEXT_LEN_MAX);
        let what = format!("{:?} of application {application:?}", &rule[..kept]);
        self.refusals.note_unknown_rule(&what);
        let is_news = self.unknown_rules.len() < UNKNOWN_RULES_LOGGED_MAX
            && !self.unknown_rules.contains(&what);
        if is_news {
            log::warn!(
                "a worker asks for rule {what}, which is not known here: nothing is limited"
            );
            self.unknown_rules.insert(what);
        }
    }

    fn ask(&mut self, peer: &Peer<Reports>, topic: &str, question: &[u8]) -> Asked {
        let counter = self.counter(peer);
        let Some(answerer) = counter.and_then(|counter| counter.answerers.get_mut(topic)) else {
            return Asked::Answer(None);
        };
        match catch_unwind(AssertUnwindSafe(|| answerer(question))) {
            Ok(answer) => Asked::Answer(answer),
            Err(_) => {
                log::error!("the answerer of topic {topic:?} panicked");
                Asked::Panicked
            }
        }
    }

    fn attack(&mut self, peer: &Peer<Reports>, report: Box<AttackReport>) {
        let len = len_of(&report.body) + size_of::<AttackReport>();
        let task = Task::Attack {
            peer: peer.key(),
            report,
        };
        self.push_event(peer, task, len);
    }

    fn push_event(&mut self, peer: &Peer<Reports>, task: Task, len: usize) {
        if self.tray.push(task, len).is_err() {
            if let Some(guest) = self.guests.get_mut(&peer.key()) {
                guest.cut = true;
            }
            peer.close();
        }
    }

    /// Who asks the agent to end must be one that the program agrees with.
    fn hand_over(&mut self, build: String, responder: Responder<Reports>) {
        let agrees = self.hand_over.as_mut().is_some_and(|agrees| agrees(&build));
        if agrees {
            self.tray.push_always(Task::HandOver { build, responder });
        } else {
            let why = "this agent does not hand over".to_owned();
            answer(responder, &AgentReply::Refused { why });
        }
    }
}

enum Asked {
    Answer(Option<Vec<u8>>),
    Panicked,
}

impl Handler<Reports> for Desk {
    fn event(&mut self, peer: &Peer<Reports>, event: WorkerEvent) {
        if !self.is_guest(peer) {
            self.refusals.note("an event came before the hello");
            return;
        }
        let key = peer.key();
        match event {
            WorkerEvent::Attack(report) => self.attack(peer, report),
            WorkerEvent::ConfigRuns { version } => {
                let task = Task::ConfigRuns { peer: key, version };
                self.push_event(peer, task, 0);
            }
            WorkerEvent::ConfigRefused { version, mut why } => {
                cut(&mut why);
                let len = why.len();
                let task = Task::ConfigRefused {
                    peer: key,
                    version,
                    why,
                };
                self.push_event(peer, task, len);
            }
        }
    }

    fn request(
        &mut self,
        peer: &Peer<Reports>,
        request: WorkerRequest,
        responder: Responder<Reports>,
    ) {
        let key = peer.key();
        match request {
            WorkerRequest::Hello(hello) => self.hello(peer, hello, responder),
            // A tray that is full lets go of the responder.
            WorkerRequest::Status => drop(self.tray.push(Task::Status { responder }, 0)),
            WorkerRequest::HandOver { build } => self.hand_over(build, responder),
            _ if !self.is_guest(peer) => {
                self.refusals.note("a request came before the hello");
                answer(responder, &AgentReply::HelloFirst);
            }
            WorkerRequest::Batch(batch) => {
                let len = batch_len(&batch);
                let task = Task::Batch {
                    peer: key,
                    batch: Box::new(batch),
                    responder,
                };
                drop(self.tray.push(task, len));
            }
            WorkerRequest::Allow { rule, key, cost } => {
                let allowed = self.allow(peer, &rule, &key, cost);
                answer(responder, &AgentReply::Allowed(allowed));
            }
            WorkerRequest::Ask { topic, question } => match self.ask(peer, &topic, &question) {
                Asked::Answer(bytes) => answer(responder, &AgentReply::Answer(bytes)),
                Asked::Panicked => drop(responder),
            },
            WorkerRequest::Leave => {
                drop(self.tray.push(
                    Task::Leave {
                        peer: key,
                        responder,
                    },
                    0,
                ));
            }
        }
    }

    fn disconnected(&mut self, peer: &Peer<Reports>, _: &CloseReason) {
        if self.guests.remove(&peer.key()).is_some() {
            self.tray.push_always(Task::Gone { peer: peer.key() });
        }
    }
}

pub(crate) fn answer(responder: Responder<Reports>, reply: &AgentReply) {
    // Who does not wait any more, or has gone, asks again.
    responder.reply(reply).ok();
}

/// In a time that does not tell how much of it is right.
fn is_same(token: &str, said: &str) -> bool {
    let pairs = token.bytes().zip(said.bytes());
    let differences = pairs.fold(0, |sum, (a, b)| sum | (a ^ b));
    token.len() == said.len() && differences == 0
}

/// Text of others that is kept: at most as long as that of an attack.
pub(crate) fn cut(text: &mut String) {
    use crate::aggregator::ATTACK_TEXT_LEN_MAX;

    let kept = text.floor_char_boundary_at(ATTACK_TEXT_LEN_MAX);
    text.truncate(kept);
}

/// About how many bytes of memory a batch takes.
fn batch_len(batch: &Batch) -> usize {
    let series = |series: &crate::aggregator::Series| {
        let labels = series.labels.iter();
        let labels = labels.map(|(name, value)| name.len() + value.len() + 48);
        series.name.len() + 48 + labels.sum::<usize>()
    };
    let counters = batch.counters.iter().map(|(name, _)| series(name) + 8);
    let gauges = batch.gauges.iter().map(|(name, _)| series(name) + 8);
    let histograms = batch.histograms.iter();
    let histograms = histograms.map(|(name, buckets)| series(name) + buckets.0.len() * 16);
    let inventories = batch.inventories.iter();
    let inventories = inventories.map(|seen| seen.inventory.len() + seen.key.len() + 72);
    let lists = counters.chain(gauges).chain(histograms).chain(inventories);
    size_of::<Batch>() + lists.sum::<usize>()
}

/// What is kept of an attack: each text within its bound.
pub(crate) fn bounded(mut report: Box<AttackReport>) -> Box<AttackReport> {
    if let AttackBody::Attack(attack) = &mut report.body {
        let whole = std::mem::take(&mut **attack);
        **attack = whole.bounded();
    }
    report
}
