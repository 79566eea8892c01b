//! What tests share: a small protocol, a handler that records, every transport there is, and a
//! watchdog. No test above the backends knows which transport it runs on.
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking, and says on which transport"
)]

pub mod descriptors;
pub mod driven;
#[cfg(unix)]
pub mod forked;
pub mod raw;
pub mod role;
pub mod sleeper;

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use wayside::backend::EndOfPeer;
use wayside::{
    Client, ClientBuilder, CloseReason, Handler, Limits, Peer, PeerId, Protocol, Responder,
    SendError, Server, ServerThread, Spin, Transport,
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
    /// Keep the server's loop from going on: until the test calls [`Recorder::unblock`].
    Block,
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
    /// By which transport, and why.
    Refused(String, CloseReason),
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
    unblocked: u32,
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

    /// Waits until the handler is in an [`Ask::Block`].
    pub fn blocked(&self) {
        self.wait_for(|happened| matches!(happened, Happened::Asked(_, Ask::Block)).then_some(()));
    }

    /// Ends one [`Ask::Block`].
    pub fn unblock(&self) {
        let (recorded, changed) = &*self.inner;
        recorded.lock().unwrap().unblocked += 1;
        changed.notify_all();
    }

    /// Everything that has happened and was not yet taken out.
    pub fn take_all(&self) -> Vec<Happened> {
        self.inner.0.lock().unwrap().happened.drain(..).collect()
    }

    /// The events that have happened and were not yet taken out.
    pub fn take_events(&self) -> Vec<Note> {
        let happened = self.take_all().into_iter();
        let events = happened.filter_map(|happened| match happened {
            Happened::Event(_, note) => Some(note),
            _ => None,
        });
        events.collect()
    }

    fn wait_unblocked(&self) {
        let (recorded, changed) = &*self.inner;
        let deadline = Instant::now() + PATIENCE;
        let mut recorded = recorded.lock().unwrap();
        while recorded.unblocked == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "the test did not unblock in time");
            recorded = changed.wait_timeout(recorded, left).unwrap().0;
        }
        recorded.unblocked -= 1;
    }

    pub fn disconnected(&self) -> CloseReason {
        self.wait_for(|happened| match happened {
            Happened::Disconnected(_, reason) => Some(reason.clone()),
            _ => None,
        })
    }

    /// Why the next one was refused that never became a client; waits for it.
    pub fn refused(&self) -> CloseReason {
        self.wait_for(|happened| match happened {
            Happened::Refused(_, reason) => Some(reason.clone()),
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
            Ask::Block => {
                self.wait_unblocked();
                drop(responder.reply(&String::new()));
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

    fn refused(&mut self, transport: &str, _: &PeerId, reason: &CloseReason) {
        self.record(Happened::Refused(transport.to_owned(), reason.clone()));
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

/// Message queues that are small: tests that run at the same time share what a user may have.
#[cfg(feature = "mqueue")]
#[must_use]
pub fn small_queues() -> wayside::backend::Mqueue {
    wayside::backend::Mqueue::with(wayside::backend::MqueueOptions {
        messages: 4,
        message_len: 512,
    })
}

/// A place for one server on each transport of this platform.
pub struct Place {
    pub folder: TempDir,
    pub transport: Transport,
    /// Of the servers here, and of the clients that they are asked for.
    pub spin: Cell<Spin>,
}

/// Runs a test once for every transport that works here.
pub fn on_every_transport(test: impl Fn(&Place)) {
    let _watchdog = Watchdog::new();
    let places = places();
    let has_none = !cfg!(any(
        feature = "uds",
        feature = "tcp",
        feature = "fifo",
        feature = "mqueue"
    ));
    assert!(has_none || !places.is_empty(), "no transport works here");
    for place in places {
        eprintln!("on {}", place.transport);
        test(&place);
        place.leave_no_queues();
    }
}

/// The same, once with waits that sleep and once with waits that spin whenever they can; and on one of
/// the transports, each test on its own, with those that find out by themselves.
pub fn in_every_mode(test: impl Fn(&Place)) {
    for spin in [Spin::Off, Spin::Always] {
        on_every_transport(|place| {
            eprintln!("{spin:?}");
            place.spin.set(spin);
            test(place);
        });
    }
    let mut places = places();
    if !places.is_empty() {
        let _watchdog = Watchdog::new();
        let name_len = thread::current().name().map_or(0, str::len);
        let place = places.swap_remove(name_len % places.len());
        eprintln!("on {}, {:?}", place.transport, Spin::Adaptive);
        place.spin.set(Spin::Adaptive);
        test(&place);
        place.leave_no_queues();
    }
}

/// While it lives, ends the process when a test hangs inside a call, where no panic can reach it.
pub struct Watchdog {
    /// Dropped with it, which the thread sees.
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    #[must_use]
    pub fn new() -> Self {
        let (alive, lost) = mpsc::channel();
        let name = thread::current().name().unwrap_or("a test").to_owned();
        thread::spawn(move || {
            if lost.recv_timeout(3 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{name}: not finished in time: a call blocks, it seems");
                std::process::abort();
            }
        });
        Self { _alive: alive }
    }
}

/// One place for each transport that works here.
pub fn places() -> Vec<Place> {
    descriptors::raise_limit();
    #[allow(unused_mut, reason = "without a feature there is nothing to add")]
    let mut places: Vec<Place> = Vec::new();
    #[cfg(feature = "uds")]
    {
        let folder = private_folder();
        let path = folder.path().join("s.sock");
        let transport = Transport::new(wayside::backend::Uds::new(), path.to_str().unwrap());
        places.push(Place::new(folder, transport));
    }
    #[cfg(feature = "fifo")]
    {
        let folder = private_folder();
        let path = folder.path().join("s.fifo");
        let transport = Transport::new(wayside::backend::Fifo::new(), path.to_str().unwrap());
        places.push(Place::new(folder, transport));
    }
    #[cfg(feature = "mqueue")]
    {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = private_folder();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("/wayside-session-{}-{count}", std::process::id());
        let transport = Transport::new(small_queues(), name);
        places.push(Place::new(folder, transport));
    }
    #[cfg(feature = "tcp")]
    {
        let folder = private_folder();
        let key = folder.path().join("key");
        let transport = Transport::new(wayside::backend::Tcp::new(key), "127.0.0.1:0");
        places.push(Place::new(folder, transport));
    }
    places.retain(|place| {
        let capabilities = place.transport.backend().capabilities();
        capabilities.unsupported.is_none()
    });
    places
}

impl Place {
    fn new(folder: TempDir, transport: Transport) -> Self {
        Self {
            folder,
            transport,
            spin: Cell::default(),
        }
    }

    /// A process that is killed while it connects leaves queues to the next start here. There is none,
    /// and they count against what the user may have: so this starts once more.
    fn leave_no_queues(&self) {
        let backend = self.transport.backend();
        if backend.capabilities().scheme == "mqueue" {
            drop(backend.bind(self.transport.address()));
        }
    }

    /// Whether a peer that was killed shows at once: elsewhere only its silence does.
    #[must_use]
    pub fn shows_ends(&self) -> bool {
        let capabilities = self.transport.backend().capabilities();
        capabilities.end_of_peer == EndOfPeer::AtOnce
    }

    /// Whether a link takes a piece that it writes later, so that there is room once more after it was
    /// full, though nobody has read.
    #[must_use]
    pub fn writes_behind(&self) -> bool {
        let capabilities = self.transport.backend().capabilities();
        capabilities.in_flight_len_max > 0
    }

    /// So many connections, or as many as a test may have where the system has few.
    #[must_use]
    pub fn at_most(&self, count: usize) -> usize {
        match self.transport.backend().capabilities().peers_stock_max {
            // Tests that run at the same time have their own.
            Some(max) => count.min(usize::try_from(max).unwrap() / 4),
            None => count,
        }
    }

    /// A server here with a recording handler.
    pub fn serve(&self, limits: Limits) -> Serving {
        let recorder = Recorder::default();
        let (server, transport) = self.serve_with(limits, recorder.clone());
        Serving {
            server,
            recorder,
            transport,
            spin: self.spin.get(),
        }
    }

    /// A server here, and where clients reach it.
    pub fn serve_with<P: Protocol>(
        &self,
        limits: Limits,
        handler: impl Handler<P>,
    ) -> (ServerThread<P>, Transport) {
        let builder = Server::builder()
            .listen(self.transport.clone())
            .spin(self.spin.get())
            .limits(limits);
        let server = builder.bind(handler).unwrap().spawn().unwrap();
        let transport = self.transport.at(server.endpoints()[0].address());
        (server, transport)
    }
}

/// A server at work.
pub struct Serving {
    pub server: ServerThread<Chat>,
    pub recorder: Recorder,
    /// Where clients reach it.
    pub transport: Transport,
    /// Of the clients that it is asked for.
    pub spin: Spin,
}

impl Serving {
    pub fn builder(&self) -> ClientBuilder<Chat> {
        Client::builder()
            .transport(self.transport.clone())
            .spin(self.spin)
    }

    pub fn client(&self) -> Client<Chat> {
        self.builder().connect(PATIENCE).unwrap()
    }
}

/// Binds again where an earlier server was. The system may need a moment to give the address back.
pub fn serve_again(transport: &Transport, limits: &Limits, recorder: &Recorder) -> Serving {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let builder = Server::builder()
            .listen(transport.clone())
            .limits(limits.clone());
        match builder.bind(recorder.clone()) {
            Ok(server) => {
                return Serving {
                    server: server.spawn().unwrap(),
                    recorder: recorder.clone(),
                    transport: transport.clone(),
                    spin: Spin::default(),
                };
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::yield_now();
    }
}

/// Sends, as often as it takes while the outbox is full.
pub fn send_surely(client: &Client<Chat>, note: &Note) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = client.send(note) {
        assert!(matches!(error, SendError::Full { .. }), "{error}");
        assert!(Instant::now() < deadline, "the outbox stays full");
        thread::yield_now();
    }
}

/// An event of so many bytes or a few more.
pub fn long_note(number: u64, len: usize) -> Note {
    Note {
        number,
        text: "x".repeat(len),
    }
}

/// Polls a future on this thread until it is ready: all that a runtime has to do for one.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(left > Duration::ZERO, "the future was not ready in time");
        thread::park_timeout(left);
    }
}

/// All of them at once, on one thread. Each wake-up polls all that are left.
pub async fn join_all<F: Future + Unpin>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<F> = futures.into_iter().collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                if let Poll::Ready(ready) = Pin::new(future).poll(context) {
                    *output = Some(ready);
                }
            }
        }
        if outputs.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outputs.into_iter().map(Option::unwrap).collect()
}

/// Tells threads to stop when it is dropped: also when the test that waits for them has failed.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it at the end of its life.
    pub fn on_drop(&self) -> impl Drop + use<'_> {
        struct Setter<'a>(&'a Stop);
        impl Drop for Setter<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, Ordering::Relaxed);
            }
        }
        Setter(self)
    }
}

/// A number that looks random and follows from the one before: for orders that a test repeats.
pub fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
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

/// Whether this runs under Wine, which, unlike Windows, does what is said here: the test is skipped.
pub fn under_wine(what_it_does: &str) -> bool {
    let wine = cfg!(windows) && std::env::var_os("WINEPREFIX").is_some();
    if wine {
        eprintln!("skipped: Wine {what_it_does}");
    }
    wine
}

/// Looks again and again until it is so. For what nothing tells us of: kept short by the system.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::yield_now();
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
