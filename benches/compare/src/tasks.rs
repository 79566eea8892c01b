//! Clients that are tasks of one thread.

use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::Error;
use crate::crowd::{Crowd, STRIDE, Work};
use crate::side::{Amount, Traffic};

/// What [`Traffic`] is, for such a client.
pub trait Member: Send + 'static {
    async fn call(&mut self, number: u64) -> Result<(), Error>;
    async fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error>;
    async fn pass_on(&mut self) -> Result<(), Error>;
    async fn flush(&mut self, number: u64) -> Result<(), Error>;
}

pub fn runtime() -> Result<Runtime, Error> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// One client and its own thread.
struct Alone<M> {
    runtime: Runtime,
    member: M,
}

pub fn alone<M: Member>(
    connect: impl Future<Output = Result<M, Error>>,
) -> Result<Box<dyn Traffic>, Error> {
    let runtime = runtime()?;
    let member = runtime.block_on(connect)?;
    Ok(Box::new(Alone { runtime, member }))
}

impl<M: Member> Traffic for Alone<M> {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.runtime.block_on(self.member.call(number))
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        self.runtime.block_on(self.member.send_many(first, count))
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        self.runtime.block_on(self.member.pass_on())
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        self.runtime.block_on(self.member.flush(number))
    }

    /// The other tasks go on meanwhile.
    fn pause(&mut self, time: Duration) -> Result<(), Error> {
        self.runtime.block_on(sleep(time))
    }
}

/// tokio's own timers are too coarse for a millisecond.
async fn sleep(time: Duration) -> Result<(), Error> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    // SAFETY: the descriptor is owned, and so open until it goes together with its registration.
    let timer = unsafe { AsyncFd::register(timer) }?;
    let once = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: time.as_secs().try_into()?,
            // Nought would mean never.
            tv_nsec: i64::from(time.subsec_nanos().max(1)),
        },
    };
    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
    drop(timer.readable().await?);
    Ok(())
}

/// Many clients on one thread.
pub struct Tasks<M> {
    runtime: Runtime,
    members: Vec<(M, u64)>,
}

impl<M: Member> Tasks<M> {
    pub fn connect<F: Future<Output = Result<M, Error>>>(
        clients: usize,
        connect: impl Fn(usize) -> F,
    ) -> Result<Self, Error> {
        let runtime = runtime()?;
        let mut members = Vec::new();
        for source in 0..clients {
            members.push((runtime.block_on(connect(source))?, 0));
        }
        Ok(Self { runtime, members })
    }
}

impl<M: Member> Crowd for Tasks<M> {
    fn work(&mut self, amount: Amount) -> Result<Work, Error> {
        let share = amount.share(self.members.len());
        let tasks = LocalSet::new();
        let begun = Instant::now();
        let handles: Vec<_> = self
            .members
            .drain(..)
            .map(|(member, next)| tasks.spawn_local(send(member, next, share, begun)))
            .collect();
        let mut counts = Vec::new();
        self.runtime.block_on(tasks.run_until(async {
            for handle in handles {
                let (member, next, count) = handle.await??;
                self.members.push((member, next));
                counts.push(count);
            }
            Ok::<(), Error>(())
        }))?;
        let elapsed = begun.elapsed();
        Ok(Work { counts, elapsed })
    }
}

async fn send<M: Member>(
    mut member: M,
    first: u64,
    amount: Amount,
    begun: Instant,
) -> Result<(M, u64, u64), Error> {
    let mut next = first;
    while !amount.is_done(next - first, || begun.elapsed()) {
        member.send_many(next, STRIDE).await?;
        next += STRIDE;
    }
    member.flush(next).await?;
    next += 1;
    Ok((member, next, next - first))
}
