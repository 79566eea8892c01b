//! The aggregator under faults: disks that can't be written, sinks that are not well, agents that are
//! not there, and far too much of everything. Nothing is lost that is not counted.
//!
//! The roles are at the foot of this file.
#![cfg(feature = "aggregator")]
#![cfg_attr(unix, allow(unsafe_code, reason = "fork, and limits of a process"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

mod books;
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use books::*;
#[cfg(unix)]
use support::role::{self, Casting};
use support::role::{role, transport};
use support::*;
use wayside::aggregator::sink::{Sink, SinkError};
use wayside::aggregator::*;
use wayside::{Settings, Transport};

const HOUR: Duration = Duration::from_secs(3600);

/// A sink that does what the test says, and keeps the book of what it took.
struct Scripted<F> {
    book: Arc<Mutex<Book>>,
    script: F,
}

impl<F> Sink for Scripted<F>
where
    F: FnMut(&Report) -> Result<(), SinkError> + Send + 'static,
{
    fn name(&self) -> &str {
        "scripted"
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        (self.script)(report)?;
        self.book.lock().unwrap().take(report);
        Ok(())
    }
}

/// An agent in this process, in memory, with a heartbeat only when it is asked for one.
fn agent_with(
    at: &Transport,
    bounds: AgentBounds,
    script: impl FnMut(&Report) -> Result<(), SinkError> + Send + 'static,
) -> (Agent, Transport, Arc<Mutex<Book>>) {
    let book = Arc::default();
    let sink = Scripted {
        book: Arc::clone(&book),
        script,
    };
    let settings = Settings::from_text("", "wayside.toml").unwrap();
    let builder = Agent::builder("shop").settings(&settings).bounds(bounds);
    let builder = builder.heartbeat(HOUR).first_heartbeat(HOUR);
    let agent = builder.listen(at.clone()).sink(sink).start().unwrap();
    let at = at.at(agent.endpoints()[0].address());
    (agent, at, book)
}

fn agent(at: &Transport) -> (Agent, Transport, Arc<Mutex<Book>>) {
    agent_with(at, AgentBounds::default(), |_| Ok(()))
}

fn worker_with(at: &Transport, limits: WorkerLimits) -> Worker {
    let builder = Worker::builder("shop").transport(at.clone());
    builder
        .limits(limits)
        .client_limits(eager())
        .start()
        .unwrap()
}

/// A worker that sends nothing by itself: what is sent at once is sent for its own sake.
fn still() -> WorkerLimits {
    WorkerLimits {
        flush_interval: HOUR,
        ..WorkerLimits::default()
    }
}

fn quick() -> WorkerLimits {
    WorkerLimits {
        flush_interval: Duration::from_millis(5),
        ..WorkerLimits::default()
    }
}

fn attack() -> Attack {
    Attack::new("sql_injection")
}

// ---- sinks ----

#[test]
fn a_sink_that_is_down_loses_nothing_within_the_bound_and_the_rest_is_counted() {
    let _watchdog = Watchdog::new();
    let place = &places()[0];
    let bounds = AgentBounds {
        reports_max: 10,
        ..AgentBounds::default()
    };
    let up = Arc::new(Stop::default());
    let is_up = Arc::clone(&up);
    let (agent, at, book) = agent_with(&place.transport, bounds, move |_| {
        let down = || SinkError::after(Duration::from_millis(1), "down");
        is_up.is_set().then_some(()).ok_or_else(down)
    });
    let worker = worker_with(&at, quick());
    for round in 0..50 {
        worker.counter("requests").add(2);
        worker.histogram("us").record(round);
        worker.attack(attack()).unwrap();
        worker.flush(PATIENCE).unwrap();
        agent.beat();
    }
    // A report that the sink is at is spared: there may be one more than the bound.
    eventually("the oldest are let go of", || {
        let status = agent.status();
        let shop = status.application("shop").unwrap();
        status.sinks[0].failures > 50 && shop.reports_waiting <= 11
    });
    let status = agent.status();
    assert!(status.sinks[0].failing_for.is_some());
    drop(up.on_drop());
    worker.close(PATIENCE).unwrap();
    assert!(agent.shutdown(PATIENCE).is_complete());
    let book = book.lock().unwrap();
    assert_eq!(
        book.counters(),
        BTreeMap::from([("requests".to_owned(), 100)])
    );
    assert_eq!(book.buckets("us").values().sum::<u64>(), 50);
    let ledger = book.ledger();
    let lost = ledger.dropped[&DropReason::SinkBound];
    assert_eq!(lost.attacks, 50 - count(book.attacks.len()));
    assert!((10..=11).contains(&book.attacks.len()));
    assert_eq!(ledger.applied.attacks + lost.attacks, 50);
    // The latest are kept, in their order.
    let numbers = &book.attack_numbers()[&worker.id()];
    assert!(numbers.is_sorted() && numbers.ends_with(&[49, 50]));
}

#[test]
fn a_sink_that_hangs_holds_up_no_worker() {
    on_every_transport(|place| {
        let (release, released) = mpsc::channel::<()>();
        let (agent, at, book) = agent_with(&place.transport, AgentBounds::default(), move |_| {
            // Until the test lets go of it.
            released.recv().ok();
            Ok(())
        });
        let worker = worker_with(&at, quick());
        for _ in 0..20 {
            worker.counter("requests").one();
            worker.attack(attack()).unwrap();
            worker.flush(PATIENCE).unwrap();
            agent.beat();
        }
        assert_eq!(worker.ledger().applied.attacks, 20);
        assert_eq!(book.lock().unwrap().attacks.len(), 0);
        drop(release);
        worker.close(PATIENCE).unwrap();
        assert!(agent.shutdown(PATIENCE).is_complete());
        let book = book.lock().unwrap();
        assert_eq!(book.counters()["requests"], 20);
        assert_eq!(book.attacks.len(), 20);
    });
}

#[test]
fn a_sink_that_panics_is_tried_again() {
    let _watchdog = Watchdog::new();
    let place = &places()[0];
    let mut panics = 3;
    let (agent, at, book) = agent_with(&place.transport, AgentBounds::default(), move |_| {
        panics -= i32::from(panics > 0);
        assert_eq!(panics, 0, "as the test wants");
        Ok(())
    });
    let worker = worker_with(&at, quick());
    worker.attack(attack()).unwrap();
    worker.close(PATIENCE).unwrap();
    eventually("it is taken", || book.lock().unwrap().attacks.len() == 1);
    assert_eq!(agent.status().sinks[0].failures, 2);
    assert!(agent.shutdown(PATIENCE).is_complete());
}

#[cfg(feature = "http")]
#[test]
fn a_server_that_answers_nonsense_gets_everything_in_the_end() {
    use std::io::{BufRead, BufReader, Read, Write};
    use wayside::aggregator::sink::HttpPost;

    const NONSENSE: [&str; 4] = [
        "",
        "\0\u{1}\u{2}nonsense\r\n\r\n",
        "HTTP/1.1 999 what\r\n\r\n",
        "HTTP/1.1 2",
    ];
    let _watchdog = Watchdog::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (taken, bodies) = mpsc::channel();
    thread::spawn(move || {
        for (turn, stream) in listener.incoming().enumerate() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut len = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|len| len > 2) {
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    len = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; len];
            drop(reader.read_exact(&mut body));
            let answer = match NONSENSE.get(turn) {
                Some(nonsense) => nonsense,
                None => {
                    let report = serde_json::from_slice::<Report>(&body).unwrap();
                    if taken.send(report).is_err() {
                        return;
                    }
                    "HTTP/1.1 200 ok\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                }
            };
            drop(reader.get_mut().write_all(answer.as_bytes()));
        }
    });
    let place = &places()[0];
    let settings = Settings::from_text("", "wayside.toml").unwrap();
    let agent = Agent::builder("shop")
        .settings(&settings)
        .heartbeat(HOUR)
        .listen(place.transport.clone())
        .sink(HttpPost::new(&url).timeout(Duration::from_secs(2)))
        .start()
        .unwrap();
    let at = place.transport.at(agent.endpoints()[0].address());
    let worker = worker_with(&at, quick());
    for _ in 0..5 {
        worker.attack(attack()).unwrap();
    }
    let mut book = Book::default();
    while book.attacks.len() < 5 {
        let taken = bodies.recv_timeout(PATIENCE / 6);
        book.take(&taken.unwrap_or_else(|_| panic!("{:?}", agent.status().sinks)));
    }
    assert_eq!(book.attack_numbers()[&worker.id()], [1, 2, 3, 4, 5]);
    assert!(agent.status().sinks[0].failures > 0);
}

// ---- far too much ----

#[test]
fn a_million_label_values_are_one_series_beyond_the_bound() {
    const VALUES: u64 = 1_000_000;
    let _watchdog = Watchdog::new();
    let place = &places()[0];
    let (agent, at, book) = agent(&place.transport);
    let worker = worker_with(&at, still());
    for user in 0..VALUES {
        let user = user.to_string();
        worker.counter_with("requests", &[("user", &user)]).one();
        worker.inventory("users").seen(&user);
    }
    worker.flush(PATIENCE).unwrap();
    let limits = WorkerLimits::default();
    let bound = u64::from(limits.series_per_name_max);
    let counters = worker.counters();
    assert!(counters.series_overflowed >= VALUES - bound, "{counters:?}");
    assert!(counters.keys_overflowed >= VALUES - u64::from(limits.keys_max) - 1);
    worker.close(PATIENCE).unwrap();
    assert!(agent.shutdown(PATIENCE).is_complete());
    let book = book.lock().unwrap();
    let sums = book.counters();
    assert!(count(sums.len()) <= bound + 1, "{} series", sums.len());
    assert!(sums["requests{overflow=\"true\"}"] >= VALUES - bound);
    assert_eq!(sums.values().sum::<u64>(), VALUES);
    let hits = book.hits("users");
    assert_eq!(hits.values().sum::<u64>(), VALUES);
    let all = [book.ledger().recorded, book.ledger().applied];
    assert_eq!(
        all.map(|totals| (totals.counted, totals.hits)),
        [(VALUES, VALUES); 2]
    );
}

#[test]
fn a_hundred_workers_at_once_are_all_counted() {
    on_every_transport(|place| {
        let (agent, at, book) = agent(&place.transport);
        let workers = count(place.at_most(100));
        let start = std::sync::Barrier::new(usize::try_from(workers).unwrap());
        thread::scope(|scope| {
            for number in 1..=workers {
                let (at, start) = (&at, &start);
                scope.spawn(move || {
                    start.wait();
                    let worker = worker_with(at, quick());
                    worker.counter("requests").add(number);
                    worker.attack(attack()).unwrap();
                    worker.close(PATIENCE).unwrap();
                });
            }
        });
        assert!(agent.shutdown(PATIENCE).is_complete());
        let book = book.lock().unwrap();
        assert_eq!(book.counters()["requests"], workers * (workers + 1) / 2);
        assert_eq!(count(book.attack_numbers().len()), workers);
        assert_eq!(count(book.workers().len()), workers);
        assert_eq!(book.ledger().recorded, book.ledger().applied);
    });
}

// ---- nothing is polled for ----

/// A pause anywhere on the way, of 50 ms and more, would take longer than the test's patience.
#[test]
fn attacks_reach_the_sink_without_a_pause_on_the_way() {
    const TIMES: u32 = 1_500;
    on_every_transport(|place| {
        let (sender, taken) = mpsc::channel();
        let (_agent, at, _) = agent_with(&place.transport, AgentBounds::default(), move |report| {
            sender.send(report.id().to_owned()).ok();
            Ok(())
        });
        let worker = worker_with(&at, still());
        let mut times = Vec::new();
        let began = Instant::now();
        for _ in 0..TIMES {
            let said = Instant::now();
            let number = worker.attack(attack()).unwrap();
            let id = taken.recv_timeout(PATIENCE).unwrap();
            times.push(said.elapsed());
            assert_eq!(id, format!("{}-{number}", worker.id()));
            assert!(began.elapsed() < PATIENCE, "something waits");
        }
        times.sort();
        let at = |share: usize| times[times.len() * share / 100];
        eprintln!(
            "attacks: half within {:?}, 99 % within {:?}",
            at(50),
            at(99)
        );
    });
}

#[test]
fn configurations_are_pushed_without_a_pause_on_the_way() {
    const TIMES: u64 = 1_500;
    on_every_transport(|place| {
        let (agent, at, _) = agent(&place.transport);
        let builder = Worker::builder("shop").transport(at).limits(still());
        let worker = builder.config(0_u64).start().unwrap();
        let began = Instant::now();
        for number in 1..=TIMES {
            agent.set_config("shop", &number).unwrap();
            eventually("it runs", || *worker.config() == number);
            assert!(began.elapsed() < PATIENCE, "something waits");
        }
        let each = began.elapsed() / u32::try_from(TIMES).unwrap();
        eprintln!("configurations: {each:?} each");
    });
}

// ---- agents that are not there ----

/// If it waited for anything, it would wait for the hour that it may.
#[test]
fn a_worker_without_an_agent_blocks_nobody_and_ends_at_once() {
    on_every_transport(|place| {
        let (agent, at, _) = agent(&place.transport);
        drop(agent);
        let limits = WorkerLimits {
            drop_timeout: HOUR,
            allow_timeout: HOUR,
            ..quick()
        };
        let worker = worker_with(&at, limits);
        for _ in 0..20_000 {
            worker.counter("requests").one();
            worker.histogram("us").record(1);
            worker.attack(attack());
        }
        let ledger = worker.ledger();
        assert!(ledger.is_balanced());
        assert_eq!(ledger.recorded.attacks, 20_000);
        assert_eq!(ledger.dropped[&DropReason::QueueFull].attacks, 10_000);
        // Once it is known that nobody is there.
        eventually("the first attempt has failed", || {
            let _fallback = worker.rule("login").timeout(Duration::ZERO).allow("eve");
            worker.flush(Duration::ZERO).is_err()
        });
        assert!(worker.allow("login", "eve"));
        drop(worker);
    });
}

#[test]
fn what_an_agent_without_a_journal_takes_with_it_is_counted_as_lost() {
    on_every_transport(|place| {
        let mut host = Host::in_memory(place);
        let mut first = host.agent();
        let worker = worker_with(&host.transport, quick());
        let mut recorded = Totals::default();
        for _ in 0..3 {
            for _ in 0..50 {
                worker.counter("requests").add(7);
                worker.histogram("us").record(3);
                worker.inventory("routes").seen("/");
                worker.attack(attack()).unwrap();
                worker.flush(PATIENCE).unwrap();
            }
            first.kill();
            first = host.agent();
            recorded = recorded.plus(Totals {
                counted: 350,
                observed: 50,
                hits: 50,
                attacks: 50,
            });
        }
        worker.close(PATIENCE).unwrap();
        end(first);
        let book = host.book();
        let ledger = book.ledger();
        assert_eq!(ledger.recorded, recorded);
        assert!(ledger.pending.is_zero());
        assert!(
            ledger
                .dropped
                .keys()
                .all(|&why| why == DropReason::AgentLost)
        );
        assert!(ledger.dropped.contains_key(&DropReason::AgentLost));
        // The worker's own book has what was acknowledged to it.
        assert_eq!(worker.ledger().applied, recorded);
        assert_eq!(worker.id(), *book.workers().keys().next().unwrap());
    });
}

// ---- short lives, and forks ----

#[test]
fn processes_that_start_count_and_exit_lose_nothing() {
    const LIVES: u64 = 12;
    on_every_transport(|place| {
        let mut host = Host::with_journal(place);
        let agent = host.agent();
        // Four at a time.
        for _ in 0..LIVES / 4 {
            let lives: Vec<_> = (0..4).map(|_| host.casting("short").start()).collect();
            for life in lives {
                life.finish();
            }
        }
        end(agent);
        let book = host.book();
        assert_eq!(book.counters()["runs"], LIVES);
        assert_eq!(count(book.attacks.len()), LIVES);
        assert_eq!(count(book.workers().len()), LIVES);
        assert_eq!(book.ledger().applied, book.ledger().recorded);
    });
}

#[cfg(unix)]
#[test]
fn a_forked_child_is_a_worker_of_its_own_and_nothing_is_sent_twice() {
    on_every_transport(|place| {
        let mut host = Host::with_journal(place);
        let agent = host.agent();
        host.casting("forker").start().finish();
        end(agent);
        let book = host.book();
        let mut each: Vec<(u64, u64)> = book
            .workers()
            .values()
            .map(|said| (said.ledger.applied.counted, said.ledger.applied.attacks))
            .collect();
        each.sort_unstable();
        assert_eq!(each, [(7, 2), (12, 2)]);
        assert_eq!(book.counters()["requests"], 19);
        assert_eq!(book.attacks.len(), 4);
        assert_eq!(book.ledger().applied, book.ledger().recorded);
    });
}

// ---- disks ----

/// How an agent's journal is.
#[cfg(unix)]
fn memory_of(agent: &mut role::Role) -> MemoryStatus {
    status_of(agent).memory
}

#[cfg(unix)]
#[test]
fn a_directory_that_can_not_be_written_is_done_without_and_taken_up_again() {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    const NOBODY: u32 = 65534;
    let _watchdog = Watchdog::new();
    let place = &places()[0];
    let mut host = Host::with_journal(place);
    let journal = host.journal.clone().unwrap();
    create_dir(&journal).unwrap();
    set_permissions(&journal, Permissions::from_mode(0o700)).unwrap();
    // Root may write anywhere.
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        chown(place.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        chown(&journal, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mode = |mode| set_permissions(&journal, Permissions::from_mode(mode)).unwrap();
    let as_nobody = |casting: Casting| match is_root {
        true => casting.by_user(NOBODY).start(),
        false => casting.start(),
    };
    let start = |host: &mut Host<'_>| {
        let agent = as_nobody(host.agent_casting());
        host.is_up(&agent);
        agent
    };
    let segments = |mode| {
        for entry in std::fs::read_dir(&journal).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("lock") {
                set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
        }
    };
    end(start(&mut host));
    segments(0o400);
    mode(0o500);
    let mut agent = start(&mut host);
    // Acknowledged all the same: it ends by itself.
    as_nobody(host.casting("short")).finish();
    let memory = memory_of(&mut agent);
    assert_eq!(memory.keeping, Keeping::Degraded);
    assert!(
        memory.failures > 0 && memory.last_error.is_some(),
        "{memory:?}"
    );
    mode(0o700);
    taken_up(&mut agent);
    // All that was missed is in it.
    agent.kill();
    let agent = start(&mut host);
    end(agent);
    let book = host.book();
    assert_eq!(book.counters()["runs"], 1);
    assert_eq!(book.attacks.len(), 1);
    assert_eq!(book.ledger().applied, book.ledger().recorded);
}

#[cfg(unix)]
fn taken_up(agent: &mut role::Role) {
    eventually("there is a journal again", || {
        memory_of(agent).keeping == Keeping::Journal
    });
    assert_eq!(memory_of(agent).recoveries, 1);
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_done_without_and_taken_up_again() {
    let _watchdog = Watchdog::new();
    let place = &places()[0];
    let mut host = Host::with_journal(place);
    let mut agent = host.agent();
    assert_eq!(memory_of(&mut agent).keeping, Keeping::Journal);
    agent.say("full");
    agent.expect("full");
    let worker = worker_with(&host.transport, quick());
    for _ in 0..20 {
        worker.counter("requests").add(5);
        worker.attack(attack()).unwrap();
        // Acknowledged all the same.
        worker.flush(PATIENCE).unwrap();
    }
    let memory = memory_of(&mut agent);
    assert_eq!(memory.keeping, Keeping::Degraded);
    assert!(
        memory.failures > 0 && memory.last_error.is_some(),
        "{memory:?}"
    );
    agent.say("room");
    agent.expect("room");
    taken_up(&mut agent);
    // All that was missed is in it.
    agent.kill();
    let agent = host.agent();
    worker.close(PATIENCE).unwrap();
    end(agent);
    let book = host.book();
    assert_eq!(book.counters()["requests"], 100);
    assert_eq!(book.attacks.len(), 20);
    let ledger = book.ledger();
    assert_eq!(ledger.applied, ledger.recorded);
    assert!(ledger.dropped.is_empty());
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("agent") => be_agent(),
        Some("short") => be_short(),
        #[cfg(unix)]
        Some("forker") => be_forker(),
        Some(other) => panic!("no role `{other}`"),
    }
}

/// What a program does that knows nothing of all this: no flush, no close.
fn be_short() {
    let limits = WorkerLimits {
        // However slow the machine is.
        drop_timeout: PATIENCE,
        ..WorkerLimits::default()
    };
    let worker = worker_with(&transport(), limits);
    worker.counter("runs").one();
    worker.attack(attack()).unwrap();
}

#[cfg(unix)]
fn be_forker() {
    let worker = worker_with(&transport(), still());
    let requests = worker.counter("requests");
    requests.add(5);
    worker.attack(attack()).unwrap();
    // SAFETY: what runs in the child is what the crate promises to work there. On the systems tested
    // the C library makes its own locks usable in a child of a threaded process.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    let adds = if pid == 0 { 3 } else { 7 };
    requests.add(adds);
    requests.add(if pid == 0 { 4 } else { 0 });
    worker.attack(attack()).unwrap();
    if pid == 0 {
        worker.attack(attack()).unwrap();
    }
    let closed = worker.close(PATIENCE);
    if pid == 0 {
        std::process::exit(i32::from(closed.is_err()));
    }
    closed.unwrap();
    let mut status = 0;
    // SAFETY: the pointer leads to a live integer.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!((waited, status), (pid, 0), "the child has failed");
}
