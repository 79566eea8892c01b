//! The shortest useful worker, and its agent: a program that counts, and is its own agent.
//!
//! ```text
//! cargo run --example minimal --features aggregator
//! ```
//!
//! starts three processes that count five visits each, and prints
//!
//! ```text
//! minimal: 3 workers have ended, and the agent that one of them had started
//! minimal: its report says visits=15
//! ```
//!
//! One of them alone, as a program of its own would run, with the agent where `wayside.toml` says:
//!
//! ```text
//! cargo run --example minimal --features aggregator -- work --visits 5
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::env;
use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use wayside::Settings;
use wayside::aggregator::lifecycle::{self, Resident, Spawn};
use wayside::aggregator::sink::{JsonLines, Rotation};
use wayside::aggregator::{Agent, Report, Worker};
use wayside::settings::Environment;

const PATIENCE: Duration = Duration::from_secs(10);

// ---- all that a program needs ----

fn main() -> ExitCode {
    // Started once more by itself, this program is the agent, and does not come back from here.
    lifecycle::hook(|| agent(&Settings::load()?));
    match run(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("minimal: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Adds up for all workers, and writes reports as lines of JSON.
fn agent(settings: &Settings) -> Result<Resident, Box<dyn Error>> {
    let reports = JsonLines::file(&settings.dir()?.join(REPORTS), Rotation::default())?;
    let agent = Agent::builder(settings.name())
        .sink(reports)
        .hand_over(|_| true);
    Ok(Resident::new(settings, agent))
}

/// Counts, and starts the agent if nobody else has.
fn work(settings: &Settings, visits: u64) -> Result<(), Box<dyn Error>> {
    let worker = Worker::builder(settings.name())
        .settings(settings)?
        .agent(Spawn::this_program())
        .start()?;
    worker.counter("visits").add(visits);
    // At the end of a short life. One that runs on sends by itself, every second.
    Ok(worker.close(PATIENCE)?)
}

// ---- what shows it ----

const REPORTS: &str = "reports.jsonl";
const WORKERS: usize = 3;

const HELP: &str = "\
Counts visits in several processes, which start one agent that adds up.

usage: minimal [OPTIONS]          shows it, in a temporary directory
       minimal work [OPTIONS]     one worker, where wayside.toml and WAYSIDE_... say

  --transport T   uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --visits N      that each worker counts (5)

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn run(words: impl IntoIterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let Some(options) = Options::parse(words)? else {
        println!("{HELP}");
        return Ok(());
    };
    if options.works {
        let mut environment = Environment::of_process();
        if let Some(transport) = &options.transport {
            environment = environment.with("WAYSIDE_TRANSPORT", transport);
        }
        let settings = Settings::builder().environment(environment).load()?;
        return work(&settings, options.visits);
    }
    show(&options)
}

fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // The agent of these processes, and of no others.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut variables = vec![
        (
            "WAYSIDE_DIR",
            folder.path().join("run").display().to_string(),
        ),
        // Message queues are in no directory.
        ("WAYSIDE_NAME", format!("minimal-{}", std::process::id())),
        ("WAYSIDE_TCP_ADDRESS", port.to_string()),
    ];
    variables.extend(
        options
            .transport
            .clone()
            .map(|it| ("WAYSIDE_TRANSPORT", it)),
    );
    let visits = options.visits.to_string();
    let worker = |_| {
        let mut command = Command::new(env::current_exe()?);
        command.args(["work", "--visits", &visits]);
        command.envs(variables.iter().cloned()).spawn()
    };
    let workers: Vec<_> = (0..WORKERS).map(worker).collect::<Result<_, _>>()?;
    for mut worker in workers {
        let status = worker.wait()?;
        if !status.success() {
            return Err(format!("a worker failed: {status}").into());
        }
    }
    let environment = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let environment = environment.collect::<Environment>();
    let settings = Settings::builder().environment(environment).load()?;
    // It would stay for others to come; so it is asked to make room for nobody.
    lifecycle::hand_over(&settings, "the end of the example", PATIENCE)?;
    println!("minimal: {WORKERS} workers have ended, and the agent that one of them had started");
    let sum = counted(&settings.dir()?.join(REPORTS), "visits")?;
    println!("minimal: its report says visits={sum}");
    Ok(())
}

/// A counter's sum over all heartbeats.
fn counted(reports: &Path, name: &str) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for line in fs::read_to_string(reports)?.lines() {
        if let Report::Heartbeat(heartbeat) = serde_json::from_str(line)? {
            let counters = heartbeat.counters.into_iter();
            let counters = counters.filter(|count| count.series.name == name);
            sum += counters.map(|count| count.value).sum::<u64>();
        }
    }
    Ok(sum)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    works: bool,
    transport: Option<String>,
    visits: u64,
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            works: false,
            transport: None,
            visits: 5,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "work" => options.works = true,
                "--transport" => options.transport = Some(value()?),
                "--visits" => {
                    let text = value()?;
                    let number = text.parse();
                    options.visits = number.map_err(|_| format!("{text} is not a number"))?;
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn what_any_workers_count_is_what_is_reported(visits in prop::collection::vec(0..1000_u64, 1..5)) {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path().join("run");
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let environment = Environment::empty()
                .with("WAYSIDE_DIR", dir.to_str().unwrap())
                .with("WAYSIDE_TCP_ADDRESS", port.to_string());
            let settings = Settings::builder().environment(environment).build().unwrap();
            let reports = settings.dir().unwrap().join(REPORTS);
            let sink = JsonLines::file(&reports, Rotation::default()).unwrap();
            let agent = Agent::builder(settings.name()).sink(sink).settings(&settings);
            let agent = agent.start().unwrap();
            // The agent is there, so none is started.
            for visits in &visits {
                work(&settings, *visits).unwrap();
            }
            prop_assert!(agent.shutdown(PATIENCE).is_complete());
            prop_assert_eq!(counted(&reports, "visits").unwrap(), visits.iter().sum::<u64>());
        }

        #[test]
        fn the_command_line_is_understood(visits: u64, works: bool) {
            let mut words = vec!["--visits".to_owned(), visits.to_string()];
            words.extend(works.then(|| "work".to_owned()));
            let transport = None;
            prop_assert_eq!(Options::parse(words), Ok(Some(Options { works, transport, visits })));
        }
    }

    #[test]
    fn an_unknown_word_is_named() {
        let complaint = Options::parse(["--visit".to_owned()]).unwrap_err();
        assert!(complaint.contains("--visit"));
    }
}
