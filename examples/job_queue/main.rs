//! A job queue: a dispatcher hands jobs to workers, and to another worker if one dies.
//!
//! ```text
//! cargo run --example job_queue
//! ```
//!
//! prints (places, process ids, and who did how much differ; on a terminal the progress is one
//! line that changes):
//!
//! ```text
//! dispatch: listening on uds:/tmp/.tmpVr1aWk/run/job-queue.sock
//! work: process 4712 is ready
//! work: process 4713 is ready
//! work: process 4714 is ready
//! submit: 0 of 300 jobs done, 3 workers
//! submit: 75 of 300 jobs done, 3 workers
//! show: process 4712 was killed
//! submit: 150 of 300 jobs done, 2 workers
//! submit: 225 of 300 jobs done, 2 workers
//! submit: 300 of 300 jobs done, 2 workers
//! submit: 300 jobs = 300 done + 0 given up
//! submit: 302 times handed out = 300 done + 2 lost with a worker
//! submit: 768560 primes in all
//! work: process 4713 did 138 jobs
//! work: process 4714 did 129 jobs
//! ```
//!
//! The parts in terminals of their own; any of them can be killed, and started again:
//!
//! ```text
//! cargo run --example job_queue -- dispatch --transport tcp
//! cargo run --example job_queue -- work     --transport tcp        (as many as you like)
//! cargo run --example job_queue -- submit   --transport tcp --jobs 1000
//! ```
//!
//! What it shows: a job is a push to a worker, its result is an event, and the batch as a whole is
//! one call that is answered when the last job is done. A connection delivers in order and at most
//! once; that every job is done is the business of the [`queue`], which knows who has what in
//! hand. It is pure, so the tests below can put it through any order of events.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod dispatcher;
mod options;
mod protocol;
mod queue;
mod show;
mod submitter;
mod worker;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use options::{Options, Part};

const HELP: &str = "\
Hands jobs (counting primes) to worker processes, and to others if a worker dies.

usage: job_queue [OPTIONS]             shows it: starts all parts, kills a worker on the way
       job_queue dispatch [OPTIONS]    the part in the middle, until it is interrupted
       job_queue work [OPTIONS]        a worker, until the dispatcher sends it home
       job_queue submit [OPTIONS]      hands in jobs and waits for the last of them

  --transport T   uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --jobs N        how many jobs (300)
  --workers N     how many workers to start (3); at least 2, as one is killed
  --once          dispatch: after the first batch send all workers home and end

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("job_queue: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    let result = match options.part {
        Part::All => show::show(&options),
        Part::Dispatch => dispatcher::dispatch(&options),
        Part::Work => worker::work(&options),
        Part::Submit => submitter::submit(&options, |_| Ok(())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("job_queue: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long anything but the jobs may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use crate::protocol::{Ledger, Progress};

    #[test]
    fn the_lines_at_the_top_of_this_file_are_those_that_are_printed() {
        let ledger = Ledger {
            submitted: 300,
            done: 300,
            given_up: 0,
            handed_out: 302,
            lost: 2,
            primes: 768_560,
        };
        let progress = Progress { ledger, workers: 2 };
        let page = include_str!("main.rs");
        for line in format!("{progress}\n{ledger}").lines() {
            assert!(page.contains(&format!("//! {line}\n")), "{line}");
        }
    }
}
