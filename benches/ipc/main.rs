//! Measures wayside between two processes, next to the bare mechanisms in the same run.
//!
//! ```text
//!   options      what was asked for
//!   case         one thing to measure: workload, transport, mechanism, length, pinning
//!   pair         starts both sides of a case as processes of their own and takes the figures
//!   side         what such a process does, and how it talks to the one that measures
//!   typed        wayside's public API on both sides
//!   raw          loops over bare sockets: the limits
//!   message      what is sent, and how it is verified
//!   allocations  counts what the process allocates
//!   platform     cores, CPU time, context switches
//!   strace       counts system calls
//!   report       tables and JSON lines
//! ```
//!
//! `cargo bench --bench ipc -- --help` says how to use it, `docs/performance.md` what came of it.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(clippy::print_stderr, reason = "progress is not part of the report")]

mod allocations;
mod case;
mod message;
mod options;
mod pair;
mod platform;
mod raw;
mod report;
mod side;
mod strace;
mod typed;

use std::process::ExitCode;

use case::{Case, Mechanism, Workload};
use options::{Mode, Options};
use pair::Pair;
use report::Report;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Marks a process that is one side of a case.
const SIDE: &str = "--side";

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = if arguments.first().is_some_and(|first| first == SIDE) {
        side::run(&arguments[1..])
    } else if arguments.iter().any(|argument| argument == "--bench") {
        Options::parse(&arguments).and_then(|options| measure(&options))
    } else {
        // `cargo test --all-targets` runs this too, and must not wait for it.
        eprintln!("to measure: cargo bench --bench ipc -- [--quick | --help]");
        Ok(())
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Error> {
    match options.mode {
        Mode::Help => {
            println!("{}", options::HELP);
            Ok(())
        }
        Mode::Strace => strace::report(options),
        Mode::Measure => measure_cases(options),
        Mode::Quick => {
            measure_cases(options)?;
            if strace::is_there() {
                strace::report(options)?;
            }
            Ok(())
        }
    }
}

/// Interleaved: every round runs every case once, so that what disturbs the machine for a while
/// disturbs all alike.
fn measure_cases(options: &Options) -> Result<(), Error> {
    let mut report = Report::new(options)?;
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for case in options.cases() {
            let run = Pair::start(&case, options.amount_for(&case), None)
                .and_then(Pair::finish)
                .map_err(|error| format!("{case}: {error}"))?;
            if options.mode == Mode::Quick {
                check(&case, &run)?;
            }
            report.add(&case, round, &run)?;
        }
    }
    report.print();
    Ok(())
}

/// What has to hold on any machine, however slow: the steady state allocates nothing. That every
/// message arrived, whole and in order, the sides check in every run.
fn check(case: &Case, run: &pair::Run) -> Result<(), Error> {
    let inline = case.len <= message::INLINE_LEN_MAX;
    if case.mechanism != Mechanism::Wayside || case.workload == Workload::Idle || !inline {
        return Ok(());
    }
    for (side, figures) in [("client", &run.client), ("server", &run.server)] {
        let allocations = figures.allocations;
        // More may wait than ever before, and need its chunks: some hundred in all, not one for
        // each message.
        if allocations > 300 + run.messages / 1000 {
            let messages = run.messages;
            let text =
                format!("{case}: the {side} allocates: {allocations} in {messages} messages");
            return Err(text.into());
        }
    }
    Ok(())
}
