//! What reaches the sinks, when they are slow, fail, refuse or panic; and what an agent remembers.
#![cfg(all(feature = "aggregator", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agents::*;
use wayside::aggregator::sink::{Sink, SinkError};
use wayside::aggregator::*;

/// Does with each report what the test says; tells of each try.
struct Scripted {
    name: &'static str,
    script: Arc<Mutex<Script>>,
    tries: Sender<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Take,
    Fail,
    Refuse,
    Panic,
}

impl Sink for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        let script = *self.script.lock().unwrap();
        self.tries.send(report.id().to_owned()).ok();
        match script {
            Script::Take => Ok(()),
            Script::Fail => Err(SinkError::after(Duration::from_millis(1), "not now")),
            Script::Refuse => Err(SinkError::never("nonsense")),
            Script::Panic => panic!("a sink that panics"),
        }
    }
}

fn scripted(
    name: &'static str,
    script: Script,
) -> (Scripted, Arc<Mutex<Script>>, Receiver<String>) {
    let (tries, tried) = mpsc::channel();
    let script = Arc::new(Mutex::new(script));
    let sink = Scripted {
        name,
        script: Arc::clone(&script),
        tries,
    };
    (sink, script, tried)
}

/// Hangs until the test lets it go.
struct Stuck(Receiver<()>);

impl Sink for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }

    fn deliver(&mut self, _: &Report) -> Result<(), SinkError> {
        self.0.recv().ok();
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_is_given_the_same_again_and_delays_no_other() {
    let (sink, script, tried) = scripted("failing", Script::Fail);
    let (release, stuck) = mpsc::channel();
    let rig = Rig::start(|builder| builder.sink(sink).sink(Stuck(stuck)));
    let mut worker = rig.worker(1);
    worker.hello();
    worker.send_batch(1, 5);
    for number in 1..=100 {
        worker.attack(number);
    }
    // The other one gets everything meanwhile.
    for number in 1..=100 {
        assert_eq!(rig.attack().number, number);
    }
    let heartbeat = rig.heartbeat_after_beat();
    let ids: Vec<String> = (0..5)
        .map(|_| tried.recv_timeout(PATIENCE).unwrap())
        .collect();
    // Attacks keep their order; the heartbeat has its turns, too.
    let first = format!("{}-1", WorkerId(1));
    assert!(ids.iter().all(|id| *id == first || *id == heartbeat.id));
    *script.lock().unwrap() = Script::Take;
    let last = format!("{}-100", WorkerId(1));
    let mut missing = vec![last, heartbeat.id];
    while !missing.is_empty() {
        let id = tried.recv_timeout(PATIENCE).unwrap();
        missing.retain(|wanted| *wanted != id);
    }
    let status = rig.agent.status();
    assert!(status.sinks[1].failures >= 5);
    assert_eq!(status.sinks[1].last_error.as_deref(), Some("not now"));
    drop(release);
}

#[test]
fn a_period_closes_once_every_sink_has_it() {
    let (sink, script, tried) = scripted("failing", Script::Fail);
    let rig = Rig::start(|builder| builder.sink(sink));
    let mut worker = rig.worker(1);
    worker.hello();
    worker.send_batch(1, 5);
    let first = rig.heartbeat_after_beat();
    worker.send_batch(2, 7);
    rig.agent.beat();
    // For as long as one of them does not have the first, there is no second.
    for _ in 0..20 {
        assert_eq!(tried.recv_timeout(PATIENCE).unwrap(), first.id);
    }
    let waiting = rig.agent.status().applications[0].heartbeat_waiting.clone();
    assert_eq!(waiting.as_ref(), Some(&first.id));
    *script.lock().unwrap() = Script::Take;
    let second = rig.heartbeat();
    assert_eq!(second.counters[0].value, 7);
    assert_eq!(second.from, first.to);
    assert_ne!(second.id, first.id);
}

#[test]
fn what_no_sink_will_ever_take_is_counted() {
    let (sink, _, tried) = scripted("refusing", Script::Refuse);
    let folder = tempfile::tempdir().unwrap();
    let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
    let place = wayside::Transport::new(tcp, "127.0.0.1:0");
    let agent = Agent::builder("shop")
        .listen(place.clone())
        .sink(sink)
        .start()
        .unwrap();
    let place = place.at(agent.endpoints()[0].address());
    let mut worker = worker_at(&place, 1);
    worker.hello();
    worker.send_batch(1, 5);
    worker.recorded.attacks = 1;
    worker.attack(1);
    worker.wait_taken(1);
    agent.beat();
    tried.recv_timeout(PATIENCE).unwrap();
    tried.recv_timeout(PATIENCE).unwrap();
    let mut ledger = Ledger::default();
    eventually("it is counted", || {
        ledger = agent.status().applications[0].ledger.clone();
        let dropped = ledger.dropped.get(&DropReason::SinkBound).copied();
        dropped.is_some_and(|dropped| dropped.counted == 5 && dropped.attacks == 1)
    });
    assert!(ledger.is_balanced());
    assert_eq!(ledger.applied, Totals::default());
    assert_eq!(agent.status().applications[0].reports_lost, 2);
}

#[test]
fn a_sink_that_panics_is_tried_again() {
    let (sink, script, tried) = scripted("panicking", Script::Panic);
    let rig = Rig::start(|builder| builder.sink(sink));
    let mut worker = rig.worker(1);
    worker.hello();
    worker.attack(1);
    let id = tried.recv_timeout(PATIENCE).unwrap();
    *script.lock().unwrap() = Script::Take;
    assert_eq!(tried.recv_timeout(PATIENCE).unwrap(), id);
    assert_eq!(rig.attack().id, id);
}

#[test]
fn beyond_the_bound_the_oldest_reports_go_and_are_counted() {
    let (release, stuck) = mpsc::channel();
    let folder = tempfile::tempdir().unwrap();
    let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
    let place = wayside::Transport::new(tcp, "127.0.0.1:0");
    let bounds = AgentBounds {
        reports_max: 10,
        ..AgentBounds::default()
    };
    let builder = Agent::builder("shop").listen(place.clone()).bounds(bounds);
    let agent = builder.sink(Stuck(stuck)).start().unwrap();
    let place = place.at(agent.endpoints()[0].address());
    let mut worker = worker_at(&place, 1);
    worker.hello();
    for number in 1..=100 {
        worker.attack(number);
    }
    worker.wait_taken(100);
    let status = agent.status();
    // The sink has one in hand, or is about to: what it is at is spared.
    assert!(status.sinks[0].waiting <= 11, "{status}");
    assert_eq!(status.sinks[0].reports_missed, 90);
    let shop = status.applications[0].clone();
    assert_eq!(shop.reports_waiting, 10);
    assert_eq!(shop.ledger.applied.attacks, 10);
    assert_eq!(shop.ledger.dropped[&DropReason::SinkBound].attacks, 90);
    assert!(shop.ledger.is_balanced());
    drop(release);
    assert!(agent.shutdown(PATIENCE).is_complete());
}

#[test]
fn the_first_heartbeat_is_early_and_the_interval_can_be_changed() {
    let rig = Rig::start(|builder| builder.first_heartbeat(Duration::from_millis(20)));
    let first = rig.heartbeat();
    assert_eq!(first.application, "shop");
    // By the configuration, in seconds.
    let config = std::collections::BTreeMap::from([("heartbeat_interval", 0.02)]);
    rig.agent.set_config("shop", &config).unwrap();
    for _ in 0..3 {
        rig.heartbeat();
    }
    let interval = rig.agent.status().applications[0].heartbeat_interval;
    assert_eq!(interval, Duration::from_millis(20));
    rig.agent.set_heartbeat("shop", Duration::from_secs(3600));
}

#[test]
fn a_journal_brings_back_what_was_acknowledged_and_not_reported() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let (sink, script, tried) = scripted("failing", Script::Fail);
    let described = |builder: AgentBuilder| builder.journal(&journal).sink(sink);
    let rig = Rig::start(described);
    let mut worker = rig.worker(1);
    worker.hello();
    worker.send_batch(1, 5);
    worker.attack(1);
    worker.wait_taken(1);
    rig.agent.set_config("shop", &1).unwrap();
    rig.agent.beat();
    let heartbeat = rig.heartbeat();
    eventually("it has tried both", || {
        tried.recv_timeout(PATIENCE).unwrap() == heartbeat.id
    });
    let left = rig.agent.shutdown(Duration::from_millis(200));
    assert!(
        left.journaled && left.reports == 1 && left.heartbeats == 1,
        "{left:?}"
    );
    drop(rig);
    drop(script);

    let journal = &journal;
    let rig = Rig::start(|builder| builder.journal(journal));
    // The same id, the same content.
    assert_eq!(rig.heartbeat(), heartbeat);
    let status = rig.agent.status();
    assert_eq!(status.memory.keeping, Keeping::Journal);
    let mut worker = rig.worker(1);
    worker.batch_acknowledged = 1;
    worker.attack_acknowledged = 1;
    worker.acknowledged = Totals {
        counted: 5,
        attacks: 1,
        ..Totals::default()
    };
    let config = worker.hello_config().unwrap();
    assert_eq!(config.json, "1");
    // It is the same one: the version stays.
    assert_eq!(rig.agent.set_config("shop", &1).unwrap(), config.version);
    assert_eq!(
        rig.agent.set_config("shop", &2).unwrap(),
        config.version + 1
    );
    let ledger = &rig.agent.status().applications[0].ledger;
    assert!(ledger.dropped.is_empty(), "{ledger:?}");
}

#[test]
fn without_a_journal_what_was_acknowledged_is_counted_as_lost() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    worker.batch_acknowledged = 7;
    worker.attack_acknowledged = 2;
    worker.acknowledged = Totals {
        counted: 50,
        attacks: 2,
        ..Totals::default()
    };
    assert_eq!(worker.hello(), (7, 2));
    worker.recorded = worker.acknowledged;
    assert_eq!(worker.send_batch(8, 1), AgentReply::Taken { seq: 8 });
    let ledger = rig.heartbeat_after_beat().ledger;
    let lost = ledger.dropped[&DropReason::AgentLost];
    assert_eq!((lost.counted, lost.attacks), (50, 2));
    assert_eq!((ledger.recorded.counted, ledger.applied.counted), (51, 1));
    assert!(ledger.is_balanced());
}

#[test]
fn gauges_are_of_the_workers_that_are_there() {
    let rig = Rig::start(|builder| builder);
    let mut workers: Vec<Bare> = (1..=3).map(|id| rig.worker(id)).collect();
    for (worker, value) in workers.iter_mut().zip([1.0, 2.0, 4.0]) {
        worker.hello();
        let batch = Batch {
            seq: 1,
            gauges: vec![(Series::new("open", &[]), value)],
            ..Batch::default()
        };
        worker.call(WorkerRequest::Batch(batch));
    }
    let gone = workers.pop().unwrap();
    drop(gone.client);
    eventually("it is gone", || rig.agent.status().connected == 2);
    let heartbeat = rig.heartbeat_after_beat();
    let level = &heartbeat.gauges[0];
    assert_eq!(
        (level.workers, level.min, level.max, level.sum),
        (2, 1.0, 2.0, 3.0)
    );
    assert_eq!(heartbeat.workers.len(), 3);
    assert!(!heartbeat.workers[2].connected);
    assert_eq!(rig.heartbeat_after_beat().workers.len(), 2);
}

#[test]
fn nonsense_of_a_worker_is_refused_counted_and_taken_no_further() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    worker.hello();
    let long = Series {
        name: "x".repeat(TEXT_LEN_MAX + 1),
        labels: Vec::new(),
    };
    let batch = Batch {
        seq: 1,
        counters: vec![(long, 3), (Series::new("good", &[]), 4)],
        histograms: vec![
            (Series::new("unsorted", &[]), Buckets(vec![(5, 1), (3, 1)])),
            (Series::new("beyond", &[]), Buckets(vec![(60_000, 2)])),
            (Series::new("good", &[]), Buckets(vec![(1, 9)])),
        ],
        recorded: Totals {
            counted: 7,
            observed: 13,
            ..Totals::default()
        },
        ..Batch::default()
    };
    assert_eq!(
        worker.call(WorkerRequest::Batch(batch)),
        AgentReply::Taken { seq: 1 }
    );
    let heartbeat = rig.heartbeat_after_beat();
    assert_eq!(
        (heartbeat.counters.len(), heartbeat.histograms.len()),
        (1, 1)
    );
    let refused = heartbeat.ledger.dropped[&DropReason::Refused];
    assert_eq!((refused.counted, refused.observed), (3, 4));
    assert!(heartbeat.ledger.is_balanced());
    assert!(heartbeat.ledger.pending.is_zero());
}

#[test]
fn a_worker_of_this_crate_and_its_agent_understand_each_other() {
    let rig = Rig::start(|builder| builder);
    let folder = &rig.folder;
    let text = format!(
        "name = \"shop\"\ntransport = \"tcp\"\n[tcp]\naddress = \"{}\"\nkey = \"{}\"\n",
        rig.agent.endpoints()[0].address(),
        folder.path().join("key").display()
    );
    let settings = wayside::Settings::from_text(&text, "test").unwrap();
    let worker = Worker::builder("shop")
        .settings(&settings)
        .unwrap()
        .start()
        .unwrap();
    worker.counter("requests").add(41);
    worker.attack(Attack::new("sql_injection")).unwrap();
    assert_eq!(rig.attack().number, 1);
    worker.counter("requests").add(1);
    worker.flush(PATIENCE).unwrap();
    let seen = status(&settings, PATIENCE).unwrap();
    assert_eq!(seen.application("shop").unwrap().ledger.applied.counted, 42);
    worker.close(PATIENCE).unwrap();
    let heartbeat = rig.heartbeat_after_beat();
    assert_eq!(heartbeat.counters[0].value, 42);
    assert_eq!(heartbeat.ledger.applied.attacks, 1);
    assert!(heartbeat.ledger.pending.is_zero());
    assert!(!heartbeat.workers[0].connected);
}

#[test]
fn a_worker_that_was_forgotten_goes_on_where_it_stood() {
    let bounds = AgentBounds {
        workers_max: 1,
        returns_max: 1,
        ..AgentBounds::default()
    };
    let rig = Rig::start(|builder| builder.bounds(bounds));
    let come_and_go = |id| {
        let mut worker = rig.worker(id);
        worker.hello();
        let known = worker.known;
        worker.client.close(PATIENCE).unwrap();
        eventually("it is gone", || rig.agent.status().connected == 0);
        known
    };
    let mut worker = rig.worker(1);
    worker.hello();
    assert!(!worker.known, "it is new");
    worker.send_batch(1, 5);
    worker.attack(1);
    worker.wait_taken(1);
    worker.recorded.attacks = 1;
    worker.client.close(PATIENCE).unwrap();
    eventually("it is gone", || rig.agent.status().connected == 0);
    assert!(!come_and_go(2));
    assert_eq!(rig.agent.status().applications[0].workers_known, 1);

    // It has not heard of its batch, and sends it again.
    worker.client = rig.worker(1).client;
    assert_eq!(worker.hello(), (1, 1));
    assert!(worker.known);
    worker.recorded.counted = 0;
    assert_eq!(worker.send_batch(1, 5), AgentReply::Taken { seq: 1 });
    worker.send_batch(2, 3);
    let heartbeat = rig.heartbeat_after_beat();
    let ledger = &heartbeat.ledger;
    assert_eq!(
        (heartbeat.counters[0].value, ledger.applied.counted),
        (8, 8)
    );
    assert_eq!(ledger.recorded, worker.recorded);
    assert!(ledger.dropped.is_empty() && ledger.is_balanced());

    // With two others in between it is beyond the bound.
    worker.client.close(PATIENCE).unwrap();
    eventually("it is gone", || rig.agent.status().connected == 0);
    assert!(!come_and_go(3) && !come_and_go(4));
    worker.client = rig.worker(1).client;
    worker.hello();
    assert!(!worker.known);
}

#[test]
fn an_agent_that_nobody_ever_comes_to_is_idle_from_its_start() {
    let rig = Rig::start(|builder| builder);
    assert_eq!(rig.agent.wait_idle(Duration::from_millis(20)), Ended::Idle);
}

#[test]
fn an_idle_agent_stays_until_its_sinks_have_what_it_holds() {
    let (sink, script, tried) = scripted("failing", Script::Fail);
    let rig = Rig::start(|builder| builder.sink(sink));
    let mut worker = rig.worker(1);
    worker.hello();
    worker.send_batch(1, 5);
    assert_eq!(worker.call(WorkerRequest::Leave), AgentReply::Bye);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.agent.wait_idle(Duration::from_millis(20)));
        // What it holds is made a heartbeat, and given again and again.
        let heartbeat = rig.heartbeat();
        assert_eq!(heartbeat.counters[0].value, 5);
        for _ in 0..20 {
            assert_eq!(tried.recv_timeout(PATIENCE).unwrap(), heartbeat.id);
        }
        assert!(!waiting.is_finished());
        *script.lock().unwrap() = Script::Take;
        assert_eq!(waiting.join().unwrap(), Ended::Idle);
    });
    assert_eq!(rig.agent.status().applications[0].heartbeat_waiting, None);
}

#[test]
fn what_a_sink_missed_is_counted_also_if_another_has_it() {
    let (release, stuck) = mpsc::channel();
    let bounds = AgentBounds {
        reports_max: 10,
        ..AgentBounds::default()
    };
    let rig = Rig::start(|builder| builder.sink(Stuck(stuck)).bounds(bounds));
    let mut worker = rig.worker(1);
    worker.hello();
    for number in 1..=100 {
        worker.attack(number);
        assert_eq!(rig.attack().number, number);
    }
    let mut status = rig.agent.status();
    eventually("the sink has said that it took the last", || {
        status = rig.agent.status();
        status.sinks[0].taken == 100
    });
    let missed: Vec<u64> = status
        .sinks
        .iter()
        .map(|sink| sink.reports_missed)
        .collect();
    assert_eq!(missed, [0, 90]);
    assert!(status.sinks[1].busy_for.is_some());
    let shop = &status.applications[0];
    assert_eq!((shop.reports_lost, shop.ledger.applied.attacks), (0, 100));
    drop(release);
}

/// Finds something in each batch, and panics over each attack.
struct Nervous;

impl Detector for Nervous {
    fn name(&self) -> &str {
        "nervous"
    }

    fn attack(&mut self, _: WorkerId, _: &AttackReport, _: Moment) -> Option<Sight> {
        panic!("a detector that panics");
    }

    fn batch(&mut self, _: WorkerId, batch: &Batch, _: Moment) -> Option<Sight> {
        Some(Sight {
            key: batch.seq.to_string(),
            text: "a batch".to_owned(),
        })
    }
}

#[test]
fn what_a_detector_of_the_programs_own_finds_is_bounded_and_its_panics_harm_nobody() {
    let (sink, script, _tried) = scripted("failing", Script::Fail);
    let folder = tempfile::tempdir().unwrap();
    let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
    let place = wayside::Transport::new(tcp, "127.0.0.1:0");
    let bounds = AgentBounds {
        reports_max: 10,
        ..AgentBounds::default()
    };
    let builder = Agent::builder(Application::named("shop").detect(Nervous));
    let builder = builder.listen(place.clone()).bounds(bounds).sink(sink);
    let agent = builder.start().unwrap();
    let place = place.at(agent.endpoints()[0].address());
    let mut worker = worker_at(&place, 1);
    worker.hello();
    for seq in 1..=100 {
        assert_eq!(worker.send_batch(seq, 1), AgentReply::Taken { seq });
    }
    let shop = agent.status().applications[0].clone();
    // What the sink is at is spared.
    assert!(shop.reports_waiting <= 11, "{}", shop.reports_waiting);
    assert!(shop.reports_lost >= 89, "{}", shop.reports_lost);
    worker.attack(1);
    worker.wait_taken(1);
    *script.lock().unwrap() = Script::Take;
    assert!(agent.shutdown(PATIENCE).is_complete());
}

/// Has something to do when it is dropped.
struct Leaving(Sender<()>);

impl Sink for Leaving {
    fn name(&self) -> &str {
        "leaving"
    }

    fn deliver(&mut self, _: &Report) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        std::thread::park_timeout(Duration::from_millis(50));
        self.0.send(()).ok();
    }
}

#[test]
fn what_a_sink_does_at_its_end_is_done_when_the_agent_has_shut_down() {
    let (sender, left) = mpsc::channel();
    let rig = Rig::start(|builder| builder.sink(Leaving(sender)));
    assert!(rig.agent.shutdown(PATIENCE).is_complete());
    left.try_recv().unwrap();
}
