//! Many clients in one process, all at work at once.

use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::side::{Amount, Traffic};

/// What many clients have done together.
pub struct Work {
    /// What each had sent when its time was over.
    pub counts: Vec<u64>,
    /// Until everything was handled.
    pub elapsed: Duration,
}

impl Work {
    pub fn messages(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// All clients of a case, connected.
pub trait Crowd {
    /// All send as fast as it goes until one moment, and then wait until everything has been
    /// handled. A count is what all send together.
    fn work(&mut self, amount: Amount) -> Result<Work, Error>;
}

/// So many messages are sent between two looks at the clock.
pub const STRIDE: u64 = 64;

/// Clients that block, a thread for each.
pub struct Threads(Vec<Member>);

struct Member {
    traffic: Box<dyn Traffic>,
    next: u64,
}

impl Threads {
    pub fn connect(
        clients: usize,
        connect: impl Fn(usize) -> Result<Box<dyn Traffic>, Error>,
    ) -> Result<Self, Error> {
        let member = |source| {
            let traffic = connect(source)?;
            Ok(Member { traffic, next: 0 })
        };
        Ok(Self(
            (0..clients).map(member).collect::<Result<_, Error>>()?,
        ))
    }
}

impl Crowd for Threads {
    fn work(&mut self, amount: Amount) -> Result<Work, Error> {
        let share = amount.share(self.0.len());
        let start = Barrier::new(self.0.len() + 1);
        let begun = OnceLock::new();
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .0
                .iter_mut()
                .map(|member| {
                    scope.spawn(|| {
                        start.wait();
                        member.send(share, *begun.get_or_init(Instant::now))
                    })
                })
                .collect();
            start.wait();
            let counts = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a client has panicked")?)
                .collect::<Result<_, Error>>()?;
            let elapsed = begun.get().map_or(Duration::ZERO, Instant::elapsed);
            Ok(Work { counts, elapsed })
        })
    }
}

impl Member {
    fn send(&mut self, amount: Amount, begun: Instant) -> Result<u64, Error> {
        let first = self.next;
        while !amount.is_done(self.next - first, || begun.elapsed()) {
            self.traffic.send_many(self.next, STRIDE)?;
            self.next += STRIDE;
        }
        self.traffic.flush(self.next)?;
        self.next += 1;
        Ok(self.next - first)
    }
}
