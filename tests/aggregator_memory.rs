//! What an agent keeps has a bound, whatever workers send. Alone in this file: it looks at the memory of
//! the whole process.
#![cfg(all(feature = "aggregator", feature = "tcp", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it has measured"
)]

mod agents;

use agents::*;
use wayside::aggregator::*;

const BATCHES: u64 = 1_000;
const VALUES: u64 = 1_000;

/// The memory that this process has, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<u64>().unwrap() << 10
}

/// A batch of labels that were never there before.
fn batch(seq: u64, recorded: &mut Totals) -> Batch {
    let values = || (0..VALUES).map(|value| format!("{}", seq * VALUES + value));
    let series = |name: &str, value: &str| Series::new(name, &[("user", value)]);
    recorded.counted += VALUES;
    recorded.observed += VALUES / 10;
    recorded.hits += VALUES;
    let spread = |value: String| (series("us", &value), Buckets(vec![(3, 1)]));
    let level = |value: String| (series("open", &value), 1.0);
    let sighting = |key| Sighting {
        inventory: "users".to_owned(),
        key,
        hits: 1,
        first: UnixMicros(seq),
        last: UnixMicros(seq),
    };
    Batch {
        seq,
        counters: values()
            .map(|value| (series("requests", &value), 1))
            .collect(),
        gauges: values().step_by(10).map(level).collect(),
        histograms: values().step_by(10).map(spread).collect(),
        inventories: values().map(sighting).collect(),
        recorded: *recorded,
        ..Batch::default()
    }
}

#[test]
fn a_million_label_values_take_no_more_memory_than_a_hundred_thousand() {
    let rig = Rig::start(|builder| builder);
    let mut worker = rig.worker(1);
    worker.hello();
    let mut at_a_tenth = 0;
    for seq in 1..=BATCHES {
        let batch = batch(seq, &mut worker.recorded);
        let reply = worker.call(WorkerRequest::Batch(batch));
        assert_eq!(reply, AgentReply::Taken { seq });
        if seq == BATCHES / 10 {
            at_a_tenth = resident();
        }
    }
    let grown = resident().saturating_sub(at_a_tenth);
    eprintln!("{} MiB, and {} MiB more", at_a_tenth >> 20, grown >> 20);
    // What is kept of each value, if it were, is more than a hundred bytes: 300 MiB in all.
    assert!(grown < 32 << 20, "{grown} bytes more");
    let heartbeat = rig.heartbeat_after_beat();
    let bounds = AgentBounds::default();
    let most = |max: u32| usize::try_from(max).unwrap() + 2;
    assert!(heartbeat.counters.len() <= most(bounds.counters_max));
    assert!(heartbeat.histograms.len() <= most(bounds.histograms_max));
    assert!(heartbeat.inventories.len() <= most(bounds.keys_max));
    assert!(heartbeat.gauges.len() <= most(bounds.worker_gauges_max));
    // Bounded, and whole: what is beyond is in the series that stands for the rest.
    let counted = heartbeat.counters.iter().map(|count| count.value);
    assert_eq!(counted.sum::<u64>(), BATCHES * VALUES);
    let hits = heartbeat.inventories.iter().map(|listing| listing.hits);
    assert_eq!(hits.sum::<u64>(), BATCHES * VALUES);
    assert_eq!(heartbeat.ledger.recorded, worker.recorded);
    assert_eq!(heartbeat.ledger.applied, worker.recorded);
}
