//! A transport of your own: one that counts the bytes of another, checked by the same tests as
//! the crate's own, and then used like them.
//!
//! ```text
//! cargo run --example custom_backend
//! ```
//!
//! prints (places differ):
//!
//! ```text
//! metered: listening on metered:/tmp/.tmpZ0hUvk/run/custom-backend.sock
//! metered: 1000 texts of 100 bytes were sent and came back
//! metered: the client sent 114041 bytes, and 114041 arrived
//! metered: the server sent 112041 bytes, and 112041 arrived
//! ```
//!
//! The contract's tests, which the macro `conformance_tests!` at the end of this file brings:
//!
//! ```text
//! cargo test --all-features --example custom_backend
//! ```
//!
//! What it shows: a transport is three traits that move bytes, [`Backend`], [`Listener`] and
//! [`Link`]. They know nothing of messages, and what is above them does not know which they are.
//! Wrapping is also the way to encrypt, compress, slow down or break a transport. One that opens
//! descriptors of its own keeps them out of forked children with a `wayside::backend::Guarded`;
//! here the wrapped one does.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::env;
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use wayside::backend::{Backend, Capabilities, Link, Listener};
use wayside::settings::Environment;
use wayside::{
    Client, Handler, Never, Peer, PeerId, Protocol, Responder, Server, Settings, SettingsError,
    Transport,
};

const HELP: &str = "\
Carries messages over a transport of its own, which counts the bytes of another one.

usage: custom_backend [OPTIONS]

  --transport T   what it wraps: uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:7471
  --count N       texts to send (1000)
  --size N        bytes in each (100)

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("custom_backend: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    match show(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custom_backend: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- the transport ----

/// The bytes that went over the links of one side.
#[derive(Debug, Default)]
struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

fn count(counter: &AtomicU64, len: usize) {
    let len = u64::try_from(len).expect("no buffer is longer than 64 bits can say");
    counter.fetch_add(len, Ordering::Relaxed);
}

/// Another transport, with its bytes counted.
struct Metered {
    inner: Transport,
    meter: Arc<Meter>,
}

impl Metered {
    /// The same place, metered.
    fn over(inner: &Transport, meter: &Arc<Meter>) -> Transport {
        let metered = Self {
            inner: inner.clone(),
            meter: Arc::clone(meter),
        };
        Transport::new(metered, inner.address())
    }

    fn link(&self, inner: Box<dyn Link>) -> Box<dyn Link> {
        let meter = Arc::clone(&self.meter);
        Box::new(MeteredLink { inner, meter })
    }
}

impl Backend for Metered {
    fn capabilities(&self) -> Capabilities {
        // It can do what the other can; the name is its own.
        let mut capabilities = self.inner.backend().capabilities();
        capabilities.scheme = "metered";
        capabilities
    }

    fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(MeteredListener {
            inner: self.inner.backend().bind(address)?,
            metered: Self {
                inner: self.inner.clone(),
                meter: Arc::clone(&self.meter),
            },
        }))
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Link>> {
        Ok(self.link(self.inner.backend().connect(address)?))
    }
}

struct MeteredListener {
    inner: Box<dyn Listener>,
    metered: Metered,
}

impl Listener for MeteredListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        Ok(self.metered.link(self.inner.accept()?))
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

struct MeteredLink {
    inner: Box<dyn Link>,
    meter: Arc<Meter>,
}

impl Link for MeteredLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.recv(buffer)?;
        count(&self.meter.received, len);
        Ok(len)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.send(bytes)?;
        count(&self.meter.sent, len);
        Ok(len)
    }

    fn peer(&self) -> PeerId {
        self.inner.peer()
    }
}

/// Readiness is that of what is wrapped.
impl Source for MeteredListener {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.register(to, token, interest)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.reregister(to, token, interest)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.inner.deregister(from)
    }
}

/// Readiness is that of what is wrapped.
impl Source for MeteredLink {
    fn register(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.register(to, token, interest)
    }

    fn reregister(&mut self, to: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.inner.reregister(to, token, interest)
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        self.inner.deregister(from)
    }
}

// ---- a server and a client over it ----

struct Echo;

impl Protocol for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u32 = 1;
    type Event = Never;
    type Request = String;
    type Reply = String;
    type Push = Never;
}

struct Echoing;

impl Handler<Echo> for Echoing {
    fn event(&mut self, _: &Peer<Echo>, event: Never) {
        match event {}
    }

    fn request(&mut self, _: &Peer<Echo>, text: String, responder: Responder<Echo>) {
        // A client that has gone or stopped waiting is counted by the server.
        responder.reply(&text).ok();
    }
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The meters of both sides.
struct Meters {
    client: Arc<Meter>,
    server: Arc<Meter>,
}

impl fmt::Display for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, server } = self;
        for (side, from, to) in [("client", client, server), ("server", server, client)] {
            let (sent, arrived) = (from.sent(), to.received());
            writeln!(
                f,
                "metered: the {side} sent {sent} bytes, and {arrived} arrived"
            )?;
        }
        Ok(())
    }
}

/// Sends each text to a server at that place and back, then ends the connection.
fn carry(
    inner: &Transport,
    texts: impl IntoIterator<Item = String>,
    say: impl Fn(String),
) -> Result<Meters, Box<dyn Error>> {
    let meters = Meters {
        client: Arc::default(),
        server: Arc::default(),
    };
    let builder = Server::builder().listen(Metered::over(inner, &meters.server));
    let server = builder.bind(Echoing)?.spawn()?;
    say(format!("metered: listening on {}", server.endpoints()[0]));
    // Where the server listens as it turned out, with the port that the system chose.
    let place = inner.at(server.endpoints()[0].address());
    let client = Client::<Echo>::builder()
        .transport(Metered::over(&place, &meters.client))
        .connect(PATIENCE)?;
    for text in texts {
        if client.call(&text, PATIENCE)? != text {
            return Err(format!("{text:?} came back changed").into());
        }
    }
    // The server asks its client to finish, and waits until each has read all of the other's.
    server.shutdown(PATIENCE);
    client.close(PATIENCE)?;
    Ok(meters)
}

fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let settings = settings(options, &folder.path().join("run"))?;
    let transports = settings.transports()?;
    let inner = transports.first().ok_or("no transport")?;
    let (count, size) = (options.count, options.size);
    let texts = (0..count).map(|_| "x".repeat(size));
    let meters = carry(inner, texts, |line| println!("{line}"))?;
    println!("metered: {count} texts of {size} bytes were sent and came back");
    print!("{meters}");
    Ok(())
}

// ---- the command line and the settings ----

#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    transport: Option<String>,
    count: u32,
    size: usize,
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            transport: None,
            count: 1000,
            size: 100,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--transport" => options.transport = Some(value()?),
                "--count" => options.count = number(&word, &value()?)?,
                "--size" => options.size = number(&word, &value()?)?,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(Some(options))
    }
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{option} needs a number, not `{text}`"))
}

/// What the file and the environment say, but in a directory and at a port of its own; the command
/// line stands above both.
fn settings(options: &Options, dir: &std::path::Path) -> Result<Settings, SettingsError> {
    let mut environment = Environment::of_process()
        .with("WAYSIDE_DIR", dir)
        .with("WAYSIDE_TCP_ADDRESS", "127.0.0.1:0");
    if let Some(transport) = &options.transport {
        environment = environment
            .with("WAYSIDE_TRANSPORT", transport)
            .with("WAYSIDE_ENDPOINT", "");
    }
    Settings::builder()
        .name("custom-backend")
        .environment(environment)
        .load()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wayside::backend::Tcp;
    use wayside::conformance::Fixture;

    use super::*;

    fn tcp() -> (tempfile::TempDir, Transport) {
        let folder = tempfile::tempdir().expect("a directory");
        let key = folder.path().join("key");
        (folder, Transport::new(Tcp::new(key), "127.0.0.1:0"))
    }

    fn fixture() -> Fixture {
        let (folder, inner) = tcp();
        let meter = Arc::default();
        let fresh = move || {
            // The directory lives as long as the fixture.
            let _keep = &folder;
            "127.0.0.1:0".to_owned()
        };
        Fixture::new(Metered { inner, meter }, fresh).impossible(["127.0.0.1", "localhost:1"])
    }

    // Each number of the contract as a test.
    wayside::conformance_tests!(fixture());

    #[test]
    fn what_one_side_sends_the_other_receives_to_the_byte() {
        let few = ProptestConfig::with_cases(32);
        proptest!(few, |(texts in prop::collection::vec(".{0,100}", 0..20), long in 0..1_000_000_usize)| {
            let (_folder, inner) = tcp();
            let texts = texts.into_iter().chain(["x".repeat(long)]);
            let all: Vec<String> = texts.collect();
            let len: usize = all.iter().map(String::len).sum();
            let Meters { client, server } = carry(&inner, all, drop).unwrap();
            prop_assert_eq!(client.sent(), server.received());
            prop_assert_eq!(server.sent(), client.received());
            let len = u64::try_from(len).unwrap();
            prop_assert!(client.sent() > len && server.sent() > len, "it was not metered");
        });
    }

    #[test]
    fn the_lines_at_the_top_of_this_file_are_those_that_are_printed() {
        let (_folder, inner) = tcp();
        let texts = (0..1000).map(|_| "x".repeat(100));
        let meters = carry(&inner, texts, drop).unwrap();
        let page = include_str!("custom_backend.rs");
        for line in meters.to_string().lines() {
            assert!(page.contains(&format!("//! {line}\n")), "{line}");
        }
    }
}
