//! Attacks: at once, in order, within bounds.

use std::time::{Duration, Instant};

use wayside::aggregator::{Attack, DropReason, Worker, WorkerLimits};
use wayside::settings::Size;

use crate::agent::{A_WHILE, Agent};
use crate::support::*;

#[test]
fn attacks_come_at_once_and_in_order_however_rarely_the_rest_is_sent() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (_server, at) = agent.serve(&place.transport);
        let limits = WorkerLimits {
            flush_interval: Duration::from_secs(3600),
            ..WorkerLimits::default()
        };
        let builder = Worker::builder("shop").transport(at).limits(limits);
        let worker = builder.start().unwrap();
        worker.counter("starts").one();
        worker.flush(A_WHILE).unwrap();
        let taken = || agent.the_worker(|known| known.attack_taken);
        // The best of some, as the machine may be busy.
        let times = (1..=10).map(|number| {
            let started = Instant::now();
            assert_eq!(worker.attack(Attack::new("x")), Some(number));
            eventually("it is there", || taken() == number);
            started.elapsed()
        });
        let best = times.min().unwrap();
        assert!(best < Duration::from_millis(25), "{best:?}");
        // More than fit into the window, from several threads.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        worker.attack(Attack::new("y"));
                    }
                });
            }
        });
        worker.flush(A_WHILE).unwrap();
        agent.the_worker(|known| {
            let numbers: Vec<_> = known.attacks.iter().map(|attack| attack.number).collect();
            assert_eq!(numbers, (1..=4010).collect::<Vec<_>>());
        });
        // One that the agent never acknowledges does not hold up the end for ever.
        agent.book().silent = true;
        worker.attack(Attack::new("z"));
        let started = Instant::now();
        worker.close(Duration::from_millis(100)).unwrap_err();
        assert!(started.elapsed() < A_WHILE);
        assert_eq!(worker.ledger().dropped[&DropReason::Abandoned].attacks, 1);
    });
}

#[test]
fn attacks_wait_for_an_agent_up_to_their_bound_in_bytes() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        drop(server);
        let limits = WorkerLimits {
            attacks_len_max: Size(10_000),
            ..WorkerLimits::default()
        };
        let builder = Worker::builder("shop").transport(at.clone()).limits(limits);
        let worker = builder.start().unwrap();
        let payload = "x".repeat(3000);
        let taken = (0..10).filter_map(|_| {
            worker.attack(Attack {
                payload: payload.clone(),
                ..Attack::new("x")
            })
        });
        assert_eq!(taken.count(), 3);
        assert_eq!(worker.ledger().dropped[&DropReason::QueueFull].attacks, 7);
        let (_server, _) = agent.serve(&at);
        worker.flush(A_WHILE).unwrap();
        agent.the_worker(|known| assert_eq!(known.totals().attacks, 3));
        // What was dropped is told in a batch, which a flush need not wait for.
        eventually("the book is told", || {
            agent.the_worker(|known| !known.batches.is_empty())
        });
        agent.the_worker(|known| {
            // The book that the agent gets has those that were dropped.
            let last = known.batches.last().unwrap();
            assert_eq!(last.recorded.attacks, 10);
            assert_eq!(last.dropped[0].1.attacks, 7);
        });
    });
}

#[test]
fn an_agent_that_refuses_is_asked_again_by_the_next_connection() {
    on_every_transport(|place| {
        let agent = Agent::default();
        agent.book().closed = true;
        let (server, at) = agent.serve(&place.transport);
        let worker = Worker::builder("shop")
            .transport(at.clone())
            .start()
            .unwrap();
        worker.attack(Attack::new("x"));
        eventually("it is refused", || worker.counters().hellos_refused == 1);
        agent.book().closed = false;
        drop(server);
        let (_server, _) = agent.serve(&at);
        worker.close(A_WHILE).unwrap();
        agent.the_worker(|known| assert_eq!(known.totals().attacks, 1));
    });
}
