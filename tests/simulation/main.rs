//! Many clients and a server that comes and goes, over a network that breaks: the real code on both
//! sides, with the time, the randomness and the transport simulated. Both sides wait for events as
//! those do who sleep, and in most runs also look without being told, as those do who spin.
//! Everything that happens follows from one number.
//!
//! ```text
//! cargo test --test simulation                              two thousand runs
//! WAYSIDE_SIM_SEEDS=100000 cargo test --test simulation     more of them
//! WAYSIDE_SIM_SEED=1234 cargo test --test simulation        one again, as it was
//! ```
//!
//! The model is in `book.rs`: no event is delivered twice, out of its lane's order, or invented; a
//! client's counters add up to what it has sent; a call ends once, with its own reply or an error
//! that is true; pushes come in order, at most once; and when nothing breaks any more, everything
//! comes to rest, with nothing left behind.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail, and says how"
)]

mod book;
mod network;
mod person;
mod random;
mod world;

use std::env;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::{Outcome, World};

/// The runs of a plain `cargo test`, some fifteen seconds on two cores.
const SEEDS: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is `{text}`, must be a number")),
    )
}

/// Runs one seed; when it fails says how, and how to see it again.
fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(outcome) => outcome,
        Err(panic) => {
            eprintln!(
                "the last that happened with seed {seed}:\n{}",
                world.story()
            );
            eprintln!("again: WAYSIDE_SIM_SEED={seed} cargo test --test simulation");
            // In the state that it is in, it can't be taken apart.
            std::mem::forget(world);
            resume_unwind(panic);
        }
    }
}

/// Runs these seeds, on as many threads as there are cores: time and randomness are each thread's own.
fn run_all(seeds: u64) -> Outcome {
    let next = AtomicU64::new(0);
    let work = || {
        let mut total = Outcome::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return total;
            }
            total.add(&run(seed));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut total = Outcome::default();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => total.add(&outcome),
                Err(panic) => resume_unwind(panic),
            }
        }
        total
    })
}

#[test]
fn whatever_happens_the_promises_are_kept() {
    if let Some(seed) = number("WAYSIDE_SIM_SEED") {
        eprintln!("{:?}", run(seed));
        return;
    }
    let seeds = number("WAYSIDE_SIM_SEEDS").unwrap_or(SEEDS);
    let total = run_all(seeds);
    eprintln!("{total:?}");
    // The runs are about something.
    assert!(total.delivered > 0 && total.broken > 0 && total.calls > 0 && total.in_doubt > 0);
    // Of a few nobody may look just when there is something to be found.
    assert!(seeds < 100 || !total.found.contains(&0));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1).hash, run(2).hash);
}
