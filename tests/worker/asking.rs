//! Questions, and what holds without an answer.

use std::time::{Duration, Instant};

use wayside::aggregator::{AskError, Policy, Worker};

use crate::agent::{A_WHILE, Agent};
use crate::support::*;

#[test]
fn limits_are_the_agents_and_the_policys_without_it() {
    on_every_transport(|place| {
        let agent = Agent::default();
        agent.book().denied = vec!["eve".to_owned()];
        let (server, at) = agent.serve(&place.transport);
        let worker = Worker::builder("shop").transport(at).start().unwrap();
        let rule = |policy| worker.rule("login").policy(policy).timeout(A_WHILE);
        assert!(rule(Policy::Closed).allow("bob"));
        assert!(!rule(Policy::Open).allow("eve"));
        assert!(!rule(Policy::LastKnown).allow("eve"));
        assert_eq!(worker.counters().fallbacks, 0);
        assert!(worker.rule("unknown").timeout(A_WHILE).allow("eve"));
        assert_eq!(worker.counters().fallbacks, 1);

        drop(server);
        let started = Instant::now();
        let rule = |policy| {
            worker
                .rule("login")
                .policy(policy)
                .timeout(Duration::from_millis(20))
        };
        assert!(!rule(Policy::Closed).allow("bob"));
        assert!(rule(Policy::Open).allow("eve"));
        assert!(!rule(Policy::LastKnown).allow("eve"));
        assert!(rule(Policy::LastKnown).allow("carol"));
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(worker.counters().fallbacks, 5);
        // They are counters like any others.
        assert_eq!(worker.ledger().recorded.counted, 5);
    });
}

#[test]
fn questions_of_the_applications_own_are_answered() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let worker = Worker::builder("shop").transport(at).start().unwrap();
        let answer: (u32, String) = worker.ask("echo", &(7_u32, "seven"), A_WHILE).unwrap();
        assert_eq!(answer, (7, "seven".to_owned()));
        let wrong = worker.ask::<_, String>("echo", &300_u32, A_WHILE);
        assert!(matches!(wrong, Err(AskError::Mismatch(_))), "{wrong:?}");
        let nobody = worker.ask::<_, u32>("chess", &1_u32, A_WHILE);
        assert!(
            matches!(nobody, Err(AskError::NobodyAnswers(_))),
            "{nobody:?}"
        );
        drop(server);
        let gone = worker.ask::<_, u32>("echo", &1_u32, Duration::from_millis(20));
        assert!(
            matches!(gone, Err(AskError::NoAgent | AskError::Call(_))),
            "{gone:?}"
        );
    });
}
