//! A firewall inside an application of many processes: attacks, limits and rules, for all of them.
//!
//! ```text
//! cargo run --example firewall --features aggregator
//! ```
//!
//! prints (numbers differ; on a terminal the table is one that changes):
//!
//! ```text
//! show: 4 workers and one agent, 4000 requests of seed 1
//! 1400 of 4000 requests; 813 served, 98 attack, 0 blocked, 79 limited, 1 waves
//!     worker     config  recorded   applied  dropped  pending
//!      31679 1795273907       336       336        0        0
//!      31681 1795273907       337       337        0        0
//!      31678 1795273907       340       340        0        0
//!      31677 1795273907       330       330        0        0
//! show: mallory is blocked in all workers after 14 ms
//! …
//!                           workers say     reported
//!   requests served                3020         3020
//!   requests attack                 400          400
//!   requests blocked                200          200
//!   requests limited                380          380
//!   counted                        4000         4000
//!   observed                       4000         4000
//!   hits                           4000         4000
//!   attacks                         400          400
//!   ledger: 12400 recorded = 12400 applied + 0 dropped + 0 pending
//!   10 heartbeats, 400 attacks from 201 addresses, 0 reports came again
//!   attack_wave: 10 attacks of 203.0.113.66 within 60s
//!   20 logins of one client were let through, of at most 20
//! show: everything balances
//! ```
//!
//! The same with an agent that is killed half-way; the workers start another, and nothing is lost:
//!
//! ```text
//! cargo run --example firewall --features aggregator -- --kill-agent --transport tcp --workers 8
//! ```
//!
//! ```text
//!   show ── requests ──▶ worker ─┐   Worker: counts, reports attacks, asks for limits
//!    │                   worker ─┼──▶ agent ──▶ reports.jsonl ──▶ show compares
//!    │                   worker ─┘     ▲ │ rules, pushed to all workers
//!    └──────────── rules.json ─────────┘ └ journal: what it has acknowledged outlives it
//! ```
//!
//! Nobody starts the agent: the first worker that misses it does ([`lifecycle::hook`]), and so does
//! the first that misses it after it was killed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod books;
mod injection;
mod shop;
mod show;
mod traffic;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use wayside::aggregator::lifecycle;
use wayside::settings::Environment;
use wayside::{Settings, SettingsError};

const HELP: &str = "\
A firewall in several worker processes, with one agent for all: SQL injections are reported at once,
an attack wave is seen across processes, a client is limited across processes, a user is blocked
half-way, and at the end the books of all sides must balance.

usage: firewall [OPTIONS]    shows it, in a temporary directory
       firewall work         a worker: takes requests from standard input, in JSON

  --transport T   uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --workers N     worker processes (4)
  --requests N    requests in all (4000); at least 200
  --kill-agent    kill the agent half-way; the workers start another one
  --seed N        other requests (1)

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

/// The application.
const NAME: &str = "firewall";

/// How long anything but the requests may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // In the process that a worker has started to be the agent, this does not return.
    lifecycle::hook(|| shop::agent(&settings(Environment::of_process())?));

    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("firewall: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    let result = if options.work {
        settings(Environment::of_process())
            .map_err(Into::into)
            .and_then(|settings| shop::work(&settings))
    } else {
        show::show(&options, &[])
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firewall: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the file and this environment say.
fn settings(environment: Environment) -> Result<Settings, SettingsError> {
    let builder = Settings::builder().name(NAME);
    builder.environment(environment).load()
}

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    work: bool,
    transport: Option<String>,
    workers: usize,
    requests: u64,
    kill_agent: bool,
    seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            work: false,
            transport: None,
            workers: 4,
            requests: 4000,
            kill_agent: false,
            seed: 1,
        }
    }
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        let mut first = true;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "work" if first => options.work = true,
                "--transport" => options.transport = Some(value()?),
                "--workers" => options.workers = number(&word, &value()?)?,
                "--requests" => options.requests = number(&word, &value()?)?,
                "--seed" => options.seed = number(&word, &value()?)?,
                "--kill-agent" => options.kill_agent = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
            first = false;
        }
        if options.workers == 0 {
            return Err("--workers must be at least 1".to_owned());
        }
        if options.requests < 200 {
            return Err("--requests must be at least 200, for a wave to be among them".to_owned());
        }
        Ok(Some(options))
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option} needs a number, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Set where a test is run as a part of the show.
    const PART: &str = "FIREWALL_PART";

    /// Not a test by itself: what is started as a worker.
    #[test]
    fn plays_a_worker() {
        if env::var_os(PART).is_some() {
            shop::work(&settings(Environment::of_process()).unwrap()).unwrap();
        }
    }

    /// Not a test by itself: what is started as the agent.
    #[test]
    fn plays_the_agent() {
        if env::var_os(PART).is_some() {
            let settings = settings(Environment::of_process()).unwrap();
            shop::agent(&settings).unwrap().run().unwrap();
        }
    }

    /// The whole thing, small: the books balance, whether the agent is killed or not.
    #[test]
    fn the_show_balances() {
        for kill_agent in [false, true] {
            let options = Options {
                transport: Some("tcp".to_owned()),
                workers: 2,
                requests: 400,
                kill_agent,
                ..Options::default()
            };
            show::show(&options, &[(PART, "1".into())]).unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_command_line_is_understood_in_any_order(
            workers in 1..100_usize, requests in 200..u64::MAX, seed: u64, kill_agent: bool,
            order in 0..5_usize,
        ) {
            let mut parts = vec![
                vec!["--workers".to_owned(), workers.to_string()],
                vec!["--requests".to_owned(), requests.to_string()],
                vec!["--seed".to_owned(), seed.to_string()],
                vec!["--transport".to_owned(), "tcp".to_owned()],
            ];
            if kill_agent {
                parts.push(vec!["--kill-agent".to_owned()]);
            }
            let middle = order % parts.len();
            parts.rotate_left(middle);
            let transport = Some("tcp".to_owned());
            let work = false;
            let expected = Options { work, transport, workers, requests, kill_agent, seed };
            prop_assert_eq!(Options::parse(parts.concat()), Ok(Some(expected)));
        }

        #[test]
        fn any_other_word_is_named_in_the_complaint(word in "[a-z]{1,10}") {
            prop_assume!(word != "work");
            let complaint = Options::parse([word.clone()]).unwrap_err();
            prop_assert!(complaint.contains(&word));
        }
    }
}
