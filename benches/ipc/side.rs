//! One side of a case, in a process of its own, told what to do over its standard input.
//!
//! ```text
//!   server:  address A                                client:  warm
//!            (mark)    -> figures ... delays ...               (go)  -> figures ... delays ... result ...
//!            (mark)    -> figures ... delays ...               (end)
//!            (end)
//! ```
//!
//! Warm means connected and run in: buffers have the size they need, and everything that was sent
//! has arrived. What a process uses between its two figures is what the messages cost.

use std::any::Any;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::case::{Case, Pinning, Workload};
use crate::crowd::{Crowd, STRIDE};
use crate::ledger::Ledger;
use crate::percentiles::Percentiles;
use crate::{Error, allocations, mechanism, platform};

/// Marks a process that is one side of a case.
pub const SIDE: &str = "--side";

/// Long enough for the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    /// As much as goes in this time.
    Time(Duration),
    /// So many messages.
    Count(u64),
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{}us", time.as_micros()),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for Amount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text.strip_suffix("us") {
            Some(micros) => Self::Time(Duration::from_micros(micros.parse()?)),
            None => Self::Count(text.parse()?),
        })
    }
}

impl Amount {
    /// What goes before, so that the steady state is measured.
    fn warm_up(self) -> Self {
        match self {
            Self::Time(time) => Self::Time(time / 2),
            Self::Count(_) => Self::Count(2000),
        }
    }
}

/// What a process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Nanoseconds; 0 where the platform doesn't tell.
    pub cpu_ns: u64,
    pub allocations: u64,
    /// How often a thread has gone to sleep; 0 where the platform doesn't tell.
    pub sleeps: u64,
    /// The most memory at any time; 0 where the platform doesn't tell.
    pub peak_kib: u64,
    /// The server's: messages that were verified.
    pub handled: u64,
}

impl Figures {
    /// Looks, and leaves out what looking itself takes.
    fn take(handled: u64) -> Self {
        static OWN_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
        static OWN_CPU_NS: AtomicU64 = AtomicU64::new(0);
        let cpu_time_ns = || platform::cpu_time_ns().unwrap_or(0);
        let (cpu_ns, begun) = (cpu_time_ns(), allocations::count());
        let sleeps = platform::sleeps().unwrap_or(0);
        let peak_kib = platform::peak_kib().unwrap_or(0);
        let own = allocations::count() - begun;
        let own_cpu_ns = cpu_time_ns() - cpu_ns;
        Self {
            cpu_ns: cpu_ns - OWN_CPU_NS.fetch_add(own_cpu_ns, Ordering::Relaxed),
            allocations: begun - OWN_ALLOCATIONS.fetch_add(own, Ordering::Relaxed),
            sleeps,
            peak_kib,
            handled,
        }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            allocations: self.allocations - before.allocations,
            sleeps: self.sleeps - before.sleeps,
            peak_kib: self.peak_kib,
            handled: self.handled - before.handled,
        }
    }
}

/// What the client has seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub messages: u64,
    pub elapsed_ns: u64,
    /// What the client sent that got rid of the fewest, and the one of the most.
    pub least: u64,
    pub most: u64,
}

/// Declares how a struct of numbers goes over a pipe.
macro_rules! line {
    ($name:ident { $($field:ident),* }) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(write!(f, " {}", self.$field)?;)*
                Ok(())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;

            fn from_str(line: &str) -> Result<Self, crate::Error> {
                let mut words = line.split_whitespace();
                Ok(Self { $($field: words.next().ok_or("a number is missing")?.parse()?,)* })
            }
        }
    };
}
pub(crate) use line;

line!(Figures {
    cpu_ns,
    allocations,
    sleeps,
    peak_kib,
    handled
});
line!(Outcome {
    messages,
    elapsed_ns,
    least,
    most
});

/// A server at work.
pub struct Serving {
    pub address: String,
    pub ledger: Arc<Ledger>,
    pub keep: Box<dyn Any>,
}

/// What a client can do, whatever moves the bytes.
pub trait Traffic: Send {
    /// A round trip.
    fn call(&mut self, number: u64) -> Result<(), Error>;
    /// One way, `count` messages. They may wait for more.
    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error>;
    /// Nothing more comes for now: what was sent has to leave soon.
    fn pass_on(&mut self) -> Result<(), Error>;
    /// One way; then waits until everything has been handled.
    fn flush(&mut self, number: u64) -> Result<(), Error>;
    /// Sleeps.
    fn pause(&mut self, time: Duration) -> Result<(), Error> {
        std::thread::sleep(time);
        Ok(())
    }
}

/// The arguments of a side, behind [`SIDE`].
pub fn run(arguments: &[String]) -> Result<(), Error> {
    match arguments {
        [role, case, folder] if role == "server" => {
            let case = case.parse()?;
            pin(&case, 1)?;
            platform::allow_many_files()?;
            serve(&case, Path::new(folder))
        }
        [role, case, folder, amount, address] if role == "client" => {
            let case = case.parse()?;
            pin(&case, 0)?;
            platform::allow_many_files()?;
            let mut errand = Errand {
                folder: folder.into(),
                address: address.clone(),
                amount: amount.parse()?,
                case,
                next: 0,
                round_trips: Vec::new(),
            };
            errand.run()
        }
        _ => Err(format!("not the arguments of a side: {arguments:?}").into()),
    }
}

fn pin(case: &Case, core: usize) -> Result<(), Error> {
    match case.pinning {
        Pinning::Two => platform::pin(core),
        Pinning::One => platform::pin(0),
        Pinning::Free => Ok(()),
    }
}

fn say(line: impl std::fmt::Display) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// The next line of input; false at the end.
fn wait_for_word(word: &mut String) -> Result<bool, Error> {
    word.clear();
    Ok(io::stdin().lock().read_line(word)? > 0)
}

// ---- the server ----

fn serve(case: &Case, folder: &Path) -> Result<(), Error> {
    let serving = mechanism::serve(case, folder)?;
    say(format_args!("address {}", serving.address))?;
    // Room for the words to come: what is measured is not to be ours.
    let mut word = String::with_capacity(64);
    while wait_for_word(&mut word)? {
        let figures = Figures::take(serving.ledger.handled());
        say(format_args!("figures{figures}"))?;
        say(format_args!("delays{}", serving.ledger.take_delays()))?;
    }
    drop(serving.keep);
    Ok(())
}

// ---- the client ----

struct Errand {
    case: Case,
    folder: PathBuf,
    address: String,
    amount: Amount,
    /// The number of the next message.
    next: u64,
    round_trips: Vec<u32>,
}

/// More round trips than this are not looked at one by one.
const ROUND_TRIPS_MAX: usize = 4_000_000;

/// A burst, and how often there is one.
const BURST: u64 = 100;
const BURST_INTERVAL: Duration = Duration::from_millis(1);

impl Errand {
    fn run(&mut self) -> Result<(), Error> {
        let (case, folder, address) = (&self.case, &self.folder, &self.address);
        if case.workload == Workload::FanIn {
            let mut crowd = mechanism::crowd(case, folder, address)?;
            return self.go(|errand, amount| errand.send_all(&mut *crowd, amount));
        }
        let mut traffic = mechanism::connect(case, folder, address, 0)?;
        self.round_trips.reserve_exact(ROUND_TRIPS_MAX);
        self.go(|errand, amount| errand.work(&mut *traffic, amount))
    }

    fn go(
        &mut self,
        mut work: impl FnMut(&mut Self, Amount) -> Result<Outcome, Error>,
    ) -> Result<(), Error> {
        if self.case.workload != Workload::Idle {
            work(self, self.amount.warm_up())?;
        }
        self.round_trips.clear();
        let mut word = String::with_capacity(64);
        say("warm")?;
        wait_for_word(&mut word)?;

        let before = Figures::take(0);
        let outcome = work(self, self.amount)?;
        let figures = Figures::take(0).since(before);
        say(format_args!("figures{figures}"))?;
        let round_trips = Percentiles::of(&mut self.round_trips);
        say(format_args!("delays{round_trips}"))?;
        say(format_args!("result{outcome}"))?;
        wait_for_word(&mut word)?;
        Ok(())
    }

    fn send_all(&mut self, crowd: &mut dyn Crowd, amount: Amount) -> Result<Outcome, Error> {
        let work = crowd.work(amount)?;
        Ok(Outcome {
            messages: work.messages(),
            elapsed_ns: nanoseconds(work.elapsed),
            least: work.counts.iter().min().copied().unwrap_or(0),
            most: work.counts.iter().max().copied().unwrap_or(0),
        })
    }

    fn work(&mut self, traffic: &mut dyn Traffic, amount: Amount) -> Result<Outcome, Error> {
        let first = self.next;
        let begun = Instant::now();
        match self.case.workload {
            Workload::Calls => self.call(traffic, amount)?,
            Workload::Events | Workload::FanIn => self.send(traffic, amount)?,
            Workload::Bursts => self.send_bursts(traffic, amount)?,
            Workload::Idle => {
                // Nobody unparks this thread; it may wake up without that.
                while let Some(left) = amount.left(begun.elapsed()) {
                    std::thread::park_timeout(left);
                }
            }
        }
        let messages = self.next - first;
        Ok(Outcome {
            messages,
            elapsed_ns: nanoseconds(begun.elapsed()),
            least: messages,
            most: messages,
        })
    }

    fn call(&mut self, traffic: &mut dyn Traffic, amount: Amount) -> Result<(), Error> {
        let begun = Instant::now();
        let first = self.next;
        let mut before = begun;
        while !amount.is_done(self.next - first, || before - begun) {
            traffic.call(self.next)?;
            self.next += 1;
            let after = Instant::now();
            if self.round_trips.len() < ROUND_TRIPS_MAX {
                let taken = (after - before).as_nanos();
                self.round_trips
                    .push(u32::try_from(taken).unwrap_or(u32::MAX));
            }
            before = after;
        }
        Ok(())
    }

    fn send(&mut self, traffic: &mut dyn Traffic, amount: Amount) -> Result<(), Error> {
        let begun = Instant::now();
        let first = self.next;
        // For the clock, a look at every so many is enough.
        let stride = if self.case.len <= 1024 { STRIDE } else { 1 };
        while !amount.is_done(self.next - first, || begun.elapsed()) {
            traffic.send_many(self.next, stride)?;
            self.next += stride;
        }
        traffic.flush(self.next)?;
        self.next += 1;
        Ok(())
    }

    fn send_bursts(&mut self, traffic: &mut dyn Traffic, amount: Amount) -> Result<(), Error> {
        let begun = Instant::now();
        let first = self.next;
        let mut due = begun;
        while !amount.is_done(self.next - first, || begun.elapsed()) {
            traffic.send_many(self.next, BURST)?;
            self.next += BURST;
            traffic.pass_on()?;
            // Who is late leaves bursts out: more at once would be another workload.
            due = (due + BURST_INTERVAL).max(Instant::now());
            traffic.pause(due.saturating_duration_since(Instant::now()))?;
        }
        traffic.flush(self.next)?;
        self.next += 1;
        Ok(())
    }
}

impl Amount {
    /// What is left of the time, if it is one.
    fn left(self, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Time(time) => time.checked_sub(elapsed),
            Self::Count(_) => None,
        }
    }

    /// What falls to one of many.
    pub fn share(self, clients: usize) -> Self {
        match self {
            Self::Time(_) => self,
            Self::Count(count) => Self::Count(count / u64::try_from(clients).unwrap_or(u64::MAX)),
        }
    }

    pub fn is_done(self, count: u64, elapsed: impl FnOnce() -> Duration) -> bool {
        match self {
            Self::Time(time) => elapsed() >= time,
            Self::Count(max) => count >= max,
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
