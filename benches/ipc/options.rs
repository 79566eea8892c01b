//! What was asked for.

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::case::{Case, Mechanism, Pinning, Way, Workload};
use crate::message::LENS;
use crate::platform;
use crate::side::Amount;

pub const HELP: &str = "\
Measures wayside between two processes, next to the bare mechanisms in the same run.

    cargo bench --bench ipc -- [OPTIONS]

    --quick             less than a minute: does everything work, does the steady state allocate,
                        do messages share system calls? Fails if not. Its times mean nothing.
    --strace            counts system calls instead of time (Linux, needs strace)
    --json FILE         also writes every single run as a line of JSON
    --rounds N          how often each case is run; medians are over these [5]
    --seconds S         how long each run takes, half of it again to warm up [0.4]

Only some of the cases, each a list separated by commas:
    --workload          calls, events, idle
    --way               uds, fifo, mqueue (Linux), tcp
    --len               64, 1024, 65536, 1048576
    --pinning           two (each process on a core of its own), one (both on the same), free
    --mechanism         wayside, raw (a system call for each message), raw-batch,
                        raw-spin (never sleeps; calls, where each side has a core)";

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
    pub rounds: u32,
    seconds: f64,
    workloads: Vec<Workload>,
    ways: Vec<Way>,
    lens: Vec<usize>,
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
            pinnings: Pinning::ALL.to_vec(),
            mechanisms: Mechanism::ALL.to_vec(),
        };
        if arguments.iter().any(|argument| argument == "--quick") {
            options.mode = Mode::Quick;
            options.rounds = 1;
            options.seconds = 0.1;
            options.pinnings = vec![Pinning::Free];
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
                for &len in &self.lens {
                    for &pinning in &self.pinnings {
                        for &mechanism in &self.mechanisms {
                            cases.push(Case {
                                workload,
                                way,
                                len,
                                pinning,
                                mechanism,
                            });
                        }
                    }
                }
            }
        }
        let cores = platform::cores();
        cases.retain(|case| {
            let pinnable = match case.pinning {
                Pinning::Two => cores >= 2,
                Pinning::One => cores >= 1,
                Pinning::Free => true,
            };
            // Who spins on the only core keeps the other from it.
            let spins = case.mechanism == Mechanism::RawSpin;
            let apart = cores >= 2 && case.pinning != Pinning::One;
            pinnable && (apart || !spins) && is_of_use(case)
        });
        cases
    }

    pub fn amount_for(&self, case: &Case) -> Amount {
        let seconds = match case.workload {
            // The longer the quiet, the less does the harness weigh.
            Workload::Idle => self.seconds * 12.5,
            Workload::Calls | Workload::Events => self.seconds,
        };
        Amount::Time(Duration::from_secs_f64(seconds))
    }
}

/// There is no batch of round trips, and nothing has a length when nothing is sent.
fn is_of_use(case: &Case) -> bool {
    match case.workload {
        Workload::Calls => case.mechanism != Mechanism::RawBatch,
        Workload::Events => case.mechanism != Mechanism::RawSpin,
        Workload::Idle => {
            case.mechanism == Mechanism::Wayside
                && case.len == LENS[0]
                && case.pinning == Pinning::Free
        }
    }
}

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
