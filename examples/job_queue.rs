//! A job queue: a dispatcher hands jobs to workers, and to another worker if one dies.
//!
//! ```text
//! cargo run --example job_queue
//! ```
//!
//! prints (places, process ids, and who did how much differ; on a terminal the progress is one
//! line that changes):
//!
//! ```text
//! dispatch: listening on uds:/tmp/.tmpVr1aWk/run/job-queue.sock
//! work: process 4712 is ready
//! work: process 4713 is ready
//! work: process 4714 is ready
//! submit: 0 of 300 jobs done, 3 workers
//! submit: 75 of 300 jobs done, 3 workers
//! show: process 4712 was killed
//! submit: 150 of 300 jobs done, 2 workers
//! submit: 225 of 300 jobs done, 2 workers
//! submit: 300 of 300 jobs done, 2 workers
//! submit: 300 jobs = 300 done + 0 given up
//! submit: 302 times handed out = 300 done + 2 lost with a worker
//! submit: 768560 primes in all
//! work: process 4713 did 138 jobs
//! work: process 4714 did 129 jobs
//! ```
//!
//! The parts in terminals of their own; any of them can be killed, and started again:
//!
//! ```text
//! cargo run --example job_queue -- dispatch --transport tcp
//! cargo run --example job_queue -- work     --transport tcp        (as many as you like)
//! cargo run --example job_queue -- submit   --transport tcp --jobs 1000
//! ```
//!
//! What it shows: a job is a push to a worker, its result is an event, and the batch as a whole is
//! one call that is answered when the last job is done. A connection delivers in order and at most
//! once; that every job is done is the business of the [`Queue`], which knows who has what in
//! hand. It is pure, so the tests below can put it through any order of events.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::env;
use std::error::Error;
use std::fmt;
use std::io::{BufRead, BufReader, IsTerminal, Lines, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wayside::settings::Environment;
use wayside::{
    CallError, Client, CloseReason, Handler, Peer, PeerKey, Protocol, Responder, Server, Settings,
    SettingsError,
};

const HELP: &str = "\
Hands jobs (counting primes) to worker processes, and to others if a worker dies.

usage: job_queue [OPTIONS]             shows it: starts all parts, kills a worker on the way
       job_queue dispatch [OPTIONS]    the part in the middle, until it is interrupted
       job_queue work [OPTIONS]        a worker, until the dispatcher sends it home
       job_queue submit [OPTIONS]      hands in jobs and waits for the last of them

  --transport T   uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --jobs N        how many jobs (300)
  --workers N     how many workers to start (3); at least 2, as one is killed
  --once          dispatch: after the first batch send all workers home and end

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("job_queue: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    let result = match options.part {
        Part::All => show(&options),
        Part::Dispatch => dispatch(&options),
        Part::Work => work(&options),
        Part::Submit => submit(&options, |_| Ok(())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("job_queue: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long anything but the jobs may take.
const PATIENCE: Duration = Duration::from_secs(10);

// ---- what the parts say to each other ----

struct Jobs;

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
struct Done {
    job: u64,
    primes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// From a worker: I am here. Does no harm twice.
    Work,
    /// From a submitter: count the primes below each of these. Answered when all is done.
    Submit { below: Vec<u32> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Welcome,
    Finished(Ledger),
    /// The submitter has a batch under way already.
    Busy,
}

#[derive(Debug, Serialize, Deserialize)]
enum Push {
    /// To a worker.
    Job { job: u64, below: u32 },
    /// To a worker: there will be no more.
    GoHome,
    /// To a submitter.
    Progress(Progress),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Progress {
    ledger: Ledger,
    workers: usize,
}

/// What has become of the jobs of one submitter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    submitted: u64,
    done: u64,
    /// As many workers as [`TRIES_MAX`] have died over it.
    given_up: u64,
    handed_out: u64,
    /// Handed out to a worker that has gone.
    lost: u64,
    primes: u64,
}

impl Ledger {
    fn is_finished(&self) -> bool {
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

// ---- the queue: who has what in hand. No I/O, no clock ----

/// Jobs that a worker has at a time: one to do, one so that it need not wait for the next.
const HAND_MAX: usize = 2;

/// A job that has cost so many workers their lives is given up.
const TRIES_MAX: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job<K> {
    number: u64,
    below: u32,
    owner: K,
    tries: u32,
}

/// Every job that is not finished is in exactly one place: `waiting`, or one worker's hand.
///
/// `K` is the name of a peer. No two peers have the same, also not one after the other.
#[derive(Debug)]
struct Queue<K> {
    next_number: u64,
    waiting: VecDeque<Job<K>>,
    hands: BTreeMap<K, Vec<Job<K>>>,
    ledgers: BTreeMap<K, Ledger>,
}

impl<K: Ord + Copy> Queue<K> {
    fn new() -> Self {
        Self {
            next_number: 1,
            waiting: VecDeque::new(),
            hands: BTreeMap::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// A batch comes in. False if its owner has one under way.
    fn submit(&mut self, owner: K, tasks: Vec<u32>) -> bool {
        if self.ledgers.contains_key(&owner) {
            return false;
        }
        let mut ledger = Ledger::default();
        for below in tasks {
            ledger.submitted += 1;
            let number = self.next_number;
            self.next_number += 1;
            self.waiting.push_back(Job {
                number,
                below,
                owner,
                tries: 0,
            });
        }
        self.ledgers.insert(owner, ledger);
        true
    }

    /// A worker is there.
    fn join(&mut self, worker: K) {
        self.hands.entry(worker).or_default();
    }

    /// Hands the next job to the worker that has least to do, if one has a hand free.
    fn hand_out(&mut self) -> Option<(K, Job<K>)> {
        let hands = self.hands.iter_mut();
        let (worker, hand) = hands.min_by_key(|(_, hand)| hand.len())?;
        if hand.len() >= HAND_MAX {
            return None;
        }
        let mut job = self.waiting.pop_front()?;
        job.tries += 1;
        hand.push(job.clone());
        if let Some(ledger) = self.ledgers.get_mut(&job.owner) {
            ledger.handed_out += 1;
        }
        Some((*worker, job))
    }

    /// A worker has done a job. Gives its owner; `None` if it was not in that worker's hand, as
    /// when the result comes by another connection than the job went.
    fn finish(&mut self, worker: K, number: u64, primes: u64) -> Option<K> {
        let hand = self.hands.get_mut(&worker)?;
        let place = hand.iter().position(|job| job.number == number)?;
        let owner = hand.remove(place).owner;
        let ledger = self.ledgers.get_mut(&owner)?;
        ledger.done += 1;
        ledger.primes += primes;
        Some(owner)
    }

    /// A peer has gone: a worker's jobs wait again, in front; an owner's are dropped.
    fn leave(&mut self, peer: K) {
        for job in self.hands.remove(&peer).into_iter().flatten().rev() {
            let Some(ledger) = self.ledgers.get_mut(&job.owner) else {
                continue;
            };
            ledger.lost += 1;
            if job.tries < TRIES_MAX {
                self.waiting.push_front(job);
            } else {
                ledger.given_up += 1;
            }
        }
        self.ledgers.remove(&peer);
        self.waiting.retain(|job| job.owner != peer);
    }

    /// A batch that is finished; it is forgotten here.
    fn take_finished(&mut self) -> Option<(K, Ledger)> {
        let mut ledgers = self.ledgers.iter();
        let owner = *ledgers.find(|(_, ledger)| ledger.is_finished())?.0;
        self.ledgers.remove_entry(&owner)
    }
}

// ---- the dispatcher: the queue, joined to peers ----

struct Dispatcher {
    queue: Queue<PeerKey>,
    peers: HashMap<PeerKey, Peer<Jobs>>,
    submitters: HashMap<PeerKey, Responder<Jobs>>,
    /// Told when a batch is over.
    over: Sender<()>,
}

impl Dispatcher {
    fn new() -> (Self, Receiver<()>) {
        let (over, ending) = channel();
        let dispatcher = Self {
            queue: Queue::new(),
            peers: HashMap::new(),
            submitters: HashMap::new(),
            over,
        };
        (dispatcher, ending)
    }

    /// Sends what the queue decides, and answers those whose batch is finished.
    fn go_on(&mut self) {
        while let Some((worker, job)) = self.queue.hand_out() {
            let push = Push::Job {
                job: job.number,
                below: job.below,
            };
            if let Some(peer) = self.peers.get(&worker) {
                if peer.push(&push).is_err() {
                    // It can't even take this: `disconnected` follows, and gives the job back.
                    peer.close();
                }
            }
        }
        while let Some((owner, ledger)) = self.queue.take_finished() {
            self.tell(owner, ledger);
            if let Some(responder) = self.submitters.remove(&owner) {
                // If it has left meanwhile, nobody wants to know.
                responder.reply(&Reply::Finished(ledger)).ok();
            }
            // Only `--once` listens.
            self.over.send(()).ok();
        }
    }

    fn tell(&self, owner: PeerKey, ledger: Ledger) {
        let workers = self.queue.hands.len();
        let push = Push::Progress(Progress { ledger, workers });
        if let Some(peer) = self.peers.get(&owner) {
            // Progress that can't be sent is followed by more.
            peer.push(&push).ok();
        }
    }
}

impl Handler<Jobs> for Dispatcher {
    fn connected(&mut self, peer: &Peer<Jobs>) {
        self.peers.insert(peer.key(), peer.clone());
    }

    fn event(&mut self, peer: &Peer<Jobs>, done: Done) {
        if let Some(owner) = self.queue.finish(peer.key(), done.job, done.primes) {
            if let Some(ledger) = self.queue.ledgers.get(&owner) {
                self.tell(owner, *ledger);
            }
        }
        self.go_on();
    }

    fn request(&mut self, peer: &Peer<Jobs>, request: Request, responder: Responder<Jobs>) {
        let key = peer.key();
        match request {
            Request::Work => {
                responder.reply(&Reply::Welcome).ok();
                self.queue.join(key);
            }
            Request::Submit { below } => {
                if self.queue.submit(key, below) {
                    self.submitters.insert(key, responder);
                } else {
                    responder.reply(&Reply::Busy).ok();
                }
                if let Some(ledger) = self.queue.ledgers.get(&key) {
                    self.tell(key, *ledger);
                }
            }
        }
        self.go_on();
    }

    fn disconnected(&mut self, peer: &Peer<Jobs>, _: &CloseReason) {
        self.peers.remove(&peer.key());
        self.queue.leave(peer.key());
        if self.submitters.remove(&peer.key()).is_some() {
            self.over.send(()).ok();
        }
        self.go_on();
    }
}

fn dispatch(options: &Options) -> Result<(), Box<dyn Error>> {
    let settings = settings(options)?;
    let (dispatcher, ending) = Dispatcher::new();
    let builder = Server::builder().settings(&settings)?;
    let server = builder.bind(dispatcher)?.spawn()?;
    for endpoint in server.endpoints() {
        println!("dispatch: listening on {endpoint}");
    }
    for () in ending {
        if options.once {
            break;
        }
    }
    server.broadcast(&Push::GoHome);
    server.shutdown(PATIENCE);
    Ok(())
}

// ---- a worker ----

/// A worker that has had nothing to do for so long says again that it is there: the dispatcher may
/// be another one by now.
const IDLE: Duration = Duration::from_secs(1);

fn work(options: &Options) -> Result<(), Box<dyn Error>> {
    let client = connect(options)?;
    let process = std::process::id();
    let mut jobs = 0;
    let mut ready = false;
    loop {
        match client.call(&Request::Work, PATIENCE) {
            Ok(_) if !ready => {
                println!("work: process {process} is ready");
                ready = true;
            }
            Ok(_) => {}
            Err(CallError::NotConnected(why)) => {
                eprintln!("work: process {process} waits for the dispatcher: {why}");
                client.wait_connected(PATIENCE)?;
                continue;
            }
            Err(error) => eprintln!("work: process {process}: {error}"),
        }
        while let Some(push) = client.next_push(IDLE) {
            match push {
                Push::Job { job, below } => {
                    let primes = primes_below(below);
                    client.send(&Done { job, primes })?;
                    jobs += 1;
                }
                Push::GoHome => {
                    println!("work: process {process} did {jobs} jobs");
                    client.close(PATIENCE)?;
                    return Ok(());
                }
                Push::Progress(_) => {}
            }
        }
    }
}

/// By trial division: it is meant to take a while.
fn primes_below(below: u32) -> u64 {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (2..below).filter(is_prime).map(|_| 1).sum()
}

// ---- the submitter ----

/// How long a batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(600);

/// How often to look whether the call has ended without a last word about the progress.
const LOOK: Duration = Duration::from_millis(100);

fn submit(
    options: &Options,
    mut watch: impl FnMut(Progress) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let client = connect(options)?;
    let below = (0..options.jobs).map(|job| 20_000 + job % 7 * 1000);
    let request = Request::Submit {
        below: below.collect(),
    };
    let mut line = Line::new();
    let pending = client.start(&request, BATCH_TIMEOUT)?;
    loop {
        // Once more after the end: the last word came before the answer.
        let last = pending.is_finished();
        while let Some(push) = client.next_push(if last { Duration::ZERO } else { LOOK }) {
            if let Push::Progress(progress) = push {
                line.show(progress);
                watch(progress)?;
            }
        }
        if last {
            break;
        }
    }
    line.end();
    match pending.wait()? {
        Reply::Finished(ledger) => println!("{ledger}"),
        other => return Err(format!("the dispatcher says {other:?}").into()),
    }
    client.close(PATIENCE)?;
    Ok(())
}

/// One line that changes on a terminal, and every quarter a line elsewhere.
struct Line {
    live: bool,
    quarters: u64,
}

impl Line {
    fn new() -> Self {
        Self {
            live: std::io::stdout().is_terminal(),
            quarters: 0,
        }
    }

    fn show(&mut self, progress: Progress) {
        if self.live {
            print!("\r{progress} ");
            // A terminal that is gone shows nothing anyway.
            std::io::stdout().flush().ok();
        } else if progress.ledger.done * 4 >= progress.ledger.submitted * self.quarters {
            println!("{progress}");
            self.quarters += 1;
        }
    }

    fn end(&self) {
        if self.live {
            println!();
        }
    }
}

// ---- all of it, to show it ----

/// A process that was started here: it does not outlive this value.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("the output is not piped")?;
        let lines = BufReader::new(output).lines();
        Ok(Self { child, lines })
    }

    /// Prints the next line and gives it back.
    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let line = self.lines.next().ok_or("a part ended too soon")??;
        println!("{line}");
        Ok(line)
    }

    /// Prints the rest and waits for the end.
    fn end(mut self) -> Result<(), Box<dyn Error>> {
        for line in &mut self.lines {
            println!("{}", line?);
        }
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a part failed: {status}").into())
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let start = |part: &str, arguments: &[&str]| {
        let mut command = Command::new(env::current_exe()?);
        // Neither the address nor the port of anybody else.
        command.env("WAYSIDE_DIR", folder.path().join("run"));
        command.env("WAYSIDE_TCP_ADDRESS", "127.0.0.1:0");
        Started::start(command.arg(part).args(arguments))
    };
    let mut dispatcher = match &options.transport {
        Some(transport) => start("dispatch", &["--once", "--transport", transport])?,
        None => start("dispatch", &["--once"])?,
    };
    let line = dispatcher.line()?;
    let (_, endpoint) = line.split_once("listening on ").ok_or("no endpoint")?;
    let mut workers = Vec::new();
    for _ in 0..options.workers {
        workers.push(start("work", &["--transport", endpoint])?);
    }
    for worker in &mut workers {
        worker.line()?;
    }

    let mut victim = Some(workers.remove(0));
    let options = Options {
        transport: Some(endpoint.to_owned()),
        dir: Some(folder.path().join("run")),
        ..options.clone()
    };
    submit(&options, |progress| {
        if progress.ledger.done * 3 >= progress.ledger.submitted {
            if let Some(victim) = victim.take() {
                let process = victim.child.id();
                // As `kill -9` does.
                drop(victim);
                println!("show: process {process} was killed");
            }
        }
        Ok(())
    })?;
    for worker in workers {
        worker.end()?;
    }
    dispatcher.end()
}

// ---- the command line and the settings ----

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Dispatch,
    Work,
    Submit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    part: Part,
    transport: Option<String>,
    /// Where sockets and keys are, if not where the settings say.
    dir: Option<std::path::PathBuf>,
    jobs: u32,
    workers: u32,
    once: bool,
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            part: Part::All,
            transport: None,
            dir: None,
            jobs: 300,
            workers: 3,
            once: false,
        };
        let mut words = words.into_iter();
        let mut first = true;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "dispatch" if first => options.part = Part::Dispatch,
                "work" if first => options.part = Part::Work,
                "submit" if first => options.part = Part::Submit,
                "--transport" => options.transport = Some(value()?),
                "--jobs" => options.jobs = number(&word, &value()?)?,
                "--workers" => options.workers = number(&word, &value()?)?,
                "--once" => options.once = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
            first = false;
        }
        if options.workers < 2 {
            return Err("--workers must be at least 2, as one is killed".to_owned());
        }
        Ok(Some(options))
    }
}

fn number(option: &str, text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{option} needs a number, not `{text}`"))
}

/// What the file and the environment say; the command line stands above both.
fn settings(options: &Options) -> Result<Settings, SettingsError> {
    let mut environment = Environment::of_process();
    if let Some(transport) = &options.transport {
        environment = environment
            .with("WAYSIDE_TRANSPORT", transport)
            .with("WAYSIDE_ENDPOINT", "");
    }
    if let Some(dir) = &options.dir {
        environment = environment.with("WAYSIDE_DIR", dir);
    }
    Settings::builder()
        .name("job-queue")
        .environment(environment)
        .load()
}

fn connect(options: &Options) -> Result<Client<Jobs>, Box<dyn Error>> {
    Client::builder()
        .settings(&settings(options)?)?
        .connect(PATIENCE)
        .map_err(|error| format!("{error} (`job_queue dispatch` starts the other side)").into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// What can happen to a queue. Peers 0 to 4 work, those from 10 on submit.
    #[derive(Debug, Clone)]
    enum Step {
        Submit(usize),
        Join(u32),
        HandOut,
        Finish(u32, prop::sample::Index),
        /// A result that is nobody's, or comes by the wrong connection.
        Stray(u32, u64),
        Leave(u32),
        OwnerLeaves(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let worker = 0..5_u32;
        prop_oneof![
            1 => (0..20_usize).prop_map(Step::Submit),
            2 => worker.clone().prop_map(Step::Join),
            6 => Just(Step::HandOut),
            4 => (worker.clone(), any::<prop::sample::Index>())
                .prop_map(|(who, which)| Step::Finish(who, which)),
            1 => (worker.clone(), 0..100_u64).prop_map(|(who, job)| Step::Stray(who, job)),
            2 => worker.prop_map(Step::Leave),
            1 => any::<prop::sample::Index>().prop_map(Step::OwnerLeaves),
        ]
    }

    /// A queue, and what is known of it from outside.
    struct Observed {
        queue: Queue<u32>,
        next_owner: u32,
        finished: HashSet<u64>,
        reported: Vec<Ledger>,
    }

    impl Observed {
        fn apply(&mut self, step: Step) {
            let queue = &mut self.queue;
            match step {
                Step::Submit(count) => {
                    assert!(queue.submit(self.next_owner, vec![10; count]));
                    self.next_owner += 1;
                }
                Step::Join(worker) => queue.join(worker),
                Step::HandOut => {
                    queue.hand_out();
                }
                Step::Finish(worker, which) => {
                    let hand = queue.hands.get(&worker).filter(|hand| !hand.is_empty());
                    if let Some(number) = hand.map(|hand| which.get(hand).number) {
                        queue.finish(worker, number, 4);
                        assert!(self.finished.insert(number), "job {number} was done twice");
                    }
                }
                Step::Stray(worker, number) => {
                    let hand = queue.hands.get(&worker);
                    if !hand.is_some_and(|hand| hand.iter().any(|job| job.number == number)) {
                        assert_eq!(queue.finish(worker, number, 4), None);
                    }
                }
                Step::Leave(worker) => queue.leave(worker),
                Step::OwnerLeaves(which) => {
                    let owners: Vec<u32> = queue.ledgers.keys().copied().collect();
                    if !owners.is_empty() {
                        queue.leave(*which.get(&owners));
                    }
                }
            }
            while let Some((_, ledger)) = self.queue.take_finished() {
                self.reported.push(ledger);
            }
            self.check();
        }

        /// Nothing is in two places, and every ledger balances.
        fn check(&self) {
            let queue = &self.queue;
            let in_hand = || queue.hands.values().flatten();
            let mut seen = HashSet::new();
            for job in queue.waiting.iter().chain(in_hand()) {
                assert!(seen.insert(job.number), "{job:?} is in two places");
                assert!(!self.finished.contains(&job.number), "{job:?} is done");
                assert!(job.tries <= TRIES_MAX, "{job:?}");
            }
            assert!(queue.hands.values().all(|hand| hand.len() <= HAND_MAX));
            for (owner, ledger) in &queue.ledgers {
                let count = |jobs: &mut dyn Iterator<Item = &Job<u32>>| {
                    u64::try_from(jobs.filter(|job| job.owner == *owner).count()).unwrap()
                };
                let (waiting, held) = (count(&mut queue.waiting.iter()), count(&mut in_hand()));
                let known = ledger.done + ledger.given_up + waiting + held;
                assert_eq!(ledger.submitted, known, "{ledger:?}");
                let ways = ledger.done + ledger.lost + held;
                assert_eq!(ledger.handed_out, ways, "{ledger:?}");
                assert_eq!(ledger.primes, ledger.done * 4);
            }
        }
    }

    proptest! {
        #[test]
        fn every_job_is_done_once_or_reported_whoever_dies(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let mut observed = Observed {
                queue: Queue::new(),
                next_owner: 10,
                finished: HashSet::new(),
                reported: Vec::new(),
            };
            for step in steps {
                observed.apply(step);
            }
            // Then one worker lives, the others die, and what is left gets done.
            (0..5).for_each(|worker| observed.apply(Step::Leave(worker)));
            observed.apply(Step::Join(5));
            while let Some((worker, job)) = observed.queue.hand_out() {
                observed.queue.finish(worker, job.number, 4);
                prop_assert!(observed.finished.insert(job.number));
                while let Some((_, ledger)) = observed.queue.take_finished() {
                    observed.reported.push(ledger);
                }
            }
            prop_assert!(observed.queue.ledgers.is_empty(), "an owner waits for ever");
            for ledger in observed.reported {
                prop_assert_eq!(ledger.submitted, ledger.done + ledger.given_up);
                prop_assert_eq!(ledger.handed_out, ledger.done + ledger.lost);
            }
        }

        #[test]
        fn a_job_that_kills_its_workers_is_given_up_after_three(others in 0..5_usize) {
            let mut queue = Queue::new();
            queue.submit(10, vec![10; others + 1]);
            for worker in 0..TRIES_MAX {
                queue.join(worker);
                let (_, job) = queue.hand_out().unwrap();
                prop_assert_eq!((job.number, job.tries), (1, worker + 1));
                queue.leave(worker);
            }
            prop_assert_eq!(queue.ledgers[&10].given_up, 1);
            prop_assert_eq!(queue.waiting.len(), others);
        }

        #[test]
        fn the_primes_are_those_of_a_sieve(below in 0..5000_u32) {
            let mut composite = vec![false; usize::try_from(below).unwrap()];
            let mut count = 0;
            for n in 2..composite.len() {
                if !composite[n] {
                    count += 1;
                    (n * n..composite.len()).step_by(n).for_each(|m| composite[m] = true);
                }
            }
            prop_assert_eq!(primes_below(below), count);
        }

        #[test]
        fn any_other_word_is_named_in_the_complaint(word in "[a-z]{1,10}") {
            prop_assume!(!["dispatch", "work", "submit"].contains(&word.as_str()));
            let complaint = Options::parse([word.clone()]).unwrap_err();
            prop_assert!(complaint.contains(&word));
        }
    }

    /// With real connections: a worker leaves in the middle, wherever that is, and another comes.
    #[test]
    fn a_batch_is_finished_when_a_worker_leaves_with_jobs_in_hand() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let place = wayside::Transport::new(wayside::backend::Tcp::new(key), "127.0.0.1:0");
        let (dispatcher, _ending) = Dispatcher::new();
        let builder = Server::builder().listen(place.clone());
        let server = builder.bind(dispatcher).unwrap().spawn().unwrap();
        let place = place.at(server.endpoints()[0].address());
        let client = || {
            let builder = Client::<Jobs>::builder().transport(place.clone());
            builder.connect(PATIENCE).unwrap()
        };
        let do_jobs = |worker: &Client<Jobs>, count: u32| {
            for _ in 0..count {
                match worker.next_push(PATIENCE) {
                    Some(Push::Job { job, below }) => {
                        let primes = primes_below(below);
                        worker.send(&Done { job, primes }).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let few = ProptestConfig::with_cases(16);
        proptest!(few, |(jobs in 1..20_u32, part in 0..20_u32)| {
            let part = part % jobs;
            let submitter = client();
            let below = vec![30; usize::try_from(jobs).unwrap()];
            let pending = submitter.start(&Request::Submit { below }, PATIENCE).unwrap();
            let first = client();
            first.call(&Request::Work, PATIENCE).unwrap();
            do_jobs(&first, part);
            first.close(PATIENCE).unwrap();
            let second = client();
            second.call(&Request::Work, PATIENCE).unwrap();
            do_jobs(&second, jobs - part);
            let Reply::Finished(ledger) = pending.wait().unwrap() else {
                panic!("not finished");
            };
            prop_assert_eq!(ledger.done, u64::from(jobs));
            prop_assert_eq!(ledger.primes, 10 * u64::from(jobs));
            prop_assert_eq!(ledger.handed_out, ledger.done + ledger.lost);
        });
    }

    #[test]
    fn the_lines_at_the_top_of_this_file_are_those_that_are_printed() {
        let ledger = Ledger {
            submitted: 300,
            done: 300,
            given_up: 0,
            handed_out: 302,
            lost: 2,
            primes: 768_560,
        };
        let progress = Progress { ledger, workers: 2 };
        let page = include_str!("job_queue.rs");
        for line in format!("{progress}\n{ledger}").lines() {
            assert!(page.contains(&format!("//! {line}\n")), "{line}");
        }
    }
}
