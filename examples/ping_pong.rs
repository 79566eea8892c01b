//! Two processes, one question, one answer: how long a round trip takes.
//!
//! ```text
//! cargo run --release --example ping_pong
//! ```
//!
//! prints (places and times differ):
//!
//! ```text
//! pong: listening on uds:/tmp/.tmpX2VfLq/run/ping-pong.sock
//! ping: connected to uds:/tmp/.tmpX2VfLq/run/ping-pong.sock
//! ping: round 1 of 2000 took 36.1 µs
//! ping: round 2 of 2000 took 27.8 µs
//! ping: round 3 of 2000 took 10.6 µs
//! ping: 2000 round trips of 64 bytes: half within 10.5 µs, 99 % within 29.1 µs, all within 88.6 µs
//! pong: 2000 pings came, 2000 pongs went
//! ```
//!
//! The two sides in two terminals, over another transport:
//!
//! ```text
//! cargo run --release --example ping_pong -- serve --transport tcp
//! cargo run --release --example ping_pong -- ping  --transport tcp --count 100000 --size 1000
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::env;
use std::error::Error;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wayside::settings::Environment;
use wayside::{
    Client, CloseReason, Handler, Never, Peer, Protocol, Responder, Server, Settings, SettingsError,
};

const HELP: &str = "\
Measures round trips between two processes.

usage: ping_pong [OPTIONS]          shows it: starts both sides, in a temporary directory
       ping_pong serve [OPTIONS]    the side that answers, until it is interrupted
       ping_pong ping [OPTIONS]     the side that asks

  --transport T   uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --count N       round trips (2000)
  --size N        bytes in each message (64)
  --once          serve: end when the first client has left

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("ping_pong: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    let result = match options.side {
        Side::Both => show(&options),
        Side::Pong => serve(&options),
        Side::Ping => ping(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping_pong: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- what the two say to each other ----

struct PingPong;

/// Both the question and the answer: what comes goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ball {
    round: u32,
    bytes: Vec<u8>,
}

impl Protocol for PingPong {
    const NAME: &'static str = "ping-pong";
    const VERSION: u32 = 1;
    type Event = Never;
    type Request = Ball;
    type Reply = Ball;
    type Push = Never;
}

// ---- the side that answers ----

struct Pong {
    left: Sender<()>,
}

impl Pong {
    /// The handler, and what tells that a client has left.
    fn new() -> (Self, Receiver<()>) {
        let (left, leaving) = channel();
        (Self { left }, leaving)
    }
}

impl Handler<PingPong> for Pong {
    fn event(&mut self, _: &Peer<PingPong>, event: Never) {
        match event {}
    }

    fn request(&mut self, _: &Peer<PingPong>, ball: Ball, responder: Responder<PingPong>) {
        // A client that has gone or stopped waiting is counted by the server.
        responder.reply(&ball).ok();
    }

    fn disconnected(&mut self, _: &Peer<PingPong>, _: &CloseReason) {
        // Nobody listens once `serve` has ended.
        self.left.send(()).ok();
    }
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let settings = settings(options)?;
    let (pong, leaving) = Pong::new();
    let server = Server::builder().settings(&settings)?.bind(pong)?.spawn()?;
    for endpoint in server.endpoints() {
        println!("pong: listening on {endpoint}");
    }
    for () in leaving {
        if options.once {
            break;
        }
    }
    server.shutdown(PATIENCE);
    let counters = server.counters();
    let (pings, pongs) = (counters.requests, counters.replies);
    println!("pong: {pings} pings came, {pongs} pongs went");
    Ok(())
}

// ---- the side that asks ----

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn ping(options: &Options) -> Result<(), Box<dyn Error>> {
    let client = Client::<PingPong>::builder()
        .settings(&settings(options)?)?
        .connect(PATIENCE)
        .map_err(|error| format!("{error} (`ping_pong serve` starts the other side)"))?;
    println!("ping: {}", client.state());
    let mut ball = Ball {
        round: 0,
        bytes: vec![7; options.size],
    };
    let mut times = Vec::new();
    for round in 1..=options.count {
        ball.round = round;
        let start = Instant::now();
        let back = client.call(&ball, PATIENCE)?;
        let time = start.elapsed();
        if back != ball {
            return Err(format!("round {round} came back changed").into());
        }
        if round <= 3 {
            println!(
                "ping: round {round} of {} took {}",
                options.count,
                Micros(time)
            );
        }
        times.push(time);
    }
    let summary = Summary::of(times, options.size);
    println!("ping: {summary}");
    client.close(PATIENCE)?;
    Ok(())
}

/// How long the round trips took: half of them, nearly all, all.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    count: usize,
    size: usize,
    half: Duration,
    most: Duration,
    all: Duration,
}

impl Summary {
    fn of(mut times: Vec<Duration>, size: usize) -> Self {
        times.sort_unstable();
        Self {
            count: times.len(),
            size,
            half: within(&times, 50),
            most: within(&times, 99),
            all: within(&times, 100),
        }
    }
}

/// The least time within which so many percent of the sorted times lie.
fn within(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    let time = rank.checked_sub(1).and_then(|index| sorted.get(index));
    time.copied().unwrap_or_default()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} round trips of {} bytes: half within {}, 99 % within {}, all within {}",
            self.count,
            self.size,
            Micros(self.half),
            Micros(self.most),
            Micros(self.all)
        )
    }
}

struct Micros(Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} µs", self.0.as_secs_f64() * 1e6)
    }
}

// ---- both, to show it ----

/// Starts this program twice, once as each side, and waits for both.
fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let myself = |side: &str| -> Result<Command, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        // Neither the address nor the port of anybody else.
        command.env("WAYSIDE_DIR", folder.path().join("run"));
        command.env("WAYSIDE_TCP_ADDRESS", "127.0.0.1:0");
        command.arg(side);
        Ok(command)
    };

    let mut pong = myself("serve")?;
    pong.arg("--once").stdout(Stdio::piped());
    if let Some(transport) = &options.transport {
        pong.args(["--transport", transport]);
    }
    let mut pong = pong.spawn()?;
    let output = pong.stdout.take().ok_or("the output is not piped")?;
    let mut lines = BufReader::new(output).lines();
    let Some(first) = lines.next().transpose()? else {
        pong.wait()?;
        return Err("the serving side did not start".into());
    };
    println!("{first}");
    let (_, endpoint) = first.split_once("listening on ").ok_or("no endpoint")?;

    let ping = myself("ping")?
        .args(["--transport", endpoint])
        .args(["--count", &options.count.to_string()])
        .args(["--size", &options.size.to_string()])
        .status();
    if !matches!(&ping, Ok(status) if status.success()) {
        pong.kill()?;
        pong.wait()?;
        return Err(match ping {
            Ok(status) => format!("the asking side failed: {status}").into(),
            Err(error) => error.into(),
        });
    }
    for line in lines {
        println!("{}", line?);
    }
    let status = pong.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the serving side failed: {status}").into())
    }
}

// ---- the command line and the settings ----

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Pong,
    Ping,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    side: Side,
    transport: Option<String>,
    count: u32,
    size: usize,
    once: bool,
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            side: Side::Both,
            transport: None,
            count: 2000,
            size: 64,
            once: false,
        };
        let mut words = words.into_iter();
        let mut first = true;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "serve" if first => options.side = Side::Pong,
                "ping" if first => options.side = Side::Ping,
                "--transport" => options.transport = Some(value()?),
                "--count" => options.count = number(&word, &value()?)?,
                "--size" => options.size = number(&word, &value()?)?,
                "--once" => options.once = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
            first = false;
        }
        Ok(Some(options))
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
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
    Settings::builder()
        .name("ping-pong")
        .environment(environment)
        .load()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn so_many_percent_lie_within(micros in prop::collection::vec(0..1000_u64, 1..200)) {
            let times: Vec<_> = micros.iter().copied().map(Duration::from_micros).collect();
            let summary = Summary::of(times.clone(), 64);
            for (percent, limit) in [(50, summary.half), (99, summary.most), (100, summary.all)] {
                let within = times.iter().filter(|time| **time <= limit).count();
                prop_assert!(within * 100 >= times.len() * percent);
                // And no shorter time would do.
                let below = times.iter().filter(|time| **time < limit).count();
                prop_assert!(below * 100 < times.len() * percent);
            }
        }

        #[test]
        fn the_command_line_is_understood_in_any_order(
            side in 0..3_usize, count: u32, size: usize, once: bool, order in 0..6_usize,
        ) {
            let (word, side) = [("", Side::Both), ("serve", Side::Pong), ("ping", Side::Ping)][side];
            let mut parts = vec![
                vec!["--count".to_owned(), count.to_string()],
                vec!["--size".to_owned(), size.to_string()],
                vec!["--transport".to_owned(), "tcp".to_owned()],
            ];
            if once {
                parts.push(vec!["--once".to_owned()]);
            }
            let middle = order % parts.len();
            parts.rotate_left(middle);
            let words = [vec![word.to_owned()], parts.concat()].concat();
            let words = words.into_iter().filter(|word| !word.is_empty());
            let transport = Some("tcp".to_owned());
            let expected = Options { side, transport, count, size, once };
            prop_assert_eq!(Options::parse(words), Ok(Some(expected)));
        }

        #[test]
        fn any_other_word_is_named_in_the_complaint(word in "[a-z]{1,10}") {
            prop_assume!(word != "serve" && word != "ping");
            let complaint = Options::parse([word.clone()]).unwrap_err();
            prop_assert!(complaint.contains(&word));
        }
    }

    #[test]
    fn whatever_is_sent_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let place = wayside::Transport::new(wayside::backend::Tcp::new(key), "127.0.0.1:0");
        let (pong, _leaving) = Pong::new();
        let builder = Server::builder().listen(place.clone());
        let server = builder.bind(pong).unwrap().spawn().unwrap();
        let place = place.at(server.endpoints()[0].address());
        let client = Client::<PingPong>::builder().transport(place);
        let client = client.connect(PATIENCE).unwrap();
        proptest!(|(round: u32, bytes: Vec<u8>)| {
            let ball = Ball { round, bytes };
            prop_assert_eq!(client.call(&ball, PATIENCE).unwrap(), ball);
        });
    }

    #[test]
    fn the_lines_at_the_top_of_this_file_are_those_that_are_printed() {
        let micros = |tenths: u64| Duration::from_nanos(tenths * 100);
        let summary = Summary {
            count: 2000,
            size: 64,
            half: micros(105),
            most: micros(291),
            all: micros(886),
        };
        let page = include_str!("ping_pong.rs");
        assert!(
            page.contains(&format!("//! ping: {summary}\n")),
            "{summary}"
        );
    }
}
