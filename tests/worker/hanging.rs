//! An agent that is connected and says nothing more, as one that was stopped or whose disk is stuck.

use std::time::{Duration, Instant};

use wayside::aggregator::{Attack, Policy, Worker, WorkerLimits};

use crate::agent::{A_WHILE, Agent};
use crate::support::*;

/// What a caller is ready to wait.
const SOON: Duration = Duration::from_millis(20);

fn worker(at: &wayside::Transport) -> Worker {
    let limits = WorkerLimits {
        flush_interval: Duration::from_millis(20),
        allow_timeout: SOON,
        allow_policy: Policy::Closed,
        drop_timeout: SOON,
        ..WorkerLimits::default()
    };
    let builder = Worker::builder("shop").transport(at.clone());
    builder.limits(limits).start().unwrap()
}

/// Each operation is done so often that there would not be the time to wait five seconds for one.
#[test]
fn nobody_waits_for_an_agent_that_hangs_longer_than_they_said() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (_server, at) = agent.serve(&place.transport);
        let known = worker(&at);
        known.counter("requests").one();
        known.flush(A_WHILE).unwrap();
        let hanging = agent.hang();
        known.counter("requests").one();
        let rounds = A_WHILE.as_secs() / 5;
        let started = Instant::now();
        for round in 0..rounds {
            assert!(!known.allow("login", "bob"));
            assert_eq!(known.question("echo", 7).ask(&1), 7);
            known.ask::<_, u32>("echo", &1, SOON).unwrap_err();
            known.flush(SOON).unwrap_err();
            assert_eq!(known.attack(Attack::new("x")), Some(round + 1));
            known.counter_with("requests", &[("round", "1")]).one();
            assert!(known.ledger().is_balanced());
        }
        assert_eq!(known.counters().fallbacks, 3 * rounds);
        // Its queues are few, and those of who has gone are only seen when the agent looks.
        let rounds = match place.transport.to_string().starts_with("mqueue") {
            true => 2,
            false => rounds,
        };
        for _ in 0..rounds {
            let late = [worker(&at), worker(&at)];
            assert!(!late[0].allow("login", "bob"));
            late.iter().for_each(|late| late.counter("requests").one());
            late[0].close(SOON).unwrap_err();
        }
        known.close(SOON).unwrap_err();
        assert!(started.elapsed() < A_WHILE);
        drop(hanging);
    });
}
