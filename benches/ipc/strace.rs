//! Counts system calls with strace: run twice with different numbers of messages, the difference
//! is what the messages cost, and starting and stopping cancel out.
//!
//! strace makes a system call many times slower, so that more messages gather behind each: for
//! round trips the counts are exact, for events they are a lower bound.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use crate::Error;
use crate::case::{Case, Workload};
use crate::mechanism::Mechanism;
use crate::options::{Mode, Options};
use crate::pair::{Pair, Traces};
use crate::report::real;
use crate::side::Amount;

/// Whether strace can be run here.
pub fn is_there() -> bool {
    // It may also be there and not be allowed to trace.
    let traced = Command::new("strace")
        .args(["-c", "-o", "/dev/null", "--", "true"])
        .stderr(Stdio::null())
        .status();
    traced.is_ok_and(|status| status.success())
}

pub fn report(options: &Options) -> Result<(), Error> {
    if !is_there() {
        return Err("strace can't be run here".into());
    }
    println!("\n## System calls per message, under strace\n");
    println!(
        "| what | clients | cores | bytes | by | client | server |\n|---|--:|---|--:|---|---|---|"
    );
    for case in options.cases() {
        // Bursts are as many system calls as the time between them makes.
        let by_time = matches!(case.workload, Workload::Idle | Workload::Bursts);
        if by_time || case.len > 1024 || case.mechanism.spins(case.workload) {
            continue;
        }
        let quick = options.mode == Mode::Quick;
        if quick && (case.mechanism != Mechanism::Wayside || case.len != 64 || case.clients != 1) {
            continue;
        }
        let (few, many) = match (case.workload, quick) {
            (Workload::Calls, true) => (100, 600),
            (Workload::Calls, false) => (1000, 6000),
            (_, true) => (10_000, 110_000),
            (_, false) => (100_000, 600_000),
        };
        let [client, server] = calls_per_message(&case, few, many)?;
        println!(
            "| {} {} | {} | {} | {} | {} | {client} | {server} |",
            case.workload, case.way, case.clients, case.pinning, case.len, case.mechanism
        );
        let shared = case.workload == Workload::Events && case.mechanism == Mechanism::Wayside;
        // A busy machine interrupts the sender again and again; not shared at all would be 1.
        if quick && shared && client.total.max(server.total) > 0.5 {
            return Err(format!("{case}: events don't share system calls").into());
        }
    }
    Ok(())
}

/// What one side asks of the system, for each message.
struct PerMessage {
    total: f64,
    by_name: Vec<(String, f64)>,
}

impl std::fmt::Display for PerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4}:", self.total)?;
        for (name, count) in &self.by_name {
            write!(f, " {name} {count:.4}")?;
        }
        Ok(())
    }
}

fn calls_per_message(case: &Case, few: u64, many: u64) -> Result<[PerMessage; 2], Error> {
    let less = count(case, few)?;
    let more = count(case, many)?;
    let mut sides = Vec::new();
    for (less, more) in less.iter().zip(&more) {
        let mut by_name: Vec<(String, f64)> = more
            .iter()
            .map(|(name, count)| {
                let before = less.get(name).copied().unwrap_or(0);
                let calls = real(count.saturating_sub(before)) / real(many - few);
                (name.clone(), calls)
            })
            .collect();
        let total = by_name.iter().map(|(_, count)| count).sum();
        by_name.retain(|(_, count)| *count > total / 200.0);
        by_name.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        sides.push(PerMessage { total, by_name });
    }
    let sides: Result<[PerMessage; 2], _> = sides.try_into();
    sides.map_err(|_| "there are two sides".into())
}

/// The system calls of the client and of the server, by name.
fn count(case: &Case, messages: u64) -> Result<[BTreeMap<String, u64>; 2], Error> {
    let folder = tempfile::tempdir()?;
    let traces = Traces {
        client: folder.path().join("client"),
        server: folder.path().join("server"),
    };
    Pair::start(case, Amount::Count(messages), Some(&traces)).and_then(Pair::finish)?;
    Ok([
        parse(&fs::read_to_string(traces.client)?),
        parse(&fs::read_to_string(traces.server)?),
    ])
}

/// Reads the table of `strace -c`: share, seconds, µs per call, calls, errors if any, name.
fn parse(table: &str) -> BTreeMap<String, u64> {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let calls = words.get(3)?.parse().ok()?;
            let name = *words.last()?;
            (name != "total").then(|| (name.to_owned(), calls))
        })
        .collect()
}
