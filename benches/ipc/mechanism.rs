//! Who moves the bytes.

use std::path::Path;

use crate::Error;
use crate::case::{Case, Pinning, Workload, words};
use crate::crowd::{Crowd, Threads};
use crate::message::for_len;
use crate::side::{Serving, Traffic};
use crate::{raw, typed};

words! {
    /// Who moves the bytes.
    Mechanism {
        /// The typed API of this crate.
        Wayside = "wayside",
        /// The same, many events with each call.
        WaysideAll = "wayside-all",
        /// A blocking socket, FIFO or queue, a system call for each message.
        Raw = "raw",
        /// The same, but each side sleeps in a poll until there is something to read.
        RawPoll = "raw-poll",
        /// The same, many messages in each write and read.
        RawBatch = "raw-batch",
        /// As `raw`, but neither side ever sleeps.
        RawSpin = "raw-spin",
        /// As `raw-batch`, and for calls as `raw-spin`, with postcard and a length before each message.
        RawTyped = "raw-typed",
    }
}

impl Mechanism {
    /// Whether a side never sleeps.
    pub fn spins(self, workload: Workload) -> bool {
        match self {
            Self::RawSpin => true,
            Self::RawTyped => workload == Workload::Calls,
            _ => false,
        }
    }

    /// Whether it has anything to say about a case.
    pub fn suits(self, case: &Case) -> bool {
        match (self, case.workload) {
            (Self::Wayside, _) => true,
            (Self::WaysideAll, Workload::Events | Workload::FanIn) => case.len <= 1024,
            // There is no batch of round trips, and one write each is no limit for many clients.
            (Self::Raw, Workload::Calls | Workload::Events | Workload::Bursts) => true,
            (Self::RawBatch, Workload::Events | Workload::FanIn | Workload::Bursts) => true,
            // As long as what is under way fits into any link, writing needs no poll.
            (Self::RawPoll, Workload::Calls) => cfg!(target_os = "linux") && case.len <= 1024,
            // Who spins on the only core keeps the other from it.
            (Self::RawSpin | Self::RawTyped, Workload::Calls) => case.pinning != Pinning::One,
            (Self::RawTyped, Workload::Events) => true,
            _ => false,
        }
    }
}

/// Listens and serves.
pub fn serve(case: &Case, folder: &Path) -> Result<Serving, Error> {
    match case.mechanism {
        Mechanism::Raw
        | Mechanism::RawPoll
        | Mechanism::RawBatch
        | Mechanism::RawSpin
        | Mechanism::RawTyped => raw::serve(case, folder),
        Mechanism::Wayside | Mechanism::WaysideAll => {
            for_len!(case.len, M => typed::serve::<M>(case, folder))
        }
    }
}

/// One client; `source` is its number among all of this case.
pub fn connect(
    case: &Case,
    folder: &Path,
    address: &str,
    source: usize,
) -> Result<Box<dyn Traffic>, Error> {
    Ok(match case.mechanism {
        Mechanism::Raw
        | Mechanism::RawPoll
        | Mechanism::RawBatch
        | Mechanism::RawSpin
        | Mechanism::RawTyped => raw::connect(case, address, source)?,
        Mechanism::Wayside | Mechanism::WaysideAll => for_len!(case.len, M => {
            Box::new(typed::Caller::<M>::connect(case, folder, address, source)?)
        }),
    })
}

/// All clients of a case.
pub fn crowd(case: &Case, folder: &Path, address: &str) -> Result<Box<dyn Crowd>, Error> {
    let connect = |source| connect(case, folder, address, source);
    Ok(Box::new(Threads::connect(case.clients, connect)?))
}
