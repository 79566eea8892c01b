//! What was asked for.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::case::{Case, Pinning, Way, Workload};
use crate::mechanism::Mechanism;
use crate::message::{BURST_LEN, LENS};
use crate::platform;
use crate::side::Amount;

pub const HELP: &str = "\
Measures wayside between two processes, next to the bare mechanisms in the same run.

    cargo bench --bench ipc -- [OPTIONS]
    ci/compare.sh [OPTIONS]                 other libraries, too

    --quick             less than a minute: does everything work, does the steady state allocate,
                        do messages share system calls? Fails if not. Its times mean nothing.
    --strace            counts system calls instead of time (Linux, needs strace)
    --json FILE         also adds every single run to a file, each a line of JSON
    --rounds N          how often each case is run; medians are over these [5]
    --seconds S         how long each run takes, half of it again to warm up [0.4];
                        fan-in and bursts take 2.5 times that, idling 12.5 times

Only some of the cases, each a list separated by commas:
    --workload          calls, events, fan-in, bursts, idle
    --way               uds, fifo, mqueue (Linux), tcp; other libraries: uds
    --len               of calls and events: 64, 1024, 65536, 1048576
    --clients           of the fan-in [8,64,512]; at most 48 over mqueue
    --pinning           two (each process on a core of its own), one (both on the same), free
    --mechanism         who moves the bytes: ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Help,
    Quick,
    Strace,
    Measure,
}

#[derive(Debug)]
pub struct Options {
    pub mode: Mode,
    pub json: Option<PathBuf>,
    pub rounds: usize,
    seconds: f64,
    workloads: Vec<Workload>,
    ways: Vec<Way>,
    lens: Vec<usize>,
    clients: Vec<usize>,
    pinnings: Vec<Pinning>,
    mechanisms: Vec<Mechanism>,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self {
            mode: Mode::Measure,
            json: None,
            rounds: 5,
            seconds: 0.4,
            workloads: Workload::ALL.to_vec(),
            ways: Way::ALL.to_vec(),
            lens: LENS.to_vec(),
            clients: vec![8, 64, 512],
            pinnings: Pinning::ALL.to_vec(),
            mechanisms: Mechanism::ALL.to_vec(),
        };
        if arguments.iter().any(|argument| argument == "--quick") {
            options.mode = Mode::Quick;
            options.rounds = 1;
            options.seconds = 0.1;
            options.pinnings = vec![Pinning::Free];
            options.clients = vec![8];
        }
        options.ways.retain(|way| match way {
            Way::Uds | Way::Fifo => cfg!(unix),
            Way::Mqueue => cfg!(target_os = "linux"),
            Way::Tcp => true,
        });
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} wants a value; see --help"))
            };
            match argument.as_str() {
                // What cargo adds, and what was looked at above.
                "--bench" | "--quick" => {}
                "--help" | "-h" => options.mode = Mode::Help,
                "--strace" => options.mode = Mode::Strace,
                "--json" => options.json = Some(value()?.into()),
                "--rounds" => options.rounds = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--workload" => options.workloads = list(value()?)?,
                "--way" => options.ways = list(value()?)?,
                "--len" => options.lens = list(value()?)?,
                "--clients" => options.clients = list(value()?)?,
                "--pinning" => options.pinnings = list(value()?)?,
                "--mechanism" => options.mechanisms = list(value()?)?,
                _ => return Err(format!("`{argument}` is no option; see --help").into()),
            }
        }
        if let Some(len) = options.lens.iter().find(|len| !LENS.contains(len)) {
            return Err(format!("--len {len} is none of {LENS:?}").into());
        }
        Ok(options)
    }

    /// All cases that were asked for and that this machine can run.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &workload in &self.workloads {
            for &way in &self.ways {
                for (len, clients) in self.sizes(workload, way) {
                    for &pinning in &self.pinnings {
                        cases.extend(self.mechanisms.iter().map(|&mechanism| Case {
                            workload,
                            way,
                            len,
                            clients,
                            pinning,
                            mechanism,
                        }));
                    }
                }
            }
        }
        let cores = platform::cores();
        cases.retain(|case| {
            let is_possible = match case.pinning {
                Pinning::Two => cores >= 2,
                Pinning::One => cores >= 1,
                // There is only one place to be.
                Pinning::Free => cores != 1 || !case.mechanism.spins(case.workload),
            };
            is_possible && case.mechanism.suits(case) && !self.is_left_out(case)
        });
        cases
    }

    /// The lengths of messages and the numbers of clients that a workload comes with.
    fn sizes(&self, workload: Workload, way: Way) -> Vec<(usize, usize)> {
        match workload {
            Workload::Calls | Workload::Events => self.lens.iter().map(|&len| (len, 1)).collect(),
            Workload::FanIn => {
                let max = if way == Way::Mqueue {
                    MQUEUE_CLIENTS_MAX
                } else {
                    usize::MAX
                };
                let mut clients: Vec<_> = self.clients.iter().map(|&n| n.min(max)).collect();
                clients.dedup();
                clients.into_iter().map(|clients| (64, clients)).collect()
            }
            Workload::Bursts => vec![(BURST_LEN, 1)],
            Workload::Idle => vec![(64, 1)],
        }
    }

    /// The quick mode sees every mechanism work, but the others than wayside only once; and where
    /// nothing is to do, there is no placement to compare.
    fn is_left_out(&self, case: &Case) -> bool {
        let foreign = case.mechanism != Mechanism::Wayside;
        let idle = case.workload == Workload::Idle;
        self.mode == Mode::Quick && foreign && case.len > BURST_LEN
            || idle && self.pinnings.contains(&Pinning::Free) && case.pinning != Pinning::Free
    }

    pub fn amount_for(&self, case: &Case) -> Amount {
        let seconds = match case.workload {
            // The longer the quiet, the less does the harness weigh.
            Workload::Idle => self.seconds * 12.5,
            // Every client has to get its turn often, and there are few bursts in a short time.
            Workload::FanIn | Workload::Bursts => self.seconds * 2.5,
            Workload::Calls | Workload::Events => self.seconds,
        };
        Amount::Time(Duration::from_secs_f64(seconds))
    }
}

/// What the stock limits of a Linux system leave room for.
const MQUEUE_CLIENTS_MAX: usize = 48;

fn list<T: std::str::FromStr>(words: &str) -> Result<Vec<T>, Error>
where
    Error: From<T::Err>,
{
    let mut values = Vec::new();
    for word in words.split(',') {
        values.push(word.parse()?);
    }
    Ok(values)
}
