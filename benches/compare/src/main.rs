//! Measures wayside beside other libraries, on the same workloads and with the same harness: all but
//! what is listed below are the files of `benches/ipc`.
//!
//! ```text
//!   mechanism      who moves the bytes:
//!   tokio_codec      tokio, length-delimited frames, postcard
//!   local_socket     interprocess, blocking, postcard
//!   zeromq           ZeroMQ, postcard
//!   ipc_channel      ipc-channel
//!   tarpc_call       tarpc
//!   tonic_stream     tonic: gRPC
//!   tasks          clients that are tasks of tokio's
//! ```
//!
//! All over Unix sockets. `README.md` says what each is given, and how to run it.

#[path = "../../ipc/case.rs"]
mod case;
#[path = "../../ipc/crowd.rs"]
mod crowd;
#[path = "../../ipc/ledger.rs"]
mod ledger;
#[path = "../../ipc/message.rs"]
mod message;
#[path = "../../ipc/options.rs"]
mod options;
#[path = "../../ipc/pair.rs"]
mod pair;
#[path = "../../ipc/percentiles.rs"]
mod percentiles;
#[path = "../../ipc/platform/mod.rs"]
mod platform;
#[path = "../../ipc/raw/mod.rs"]
mod raw;
#[path = "../../ipc/report.rs"]
mod report;
#[path = "../../ipc/rounds.rs"]
mod rounds;
#[path = "../../ipc/side.rs"]
mod side;
#[path = "../../ipc/strace.rs"]
mod strace;
#[path = "../../ipc/typed.rs"]
mod typed;

mod allocations;
mod ipc_channel;
mod local_socket;
mod mechanism;
mod shared;
mod tarpc_call;
mod tasks;
mod tokio_codec;
mod tonic_stream;
mod zeromq;

use std::process::ExitCode;

use side::SIDE;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = if arguments.first().is_some_and(|first| first == SIDE) {
        side::run(&arguments[1..])
    } else {
        rounds::run(&arguments)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
