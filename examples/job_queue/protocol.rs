//! What the parts say to each other.

use std::fmt;

use serde::{Deserialize, Serialize};
use wayside::Protocol;

pub struct Jobs;

impl Protocol for Jobs {
    const NAME: &'static str = "job-queue";
    const VERSION: u32 = 1;
    type Event = Done;
    type Request = Request;
    type Reply = Reply;
    type Push = Push;
}

/// From a worker: so many primes are below the number of that job.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub job: u64,
    pub primes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// From a worker: I am here. Does no harm twice.
    Work,
    /// From a submitter: count the primes below each of these. Answered when all is done.
    Submit { below: Vec<u32> },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Welcome,
    Finished(Ledger),
    /// The submitter has a batch under way already.
    Busy,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Push {
    /// To a worker.
    Job { job: u64, below: u32 },
    /// To a worker: there will be no more.
    GoHome,
    /// To a submitter.
    Progress(Progress),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Progress {
    pub ledger: Ledger,
    pub workers: usize,
}

/// What has become of the jobs of one submitter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub submitted: u64,
    pub done: u64,
    /// As many workers as [`TRIES_MAX`] have died over it.
    pub given_up: u64,
    pub handed_out: u64,
    /// Handed out to a worker that has gone.
    pub lost: u64,
    pub primes: u64,
}

impl Ledger {
    pub fn is_finished(&self) -> bool {
        self.done + self.given_up == self.submitted
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            submitted,
            done,
            given_up,
            handed_out,
            lost,
            primes,
        } = self;
        writeln!(
            f,
            "submit: {submitted} jobs = {done} done + {given_up} given up"
        )?;
        writeln!(
            f,
            "submit: {handed_out} times handed out = {done} done + {lost} lost with a worker"
        )?;
        write!(f, "submit: {primes} primes in all")
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ledger, workers } = self;
        let (done, submitted) = (ledger.done, ledger.submitted);
        write!(
            f,
            "submit: {done} of {submitted} jobs done, {workers} workers"
        )
    }
}
