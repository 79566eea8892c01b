//! One side of a case, in a process of its own, told what to do over its standard input.
//!
//! ```text
//!   server:  address A                              client:  warm
//!            (mark)    -> figures ...                        (go)  -> figures ... result ...
//!            (mark)    -> figures ...                        (end)
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

use crate::case::{Case, Mechanism, Pinning, Workload};
use crate::message::{Large, Medium, Message, Small};
use crate::{Error, allocations, platform, raw, typed};

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
    /// The server's: messages that were verified.
    pub handled: u64,
}

impl Figures {
    /// Looks, and leaves out what looking itself allocates.
    fn take(handled: u64) -> Self {
        static OWN_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
        let begun = allocations::count();
        let sleeps = platform::sleeps().unwrap_or(0);
        let own = allocations::count() - begun;
        Self {
            cpu_ns: platform::cpu_time_ns().unwrap_or(0),
            allocations: begun - OWN_ALLOCATIONS.fetch_add(own, Ordering::Relaxed),
            sleeps,
            handled,
        }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            allocations: self.allocations - before.allocations,
            sleeps: self.sleeps - before.sleeps,
            handled: self.handled - before.handled,
        }
    }
}

/// What the client has seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub messages: u64,
    pub elapsed_ns: u64,
    /// Half of the round trips took no longer.
    pub p50_ns: u64,
    /// 99 of 100 round trips took no longer.
    pub p99_ns: u64,
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

        impl FromStr for $name {
            type Err = Error;

            fn from_str(line: &str) -> Result<Self, Error> {
                let mut words = line.split_whitespace();
                Ok(Self { $($field: words.next().ok_or("a number is missing")?.parse()?,)* })
            }
        }
    };
}

line!(Figures {
    cpu_ns,
    allocations,
    sleeps,
    handled
});
line!(Outcome {
    messages,
    elapsed_ns,
    p50_ns,
    p99_ns
});

/// A server at work.
pub struct Serving {
    pub address: String,
    /// Messages that were verified.
    pub handled: Arc<AtomicU64>,
    pub keep: Box<dyn Any>,
}

/// What a client can do, whatever moves the bytes.
pub trait Traffic {
    /// A round trip.
    fn call(&mut self, number: u64) -> Result<(), Error>;
    /// One way.
    fn send(&mut self, number: u64) -> Result<(), Error>;
    /// One way; then waits until everything has been handled.
    fn flush(&mut self, number: u64) -> Result<(), Error>;
}

/// The arguments of a side, behind [`SIDE`](crate::SIDE).
pub fn run(arguments: &[String]) -> Result<(), Error> {
    match arguments {
        [role, case, folder] if role == "server" => {
            let case = case.parse()?;
            pin(&case, 1)?;
            serve(&case, Path::new(folder))
        }
        [role, case, folder, amount, address] if role == "client" => {
            let case = case.parse()?;
            pin(&case, 0)?;
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
    let serving = match (case.mechanism, case.len) {
        (Mechanism::Raw | Mechanism::RawBatch | Mechanism::RawSpin, _) => raw::serve(case, folder),
        (Mechanism::Wayside, 64) => typed::serve::<Small>(case, folder),
        (Mechanism::Wayside, 1024) => typed::serve::<Medium>(case, folder),
        (Mechanism::Wayside, _) => typed::serve::<Large>(case, folder),
    }?;
    say(format_args!("address {}", serving.address))?;
    // Room for the words to come: what is measured is not to be ours.
    let mut word = String::with_capacity(64);
    while wait_for_word(&mut word)? {
        let figures = Figures::take(serving.handled.load(Ordering::Relaxed));
        say(format_args!("figures{figures}"))?;
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

impl Errand {
    fn run(&mut self) -> Result<(), Error> {
        let Self {
            case,
            folder,
            address,
            ..
        } = &*self;
        match (case.mechanism, case.len) {
            (Mechanism::Raw | Mechanism::RawBatch | Mechanism::RawSpin, _) => {
                self.go(raw::Client::connect(case, address)?)
            }
            (Mechanism::Wayside, 64) => self.go_typed::<Small>(folder.clone()),
            (Mechanism::Wayside, 1024) => self.go_typed::<Medium>(folder.clone()),
            (Mechanism::Wayside, _) => self.go_typed::<Large>(folder.clone()),
        }
    }

    fn go_typed<M: Message>(&mut self, folder: PathBuf) -> Result<(), Error> {
        self.go(typed::Caller::<M>::connect(
            &self.case,
            &folder,
            &self.address,
        )?)
    }

    fn go(&mut self, mut traffic: impl Traffic) -> Result<(), Error> {
        self.round_trips.reserve_exact(ROUND_TRIPS_MAX);
        if self.case.workload != Workload::Idle {
            self.work(&mut traffic, self.amount.warm_up())?;
        }
        self.round_trips.clear();
        let mut word = String::with_capacity(64);
        say("warm")?;
        wait_for_word(&mut word)?;

        let before = Figures::take(0);
        let begun = Instant::now();
        let messages = self.work(&mut traffic, self.amount)?;
        let elapsed = begun.elapsed();
        let figures = Figures::take(0).since(before);

        let outcome = Outcome {
            messages,
            elapsed_ns: nanoseconds(elapsed),
            p50_ns: self.percentile(50),
            p99_ns: self.percentile(99),
        };
        say(format_args!("figures{figures}"))?;
        say(format_args!("result{outcome}"))?;
        wait_for_word(&mut word)?;
        Ok(())
    }

    fn work(&mut self, traffic: &mut impl Traffic, amount: Amount) -> Result<u64, Error> {
        let first = self.next;
        match self.case.workload {
            Workload::Calls => self.call(traffic, amount)?,
            Workload::Events => self.send(traffic, amount)?,
            Workload::Idle => {
                let begun = Instant::now();
                // Nobody unparks this thread; it may wake up without that.
                while let Some(left) = amount.left(begun.elapsed()) {
                    std::thread::park_timeout(left);
                }
            }
        }
        Ok(self.next - first)
    }

    fn call(&mut self, traffic: &mut impl Traffic, amount: Amount) -> Result<(), Error> {
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

    fn send(&mut self, traffic: &mut impl Traffic, amount: Amount) -> Result<(), Error> {
        let begun = Instant::now();
        let first = self.next;
        // For the clock, a look at every so many is enough.
        let stride: u64 = if self.case.len <= 1024 { 64 } else { 1 };
        while !amount.is_done(self.next - first, || begun.elapsed()) {
            for _ in 0..stride {
                traffic.send(self.next)?;
                self.next += 1;
            }
        }
        traffic.flush(self.next)?;
        self.next += 1;
        Ok(())
    }

    fn percentile(&mut self, percent: usize) -> u64 {
        if self.round_trips.is_empty() {
            return 0;
        }
        let at = (self.round_trips.len() - 1) * percent / 100;
        u64::from(*self.round_trips.select_nth_unstable(at).1)
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

    fn is_done(self, count: u64, elapsed: impl FnOnce() -> Duration) -> bool {
        match self {
            Self::Time(time) => elapsed() >= time,
            Self::Count(max) => count >= max,
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
