//! Recording allocates nothing, and neither does reading the configuration.
//!
//! One test in a program of its own, as the counter is the whole program's. The worker has no
//! transport and so no threads; what the recording thread does is the same with one.
#![cfg(feature = "aggregator")]

#[path = "../benches/ipc/allocations.rs"]
mod allocations;

use wayside::aggregator::Worker;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

#[test]
fn recording_allocates_nothing() {
    let worker = Worker::builder("shop").config(7_u32).start();
    let worker = worker.expect("nothing can fail");
    let requests = worker.counter_with("requests", &[("method", "GET")]);
    let open = worker.gauge("open");
    let duration = worker.histogram("us");
    let routes = worker.inventory("routes");
    let record = || {
        for number in 0..10_000_u32 {
            requests.one();
            open.set(f64::from(number));
            open.add(1.0);
            duration.record(u64::from(number));
            routes.seen(["GET /", "GET /users/:id"][usize::from(number % 2 == 0)]);
            let config = worker.config();
            assert_eq!(*config, 7);
        }
    };
    const { assert!(allocations::ARE_COUNTED) };
    // Known from now on: keys and this thread's configuration.
    record();
    let before = allocations::count();
    record();
    assert_eq!(allocations::count(), before);
    assert_eq!(worker.ledger().recorded.counted, 20_000);
}
