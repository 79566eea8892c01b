//! An agent for tests, with a sink that collects and workers that are bare clients.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: it fails by panicking"
)]

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wayside::aggregator::sink::{Sink, SinkError};
use wayside::aggregator::*;
use wayside::backend::Tcp;
use wayside::{Client, Transport};

/// Long enough for the slowest machine; only a test that fails takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Hands on all that it is given.
pub struct Collecting(pub Sender<Report>);

impl Sink for Collecting {
    fn name(&self) -> &str {
        "collecting"
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        // Who does not look any more has seen enough.
        self.0.send(report.clone()).ok();
        Ok(())
    }
}

/// An agent, what its sink has got, and where it is.
pub struct Rig {
    pub agent: Agent,
    pub reports: Receiver<Report>,
    pub place: Transport,
    pub folder: TempDir,
}

impl Rig {
    /// For the application `shop`, with no heartbeat but those that are asked for.
    pub fn start(describe: impl FnOnce(AgentBuilder) -> AgentBuilder) -> Self {
        Self::start_for("shop", describe)
    }

    pub fn start_for(
        application: impl Into<Application>,
        describe: impl FnOnce(AgentBuilder) -> AgentBuilder,
    ) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), application, describe)
    }

    pub fn start_in(
        folder: TempDir,
        application: impl Into<Application>,
        describe: impl FnOnce(AgentBuilder) -> AgentBuilder,
    ) -> Self {
        let tcp = Tcp::new(folder.path().join("key"));
        let place = Transport::new(tcp, "127.0.0.1:0");
        let (sender, reports) = mpsc::channel();
        let builder = Agent::builder(application)
            .listen(place.clone())
            .heartbeat(Duration::from_secs(3600))
            .first_heartbeat(Duration::from_secs(3600))
            .sink(Collecting(sender));
        let agent = describe(builder).start().unwrap();
        let place = place.at(agent.endpoints()[0].address());
        Self {
            agent,
            reports,
            place,
            folder,
        }
    }

    pub fn worker(&self, id: u128) -> Bare {
        worker_at(&self.place, id)
    }

    pub fn report(&self) -> Report {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }

    /// The next heartbeat, skipping what else there is.
    pub fn heartbeat(&self) -> Heartbeat {
        loop {
            if let Report::Heartbeat(heartbeat) = self.report() {
                return heartbeat;
            }
        }
    }

    pub fn heartbeat_after_beat(&self) -> Heartbeat {
        self.agent.beat();
        self.heartbeat()
    }

    /// The next attack, skipping what else there is.
    pub fn attack(&self) -> AttackNotice {
        loop {
            if let Report::Attack(notice) = self.report() {
                return notice;
            }
        }
    }

    /// Nothing more has come.
    pub fn expect_nothing(&self) {
        // What was asked for before is through.
        let status = self.agent.status();
        assert_eq!(status.sinks[0].waiting, 0);
        let more = self.reports.try_recv().ok();
        assert_eq!(more, None);
    }
}

pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A worker that is connected and has not said hello.
pub fn worker_at(place: &Transport, id: u128) -> Bare {
    let client = Client::builder().transport(place.clone());
    Bare {
        client: client.connect(PATIENCE).unwrap(),
        id: WorkerId(id),
        application: "shop".to_owned(),
        token: None,
        batch_acknowledged: 0,
        batch_sent: 0,
        attack_acknowledged: 0,
        acknowledged: Totals::default(),
        config_hash: None,
        recorded: Totals::default(),
        known: false,
    }
}

/// A worker that does what a test says.
pub struct Bare {
    pub client: Client<Reports>,
    pub id: WorkerId,
    pub application: String,
    pub token: Option<String>,
    pub batch_acknowledged: u64,
    pub batch_sent: u64,
    pub attack_acknowledged: u64,
    pub acknowledged: Totals,
    pub config_hash: Option<u64>,
    pub recorded: Totals,
    /// By its last hello.
    pub known: bool,
}

impl Bare {
    pub fn call(&self, request: WorkerRequest) -> AgentReply {
        self.client.call(&request, PATIENCE).unwrap()
    }

    pub fn event(&self, event: WorkerEvent) {
        self.client.send(&event).unwrap();
    }

    pub fn flush(&self) {
        self.client.flush(PATIENCE).unwrap();
    }

    pub fn try_hello(&mut self) -> AgentReply {
        self.call(WorkerRequest::Hello(Hello {
            worker: self.id,
            application: self.application.clone(),
            token: self.token.clone(),
            process: std::process::id(),
            batch_acknowledged: self.batch_acknowledged,
            batch_sent: self.batch_sent,
            attack_acknowledged: self.attack_acknowledged,
            acknowledged: self.acknowledged,
            config_hash: self.config_hash,
        }))
    }

    /// The last batch and the last attack that the agent has.
    pub fn hello(&mut self) -> (u64, u64) {
        match self.try_hello() {
            AgentReply::Welcome {
                known,
                batch_applied,
                attack_taken,
                ..
            } => {
                self.known = known;
                (batch_applied, attack_taken)
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn hello_config(&mut self) -> Option<ConfigDocument> {
        match self.try_hello() {
            AgentReply::Welcome { config, .. } => config,
            other => panic!("{other:?}"),
        }
    }

    /// A batch with one counter.
    pub fn send_batch(&mut self, seq: u64, value: u64) -> AgentReply {
        self.recorded.counted += value;
        self.batch_sent = seq;
        let batch = Batch {
            seq,
            counters: vec![(Series::new("requests", &[]), value)],
            recorded: self.recorded,
            ..Batch::default()
        };
        self.call(WorkerRequest::Batch(batch))
    }

    pub fn attack(&self, number: u64) {
        self.attack_from(number, "");
    }

    pub fn attack_from(&self, number: u64, ip: &str) {
        let request = AttackRequest {
            ip: ip.to_owned(),
            ..AttackRequest::default()
        };
        let attack = Attack {
            request: Some(request),
            ..Attack::new("sql_injection")
        };
        let report = AttackReport {
            number,
            at: UnixMicros(number),
            body: AttackBody::Attack(Box::new(attack)),
        };
        let event = WorkerEvent::Attack(Box::new(report));
        self.client.send_urgent(&event).unwrap();
    }

    /// Until this attack is acknowledged.
    pub fn wait_taken(&self, wanted: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "{wanted} is not acknowledged");
            if let Some(AgentPush::AttacksTaken { number }) = self.client.next_push(PATIENCE) {
                if number >= wanted {
                    assert_eq!(number, wanted);
                    return;
                }
            }
        }
    }

    pub fn wait_config(&self) -> ConfigDocument {
        loop {
            if let AgentPush::Config(document) = self.client.next_push(PATIENCE).unwrap() {
                return document;
            }
        }
    }

    pub fn allow(&self, rule: &str, key: &str) -> Option<bool> {
        let request = WorkerRequest::Allow {
            rule: rule.to_owned(),
            key: key.to_owned(),
            cost: 1,
        };
        match self.call(request) {
            AgentReply::Allowed(allowed) => allowed,
            other => panic!("{other:?}"),
        }
    }
}
