//! A server and a client in a loop of your own, beside a UDP socket: one thread, one poll.
//!
//! ```text
//! cargo run --example own_event_loop
//! ```
//!
//! prints (places and ports differ):
//!
//! ```text
//! loop: listening on uds:/tmp/.tmpu8WqYb/run/own-event-loop.sock
//! loop: waiting for datagrams on 127.0.0.1:36018
//! loop: 26 datagrams brought 48 samples and 2 lines that are none
//! loop: humidity: 24 samples, mean 51.5
//! loop: temperature: 24 samples, mean 18.5
//! ```
//!
//! With datagrams from another terminal, over another transport:
//!
//! ```text
//! cargo run --example own_event_loop -- --transport tcp --udp 127.0.0.1:9125
//! echo "temperature 21.5" > /dev/udp/127.0.0.1/9125          (in bash; end it with: echo end > …)
//! ```
//!
//! What it shows: each line of a datagram becomes an event of the client, which the server's
//! handler adds up. Both are driven by the caller's `mio::Poll`: no thread is started, and the
//! handler needs no lock. What would block (`call`, `flush`, `close`, `shutdown`) has no place
//! here; `send`, `start`, `begin_close` and `begin_shutdown` have.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use serde::{Deserialize, Serialize};
use wayside::settings::Environment;
use wayside::{
    Client, EmbeddedClient, EmbeddedServer, Handler, Never, Peer, Protocol, Responder, Server,
    Settings, SettingsError, Transport,
};

const HELP: &str = "\
Takes lines such as `temperature 21.5` by UDP, and adds them up behind a wayside connection,
all in one loop.

usage: own_event_loop [OPTIONS]

  --transport T   uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --udp ADDRESS   wait for datagrams here, until a line says `end`;
                  without it, it sends itself some, in a temporary directory

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("own_event_loop: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    let result = match options.udp {
        Some(udp) => gather(&options, udp),
        None => show(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("own_event_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- the protocol and the server's side of it ----

struct Samples;

impl Protocol for Samples {
    const NAME: &'static str = "samples";
    const VERSION: u32 = 1;
    type Event = Sample;
    type Request = Never;
    type Reply = Never;
    type Push = Never;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sample {
    name: String,
    value: f64,
}

/// The handler: for each name how many samples there were, and their sum.
#[derive(Debug, Clone, Default, PartialEq)]
struct Totals(BTreeMap<String, (u32, f64)>);

impl Totals {
    fn add(&mut self, sample: Sample) {
        let (count, sum) = self.0.entry(sample.name).or_default();
        *count += 1;
        *sum += sample.value;
    }
}

impl Handler<Samples> for Totals {
    fn event(&mut self, _: &Peer<Samples>, sample: Sample) {
        self.add(sample);
    }

    fn request(&mut self, _: &Peer<Samples>, request: Never, _: Responder<Samples>) {
        match request {}
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (count, sum)) in &self.0 {
            let mean = sum / f64::from(*count);
            writeln!(f, "loop: {name}: {count} samples, mean {mean:.1}")?;
        }
        Ok(())
    }
}

// ---- datagrams: lines of text ----

#[derive(Debug, Clone, PartialEq)]
enum Line {
    Sample(Sample),
    End,
    /// Neither.
    Other,
}

fn parse_line(line: &str) -> Line {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("end"), None, None) => Line::End,
        (Some(name), Some(value), None) => match value.parse() {
            Ok(value) if f64::is_finite(value) => Line::Sample(Sample {
                name: name.to_owned(),
                value,
            }),
            _ => Line::Other,
        },
        _ => Line::Other,
    }
}

/// The lines of a datagram, whatever its bytes are.
fn parse_datagram(bytes: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(parse_line).collect()
}

// ---- the loop ----

const UDP: Token = Token(0);
const WAKER: Token = Token(1);
const CLIENT: Token = Token(2);
/// The server has all tokens from here on.
const SERVER: Token = Token(3);

/// How long the end may take.
const PATIENCE: Duration = Duration::from_secs(5);

struct Gateway {
    poll: Poll,
    udp: UdpSocket,
    server: EmbeddedServer<Samples, Totals>,
    client: EmbeddedClient<Samples>,
    datagrams: u32,
    samples: u32,
    others: u32,
    /// A line has said so.
    ending: bool,
}

impl Gateway {
    fn new(transport: &Transport, udp: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let mut udp = UdpSocket::bind(udp).map_err(|error| format!("{udp}: {error}"))?;
        registry.register(&mut udp, UDP, Interest::READABLE)?;
        // Other threads could use the client, or a handle of the server: this ends the poll then.
        let waker = Arc::new(Waker::new(registry, WAKER)?);
        let wake = move || {
            if let Err(error) = waker.wake() {
                eprintln!("own_event_loop: {error}");
            }
        };
        let server = Server::builder().listen(transport.clone()).embed(
            Totals::default(),
            registry,
            SERVER,
            wake.clone(),
        )?;
        // Where the server listens as it turned out, with the port that the system chose.
        let place = transport.at(server.endpoints()[0].address());
        let client = Client::builder()
            .transport(place)
            .embed(registry, CLIENT, wake)?;
        Ok(Self {
            poll,
            udp,
            server,
            client,
            datagrams: 0,
            samples: 0,
            others: 0,
            ending: false,
        })
    }

    /// Goes on until a line says `end` and everything before it is handled. `None` for `limit`:
    /// for as long as that takes.
    fn run(&mut self, limit: Option<Duration>) -> Result<(), Box<dyn Error>> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        while !self.ending {
            self.round(deadline)?;
        }
        // The client leaves once the server has handled what it sent; then the server ends.
        let deadline = Some(Instant::now() + PATIENCE);
        self.client.client().begin_close(PATIENCE);
        while !self.client.is_closed() {
            self.round(deadline)?;
        }
        self.server.handle().begin_shutdown(PATIENCE);
        while !self.server.is_stopped() {
            self.round(deadline)?;
        }
        // It is closed: this waits for nothing, and says what was lost.
        self.client.client().close(PATIENCE)?;
        Ok(())
    }

    /// One poll, and what follows from it.
    fn round(&mut self, deadline: Option<Instant>) -> Result<(), Box<dyn Error>> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err("it took too long".into());
        }
        let timeouts = [self.server.timeout(), self.client.timeout(), left];
        let mut events = Events::with_capacity(64);
        match self
            .poll
            .poll(&mut events, timeouts.into_iter().flatten().min())
        {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            // Each takes what is its own.
            self.server.handle_event(event);
            self.client.handle_event(event);
            if event.token() == UDP {
                self.receive()?;
            }
        }
        self.server.turn();
        self.client.turn();
        Ok(())
    }

    /// Takes all datagrams that are there.
    fn receive(&mut self) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; 2048];
        loop {
            let len = match self.udp.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.datagrams += 1;
            for line in parse_datagram(&buffer[..len]) {
                match line {
                    Line::Sample(sample) => {
                        // Never blocks: waits in the client until it is connected.
                        self.client.client().send(&sample)?;
                        self.samples += 1;
                    }
                    Line::End => self.ending = true,
                    Line::Other => self.others += 1,
                }
            }
        }
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            datagrams,
            samples,
            others,
            ..
        } = self;
        writeln!(
            f,
            "loop: {datagrams} datagrams brought {samples} samples and {others} lines that are none"
        )?;
        write!(f, "{}", self.server.handler())
    }
}

fn gather(options: &Options, udp: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut gateway = open(options, udp)?;
    gateway.run(None)?;
    print!("{gateway}");
    Ok(())
}

/// Sends itself some datagrams.
fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = Options {
        dir: Some(folder.path().join("run")),
        ..options.clone()
    };
    let mut gateway = open(&options, "127.0.0.1:0".parse()?)?;
    send_samples(gateway.udp.local_addr()?)?;
    gateway.run(Some(PATIENCE))?;
    print!("{gateway}");
    Ok(())
}

fn send_samples(to: SocketAddr) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    for hour in 0..24 {
        let datagram = format!("temperature {}\nhumidity {}", 7 + hour, 40 + hour);
        socket.send_to(datagram.as_bytes(), to)?;
    }
    socket.send_to(b"temperature high\nwhatever", to)?;
    socket.send_to(b"end", to)?;
    Ok(())
}

fn open(options: &Options, udp: SocketAddr) -> Result<Gateway, Box<dyn Error>> {
    let settings = settings(options)?;
    let transports = settings.transports()?;
    let transport = transports.first().ok_or("no transport")?;
    let gateway = Gateway::new(transport, udp)?;
    for endpoint in gateway.server.endpoints() {
        println!("loop: listening on {endpoint}");
    }
    let udp = gateway.udp.local_addr()?;
    println!("loop: waiting for datagrams on {udp}");
    Ok(gateway)
}

// ---- the command line and the settings ----

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    transport: Option<String>,
    udp: Option<SocketAddr>,
    /// For the demonstration: where sockets and keys are, at a port that the system chooses.
    dir: Option<std::path::PathBuf>,
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--transport" => options.transport = Some(value()?),
                "--udp" => {
                    let text = value()?;
                    let address = text.parse().map_err(|_| {
                        format!("--udp needs an address such as 127.0.0.1:9125, not `{text}`")
                    })?;
                    options.udp = Some(address);
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(Some(options))
    }
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
        environment = environment
            .with("WAYSIDE_DIR", dir)
            .with("WAYSIDE_TCP_ADDRESS", "127.0.0.1:0");
    }
    Settings::builder()
        .name("own-event-loop")
        .environment(environment)
        .load()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> impl Strategy<Value = Sample> {
        // Whole numbers, whose sums are exact in any order.
        let value = (-1000..1000_i32).prop_map(f64::from);
        let name = prop::sample::select(vec!["a", "b", "temperature"]);
        (name, value).prop_map(|(name, value)| Sample {
            name: name.to_owned(),
            value,
        })
    }

    fn text(sample: &Sample) -> String {
        format!("{} {}", sample.name, sample.value)
    }

    fn totals(samples: &[Sample]) -> Totals {
        let mut totals = Totals::default();
        samples
            .iter()
            .cloned()
            .for_each(|sample| totals.add(sample));
        totals
    }

    proptest! {
        #[test]
        fn a_sample_that_was_written_is_read(name in "[a-z.]{1,20}", value: f64) {
            prop_assume!(value.is_finite());
            let sample = Sample { name, value };
            prop_assert_eq!(parse_line(&text(&sample)), Line::Sample(sample));
        }

        #[test]
        fn any_bytes_are_lines_of_some_kind(bytes: Vec<u8>) {
            for line in parse_datagram(&bytes) {
                if let Line::Sample(sample) = line {
                    prop_assert!(sample.value.is_finite());
                    prop_assert!(!sample.name.contains(char::is_whitespace));
                }
            }
        }

        #[test]
        fn how_lines_are_packed_makes_no_difference(
            samples in prop::collection::vec(sample(), 0..50), size in 1..10_usize,
        ) {
            let lines: Vec<String> = samples.iter().map(text).collect();
            let mut packed = Vec::new();
            for datagram in lines.chunks(size) {
                packed.extend(parse_datagram(datagram.join("\r\n").as_bytes()));
            }
            let expected: Vec<Line> = samples.into_iter().map(Line::Sample).collect();
            prop_assert_eq!(packed, expected);
        }
    }

    #[test]
    fn every_sample_that_comes_by_udp_is_added_up_by_the_server() {
        let few = ProptestConfig::with_cases(16);
        proptest!(few, |(samples in prop::collection::vec(sample(), 0..50))| {
            let folder = tempfile::tempdir().unwrap();
            let key = folder.path().join("key");
            let place = Transport::new(wayside::backend::Tcp::new(key), "127.0.0.1:0");
            let mut gateway = Gateway::new(&place, "127.0.0.1:0".parse().unwrap()).unwrap();
            let to = gateway.udp.local_addr().unwrap();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let lines: Vec<String> = samples.iter().map(text).collect();
            for datagram in lines.chunks(7) {
                socket.send_to(datagram.join("\n").as_bytes(), to).unwrap();
            }
            socket.send_to(b"end", to).unwrap();
            gateway.run(Some(PATIENCE)).unwrap();
            prop_assert_eq!(gateway.server.handler(), &totals(&samples));
        });
    }

    #[test]
    fn the_lines_at_the_top_of_this_file_are_those_that_are_printed() {
        let hours = (0..24).flat_map(|hour| {
            let line = format!("temperature {}\nhumidity {}", 7 + hour, 40 + hour);
            parse_datagram(line.as_bytes())
        });
        let samples: Vec<Sample> = hours
            .filter_map(|line| match line {
                Line::Sample(sample) => Some(sample),
                _ => None,
            })
            .collect();
        let page = include_str!("own_event_loop.rs");
        for line in totals(&samples).to_string().lines() {
            assert!(page.contains(&format!("//! {line}\n")), "{line}");
        }
    }
}
