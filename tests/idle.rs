//! With nothing to do no thread of ours wakes up. One test in a program of its own: threads of
//! other tests would be counted too.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::{PATIENCE, echo, in_every_mode};
use wayside::Limits;

/// How often threads of ours have gone to sleep, each of which means that they had woken up.
fn sleeps() -> u64 {
    let threads = fs::read_dir("/proc/self/task").expect("the threads of this process");
    threads
        .filter_map(|thread| {
            // A thread that has ended meanwhile counts no more.
            let status = fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
            let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
            let ours = value("Name:")?.trim().starts_with("wayside-");
            let count = value("voluntary_ctxt_switches:")?.trim();
            ours.then(|| count.parse::<u64>().expect("a number"))
        })
        .sum()
}

#[test]
fn nobody_wakes_up_for_nothing() {
    in_every_mode(|place| {
        let serving = place.serve(Limits {
            ping_interval: Duration::from_secs(600),
            silence_timeout: Duration::from_secs(3600),
            ..Limits::default()
        });
        let client = serving.client();
        assert_eq!(echo(&client, "hello"), "hello");
        assert!(sleeps() > 0, "no thread of ours is found");
        // That nothing happens takes time to see. After a call it takes some milliseconds until
        // everybody sleeps for good, on a busy machine more: one quiet while is what counts.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = sleeps();
            assert_eq!(client.next_push(Duration::from_millis(300)), None);
            let woken = sleeps() - before;
            if woken == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "still woken {woken} times");
        }
    });
}
