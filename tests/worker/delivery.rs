//! What is recorded arrives, once.

use std::thread;
use std::time::{Duration, Instant};

use wayside::aggregator::{Attack, AttackBody, DropReason, Worker, WorkerLimits};
use wayside::settings::Size;
use wayside::{Limits, Transport};

use crate::agent::{A_WHILE, Agent};
use crate::support::*;

fn quick() -> WorkerLimits {
    WorkerLimits {
        flush_interval: Duration::from_millis(20),
        ..WorkerLimits::default()
    }
}

fn worker(at: &Transport) -> Worker {
    let builder = Worker::builder("shop").transport(at.clone());
    builder.limits(quick()).start().unwrap()
}

#[test]
fn everything_that_is_recorded_arrives() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (_server, at) = agent.serve(&place.transport);
        let worker = worker(&at);
        worker.counter("requests").add(3);
        worker.counter_with("requests", &[("method", "GET")]).one();
        worker.gauge("open").set(2.5);
        let histogram = worker.histogram("duration");
        (0..1000).for_each(|value| histogram.record(value));
        worker.inventory("routes").seen("GET /");
        worker.inventory("routes").seen("GET /");
        let number = worker.attack(Attack::new("sql_injection"));
        assert_eq!(number, Some(1));
        assert_eq!(worker.report("fraud", &("card", 7)).unwrap(), 2);
        worker.flush(A_WHILE).unwrap();

        let ledger = worker.ledger();
        assert!(ledger.is_balanced(), "{ledger:?}");
        assert_eq!(ledger.recorded, ledger.applied);
        agent.the_worker(|known| {
            assert_eq!(known.totals(), ledger.recorded);
            assert_eq!(known.counters()["requests{method=\"GET\"}"], 1);
            assert_eq!(known.counters()["requests"], 3);
            assert_eq!(known.gauges()["open"], 2.5);
            let numbers: Vec<_> = known.attacks.iter().map(|attack| attack.number).collect();
            assert_eq!(numbers, [1, 2]);
            let own = AttackBody::Own {
                kind: "fraud".to_owned(),
                json: "[\"card\",7]".to_owned(),
            };
            assert_eq!(known.attacks[1].body, own);
        });
        worker.close(A_WHILE).unwrap();
        assert_eq!(agent.book().left, [worker.id()]);
        assert_eq!(worker.attack(Attack::new("late")), None);
        assert!(worker.ledger().is_balanced());
    });
}

#[test]
fn a_short_life_loses_nothing() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (_server, at) = agent.serve(&place.transport);
        for _ in 0..20 {
            let worker = Worker::builder("shop")
                .transport(at.clone())
                .start()
                .unwrap();
            worker.counter("runs").one();
            worker.attack(Attack::new("x"));
        }
        let book = agent.book();
        assert_eq!(book.workers.len(), 20);
        assert_eq!(book.left.len(), 20);
        let sums = book.workers.values().map(|known| known.totals());
        assert!(
            sums.into_iter()
                .all(|sum| sum.counted == 1 && sum.attacks == 1)
        );
    });
}

#[test]
fn without_an_agent_it_works_and_says_what_it_leaves_behind() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        drop(server);
        let limits = WorkerLimits {
            attacks_max: 3,
            ..quick()
        };
        let builder = Worker::builder("shop").transport(at).limits(limits);
        let worker = builder.start().unwrap();
        worker.counter("requests").add(7);
        let numbers: Vec<_> = (0..5).map(|_| worker.attack(Attack::new("x"))).collect();
        assert_eq!(numbers, [Some(1), Some(2), Some(3), None, None]);
        let started = Instant::now();
        let error = worker.flush(Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.ledger.pending.counted, 7);
        let error = worker.close(Duration::from_millis(50)).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(10));
        let ledger = error.ledger.clone();
        assert!(ledger.is_balanced());
        assert_eq!(ledger.dropped[&DropReason::QueueFull].attacks, 2);
        assert_eq!(ledger.dropped[&DropReason::Abandoned].attacks, 3);
        assert_eq!(ledger.dropped[&DropReason::Abandoned].counted, 7);
        assert!(error.to_string().contains("counters of 7"), "{error}");
    });
}

#[test]
fn nothing_is_lost_or_counted_twice_while_agents_come_and_go() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let mut server = Some(server);
        let worker = worker(&at);
        let mut attacks = 0;
        thread::scope(|scope| {
            let recording = [1_u64, 2].map(|step| {
                let (requests, duration) = (worker.counter("requests"), worker.histogram("us"));
                scope.spawn(move || {
                    for value in 0..200_000 {
                        requests.add(step);
                        duration.record(value);
                    }
                })
            });
            for round in 0..6 {
                // Half of the agents apply and go without an answer.
                agent.book().silent = round % 2 == 0;
                for _ in 0..10 {
                    attacks += u64::from(worker.attack(Attack::new("x")).is_some());
                }
                drop(server.take());
                let hellos = agent.book().hellos.len();
                server = Some(agent.serve(&at).0);
                eventually("the worker has come", || agent.book().hellos.len() > hellos);
            }
            for thread in recording {
                thread.join().unwrap();
            }
        });
        agent.book().silent = false;
        worker.flush(A_WHILE).unwrap();
        let ledger = worker.ledger();
        assert!(ledger.is_balanced());
        assert_eq!(ledger.recorded.counted, 600_000);
        assert_eq!(ledger.applied, ledger.recorded);
        agent.the_worker(|known| {
            assert_eq!(known.totals(), ledger.recorded);
            assert_eq!(known.totals().attacks, attacks);
            let last = known.batches.last().unwrap();
            assert_eq!(last.recorded.counted, 600_000);
        });
        assert!(worker.counters().hellos >= 6);
    });
}

#[test]
fn large_sets_go_in_several_batches_and_those_too_long_for_the_agent_are_cut_again() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let small = Limits {
            frame_len_max: 4096,
            ..Limits::default()
        };
        let (_server, at) = agent.serve_within(&place.transport, small);
        let worker = worker(&at);
        for user in 0..900 {
            let user = user.to_string();
            worker.counter_with("requests", &[("user", &user)]).one();
        }
        let long = "x".repeat(4000);
        let attack = Attack {
            payload: long.clone(),
            operation: long,
            ..Attack::new("sql_injection")
        };
        worker.attack(attack);
        worker.flush(A_WHILE).unwrap();
        agent.the_worker(|known| {
            assert!(known.batches.len() > 5);
            assert_eq!(known.counters().len(), 900);
            assert_eq!(known.totals(), worker.ledger().recorded);
            let AttackBody::Attack(attack) = &known.attacks[0].body else {
                panic!("another body");
            };
            assert_eq!(
                (&*attack.kind, &*attack.payload),
                ("sql_injection", "…[cut]")
            );
        });
        assert_eq!(worker.counters().attacks_shortened, 1);
    });
}

#[test]
fn what_an_agent_refuses_twice_is_dropped_and_counted() {
    on_every_transport(|place| {
        let agent = Agent::default();
        agent.book().picky = true;
        let (_server, at) = agent.serve(&place.transport);
        let worker = worker(&at);
        worker.counter("requests").add(5);
        eventually("it is dropped", || {
            worker.ledger().dropped.contains_key(&DropReason::Refused)
        });
        agent.book().picky = false;
        worker.counter("requests").add(2);
        worker.flush(A_WHILE).unwrap();
        let ledger = worker.ledger();
        assert!(ledger.is_balanced());
        assert_eq!(ledger.dropped[&DropReason::Refused].counted, 5);
        agent.the_worker(|known| {
            assert_eq!(known.totals().counted, 2);
            let last = known.batches.last().unwrap();
            assert_eq!(last.recorded.counted, 7);
            assert_eq!(
                last.dropped,
                [(DropReason::Refused, ledger.dropped_total())]
            );
        });
    });
}

/// Nothing is flushed for its time in these.
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn much_that_is_new_is_sent_before_its_time_and_what_is_only_counted_is_not() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (_server, at) = agent.serve(&place.transport);
        let limits = WorkerLimits {
            flush_interval: HOUR,
            flush_len: Size(20_000),
            ..WorkerLimits::default()
        };
        let builder = Worker::builder("shop").transport(at).limits(limits);
        let worker = builder.start().unwrap();
        let requests = worker.counter("requests");
        requests.one();
        worker.flush(A_WHILE).unwrap();
        let batches = || agent.the_worker(|known| known.batches.len());
        let before = batches();
        (0..1_000_000).for_each(|_| requests.one());
        for user in 0..1000 {
            worker.inventory("users").seen(&format!("user {user}"));
        }
        eventually("keys are sent", || batches() > before);
        agent.the_worker(|known| {
            let counted = &known.batches[before].counters;
            assert_eq!(
                counted.iter().map(|(_, count)| count).sum::<u64>(),
                1_000_000
            );
        });
        worker.flush(A_WHILE).unwrap();
        let before = batches();
        for user in 0..1000 {
            let user = user.to_string();
            worker.counter_with("logins", &[("user", &user)]).one();
        }
        eventually("series are sent", || batches() > before);
    });
}

#[test]
fn a_flush_brings_gauges_and_waits_for_them() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let limits = WorkerLimits {
            // Longer than a time can be added to.
            flush_interval: Duration::MAX,
            ..WorkerLimits::default()
        };
        let builder = Worker::builder("shop").transport(at).limits(limits);
        let worker = builder.start().unwrap();
        let open = worker.gauge("open");
        for value in [2.5, 3.5, 0.0] {
            open.set(value);
            worker.flush(A_WHILE).unwrap();
            let said = agent.the_worker(|known| known.gauges()["open"]);
            assert_eq!(said, value);
        }
        // With nothing to say nobody need be there.
        drop(server);
        worker.flush(A_WHILE).unwrap();
        open.set(1.0);
        let error = worker.flush(Duration::from_millis(20)).unwrap_err();
        assert!(error.ledger.pending.is_zero());
    });
}

#[test]
fn gauges_are_said_again_to_each_agent_that_welcomes() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let worker = worker(&at);
        worker.gauge("open").set(2.5);
        worker.counter("requests").one();
        worker.flush(A_WHILE).unwrap();
        drop(server);
        for known in agent.book().workers.values_mut() {
            known.batches.clear();
        }
        let _server = agent.serve(&at);
        worker.counter("requests").one();
        eventually("the gauge is there", || {
            agent.the_worker(|known| known.gauges().get("open") == Some(&2.5))
        });
    });
}

#[test]
fn what_an_agent_that_has_forgotten_may_have_counted_is_in_doubt_and_not_sent_again() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let worker = worker(&at);
        worker.counter("requests").add(3);
        worker.flush(A_WHILE).unwrap();
        // It is applied, and the worker does not hear of it.
        agent.book().silent = true;
        worker.counter("requests").add(5);
        eventually("it is applied", || {
            agent.the_worker(|known| known.totals().counted == 8)
        });
        drop(server);
        agent.book().silent = false;
        agent.book().workers.clear();
        let _server = agent.serve(&at);
        worker.counter("requests").add(2);
        worker.flush(A_WHILE).unwrap();
        let ledger = worker.ledger();
        assert!(ledger.is_balanced());
        assert_eq!(ledger.dropped[&DropReason::InDoubt].counted, 5);
        assert_eq!(ledger.applied.counted, 5);
        agent.the_worker(|known| {
            assert_eq!(known.totals().counted, 2);
            let last = known.batches.last().unwrap();
            assert_eq!(last.recorded.counted, 10);
            assert_eq!(
                last.dropped,
                [(DropReason::InDoubt, ledger.dropped_total())]
            );
        });
    });
}
