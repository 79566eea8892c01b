//! A worker: does jobs until it is sent home.

use std::error::Error;
use std::time::Duration;

use wayside::CallError;

use crate::PATIENCE;
use crate::options::Options;
use crate::protocol::{Done, Push, Request};

/// A worker that has had nothing to do for so long says again that it is there: the dispatcher may
/// be another one by now.
const IDLE: Duration = Duration::from_secs(1);

pub fn work(options: &Options) -> Result<(), Box<dyn Error>> {
    let client = options.connect()?;
    let process = std::process::id();
    let mut jobs = 0;
    let mut ready = false;
    loop {
        match client.call(&Request::Work, PATIENCE) {
            Ok(_) if !ready => {
                println!("work: process {process} is ready");
                ready = true;
            }
            Ok(_) => {}
            Err(CallError::NotConnected(why)) => {
                eprintln!("work: process {process} waits for the dispatcher: {why}");
                client.wait_connected(PATIENCE)?;
                continue;
            }
            Err(error) => eprintln!("work: process {process}: {error}"),
        }
        while let Some(push) = client.next_push(IDLE) {
            match push {
                Push::Job { job, below } => {
                    let primes = primes_below(below);
                    client.send(&Done { job, primes })?;
                    jobs += 1;
                }
                Push::GoHome => {
                    println!("work: process {process} did {jobs} jobs");
                    client.close(PATIENCE)?;
                    return Ok(());
                }
                Push::Progress(_) => {}
            }
        }
    }
}

/// By trial division: it is meant to take a while.
pub fn primes_below(below: u32) -> u64 {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (2..below).filter(is_prime).map(|_| 1).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_primes_are_those_of_a_sieve(below in 0..5000_u32) {
            let mut composite = vec![false; usize::try_from(below).unwrap()];
            let mut count = 0;
            for n in 2..composite.len() {
                if !composite[n] {
                    count += 1;
                    (n * n..composite.len()).step_by(n).for_each(|m| composite[m] = true);
                }
            }
            prop_assert_eq!(primes_below(below), count);
        }
    }
}
