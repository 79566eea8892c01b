//! The configuration: pushed, held, refused.

use std::time::Duration;

use serde::Deserialize;
use wayside::Limits;
use wayside::aggregator::{AgentPush, CUT_MARK, ConfigDocument, Worker};

use crate::agent::{A_WHILE, Agent};
use crate::support::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Firewall {
    blocked: Vec<String>,
}

fn document(version: u64, json: &str) -> ConfigDocument {
    ConfigDocument {
        version,
        hash: version * 100,
        json: json.to_owned(),
    }
}

#[test]
fn a_configuration_comes_with_the_welcome_and_by_push_and_a_bad_one_is_refused() {
    on_every_transport(|place| {
        let agent = Agent::default();
        agent.book().config = Some(document(1, r#"{"blocked":["eve"]}"#));
        let (server, at) = agent.serve(&place.transport);
        let default = Firewall { blocked: vec![] };
        let builder = Worker::builder("shop")
            .transport(at.clone())
            .config(default);
        let worker = builder.start().unwrap();
        let first = worker.config();
        eventually("it runs", || worker.config_version() == Some(1));
        assert_eq!(worker.config().blocked, ["eve"]);
        // What was held from before has not changed.
        assert_eq!(first.version().is_none(), first.blocked.is_empty());
        eventually("the agent knows", || agent.book().config_runs.contains(&1));

        let push = |document| server.broadcast(&AgentPush::Config(document));
        push(document(2, r#"{"blocked":["eve","mallory"]}"#));
        eventually("it runs", || worker.config().version() == Some(2));
        push(document(3, r#"{"blocked":7}"#));
        eventually("it is refused", || !agent.book().config_refused.is_empty());
        let refused = agent.book().config_refused.remove(0);
        assert_eq!(refused.0, 3);
        assert!(refused.1.contains("invalid type"), "{}", refused.1);
        assert_eq!(worker.config_version(), Some(2));
        assert_eq!(worker.config().blocked, ["eve", "mallory"]);
        assert_eq!(worker.counters().configs_refused, 1);
        worker.close(A_WHILE).unwrap();

        // Without a type any document runs, and the last good one outlives its agent.
        let plain = Worker::builder("shop")
            .transport(at.clone())
            .start()
            .unwrap();
        eventually("it runs", || plain.config_version() == Some(1));
        drop(server);
        assert_eq!(plain.config_version(), Some(1));
        let hellos = agent.book().hellos.len();
        let (_server, _) = agent.serve(&at);
        eventually("it has come again", || agent.book().hellos.len() > hellos);
        let hash = agent.book().hellos.last().unwrap().config_hash;
        assert_eq!(hash, Some(100));
    });
}

/// The decoder's words quote the document, and may be longer.
#[test]
fn a_reason_longer_than_the_agent_takes_is_cut_and_holds_nothing_up() {
    for frame_len_max in [1024, 1 << 20] {
        on_every_transport(|place| {
            let agent = Agent::default();
            let limits = Limits {
                frame_len_max,
                ..Limits::default()
            };
            let (server, at) = agent.serve_within(&place.transport, limits);
            let worker = Worker::builder("shop").transport(at).config(0_u64);
            let worker = worker.start().unwrap();
            worker.flush(A_WHILE).unwrap();
            eventually("it has come", || !agent.book().hellos.is_empty());
            // Six letters in its words.
            let each = "\u{7f}".repeat(300);
            server.broadcast(&AgentPush::Config(document(1, &format!("\"{each}\""))));
            eventually("it is refused", || !agent.book().config_refused.is_empty());
            let (version, why) = agent.book().config_refused.remove(0);
            assert_eq!(version, 1);
            assert!(why.starts_with("invalid type: string"), "{why}");
            assert_eq!(why.ends_with(CUT_MARK), frame_len_max == 1024, "{why}");
            worker.counter("requests").one();
            worker.close(A_WHILE).unwrap();
            assert_eq!(agent.the_worker(|known| known.totals().counted), 1);
        });
    }
}

#[test]
fn a_change_is_there_within_a_tenth_of_a_second() {
    on_every_transport(|place| {
        let agent = Agent::default();
        let (server, at) = agent.serve(&place.transport);
        let builder = Worker::builder("shop").transport(at).config(0_u64);
        let worker = builder.start().unwrap();
        eventually("it has come", || !agent.book().hellos.is_empty());
        // The best of some, as the machine may be busy.
        let times = (1..=10).map(|version| {
            let started = std::time::Instant::now();
            server.broadcast(&AgentPush::Config(document(version, &version.to_string())));
            eventually("it runs", || *worker.config() == version);
            started.elapsed()
        });
        assert!(times.min().unwrap() < Duration::from_millis(100));
    });
}
