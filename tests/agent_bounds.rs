//! What an agent does at the bounds of what it takes and holds.
#![cfg(all(feature = "aggregator", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;

use std::fs;
use std::time::Duration;

use agents::*;
use wayside::aggregator::journal::JournalLimits;
use wayside::aggregator::sink::{Sink, SinkError};
use wayside::aggregator::*;
use wayside::{Client, Limits, Settings};

/// Takes nothing.
struct Down;

impl Sink for Down {
    fn name(&self) -> &str {
        "down"
    }

    fn deliver(&mut self, _: &Report) -> Result<(), SinkError> {
        Err(SinkError::after(Duration::from_millis(1), "down"))
    }
}

fn why_refused(worker: &mut Bare) -> String {
    match worker.try_hello() {
        AgentReply::Refused { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_journal_holds_all_that_may_wait_for_a_sink_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let bounds = AgentBounds {
        reports_len_max: 100 << 10,
        ..AgentBounds::default()
    };
    let limits = JournalLimits {
        len_max: 200 << 10,
        compact_len: 16 << 10,
        record_len_max: 150 << 10,
    };
    let rig = Rig::start(|builder| {
        let builder = builder.bounds(bounds).sink(Down);
        builder.journal_within(&journal, limits)
    });
    let mut worker = rig.worker(1);
    worker.hello();
    let mut acknowledged = 0;
    for turn in 1..=100 {
        let numbers = acknowledged + 1..=acknowledged + 10;
        for number in numbers {
            worker.attack_from(number, &"7".repeat(1000));
            acknowledged = number;
        }
        worker.wait_taken(acknowledged);
        let memory = rig.agent.status().memory;
        assert_eq!(memory.keeping, Keeping::Journal, "in turn {turn}: {memory}");
        assert_eq!(memory.failures, 0, "in turn {turn}: {memory}");
    }
    let status = rig.agent.status();
    let shop = &status.applications[0];
    assert!(shop.reports_waiting > 40 && shop.reports_waiting < 100);
    assert!(shop.reports_lost == 0 && status.sinks[1].reports_missed > 800);
    // A megabyte in pieces of some fifty kilobytes, and not one snapshot for each turn.
    let names = fs::read_dir(&journal).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let segments = names.filter_map(|name| name.strip_prefix("journal-")?.parse::<u64>().ok());
    let last = segments.max().unwrap();
    assert!((5..70).contains(&last), "{last} segments were begun");
}

#[test]
fn a_journal_smaller_than_what_may_wait_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let tcp = wayside::backend::Tcp::new(folder.path().join("key"));
    let place = wayside::Transport::new(tcp, "127.0.0.1:0");
    let limits = JournalLimits {
        len_max: 200 << 20,
        ..JournalLimits::default()
    };
    let builder = Agent::builder("shop").application("cafe").listen(place);
    let builder = builder.journal_within(folder.path().join("journal"), limits);
    let error = builder.start().unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, AgentError::JournalTooSmall { .. }),
        "{text}"
    );
    assert!(
        text.contains("209715200") && text.contains("268435456"),
        "{text}"
    );
}

#[test]
fn reports_are_bounded_by_their_bytes_too() {
    let bounds = AgentBounds {
        reports_len_max: 20_000,
        ..AgentBounds::default()
    };
    let (reports_max, len) = (bounds.reports_max, bounds.reports_len_max);
    let rig = Rig::start(|builder| builder.bounds(bounds).sink(Down));
    let mut worker = rig.worker(1);
    worker.hello();
    for number in 1..=50 {
        worker.attack_from(number, &"7".repeat(1000));
    }
    worker.wait_taken(50);
    let waiting = rig.agent.status().applications[0].reports_waiting;
    assert!((5..20).contains(&waiting), "{waiting} within {len} bytes");
    assert!(reports_max > 50);
}

#[test]
fn one_worker_too_many_is_refused_until_another_has_gone() {
    let bounds = AgentBounds {
        workers_max: 2,
        ..AgentBounds::default()
    };
    let rig = Rig::start(|builder| builder.bounds(bounds));
    let mut workers: Vec<Bare> = (1..=3).map(|id| rig.worker(id)).collect();
    workers[0].hello();
    workers[1].hello();
    let why = why_refused(&mut workers[2]);
    assert!(why.contains("2 workers of application \"shop\""), "{why}");
    assert_eq!(rig.agent.status().refused, 1);
    assert_eq!(workers[0].call(WorkerRequest::Leave), AgentReply::Bye);
    workers[2].hello();
}

#[test]
fn an_application_that_nothing_is_left_of_makes_room_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = AgentBounds {
        applications_max: 2,
        reports_len_max: 1 << 20,
        ..AgentBounds::default()
    };
    let journal = folder.path().join("journal");
    let describe = |builder: AgentBuilder| {
        let builder = builder.any_application().bounds(bounds.clone());
        builder.journal(&journal)
    };
    let rig = Rig::start(describe);
    let guest = |id, application: &str| {
        let mut worker = rig.worker(id);
        worker.application = application.to_owned();
        worker
    };
    let mut first = guest(1, "v1");
    first.hello();
    first.send_batch(1, 5);
    let mut second = guest(2, "v2");
    // Somebody is there.
    why_refused(&mut second);
    assert_eq!(first.call(WorkerRequest::Leave), AgentReply::Bye);
    // There is something to report.
    why_refused(&mut second);
    rig.agent.beat();
    let heartbeats = [rig.heartbeat(), rig.heartbeat()];
    let of_first = heartbeats.iter().find(|beat| beat.application == "v1");
    assert_eq!(of_first.unwrap().counters[0].value, 5);
    eventually("nothing is left of it", || {
        matches!(second.try_hello(), AgentReply::Welcome { .. })
    });
    let names = |agent: &Agent| -> Vec<String> {
        let applications = agent.status().applications.into_iter();
        applications.map(|application| application.name).collect()
    };
    assert_eq!(names(&rig.agent), ["shop", "v2"]);
    // Also one that the program has named.
    let mut third = guest(3, "v3");
    why_refused(&mut third);
    drop((first, second, third));
    drop(rig);
    assert_eq!(names(&Rig::start(describe).agent), ["shop", "v2"]);
}

/// Those of an agent that takes no long messages.
fn narrow(frame_len_max: u32) -> Settings {
    let text = format!("[limits]\nframe_len_max = {frame_len_max}\n");
    Settings::from_text(&text, "wayside.toml").unwrap()
}

#[test]
fn a_configuration_longer_than_a_message_is_not_set() {
    let rig = Rig::start(|builder| builder.settings(&narrow(4096)));
    let error = rig.agent.set_config("shop", &"x".repeat(4096)).unwrap_err();
    assert!(matches!(error, SetConfigError::Refused(_)), "{error}");
    assert!(error.to_string().contains("frame_len_max"), "{error}");
    rig.agent.set_config("shop", &"x".repeat(3000)).unwrap();
}

#[test]
fn a_worker_that_takes_no_configuration_so_long_is_welcome_without() {
    let rig = Rig::start(|builder| builder);
    let long = |with: &str| with.repeat(8000);
    let first = rig.agent.set_config("shop", &long("a")).unwrap();
    let mut worker = rig.worker(1);
    let limits = Limits {
        frame_len_max: 4096,
        ..Limits::default()
    };
    let client = Client::builder()
        .transport(rig.place.clone())
        .limits(limits);
    worker.client = client.connect(PATIENCE).unwrap();
    // As a worker does whose hello has failed, it says it once more.
    let hello = WorkerRequest::Hello(Hello {
        worker: worker.id,
        application: "shop".to_owned(),
        token: None,
        process: 1,
        batch_acknowledged: 0,
        batch_sent: 0,
        attack_acknowledged: 0,
        acknowledged: Totals::default(),
        config_hash: None,
    });
    worker.client.call(&hello, PATIENCE).unwrap_err();
    assert_eq!(worker.hello_config(), None);
    assert_eq!(worker.send_batch(1, 5), AgentReply::Taken { seq: 1 });
    let refused = || {
        let status = rig.agent.status();
        let shop = status.application("shop").unwrap();
        shop.worker(WorkerId(1)).unwrap().config_refused.clone()
    };
    let (version, why) = refused().unwrap();
    assert_eq!(version, first);
    assert!(why.contains("frame_len_max"), "{why}");
    // Pushed, it is the same.
    let second = rig.agent.set_config("shop", &long("b")).unwrap();
    eventually("it is known of the second", || {
        refused().is_some_and(|(version, _)| version == second)
    });
    let third = rig.agent.set_config("shop", &"c").unwrap();
    assert_eq!(worker.wait_config().version, third);
}

#[test]
fn a_status_names_as_many_workers_as_a_message_holds() {
    let rig = Rig::start(|builder| builder.application("cafe").settings(&narrow(32 << 10)));
    // One connection is one worker after the other.
    let mut worker = rig.worker(0);
    for id in 0..1200 {
        worker.id = WorkerId(id);
        worker.application = if id % 2 == 0 { "shop" } else { "cafe" }.to_owned();
        worker.hello();
    }
    let count = |status: &Status| {
        let each = status.applications.iter();
        let each = each.map(|application| application.workers.len());
        each.sum::<usize>()
    };
    let here = rig.agent.status();
    assert_eq!(count(&here), 1000);
    assert_eq!(here.applications[1].workers_known, 600);
    let AgentReply::Status(json) = worker.call(WorkerRequest::Status) else {
        panic!("no status");
    };
    assert!(json.len() < 32 << 10);
    let there: Status = serde_json::from_str(&json).unwrap();
    assert!(count(&there) > 10, "{there}");
    assert_eq!(there.applications[1].workers_known, 600);
}
