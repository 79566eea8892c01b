//! Measures what an agent takes: attacks a second, and the CPU time of stats.
//!
//! ```text
//! cargo bench --bench agent --all-features -- --quick
//! ```
//!
//! The agent is a process of its own; this one plays its workers with bare clients, so that the CPU
//! time of the one is not that of the others. `docs/performance.md` says what came of it. It fails where a goal
//! is missed by far.
#![expect(clippy::print_stdout, reason = "a report is what this program is for")]
#![expect(
    clippy::print_stderr,
    reason = "how to use it is not part of the report"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use wayside::aggregator::sink::{Sink, SinkError};
use wayside::aggregator::{
    Agent, AgentPush, AgentReply, Attack, AttackBody, AttackReport, AttackRequest, Batch, Buckets,
    Hello, Report, Reports, Series, Totals, UnixMicros, WorkerEvent, WorkerId, WorkerRequest,
};
use wayside::{Client, Settings};

type Error = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(60);
/// Marks the process that is the agent.
const AGENT: &str = "--agent";
/// Attacks a second that an agent is to take in memory, and the part of a core that a hundred workers are to
/// take at most.
const ATTACKS_GOAL: f64 = 50_000.0;
const CORE_GOAL: f64 = 0.1;
/// So many times beside a goal is no matter of a busy machine.
const FAR: f64 = 4.0;
/// Attacks of one worker that may wait for their acknowledgement.
const WINDOW: u64 = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let result = match arguments.as_slice() {
        [first, directory, journal] if first == AGENT => be_agent(directory, journal == "journal"),
        _ if has("--bench") => measure(has("--quick")),
        _ => {
            // `cargo test --all-targets` runs this too, and must not wait for it.
            eprintln!("to measure: cargo bench --bench agent --all-features -- [--quick]");
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(quick: bool) -> Result<(), Error> {
    let (attacks, seconds, rounds) = if quick {
        (100_000, 5, 1)
    } else {
        (500_000, 20, 3)
    };
    println!("| what | journal | rate | CPU of the agent |");
    println!("|---|---|--:|--:|");
    let mut missed = false;
    for _ in 0..rounds {
        for journal in [false, true] {
            for workers in [1, 4] {
                let rate = measure_attacks(journal, workers, attacks)?;
                missed |= !journal && rate * FAR < ATTACKS_GOAL;
            }
            missed |= measure_batches(journal, seconds)? > CORE_GOAL * FAR;
        }
        measure_latency()?;
    }
    if missed && !quick {
        return Err("a goal is missed by far, see above".into());
    }
    Ok(())
}

fn settings(directory: &Path) -> Result<Settings, Error> {
    let text = format!(
        "name = \"bench\"\ndir = {:?}\n",
        directory.join("run").display().to_string()
    );
    Ok(Settings::from_text(&text, "bench")?)
}

// The agent.

/// Takes everything, at once.
struct Nothing;

impl Sink for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn deliver(&mut self, _: &Report) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Says its CPU time, in nanoseconds, whenever it is asked by a line.
fn be_agent(directory: &str, journal: bool) -> Result<(), Error> {
    let settings = settings(Path::new(directory))?;
    let mut builder = Agent::builder("bench").settings(&settings).sink(Nothing);
    builder = builder.heartbeat(Duration::from_secs(2));
    if journal {
        builder = builder.journal(Path::new(directory).join("journal"));
    }
    let agent = builder.start()?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", cpu_nanos());
    }
    agent.shutdown(Duration::from_secs(1));
    Ok(())
}

#[cfg(unix)]
fn cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(not(unix))]
fn cpu_nanos() -> u64 {
    0
}

struct AgentProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl AgentProcess {
    fn start(journal: bool) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(AGENT)
            .arg(folder.path())
            .arg(if journal { "journal" } else { "memory" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("it has no output")?;
        let mut agent = Self {
            child,
            input,
            output: BufReader::new(output),
            folder,
        };
        agent.line()?;
        Ok(agent)
    }

    fn line(&mut self) -> Result<String, Error> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    fn cpu(&mut self) -> Result<Duration, Error> {
        let input = self.input.as_mut().ok_or("it has ended")?;
        writeln!(input, "cpu")?;
        Ok(Duration::from_nanos(self.line()?.parse()?))
    }

    fn worker(&self, id: u128) -> Result<Client<Reports>, Error> {
        let builder = Client::<Reports>::builder().settings(&settings(self.folder.path())?)?;
        let client = builder.connect(PATIENCE)?;
        let hello = Hello {
            worker: WorkerId(id),
            application: "bench".to_owned(),
            token: None,
            process: std::process::id(),
            batch_acknowledged: 0,
            batch_sent: 0,
            attack_acknowledged: 0,
            acknowledged: Totals::default(),
            config_hash: None,
        };
        match client.call(&WorkerRequest::Hello(hello), PATIENCE)? {
            AgentReply::Welcome { .. } => Ok(client),
            other => Err(format!("{other:?}").into()),
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // Its input ends, and so does it.
        self.input = None;
        self.child.wait().ok();
    }
}

// Attacks.

/// Attacks a second.
fn measure_attacks(journal: bool, workers: u32, total: u64) -> Result<f64, Error> {
    let mut agent = AgentProcess::start(journal)?;
    let clients: Result<Vec<_>, _> = (1..=workers).map(|id| agent.worker(id.into())).collect();
    let clients = clients?;
    let each = total / u64::from(workers);
    let cpu = agent.cpu()?;
    let start = Instant::now();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|client| std::thread::spawn(move || send_attacks(&client, each)))
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")??;
    }
    let time = start.elapsed();
    let cpu = agent.cpu()? - cpu;
    let rate = per_second(total, time);
    let each = cpu.as_secs_f64() / f64::from(u32::try_from(total)?) * 1e6;
    println!(
        "| attacks of 400 B, {workers} workers | {} | {rate:.0}/s | {each:.1} µs each |",
        yes(journal)
    );
    Ok(rate)
}

fn send_attacks(client: &Client<Reports>, count: u64) -> Result<(), String> {
    let mut taken = 0;
    let mut sent = 0;
    while taken < count {
        while sent < count && sent - taken < WINDOW {
            let event = attack(sent + 1);
            // Full is full: what was sent has to be read first.
            match client.send_urgent(&event) {
                Ok(()) => sent += 1,
                Err(_) => break,
            }
        }
        match client.next_push(PATIENCE) {
            Some(AgentPush::AttacksTaken { number }) => taken = number,
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(())
}

fn attack(number: u64) -> WorkerEvent {
    let request = AttackRequest {
        method: "GET".to_owned(),
        url: "https://shop.example/users/7?order=1%27%20OR%201%3D1".to_owned(),
        route: "/users/:id".to_owned(),
        ip: format!("203.0.113.{}", number % 250),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36".to_owned(),
    };
    let attack = Attack {
        operation: "sqlite3.execute".to_owned(),
        source: "query".to_owned(),
        path: ".order".to_owned(),
        payload: "1' OR 1=1".to_owned(),
        blocked: true,
        request: Some(request),
        stack: vec!["orders.rs:71".to_owned(), "main.rs:12".to_owned()],
        ..Attack::new("sql_injection")
    };
    WorkerEvent::Attack(Box::new(AttackReport {
        number,
        at: UnixMicros(number),
        body: AttackBody::Attack(Box::new(attack)),
    }))
}

// Stats.

/// A hundred workers with two hundred series each, once a second: the part of a core that the agent takes.
fn measure_batches(journal: bool, seconds: u32) -> Result<f64, Error> {
    let mut agent = AgentProcess::start(journal)?;
    let clients: Result<Vec<_>, _> = (1..=100).map(|id| agent.worker(id)).collect();
    let clients = clients?;
    let cpu = agent.cpu()?;
    let start = Instant::now();
    let mut recorded = Totals::default();
    for second in 0..seconds {
        let batch = batch(u64::from(second) + 1, &mut recorded);
        for (client, at) in clients.iter().zip(0_u32..) {
            let due = start + Duration::from_secs(second.into()) + Duration::from_millis(10) * at;
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            let reply = client.call(&WorkerRequest::Batch(batch.clone()), PATIENCE)?;
            if !matches!(reply, AgentReply::Taken { .. }) {
                return Err(format!("{reply:?}").into());
            }
        }
    }
    let time = start.elapsed();
    let cpu = agent.cpu()? - cpu;
    let part = cpu.as_secs_f64() / time.as_secs_f64();
    let percent = part * 100.0;
    println!(
        "| 100 workers, 200 series each a second | {} | {:.0} series/s | {percent:.1} % of a core |",
        yes(journal),
        per_second(u64::from(seconds) * 100 * 200, time),
    );
    Ok(part)
}

/// 150 counters, 40 histograms and 10 gauges.
fn batch(seq: u64, recorded: &mut Totals) -> Batch {
    let series = |name: &str, number: u16| {
        let route = format!("/route/{number}");
        Series::new(name, &[("method", "GET"), ("route", &route)])
    };
    let counters = (0..150).map(|number| (series("http.requests", number), 17));
    let buckets: Vec<(u16, u64)> = (0..30).map(|bucket| (300 + bucket, 2)).collect();
    let histograms = (0..40).map(|number| {
        let buckets = Buckets(buckets.clone());
        (series("http.duration", number), buckets)
    });
    let gauges = (0..10).map(|number| (series("pool.size", number), 0.5));
    recorded.counted += 150 * 17;
    recorded.observed += 40 * 60;
    Batch {
        seq,
        counters: counters.collect(),
        gauges: gauges.collect(),
        histograms: histograms.collect(),
        recorded: *recorded,
        ..Batch::default()
    }
}

// Latency.

/// Says when it was given something.
struct Telling(std::sync::mpsc::Sender<Instant>);

impl Sink for Telling {
    fn name(&self) -> &str {
        "telling"
    }

    fn deliver(&mut self, report: &Report) -> Result<(), SinkError> {
        if matches!(report, Report::Attack(_)) {
            self.0.send(Instant::now()).ok();
        }
        Ok(())
    }
}

/// From an attack in a worker to the sink's call, with a journal: in one process, for the clock.
fn measure_latency() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let settings = settings(folder.path())?;
    let (sender, told) = std::sync::mpsc::channel();
    let agent = Agent::builder("bench")
        .settings(&settings)
        .journal(folder.path().join("journal"))
        .sink(Telling(sender))
        .start()?;
    let worker = wayside::aggregator::Worker::builder("bench")
        .settings(&settings)?
        .start()?;
    worker.attack(Attack::new("first"));
    told.recv_timeout(PATIENCE)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        std::thread::park_timeout(Duration::from_millis(5));
        let start = Instant::now();
        worker.attack(Attack::new("next"));
        times.push(told.recv_timeout(PATIENCE)? - start);
    }
    times.sort_unstable();
    println!(
        "| from `attack` to the sink's call | yes | median {:.2} ms, 99 of 100 within {:.2} ms | |",
        times[100].as_secs_f64() * 1e3,
        times[198].as_secs_f64() * 1e3,
    );
    worker.close(PATIENCE).ok();
    agent.shutdown(PATIENCE);
    Ok(())
}

fn per_second(count: u64, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}

fn yes(journal: bool) -> &'static str {
    if journal { "yes" } else { "no" }
}
