//! What tests share: a small protocol, a handler that records, every transport there is, and a
//! watchdog. No test above the backends knows which transport it runs on.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use wayside::{
    Client, ClientBuilder, CloseReason, Handler, Limits, Peer, Protocol, Responder, Server,
    ServerThread, Transport,
};

/// Long enough for the slowest machine; only a test that fails takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The protocol of most tests: texts in all directions.
pub struct Chat;

impl Protocol for Chat {
    const NAME: &'static str = "chat";
    const VERSION: u32 = 1;
    type Event = Note;
    type Request = Ask;
    type Reply = String;
    type Push = String;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub number: u64,
    pub text: String,
}

/// What a test can have the recording handler do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Reply with the same text.
    Echo(String),
    /// Reply with a text of this length.
    Long(u32),
    /// Keep the responder: the test answers with [`Recorder::held`].
    Hold,
    /// Drop the responder.
    LetGo,
    /// Panic.
    Panic,
    /// Push these texts to the caller, then reply.
    PushMe(Vec<String>),
}

/// What happened at the server, in order.
#[derive(Debug, Clone)]
pub enum Happened {
    Connected(Peer<Chat>),
    Event(Peer<Chat>, Note),
    Asked(Peer<Chat>, Ask),
    Disconnected(Peer<Chat>, CloseReason),
}

/// Records everything; the test takes it out in order.
#[derive(Clone, Default)]
pub struct Recorder {
    inner: Arc<(Mutex<Recorded>, Condvar)>,
}

#[derive(Default)]
struct Recorded {
    happened: VecDeque<Happened>,
    held: VecDeque<Responder<Chat>>,
}

impl Recorder {
    /// The next thing that matches, skipping others; waits for it.
    pub fn wait_for<T>(&self, mut wanted: impl FnMut(&Happened) -> Option<T>) -> T {
        let (recorded, changed) = &*self.inner;
        let deadline = Instant::now() + PATIENCE;
        let mut recorded = recorded.lock().unwrap();
        loop {
            while let Some(happened) = recorded.happened.pop_front() {
                if let Some(found) = wanted(&happened) {
                    return found;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "it did not happen in time");
            recorded = changed.wait_timeout(recorded, left).unwrap().0;
        }
    }

    pub fn connected(&self) -> Peer<Chat> {
        self.wait_for(|happened| match happened {
            Happened::Connected(peer) => Some(peer.clone()),
            _ => None,
        })
    }

    pub fn event(&self) -> Note {
        self.wait_for(|happened| match happened {
            Happened::Event(_, note) => Some(note.clone()),
            _ => None,
        })
    }

    pub fn disconnected(&self) -> CloseReason {
        self.wait_for(|happened| match happened {
            Happened::Disconnected(_, reason) => Some(reason.clone()),
            _ => None,
        })
    }

    /// The responder of the oldest [`Ask::Hold`]; waits for one.
    pub fn held(&self) -> Responder<Chat> {
        let (recorded, changed) = &*self.inner;
        let deadline = Instant::now() + PATIENCE;
        let mut recorded = recorded.lock().unwrap();
        loop {
            if let Some(responder) = recorded.held.pop_front() {
                return responder;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "nobody asked in time");
            recorded = changed.wait_timeout(recorded, left).unwrap().0;
        }
    }

    fn record(&self, happened: Happened) {
        let (recorded, changed) = &*self.inner;
        recorded.lock().unwrap().happened.push_back(happened);
        changed.notify_all();
    }
}

impl Handler<Chat> for Recorder {
    fn connected(&mut self, peer: &Peer<Chat>) {
        self.record(Happened::Connected(peer.clone()));
    }

    fn event(&mut self, peer: &Peer<Chat>, event: Note) {
        self.record(Happened::Event(peer.clone(), event));
    }

    fn request(&mut self, peer: &Peer<Chat>, request: Ask, responder: Responder<Chat>) {
        self.record(Happened::Asked(peer.clone(), request.clone()));
        // A client that no longer waits is part of some tests.
        match request {
            Ask::Echo(text) => drop(responder.reply(&text)),
            Ask::Long(len) => drop(responder.reply(&"x".repeat(len.try_into().unwrap()))),
            Ask::Hold => {
                let (recorded, changed) = &*self.inner;
                recorded.lock().unwrap().held.push_back(responder);
                changed.notify_all();
            }
            Ask::LetGo => drop(responder),
            Ask::Panic => panic!("as the test asked"),
            Ask::PushMe(texts) => {
                for text in texts {
                    peer.push(&text).unwrap();
                }
                drop(responder.reply(&String::new()));
            }
        }
    }

    fn disconnected(&mut self, peer: &Peer<Chat>, reason: &CloseReason) {
        self.record(Happened::Disconnected(peer.clone(), reason.clone()));
    }
}

/// A folder for sockets and keys, open to nobody else.
pub fn private_folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    // Short: socket paths are short.
    builder.prefix("ws");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().unwrap()
}

/// A place for one server on each transport of this platform.
pub struct Place {
    pub folder: TempDir,
    pub transport: Transport,
}

/// Runs a test once for every transport that works here.
pub fn on_every_transport(test: impl Fn(&Place)) {
    for place in places() {
        eprintln!("on {}", place.transport);
        test(&place);
    }
}

/// One place for each transport that works here.
pub fn places() -> Vec<Place> {
    #[allow(unused_mut, reason = "without a feature there is nothing to add")]
    let mut places: Vec<Place> = Vec::new();
    #[cfg(feature = "uds")]
    {
        let folder = private_folder();
        let path = folder.path().join("s.sock");
        let transport = Transport::new(wayside::backend::Uds::new(), path.to_str().unwrap());
        places.push(Place { folder, transport });
    }
    #[cfg(feature = "fifo")]
    {
        let folder = private_folder();
        let path = folder.path().join("s.fifo");
        let transport = Transport::new(wayside::backend::Fifo::new(), path.to_str().unwrap());
        places.push(Place { folder, transport });
    }
    #[cfg(feature = "mqueue")]
    {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = private_folder();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("/wayside-session-{}-{count}", std::process::id());
        // Small: tests that run at the same time share what a user may have of queues.
        let options = wayside::backend::MqueueOptions {
            messages: 4,
            message_len: 512,
        };
        let transport = Transport::new(wayside::backend::Mqueue::with(options), name);
        places.push(Place { folder, transport });
    }
    #[cfg(feature = "tcp")]
    {
        let folder = private_folder();
        let key = folder.path().join("key");
        let transport = Transport::new(wayside::backend::Tcp::new(key), "127.0.0.1:0");
        places.push(Place { folder, transport });
    }
    places.retain(|place| {
        let capabilities = place.transport.backend().capabilities();
        capabilities.unsupported.is_none()
    });
    places
}

impl Place {
    /// A server here with a recording handler.
    pub fn serve(&self, limits: Limits) -> Serving {
        let recorder = Recorder::default();
        let server = Server::<Chat>::builder()
            .listen(self.transport.clone())
            .limits(limits)
            .bind(recorder.clone())
            .unwrap()
            .spawn()
            .unwrap();
        let transport = self.transport.at(server.endpoints()[0].address());
        Serving {
            server,
            recorder,
            transport,
        }
    }
}

/// A server at work.
pub struct Serving {
    pub server: ServerThread<Chat>,
    pub recorder: Recorder,
    /// Where clients reach it.
    pub transport: Transport,
}

impl Serving {
    pub fn builder(&self) -> ClientBuilder<Chat> {
        Client::builder().transport(self.transport.clone())
    }

    pub fn client(&self) -> Client<Chat> {
        self.builder().connect(PATIENCE).unwrap()
    }
}

pub fn echo(client: &Client<Chat>, text: &str) -> String {
    client.call(&Ask::Echo(text.to_owned()), PATIENCE).unwrap()
}

pub fn note(number: u64) -> Note {
    Note {
        number,
        text: format!("note {number}"),
    }
}

/// Looks again and again until it is so. For what nothing tells us of: kept short by the system.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Bounds with short times, for tests of what happens when they are over.
pub fn hasty() -> Limits {
    Limits {
        handshake_timeout: Duration::from_millis(300),
        ping_interval: Duration::from_millis(100),
        silence_timeout: Duration::from_millis(400),
        frame_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(300),
        reconnect_delay_min: Duration::from_millis(5),
        reconnect_delay_max: Duration::from_millis(50),
        ..Limits::default()
    }
}
