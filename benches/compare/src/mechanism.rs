//! Who moves the bytes.

use std::path::Path;

use crate::Error;
use crate::case::{Case, Pinning, Way, Workload, words};
use crate::crowd::{Crowd, Threads};
use crate::message::for_len;
use crate::side::{Serving, Traffic};
use crate::tasks::{self, Tasks};
use crate::{ipc_channel, local_socket, raw, tarpc_call, tokio_codec, tonic_stream, typed, zeromq};

words! {
    /// Who moves the bytes.
    Mechanism {
        /// The typed API of this crate.
        Wayside = "wayside",
        /// The same, many events with each call.
        WaysideAll = "wayside-all",
        /// A blocking socket, a system call for each message.
        Raw = "raw",
        /// The same, many messages in each write and read.
        RawBatch = "raw-batch",
        /// As `raw`, but neither side ever sleeps.
        RawSpin = "raw-spin",
        /// As `raw-batch`, and for calls as `raw-spin`, with postcard and a length before each message.
        RawTyped = "raw-typed",
        /// Not here: what waiting in a poll costs is among what `benches/ipc` measures.
        RawPoll = "raw-poll",
        /// tokio, its codec of length-delimited frames, postcard.
        Tokio = "tokio",
        /// interprocess, blocking, postcard.
        Interprocess = "interprocess",
        /// ZeroMQ, postcard.
        ZeroMq = "zeromq",
        /// ipc-channel.
        IpcChannel = "ipc-channel",
        /// tarpc.
        Tarpc = "tarpc",
        /// tonic.
        Tonic = "tonic",
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
        let fits = match (self, case.workload) {
            (Self::Wayside, _) => true,
            (Self::WaysideAll, Workload::Events | Workload::FanIn) => case.len <= 1024,
            // There is no batch of round trips, and one write each is no limit for many clients.
            (Self::Raw, Workload::Calls | Workload::Events | Workload::Bursts) => true,
            (Self::RawBatch, Workload::Events | Workload::FanIn | Workload::Bursts) => true,
            // Who spins on the only core keeps the other from it.
            (Self::RawSpin | Self::RawTyped, Workload::Calls) => case.pinning != Pinning::One,
            (Self::RawTyped, Workload::Events) => true,
            (
                Self::WaysideAll
                | Self::Raw
                | Self::RawPoll
                | Self::RawBatch
                | Self::RawSpin
                | Self::RawTyped,
                _,
            )
            | (_, Workload::Idle) => false,
            // Its messages are calls.
            (Self::Tarpc, _) => case.workload == Workload::Calls,
            _ => true,
        };
        fits && case.way == Way::Uds
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
        Mechanism::Tokio => for_len!(case.len, M => tokio_codec::serve::<M>(case, folder)),
        Mechanism::Interprocess => for_len!(case.len, M => local_socket::serve::<M>(case, folder)),
        Mechanism::ZeroMq => for_len!(case.len, M => zeromq::serve::<M>(case, folder)),
        Mechanism::IpcChannel => for_len!(case.len, M => ipc_channel::serve::<M>(case)),
        Mechanism::Tarpc => for_len!(case.len, M => tarpc_call::serve::<M>(case, folder)),
        Mechanism::Tonic => tonic_stream::serve(case, folder),
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
        Mechanism::Tokio => for_len!(case.len, M => {
            tasks::alone(tokio_codec::Member::<M>::connect(case, address, source))?
        }),
        Mechanism::Interprocess => for_len!(case.len, M => {
            Box::new(local_socket::Member::<M>::connect(case, address, source)?)
        }),
        Mechanism::ZeroMq => for_len!(case.len, M => {
            Box::new(zeromq::Member::<M>::connect(case, address, source)?)
        }),
        Mechanism::IpcChannel => for_len!(case.len, M => {
            Box::new(ipc_channel::Member::<M>::connect(case, address, source)?)
        }),
        Mechanism::Tarpc => for_len!(case.len, M => {
            tasks::alone(tarpc_call::Member::<M>::connect(case, address, source))?
        }),
        Mechanism::Tonic => tasks::alone(tonic_stream::Member::connect(case, address, source))?,
    })
}

/// All clients of a case.
pub fn crowd(case: &Case, folder: &Path, address: &str) -> Result<Box<dyn Crowd>, Error> {
    Ok(match case.mechanism {
        Mechanism::Tokio => {
            for_len!(case.len, M => Box::new(Tasks::connect(case.clients, |source| {
            tokio_codec::Member::<M>::connect(case, address, source)
        })?))
        }
        Mechanism::Tonic => Box::new(Tasks::connect(case.clients, |source| {
            tonic_stream::Member::connect(case, address, source)
        })?),
        _ => Box::new(Threads::connect(case.clients, |source| {
            connect(case, folder, address, source)
        })?),
    })
}
