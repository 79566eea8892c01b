//! What recording costs on the hot path, next to what it can't do without.
//!
//! ```text
//! cargo bench --all-features --bench recording              # half a minute
//! cargo bench --all-features --bench recording -- --quick   # does it work? its times mean nothing
//! ```
//!
//! Each case is timed next to its baseline, in alternation, so that a disturbance meets both alike;
//! what is printed is the median over all rounds. It fails
//! where that is far beyond what is aimed at. With two threads both do the same at once: the time
//! of one operation of one thread. A baseline is always that of threads that don't meet.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a program that prints figures"
)]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use histogram::AtomicHistogram;
use wayside::aggregator::{Worker, WorkerLimits};
use wayside::{Transport, backend::Tcp};

/// So many times what is aimed at is no matter of a busy machine.
const FAR: f64 = 2.0;

/// A configuration as an application may have.
type Config = Vec<String>;

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, count) = if quick { (3, 2_000) } else { (41, 1_000_000) };
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there: the worker tries to connect again and again, as with a dead agent.
    let dead = Transport::new(Tcp::new(folder.path().join("key")), "127.0.0.1:1");
    let limits = WorkerLimits {
        flush_interval: Duration::from_millis(100),
        ..WorkerLimits::default()
    };
    let alone = Worker::builder("bench").config(Config::new());
    let alone = alone.limits(limits.clone()).start().unwrap();
    let agentless = Worker::builder("bench").config(Config::new());
    let agentless = agentless.limits(limits).transport(dead).start().unwrap();
    let mut measured = Measured {
        rounds,
        count,
        threads: 1,
        worst: 0.0,
    };
    for (title, worker) in [("no transport", &alone), ("agent dead", &agentless)] {
        println!("{title}:");
        for threads in [1, 2] {
            measured.threads = threads;
            run_all(worker, &mut measured);
        }
    }
    if quick {
        return ExitCode::SUCCESS;
    }
    if measured.worst > 1.0 {
        eprintln!("beyond what is aimed at, see above");
    }
    if measured.worst > FAR {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run_all(worker: &Worker<Config>, measured: &mut Measured) {
    let atomic_add = || {
        // Alone on its cache lines.
        let lines: Box<[AtomicU64; 32]> = Box::new([const { AtomicU64::new(0) }; 32]);
        move |n: u64| {
            lines[16].fetch_add(n | 1, Ordering::Relaxed);
        }
    };
    let fetch_add = "relaxed fetch_add";
    let counter = || {
        let counter = worker.counter("requests");
        move |n: u64| counter.add(n | 1)
    };
    measured.case("counter add", counter, 2.0, fetch_add, atomic_add);
    let gauge = || {
        let gauge = worker.gauge("open");
        move |_: u64| gauge.set(7.0)
    };
    measured.case("gauge set", gauge, 2.0, fetch_add, atomic_add);
    let histogram = || {
        let histogram = worker.histogram("us");
        move |n: u64| histogram.record(n & 0xFFFF)
    };
    let library = Arc::new(AtomicHistogram::new(5, 64).unwrap());
    let increment = || {
        let library = Arc::clone(&library);
        move |n: u64| library.increment(n & 0xFFFF).unwrap()
    };
    let librarys = "the library's increment";
    measured.case("histogram record", histogram, 3.0, librarys, increment);
    let config = || |_: u64| drop(black_box(worker.config()));
    let clone = || {
        let shared = Arc::new(Config::new());
        move |_: u64| drop(black_box(Arc::clone(&shared)))
    };
    measured.case("config read", config, 2.0, "Arc clone and drop", clone);
    let seen = || {
        let routes = worker.inventory("routes");
        move |_: u64| routes.seen("GET /users/:id")
    };
    // A clock, a hash and a lock: no aim, for the record.
    measured.case("inventory seen", seen, f64::INFINITY, fetch_add, atomic_add);
}

/// How to measure, and whether anything has cost too much.
struct Measured {
    rounds: usize,
    count: u64,
    threads: usize,
    /// What was measured, in relation to what is aimed at.
    worst: f64,
}

impl Measured {
    /// Prints what one operation costs, and notes if it is more than so many times its baseline.
    fn case<A: Fn(u64) + Send, B: Fn(u64) + Send>(
        &mut self,
        name: &str,
        ours: impl Fn() -> A,
        factor_max: f64,
        baseline_name: &str,
        baseline: impl Fn() -> B,
    ) {
        let (mut our_times, mut baseline_times) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            baseline_times.push(self.time(&baseline));
            our_times.push(self.time(&ours));
        }
        let (ours, baseline) = (median(&mut our_times), median(&mut baseline_times));
        let (factor, threads) = (ours / baseline, self.threads);
        self.worst = self.worst.max(factor / factor_max);
        println!(
            "  {name:<17} {threads} thread{}  {ours:>6.1} ns, {factor:>5.2} times {baseline_name} \
             ({baseline:.1} ns)",
            if threads == 1 { " " } else { "s" },
        );
    }

    /// Nanoseconds for one operation of one thread.
    fn time<A: Fn(u64) + Send>(&self, make: &impl Fn() -> A) -> f64 {
        let barrier = Barrier::new(self.threads);
        let times: Vec<Duration> = thread::scope(|scope| {
            let operations: Vec<A> = (0..self.threads).map(|_| make()).collect();
            let start = |operation: A| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let started = Instant::now();
                    for n in 0..self.count {
                        operation(black_box(n));
                    }
                    started.elapsed()
                })
            };
            let running: Vec<_> = operations.into_iter().map(start).collect();
            let ended = running.into_iter().map(|thread| thread.join().unwrap());
            ended.collect()
        });
        let whole: Duration = times.iter().sum();
        let each = [u64::try_from(self.threads).unwrap(), self.count];
        let operations = each.map(|n| f64::from(u32::try_from(n).unwrap()));
        whole.as_secs_f64() * 1e9 / (operations[0] * operations[1])
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
