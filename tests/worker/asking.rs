//! Questions, and what holds without an answer.

use std::time::{Duration, Instant};

use wayside::aggregator::{AskError, Policy, Worker, WorkerLimits};

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

#[test]
fn a_question_has_an_answer_also_without_the_agents() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let worker = Worker::builder("shop").transport(at).start().unwrap();
        let echo = worker.question("echo", 7_u32).timeout(A_WHILE);
        let known = echo.clone().last_known();
        assert_eq!(echo.ask(&1_u32), 1);
        assert_eq!(known.ask(&2_u32), 2);
        assert_eq!(worker.counters().fallbacks, 0);
        let nobody = worker.question("chess", 7_u32).timeout(A_WHILE);
        assert_eq!(nobody.ask(&1_u32), 7);
        let wrong = worker.question("echo", String::new()).timeout(A_WHILE);
        assert_eq!(wrong.ask(&300_u32), "");
        assert_eq!(worker.counters().fallbacks, 2);

        drop(server);
        let soon = Duration::from_millis(20);
        let (echo, known) = (echo.timeout(soon), known.timeout(soon));
        assert_eq!(echo.ask(&1_u32), 7);
        // The same question only, and only if it was asked in this way.
        assert_eq!((known.ask(&2_u32), known.ask(&1_u32)), (2, 7));
        worker.ask::<_, u32>("echo", &1_u32, soon).unwrap_err();
        assert_eq!(worker.counters().fallbacks, 6);
        assert_eq!(worker.ledger().recorded.counted, 6);
    });
}

#[test]
fn nobody_waits_for_an_agent_that_has_refused_the_worker() {
    on_every_transport(|place| {
        let agent = Agent::default();
        agent.book().closed = true;
        let (_server, at) = agent.serve(&place.transport);
        let hour = Duration::from_secs(3600);
        let limits = WorkerLimits {
            drop_timeout: hour,
            ..WorkerLimits::default()
        };
        let builder = Worker::builder("shop").transport(at).limits(limits);
        let worker = builder.start().unwrap();
        eventually("it is refused", || worker.counters().hellos_refused > 0);
        let rule = worker.rule("login").policy(Policy::Closed).timeout(hour);
        assert!(!rule.allow("bob"));
        assert_eq!(worker.question("echo", 7_u32).timeout(hour).ask(&1_u32), 7);
        let refused = worker.ask::<_, u32>("echo", &1_u32, hour);
        assert!(matches!(refused, Err(AskError::NoAgent)), "{refused:?}");
        assert_eq!(worker.counters().fallbacks, 3);
        // At the drop neither.
    });
}
