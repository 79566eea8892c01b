//! An agent over a real server, with bare clients for workers: what they say is taken once, in
//! order, and reaches the sinks.
#![cfg(all(feature = "aggregator", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;

use std::time::Duration;

use agents::*;
use wayside::aggregator::*;

#[test]
fn a_batch_is_applied_once_however_often_it_comes() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    assert_eq!(worker.hello(), (0, 0));
    for _ in 0..3 {
        assert_eq!(worker.send_batch(1, 5), AgentReply::Taken { seq: 1 });
    }
    // Another connection of the same worker.
    let mut again = rig.worker(1);
    again.acknowledged.counted = 5;
    again.batch_acknowledged = 1;
    assert_eq!(again.hello(), (1, 0));
    assert_eq!(again.send_batch(1, 5), AgentReply::Taken { seq: 1 });
    assert_eq!(again.send_batch(2, 7), AgentReply::Taken { seq: 2 });
    let late = again.send_batch(4, 7);
    assert!(matches!(late, AgentReply::Refused { .. }), "{late:?}");
    let heartbeat = rig.heartbeat_after_beat();
    assert_eq!(heartbeat.counters[0].value, 12);
    assert!(heartbeat.ledger.is_balanced());
    assert_eq!(heartbeat.workers.len(), 1);
}

/// Three workers' halves of 1 to 1000, and of a few keys.
#[test]
fn percentiles_and_sightings_are_those_of_all_workers_together() {
    let rig = Rig::start(|builder| builder);
    let limits = WorkerLimits {
        flush_interval: Duration::from_secs(3600),
        ..WorkerLimits::default()
    };
    let workers = [0_u64, 1, 2].map(|number| {
        let builder = Worker::builder("shop").transport(rig.place.clone());
        let worker = builder.limits(limits.clone()).start().unwrap();
        let duration = worker.histogram("us");
        let values = (1..=1000).filter(|value| value % 3 == number);
        values.for_each(|value| duration.record(value));
        worker.inventory("routes").seen_times("GET /", number + 1);
        // In several batches.
        worker.flush(PATIENCE).unwrap();
        worker
    });
    let before = UnixMicros::now();
    for worker in &workers {
        worker.inventory("routes").seen("GET /");
        worker.flush(PATIENCE).unwrap();
    }
    let heartbeat = rig.heartbeat_after_beat();
    let [spread] = &heartbeat.histograms[..] else {
        panic!("{:?}", heartbeat.histograms);
    };
    let said = [spread.p50, spread.p90, spread.p99, spread.p999, spread.max];
    for (said, exact) in said.into_iter().zip([500, 900, 990, 999, 1000]) {
        assert!((exact..=exact + exact / 32).contains(&said), "{spread:?}");
    }
    assert_eq!((spread.count, spread.buckets.count()), (1000, 1000));
    let [listing] = &heartbeat.inventories[..] else {
        panic!("{:?}", heartbeat.inventories);
    };
    assert_eq!((&*listing.key, listing.hits), ("GET /", 1 + 2 + 3 + 3));
    assert!(
        listing.first <= before && before <= listing.last,
        "{listing:?}"
    );
}

#[test]
fn what_was_sent_to_another_agent_is_not_known_here_however_often_a_worker_says_hello() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    // Another agent may have applied it.
    worker.batch_sent = 1;
    for _ in 0..3 {
        assert_eq!(worker.hello(), (0, 0));
        assert!(!worker.known);
    }
    worker.send_batch(1, 0);
    assert_eq!(worker.hello(), (1, 0));
    assert!(worker.known);
    // What it sends now is sent here, whether it arrives or not.
    worker.batch_sent = 2;
    worker.hello();
    assert!(worker.known);
}

#[test]
fn nothing_is_taken_before_the_hello() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    assert_eq!(worker.send_batch(1, 5), AgentReply::HelloFirst);
    worker.attack(1);
    let reply = worker.call(WorkerRequest::Allow {
        rule: "login".to_owned(),
        key: "eve".to_owned(),
        cost: 1,
    });
    assert_eq!(reply, AgentReply::HelloFirst);
    worker.hello();
    assert_eq!(worker.send_batch(1, 5), AgentReply::Taken { seq: 1 });
    let status = rig.agent.status();
    assert_eq!(status.refused, 3);
    assert_eq!(status.applications[0].ledger.applied.counted, 5);
    assert_eq!(status.applications[0].ledger.applied.attacks, 0);
}

#[test]
fn strangers_are_turned_away_with_the_reason() {
    let shop = Application::named("shop").token("secret");
    let rig = Rig::start_for(shop, |builder| builder.application("cafe"));
    let mut worker = rig.worker(1);
    worker.application = "shopp".to_owned();
    assert_eq!(
        worker.try_hello(),
        AgentReply::Refused {
            why: "application \"shopp\" is not known here; known: cafe, shop".to_owned()
        }
    );
    worker.application = "shop".to_owned();
    for token in [None, Some("secre"), Some("Secret"), Some("secrets")] {
        worker.token = token.map(str::to_owned);
        let why = "the token is not that of application \"shop\"".to_owned();
        assert_eq!(worker.try_hello(), AgentReply::Refused { why });
    }
    worker.token = Some("secret".to_owned());
    worker.hello();
    let mut other = rig.worker(1);
    other.application = "cafe".to_owned();
    other.hello();
    assert_eq!(rig.agent.status().refused, 5);
}

#[test]
fn applications_do_not_mix() {
    let rig = Rig::start(|builder| builder.any_application());
    for (application, value) in [("shop", 1), ("cafe", 10)] {
        // Even if they were of the same id.
        let mut worker = rig.worker(7);
        worker.application = application.to_owned();
        worker.hello();
        worker.send_batch(1, value);
    }
    rig.agent.beat();
    for _ in 0..2 {
        let heartbeat = rig.heartbeat();
        let expected = if heartbeat.application == "shop" {
            1
        } else {
            10
        };
        assert_eq!(heartbeat.counters[0].value, expected);
        assert_eq!(heartbeat.ledger.recorded.counted, expected);
    }
}

#[test]
fn attacks_reach_the_sink_in_each_workers_order_and_once() {
    let rig = Rig::start(|builder| builder);
    let mut workers: Vec<Bare> = (1..=3).map(|id| rig.worker(id)).collect();
    for worker in &mut workers {
        worker.hello();
        for number in 1..=100 {
            worker.attack(number);
            worker.attack(number);
        }
        worker.wait_taken(100);
    }
    let mut last = [0; 4];
    for _ in 0..300 {
        let notice = rig.attack();
        let worker = usize::try_from(notice.worker.0).unwrap();
        assert_eq!(notice.number, last[worker] + 1);
        assert_eq!(notice.id, format!("{}-{}", notice.worker, notice.number));
        last[worker] = notice.number;
    }
    assert_eq!(last, [0, 100, 100, 100]);
    rig.expect_nothing();
}

#[test]
fn a_configuration_is_pushed_to_all_workers_of_its_application() {
    let rig = Rig::start(|builder| builder.application("cafe"));
    let first = rig.agent.set_config("shop", &["mallory"]).unwrap();
    assert_eq!(rig.agent.set_config("shop", &["mallory"]).unwrap(), first);
    let mut worker = rig.worker(1);
    let document = worker.hello_config().unwrap();
    assert_eq!(
        (document.version, document.json.as_str()),
        (first, "[\"mallory\"]")
    );
    let mut other = rig.worker(2);
    other.application = "cafe".to_owned();
    assert_eq!(other.hello_config(), None);
    let second = rig.agent.set_config("shop", &["eve"]).unwrap();
    assert!(second > first);
    let pushed = worker.wait_config();
    assert_eq!(
        (pushed.version, pushed.json.as_str()),
        (second, "[\"eve\"]")
    );
    worker.event(WorkerEvent::ConfigRuns { version: second });
    worker.event(WorkerEvent::ConfigRefused {
        version: first,
        why: "no list".to_owned(),
    });
    worker.flush();
    let status = rig.agent.status();
    let report = status
        .application("shop")
        .unwrap()
        .worker(WorkerId(1))
        .unwrap()
        .clone();
    assert_eq!(report.config, Some(second));
    assert_eq!(report.config_refused, None, "it runs a later one");
    let refuse = |version| WorkerEvent::ConfigRefused {
        version,
        why: "no list".to_owned(),
    };
    let refused = || {
        worker.flush();
        let status = rig.agent.status();
        let shop = status.application("shop").unwrap();
        shop.worker(WorkerId(1)).unwrap().config_refused.clone()
    };
    let third = rig.agent.set_config("shop", &7).unwrap();
    worker.event(refuse(third));
    assert_eq!(refused(), Some((third, "no list".to_owned())));
    worker.event(WorkerEvent::ConfigRuns { version: third + 1 });
    assert_eq!(refused(), None);
    rig.agent.set_config("shop", &["eve"]).unwrap();
    assert_eq!(worker.wait_config().version, third);
    let pushed = worker.wait_config();
    // Who runs it already is not sent it again.
    let mut same = rig.worker(3);
    same.config_hash = Some(pushed.hash);
    assert_eq!(same.hello_config(), None);
    assert!(rig.agent.set_config("bar", &1).is_err());
}

#[test]
fn rules_and_questions_are_answered_at_once() {
    let shop = Application::named("shop")
        .rule("login", RateLimit::new(2, Duration::from_secs(600)))
        .answer("double", |number: u32| number.checked_mul(2));
    let rig = Rig::start_for(shop, |builder| builder);
    let mut worker = rig.worker(1);
    let mut other = rig.worker(2);
    worker.hello();
    other.hello();
    assert_eq!(worker.allow("login", "eve"), Some(true));
    assert_eq!(other.allow("login", "eve"), Some(true));
    assert_eq!(worker.allow("login", "eve"), Some(false));
    assert_eq!(worker.allow("login", "bob"), Some(true));
    assert_eq!(worker.allow("logout", "bob"), None);
    assert_eq!(worker.allow("logim", "bob"), None);
    let status = rig.agent.status();
    assert_eq!(status.unknown_rules, 2);
    let last = status.last_unknown_rule.as_deref();
    assert_eq!(last, Some("\"logim\" of application \"shop\""));
    assert!(status.to_string().contains("UNKNOWN RULES"));
    let ask = |topic: &str, question: Vec<u8>| WorkerRequest::Ask {
        topic: topic.to_owned(),
        question,
    };
    // 21 and 42 in postcard.
    let reply = worker.call(ask("double", vec![21]));
    assert_eq!(reply, AgentReply::Answer(Some(vec![42])));
    assert_eq!(worker.call(ask("double", vec![])), AgentReply::Answer(None));
    assert_eq!(
        worker.call(ask("triple", vec![1])),
        AgentReply::Answer(None)
    );
}

#[test]
fn a_wave_of_attacks_from_one_address_is_one_finding() {
    let shop = Application::named("shop").detect(AttackWave::new(3, Duration::from_secs(600)));
    let rig = Rig::start_for(shop, |builder| builder);
    let mut workers: Vec<Bare> = (1..=2).map(|id| rig.worker(id)).collect();
    for worker in &mut workers {
        worker.hello();
        for number in 1..=3 {
            // What comes twice counts once.
            worker.attack_from(number, "203.0.113.7");
            worker.attack_from(number, "203.0.113.7");
        }
        worker.wait_taken(3);
    }
    let reports: Vec<Report> = (0..7).map(|_| rig.report()).collect();
    let findings: Vec<&Finding> = reports
        .iter()
        .filter_map(|report| match report {
            Report::Finding(finding) => Some(finding),
            _ => None,
        })
        .collect();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].key, "203.0.113.7");
    assert_eq!(findings[0].detector, "attack_wave");
}

#[test]
fn tools_ask_without_a_hello() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    worker.hello();
    worker.send_batch(1, 3);
    let tool = rig.worker(2);
    let AgentReply::Status(json) = tool.call(WorkerRequest::Status) else {
        panic!("no status");
    };
    let status: Status = serde_json::from_str(&json).unwrap();
    assert_eq!(status.connected, 1);
    let shop = status.application("shop").unwrap();
    assert_eq!(shop.worker(WorkerId(1)).unwrap().ledger.applied.counted, 3);
    let table = status.to_string();
    assert!(table.contains("shop: config -"), "{table}");
    assert!(!table.contains("NOT BALANCED"), "{table}");
    let refused = tool.call(WorkerRequest::HandOver {
        build: "newer".to_owned(),
    });
    assert!(matches!(refused, AgentReply::Refused { .. }));
}

#[test]
fn an_agent_that_ends_reports_what_it_has() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    worker.hello();
    worker.send_batch(1, 3);
    worker.attack(1);
    worker.wait_taken(1);
    let farewell = rig.agent.shutdown(PATIENCE);
    assert!(farewell.is_complete(), "{farewell:?}");
    assert_eq!(rig.attack().number, 1);
    let heartbeat = rig.heartbeat();
    assert_eq!(heartbeat.counters[0].value, 3);
    assert_eq!(heartbeat.ledger.applied.attacks, 1);
    assert_eq!(rig.agent.wait(), Ended::Shutdown);
}

#[test]
fn who_takes_over_must_be_agreed_with() {
    let rig = Rig::start(|builder| builder.hand_over(|build| build == "2"));
    let tool = rig.worker(1);
    let ask = |build: &str| WorkerRequest::HandOver {
        build: build.to_owned(),
    };
    assert!(matches!(tool.call(ask("1")), AgentReply::Refused { .. }));
    assert_eq!(tool.call(ask("2")), AgentReply::Bye);
    let build = "2".to_owned();
    assert_eq!(rig.agent.wait(), Ended::HandedOver { build });
}

#[test]
fn an_agent_without_workers_is_idle() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    worker.hello();
    assert_eq!(worker.call(WorkerRequest::Leave), AgentReply::Bye);
    assert_eq!(rig.agent.wait_idle(Duration::from_millis(20)), Ended::Idle);
}
