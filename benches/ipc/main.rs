//! Measures wayside between two processes, next to the bare mechanisms in the same run.
//!
//! ```text
//!   options      what was asked for
//!   case         one thing to measure: workload, transport, mechanism, length, clients, pinning
//!   rounds       runs all cases, again and again
//!   pair         starts both sides of a case as processes of their own and takes the figures
//!   side         what such a process does, and how it talks to the one that measures
//!   crowd        many clients in one process
//!   mechanism    who moves the bytes:
//!   typed          wayside's public API on both sides
//!   raw            loops over bare sockets, FIFOs and queues: the limits
//!   message      what is sent, and how it is verified
//!   ledger       what has arrived
//!   percentiles  of delays
//!   allocations  counts what the process allocates
//!   platform     cores, CPU time, context switches, memory
//!   strace       counts system calls
//!   report       tables and JSON lines
//! ```
//!
//! `benches/compare` measures other libraries with the same files and another `mechanism`.
//!
//! `cargo bench --bench ipc -- --help` says how to use it, `docs/performance.md` what came of it.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(clippy::print_stderr, reason = "progress is not part of the report")]

mod allocations;
mod case;
mod crowd;
mod ledger;
mod mechanism;
mod message;
mod options;
mod pair;
mod percentiles;
mod platform;
mod raw;
mod report;
mod rounds;
mod side;
mod strace;
mod typed;

use std::process::ExitCode;

use side::SIDE;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = if arguments.first().is_some_and(|first| first == SIDE) {
        side::run(&arguments[1..])
    } else if arguments.iter().any(|argument| argument == "--bench") {
        rounds::run(&arguments)
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
