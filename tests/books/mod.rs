//! An agent in a process of its own whose only sink is a file, and the book of what that file says.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: it fails by panicking"
)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use wayside::aggregator::sink::{JsonLines, Rotation};
use wayside::aggregator::*;
use wayside::{Limits, Settings, Transport};

use crate::support::role::{Casting, Role, passed, tell, told, transport};
use crate::support::{PATIENCE, Place};

/// As the numbers of a ledger are.
pub fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}

/// One address and one file of reports, served by one agent after the other.
pub struct Host<'a> {
    place: &'a Place,
    pub transport: Transport,
    pub journal: Option<PathBuf>,
    pub reports: PathBuf,
}

impl<'a> Host<'a> {
    /// Whose agents remember.
    pub fn with_journal(place: &'a Place) -> Self {
        Self {
            journal: Some(place.folder.path().join("journal")),
            ..Self::in_memory(place)
        }
    }

    /// Whose agents forget everything at their end.
    pub fn in_memory(place: &'a Place) -> Self {
        Self {
            place,
            transport: place.transport.clone(),
            journal: None,
            reports: place.folder.path().join("reports.jsonl"),
        }
    }

    /// A role here.
    pub fn casting(&self, role: &str) -> Casting {
        Casting::new(role, self.place, &self.transport)
    }

    /// An agent that may not be up yet; each of its processes says `up` first.
    pub fn begin_agent(&self) -> Role {
        self.agent_casting().start()
    }

    pub fn agent_casting(&self) -> Casting {
        let journal = self.journal.as_deref().unwrap_or(Path::new(""));
        self.casting("agent")
            .pass("JOURNAL", journal)
            .pass("REPORTS", &self.reports)
    }

    /// An agent that is up. The first one settles the address.
    pub fn agent(&mut self) -> Role {
        let agent = self.begin_agent();
        self.is_up(&agent);
        agent
    }

    pub fn is_up(&mut self, agent: &Role) {
        let address = agent.expect("up");
        self.transport = self.transport.at(&address);
    }

    /// How long the file of reports is.
    pub fn reports_len(&self) -> u64 {
        std::fs::metadata(&self.reports).map_or(0, |file| file.len())
    }

    pub fn book(&self) -> Book {
        Book::read(&self.reports)
    }
}

/// Bounds of workers that come back quickly.
pub fn eager() -> Limits {
    Limits {
        reconnect_delay_min: Duration::from_millis(2),
        reconnect_delay_max: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// How an agent is, as it says.
pub fn status_of(agent: &mut Role) -> Status {
    agent.say("status");
    serde_json::from_str(&agent.expect("status")).unwrap()
}

/// Ends an agent, which has to report everything before.
pub fn end(mut agent: Role) {
    agent.say("shutdown");
    assert_eq!(
        agent.expect("farewell"),
        format!("{:?}", Farewell::default())
    );
    agent.finish();
}

/// The role `agent`.
pub fn be_agent() {
    let agent = start_agent();
    tell(format!("up {}", agent.endpoints()[0].address()));
    for line in told() {
        match line.as_str() {
            "status" => {
                let status = serde_json::to_string(&agent.status()).unwrap();
                tell(format!("status {status}"));
            }
            "beat" => agent.beat(),
            "shutdown" => {
                let mut farewell = agent.shutdown(PATIENCE);
                farewell.journaled = false;
                tell(format!("farewell {farewell:?}"));
            }
            #[cfg(unix)]
            "full" | "room" => {
                limit_files(if line == "full" { 600 } else { u64::MAX });
                tell(line);
            }
            other => panic!("nobody says `{other}`"),
        }
    }
}

/// From now on no file of this process gets longer: as on a disk that is full.
#[cfg(unix)]
fn limit_files(len_max: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // SAFETY: no handler is installed, the signal is only ignored: writing then fails.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = maximum.unwrap_or(u64::MAX).min(len_max);
    let current = (current < u64::MAX).then_some(current);
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

pub fn start_agent() -> Agent {
    // An agent that was killed may need a moment to be gone.
    let deadline = Instant::now() + PATIENCE / 4;
    loop {
        // Never rotated: the whole of it is read.
        let rotation = Rotation {
            len_max: u64::MAX,
            count_max: 1,
        };
        let sink = JsonLines::file(Path::new(&passed("REPORTS")), rotation).unwrap();
        // Not those of the environment, which names roles.
        let settings = Settings::from_text("", "wayside.toml").unwrap();
        let builder = Agent::builder("shop")
            .settings(&settings)
            .listen(transport())
            .heartbeat(Duration::from_millis(40))
            .first_heartbeat(Duration::from_millis(10))
            .sink(sink);
        let builder = match passed("JOURNAL").as_str() {
            "" => builder,
            directory => builder.journal(directory),
        };
        match builder.start() {
            Ok(agent) => return agent,
            Err(AgentError::Bind(_) | AgentError::Journal { .. }) if Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
        thread::yield_now();
    }
}

/// What a sink was given, each thing once.
#[derive(Default)]
pub struct Book {
    pub heartbeats: Vec<Heartbeat>,
    /// In the order in which each came first.
    pub attacks: Vec<AttackNotice>,
    /// Lines that a killed agent has left half done.
    pub torn: usize,
    /// Reports that came again.
    pub again: usize,
    known: HashMap<String, Report>,
}

impl Book {
    pub fn read(path: &Path) -> Self {
        let mut book = Self::default();
        let bytes = std::fs::read(path).unwrap_or_default();
        for line in bytes.split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Report>(line) {
                Ok(report) => book.take(&report),
                Err(_) => book.torn += 1,
            }
        }
        book
    }

    /// Enters a report unless it is there; it may come again, and then is the same.
    pub fn take(&mut self, report: &Report) {
        if let Some(before) = self.known.get(report.id()) {
            assert_eq!(before, report, "two reports of one id");
            self.again += 1;
            return;
        }
        self.known.insert(report.id().to_owned(), report.clone());
        match report {
            Report::Heartbeat(heartbeat) => self.add(heartbeat.clone()),
            Report::Attack(attack) => self.attacks.push(attack.clone()),
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn add(&mut self, heartbeat: Heartbeat) {
        assert!(heartbeat.ledger.is_balanced(), "{:?}", heartbeat.ledger);
        for worker in &heartbeat.workers {
            assert!(worker.ledger.is_balanced(), "{worker:?}");
        }
        if let Some(before) = self.heartbeats.last() {
            assert!(heartbeat.from <= heartbeat.to);
            assert!(before.to <= heartbeat.from, "periods that overlap");
        }
        self.heartbeats.push(heartbeat);
    }

    /// What is said of all workers together, last.
    pub fn ledger(&self) -> Ledger {
        self.heartbeats.last().unwrap().ledger.clone()
    }

    /// What was said of each worker, last.
    pub fn workers(&self) -> BTreeMap<WorkerId, WorkerReport> {
        let reports = self.heartbeats.iter().flat_map(|beat| &beat.workers);
        reports.map(|said| (said.worker, said.clone())).collect()
    }

    /// The sums of all counters.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let counts = self.heartbeats.iter().flat_map(|beat| &beat.counters);
        sums(counts.map(|count| (count.series.to_string(), count.value)))
    }

    /// The hits of all keys of one inventory.
    pub fn hits(&self, inventory: &str) -> BTreeMap<String, u64> {
        let listings = self.heartbeats.iter().flat_map(|beat| &beat.inventories);
        let listings = listings.filter(|listing| listing.inventory == inventory);
        sums(listings.map(|listing| (listing.key.clone(), listing.hits)))
    }

    /// The buckets of one histogram.
    pub fn buckets(&self, name: &str) -> BTreeMap<u16, u64> {
        let spreads = self.heartbeats.iter().flat_map(|beat| &beat.histograms);
        let spreads = spreads.filter(|spread| spread.series.name == name);
        sums(spreads.flat_map(|spread| spread.buckets.0.iter().copied()))
    }

    /// The numbers of each worker's attacks, in the order in which they came first.
    pub fn attack_numbers(&self) -> BTreeMap<WorkerId, Vec<u64>> {
        let mut numbers: BTreeMap<WorkerId, Vec<u64>> = BTreeMap::new();
        for attack in &self.attacks {
            assert_eq!(attack.id, format!("{}-{}", attack.worker, attack.number));
            numbers
                .entry(attack.worker)
                .or_default()
                .push(attack.number);
        }
        numbers
    }
}

pub fn sums<K: Ord>(pairs: impl Iterator<Item = (K, u64)>) -> BTreeMap<K, u64> {
    let mut sums = BTreeMap::new();
    for (key, value) in pairs {
        *sums.entry(key).or_insert(0) += value;
    }
    sums
}
