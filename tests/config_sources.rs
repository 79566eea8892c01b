//! A configuration from its source, through the agent, to a worker.
#![cfg(all(feature = "aggregator", feature = "tcp"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use wayside::Transport;
use wayside::aggregator::source::{ConfigFile, ConfigSource, Programmed, SourceError};
use wayside::aggregator::{Agent, Application, Worker};
use wayside::backend::Tcp;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rules {
    limit: u32,
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
    start.elapsed()
}

fn start(shop: Application) -> (tempfile::TempDir, Agent, Worker<Rules>) {
    let folder = tempfile::tempdir().unwrap();
    let tcp = Tcp::new(folder.path().join("key"));
    let place = Transport::new(tcp, "127.0.0.1:0");
    let agent = Agent::builder(shop).listen(place.clone()).start().unwrap();
    let place = place.at(agent.endpoints()[0].address());
    let worker = Worker::builder("shop").transport(place);
    let worker = worker.config(Rules::default()).start().unwrap();
    (folder, agent, worker)
}

#[test]
fn nonsense_is_told_with_its_place_and_the_last_configuration_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    fs::write(&path, "limit = 3").unwrap();
    let source = ConfigFile::new(&path).interval(Duration::from_millis(10));
    let (_key, agent, worker) = start(Application::named("shop").source(source));
    eventually("the first one", || worker.config().limit == 3);
    fs::write(&path, "limit = 4\nlimits = = 5").unwrap();
    let trouble = || agent.status().applications[0].config_trouble.clone();
    eventually("the trouble", || trouble().is_some());
    assert!(
        trouble().unwrap().contains("rules.toml:2:"),
        "{trouble:?}",
        trouble = trouble()
    );
    assert!(agent.status().to_string().contains("rules.toml:2:"));
    assert_eq!(worker.config().limit, 3);
    // Back to what it was: the trouble is over, though nothing is handed out.
    fs::write(&path, "limit = 3").unwrap();
    eventually("the end of the trouble", || trouble().is_none());
    fs::write(&path, "limit = 6").unwrap();
    eventually("the next one", || worker.config().limit == 6);
}

#[test]
fn what_the_program_sets_is_with_the_worker_at_once() {
    let (source, setter) = Programmed::new();
    setter.set(serde_json::json!({"limit": 1}));
    let (_key, _agent, worker) = start(Application::named("shop").source(source));
    eventually("the first one", || worker.config().limit == 1);
    for limit in 2..20 {
        setter.set(serde_json::json!({ "limit": limit }));
        eventually("the next one", || worker.config().limit == limit);
    }
}

/// Agents that follow each other on one journal.
struct Line {
    folder: tempfile::TempDir,
}

impl Line {
    /// The next one begins with this.
    fn start(&self, begins_with: &str) -> Agent {
        let tcp = Tcp::new(self.folder.path().join("key"));
        let shop = Application::named("shop").config(&begins_with);
        let agent = Agent::builder(shop).listen(Transport::new(tcp, "127.0.0.1:0"));
        let journal = self.folder.path().join("journal");
        agent.journal(journal).start().unwrap()
    }
}

fn runs(agent: &Agent) -> Option<u64> {
    agent.status().application("shop").and_then(|it| it.config)
}

#[test]
fn what_was_set_outlives_its_agent_whatever_the_next_one_begins_with() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line { folder };
    let agent = line.start("nobody is blocked");
    let set = agent.set_config("shop", "mallory is blocked").unwrap();
    assert_eq!(runs(&agent), Some(set));
    drop(agent);
    assert_eq!(runs(&line.start("nobody is blocked")), Some(set));
    assert_eq!(runs(&line.start("eve is blocked")), Some(set));
}

#[test]
fn what_a_newer_build_begins_with_replaces_what_an_older_one_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line { folder };
    let first = runs(&line.start("1")).unwrap();
    assert_eq!(runs(&line.start("1")), Some(first));
    let second = runs(&line.start("2")).unwrap();
    assert_eq!(second, first + 1);
    // To set what runs already is to want it to stay.
    let agent = line.start("2");
    assert_eq!(agent.set_config("shop", "2").unwrap(), second);
    drop(agent);
    assert_eq!(runs(&line.start("3")), Some(second));
}

/// Gives one document, which is too long, and then is not well.
struct Odd(Arc<AtomicU32>);

impl ConfigSource for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn poll(&mut self) -> Result<Option<Value>, SourceError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(Some("x".repeat(5 << 20).into())),
            1..20 => Ok(None),
            20..40 => panic!("a source that panics"),
            _ => Ok(Some(serde_json::json!({"limit": 5}))),
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(10)
    }
}

#[test]
fn trouble_stands_in_the_status_until_it_is_over() {
    let polls = Arc::new(AtomicU32::new(0));
    let shop = Application::named("shop").source(Odd(Arc::clone(&polls)));
    let (_key, agent, worker) = start(shop);
    let trouble = || agent.status().applications[0].config_trouble.clone();
    let polled = || polls.load(Ordering::SeqCst);
    eventually("the trouble", || trouble().is_some() || polled() > 20);
    while polled() < 15 {
        let known = trouble();
        let known = known.as_deref().unwrap_or("no trouble");
        assert!(known.contains("frame_len_max"), "{known}");
    }
    eventually("its panics are told", || {
        trouble().is_some_and(|known| known.contains("panicked")) || polled() > 40
    });
    eventually("it is well again", || worker.config().limit == 5);
    eventually("the end of the trouble", || trouble().is_none());
}
