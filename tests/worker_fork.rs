//! Workers in processes that fork and go on without exec, over every transport.
//!
//! The forks happen in a role of its own (see `support/role.rs`), whose threads are only those that
//! the test is about. The agent is in the test's process.
#![cfg(all(unix, feature = "aggregator"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

#[allow(dead_code, reason = "this binary uses its own part of it")]
#[path = "worker/agent.rs"]
mod agent;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use agent::{A_WHILE, Agent};
use support::forked::Forked;
use support::role::{Casting, role, tell, told, transport};
use support::*;
use wayside::aggregator::{Attack, ConfigDocument, Totals, Worker, WorkerLimits};

/// By what each worker has recorded, sorted by counts.
fn totals(agent: &Agent) -> Vec<Totals> {
    let book = agent.book();
    let mut totals: Vec<_> = book.workers.values().map(|known| known.totals()).collect();
    totals.sort_by_key(|totals| totals.counted);
    totals
}

fn all(count: u64) -> Totals {
    Totals {
        counted: count,
        observed: count,
        hits: count,
        attacks: count,
    }
}

#[test]
fn a_child_is_a_worker_of_its_own_and_sends_nothing_of_its_parents() {
    on_every_transport(|place| {
        let agent = Agent::default();
        // What the parent sends before the fork is applied, and not acknowledged.
        agent.book().silent = true;
        agent.book().config = Some(ConfigDocument {
            version: 1,
            hash: 1,
            json: "7".to_owned(),
        });
        let (_server, at) = agent.serve(&place.transport);
        let mut forker = Casting::new("forker", place, &at).start();
        forker.expect("recorded");
        eventually("a batch and an attack are in flight", || {
            let book = agent.book();
            let mut workers = book.workers.values();
            workers.any(|known| known.applied > 0 && known.attack_taken > 0)
        });
        agent.book().silent = false;
        forker.say("fork");
        forker.expect("grandchild done");
        forker.expect("child done");
        forker.expect("parent done");
        forker.finish();
        assert_eq!(totals(&agent), [all(3), all(5), all(17)]);
        assert_eq!(agent.book().left.len(), 3);
    });
}

/// Whatever locks other threads of the parent hold at that instant.
#[test]
fn forks_under_load_leave_all_workers_right() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (_server, at) = agent.serve(&place.transport);
        let forker = Casting::new("loader", place, &at).start();
        let recorded: u64 = forker.expect("done").parse().unwrap();
        forker.finish();
        let mut totals = totals(&agent);
        let parent = totals.pop().unwrap();
        assert_eq!(parent.counted, recorded);
        assert_eq!(totals.len(), usize::try_from(FORKS / 2).unwrap());
        assert!(totals.iter().all(|child| *child == all(1)), "{totals:?}");
    });
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("forker") => fork_once(),
        Some("loader") => fork_under_load(),
        Some(other) => panic!("no role `{other}`"),
    }
}

fn worker() -> Worker<u32> {
    let limits = WorkerLimits {
        flush_interval: Duration::from_millis(5),
        ..WorkerLimits::default()
    };
    let builder = Worker::builder("shop")
        .transport(transport())
        .config(0_u32)
        .limits(limits);
    builder.start().unwrap()
}

fn fork_once() {
    let worker = worker();
    let requests = worker.counter("requests");
    let duration = worker.histogram("us");
    let routes = worker.inventory("routes");
    let record = |count: u64| {
        for number in 0..count {
            requests.one();
            duration.record(number);
            routes.seen("GET /");
            assert!(worker.attack(Attack::new("x")).is_some());
        }
    };
    record(7);
    eventually("the configuration runs", || *worker.config() == 7);
    tell("recorded");
    told().next().unwrap();
    // In the cells at the fork.
    record(5);
    let child = Forked::new(|| {
        let id = worker.id();
        assert_eq!((*worker.config(), worker.config_version()), (7, Some(1)));
        record(3);
        let grandchild = Forked::new(|| {
            assert_ne!(worker.id(), id);
            assert_eq!(*worker.config(), 7);
            record(5);
            assert_eq!(worker.ledger().recorded, all(5));
            worker.close(A_WHILE).unwrap();
            tell("grandchild done");
        });
        grandchild.wait();
        assert_eq!(worker.ledger().recorded, all(3));
        worker.close(A_WHILE).unwrap();
        tell("child done");
    });
    child.wait();
    // One that only drops its copy, and one that does not even do that.
    let mut worker_and_handles = Some((worker.clone(), requests.clone(), routes.clone()));
    Forked::new(|| drop(worker_and_handles.take())).wait();
    Forked::new(|| {}).wait();
    drop(worker_and_handles);
    record(5);
    assert_eq!(worker.ledger().recorded, all(17));
    worker.close(A_WHILE).unwrap();
    tell("parent done");
}

const FORKS: u64 = 40;

fn fork_under_load() {
    let worker = worker();
    let over = AtomicBool::new(false);
    let recorded = AtomicU64::new(0);
    let (requests, routes) = (worker.counter("requests"), worker.inventory("routes"));
    let duration = worker.histogram("us");
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (worker, over, recorded) = (&worker, &over, &recorded);
            let (requests, routes) = (&requests, &routes);
            scope.spawn(move || {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    requests.one();
                    routes.seen(if number % 2 == 0 { "GET /" } else { "GET /a" });
                    recorded.fetch_add(1, Ordering::Relaxed);
                    if number % 64 == thread {
                        let label = (number % 640).to_string();
                        drop(worker.counter_with("other", &[("n", &label)]));
                        worker.attack(Attack::new("x"));
                        assert!(worker.ledger().is_balanced());
                    }
                }
            });
        }
        for number in 0..FORKS {
            let child = Forked::new(|| {
                if number % 2 == 0 {
                    requests.one();
                    routes.seen("GET /");
                    duration.record(7);
                    worker.attack(Attack::new("x"));
                    worker.close(A_WHILE).unwrap();
                }
            });
            child.wait();
        }
        over.store(true, Ordering::Relaxed);
    });
    worker.close(A_WHILE).unwrap();
    tell(format!("done {}", recorded.into_inner()));
}
