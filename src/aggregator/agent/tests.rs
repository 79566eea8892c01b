//! Agents that are overloaded, that fail, that hang.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::aggregator::sink::{Sink, SinkError};
use crate::aggregator::{Attack, AttackReport, Moment, Report, UnixMicros, Worker, WorkerId};
use crate::backend::Tcp;
use crate::settings::Settings;
use crate::{Transport, ambient};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(60);

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = ambient::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

struct Telling(Sender<Report>);

impl Sink for Telling {
    fn name(&self) -> &str {
        "telling"
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        self.0.send(report.clone()).ok();
        Ok(())
    }
}

fn builder(folder: &tempfile::TempDir, shop: Application) -> (AgentBuilder, Transport) {
    let place = Transport::new(Tcp::new(folder.path().join("key")), "127.0.0.1:0");
    let builder = Agent::builder(shop)
        .settings(&Settings::from_text("", "wayside.toml").unwrap())
        .listen(place.clone())
        .heartbeat(HOUR)
        .first_heartbeat(HOUR);
    (builder, place)
}

/// Keeps the clerk until the test lets it go.
struct Gate(Receiver<()>);

impl Detector for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    fn attack(&mut self, _: WorkerId, _: &AttackReport, _: Moment) -> Option<Sight> {
        self.0.recv().ok();
        None
    }
}

#[test]
fn an_overloaded_agent_takes_everything_once_and_in_order() {
    const WORKERS: usize = 3;
    const ATTACKS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let (open, gate) = channel();
    let (sender, reports) = channel();
    let shop = Application::named("shop").detect(Gate(gate));
    let (mut builder, place) = builder(&folder, shop);
    builder.tray_max = (64, 1 << 20);
    let agent = builder.sink(Telling(sender)).start().unwrap();
    let place = place.at(agent.endpoints()[0].address());
    let start = |_| Worker::builder("shop").transport(place.clone()).start();
    let workers: Vec<Worker> = (0..WORKERS).map(|at| start(at).unwrap()).collect();
    for worker in &workers {
        worker.counter("requests").one();
        worker.flush(PATIENCE).unwrap();
    }
    for number in 1..=ATTACKS {
        for worker in &workers {
            assert_eq!(worker.attack(Attack::new("test")), Some(number));
            worker.counter("requests").one();
        }
    }
    eventually("it is full", || agent.tray.level().refused > 0);
    drop(open);
    for worker in workers {
        worker.close(PATIENCE).unwrap();
    }
    let status = agent.status();
    assert!(status.queue.refused > 0 && status.queue.waiting_max >= 64);
    assert!(agent.shutdown(PATIENCE).is_complete());
    let mut last: BTreeMap<WorkerId, u64> = BTreeMap::new();
    let mut counted = 0;
    for report in reports.try_iter() {
        match report {
            Report::Attack(notice) => {
                let last = last.entry(notice.worker).or_default();
                *last += 1;
                assert_eq!(notice.number, *last);
            }
            Report::Heartbeat(heartbeat) => {
                assert!(heartbeat.ledger.is_balanced());
                counted += heartbeat
                    .counters
                    .iter()
                    .map(|count| count.value)
                    .sum::<u64>();
            }
            Report::Finding(finding) => panic!("{finding:?}"),
        }
    }
    assert_eq!(last.into_values().collect::<Vec<_>>(), [ATTACKS; WORKERS]);
    assert_eq!(counted, (ATTACKS + 1) * 3);
}

#[test]
fn an_agent_that_has_failed_does_not_claim_that_all_is_well() {
    static BROKEN: AtomicBool = AtomicBool::new(false);

    fn wall() -> UnixMicros {
        assert!(!BROKEN.load(Ordering::SeqCst), "a clock that breaks");
        UnixMicros(1)
    }

    let folder = tempfile::tempdir().unwrap();
    let (mut builder, _) = builder(&folder, "shop".into());
    builder.wall = wall;
    let agent = builder.start().unwrap();
    BROKEN.store(true, Ordering::SeqCst);
    agent.beat();
    assert!(matches!(agent.wait(), Ended::Failed(_)));
    let farewell = agent.shutdown(PATIENCE);
    assert!(farewell.unanswered && !farewell.is_complete());
}

#[test]
fn an_agent_that_hangs_is_left_behind_in_time() {
    static HELD: AtomicBool = AtomicBool::new(false);

    fn wall() -> UnixMicros {
        while HELD.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(1));
        }
        UnixMicros(1)
    }

    let folder = tempfile::tempdir().unwrap();
    let (mut builder, _) = builder(&folder, "shop".into());
    builder.wall = wall;
    let agent = builder.start().unwrap();
    HELD.store(true, Ordering::SeqCst);
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(agent.shutdown(Duration::from_millis(10))));
    let farewell = ended.recv_timeout(PATIENCE);
    HELD.store(false, Ordering::SeqCst);
    assert!(farewell.unwrap().unanswered);
}

#[test]
fn any_time_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (builder, _) = builder(&folder, "shop".into());
    let builder = builder.heartbeat(Duration::MAX);
    let agent = builder.first_heartbeat(Duration::MAX).start().unwrap();
    for _ in 0..20 {
        agent.set_heartbeat("shop", Duration::MAX);
        agent.beat();
    }
    assert!(agent.status().application("shop").is_some(), "it lives");
    agent.end(Ended::Shutdown);
    assert_eq!(agent.wait_idle(Duration::MAX), Ended::Shutdown);
    assert!(agent.shutdown(Duration::MAX).is_complete());
}
