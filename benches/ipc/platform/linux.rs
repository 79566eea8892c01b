//! Linux.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::Error;

fn allowed() -> Result<Vec<usize>, Error> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect())
}

/// How many cores this process may be pinned to.
pub fn cores() -> usize {
    allowed().map_or(0, |cores| cores.len())
}

/// Keeps this thread, and those it will start, on one of the cores that it may use.
pub fn pin(index: usize) -> Result<(), Error> {
    let core = allowed()?.get(index).copied();
    let mut set = CpuSet::new();
    set.set(core.ok_or("there are not so many cores")?);
    Ok(sched_setaffinity(None, &set)?)
}

/// The CPU time of all threads.
pub fn cpu_time_ns() -> Option<u64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(u64::try_from(time.tv_nsec).ok()?)
}

/// A clock that all processes share.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// How long cores of this machine had to wait for the machine that it is a guest of.
pub fn stolen_ns() -> Option<u64> {
    let counts = fs::read_to_string("/proc/stat").ok()?;
    let ticks: u64 = counts.split_whitespace().nth(8)?.parse().ok()?;
    // Of 10 ms, whatever the kernel's own are.
    Some(ticks * 10_000_000)
}

/// The most memory that this process has had at any time.
pub fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

/// Room for the connections of many clients.
pub fn allow_many_files() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// How often a thread of this process has gone to sleep.
pub fn sleeps() -> Option<u64> {
    let mut sleeps = 0;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let status = fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let count = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        sleeps += count.trim().parse::<u64>().ok()?;
    }
    Some(sleeps)
}
