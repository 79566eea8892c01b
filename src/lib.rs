//! Typed messages between the processes of one host, over the transport that a deployment chooses.
//!
//! A server listens, clients connect and stay connected. Clients send **events** (one way) and make
//! **calls** (a request, one reply, a deadline); the server **pushes** to one client or to all.
//! Which transport carries it, Unix sockets, FIFOs or Windows named pipes, message queues, TCP or one
//! of your own, is a line in `wayside.toml`: no code above it knows.
//!
//! What is promised, and which test proves it, is in
//! [docs/guarantees.md](https://docs.rs/crate/wayside/latest/source/docs/guarantees.md). Complete
//! programs are in
//! [examples/](https://docs.rs/crate/wayside/latest/source/examples/).
//!
//! # The way of a byte
//!
//! ```text
//!         a client's process                                       the server's process
//!
//!   send(&event)   call(&request)                            Handler::event, Handler::request
//!        │               │  ▲ reply, push                        ▲         Responder::reply
//!        ▼               ▼  │                                    │         Peer::push │
//!   ┌───────────── Client<P> ───────────┐                  ┌──── Server<P, Handler> ──▼───────┐
//!   │ body      postcard, your types    │                  │ body                             │
//!   │ head      event, request 7, …     │                  │ head                             │
//!   │ session   hello, ping, goodbye    │                  │ session   one for each peer      │
//!   │ outbox    bounded; urgent first   │                  │ outbox    one for each peer      │
//!   │ frame     length, then head, body │                  │ frame                            │
//!   ├───────────── event loop ──────────┤                  ├──────────── event loop ──────────┤
//!   │ Link      send, recv              │ ════ bytes ════▶ │ Link      send, recv             │
//!   └───────────────────────────────────┘ ◀═══ bytes ═════ └──────────────────────────────────┘
//!                             uds │ fifo │ mqueue │ tcp │ your own
//! ```
//!
//! Everything between the event loop and your types is pure: no I/O, no clock, no threads. So it
//! can be put through hostile bytes, lost peers and full queues in tests without a system.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | backend | a kind of transport as code: [`Uds`](backend::Uds), [`Fifo`](backend::Fifo), [`Mqueue`](backend::Mqueue), [`Tcp`](backend::Tcp), or a [`Backend`](backend::Backend) of your own |
//! | endpoint | a place as one line of text, `scheme:address`: [`Endpoint`] |
//! | transport | a backend with an address, ready to listen or connect: [`Transport`] |
//! | server, client | the two sides of a connection: [`Server`], [`Client`] |
//! | peer | one client, as the server sees it: [`Peer`] |
//! | protocol | the types of all messages, with a name and a version: [`Protocol`] |
//! | event | a message from a client to the server that wants no answer |
//! | request, reply | a message from a client that wants an answer, and the answer |
//! | call | a request under way until its reply, an error or its deadline: [`Pending`] |
//! | responder | the server's duty to answer one request: [`Responder`] |
//! | push | a message from the server to a client |
//! | encoded | a message as it came, to be looked at where it lies: [`Encoded`] |
//! | handler | what your server does with what its clients say: [`Handler`] |
//! | session | one connection from the hello of both sides to the goodbye of both |
//! | link | what carries the bytes of one session: [`Link`](backend::Link) |
//! | frame | a length and one message: what the bytes are cut into |
//! | outbox | the encoded messages that wait to be written to one link |
//! | epoch | a number that tells the runs of a client apart: [`Peer::epoch`] |
//!
//! # A server and a client
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Duration;
//!
//! use serde::{Deserialize, Serialize};
//! use wayside::{Client, Handler, Peer, Protocol, Responder, Server};
//! # #[cfg(feature = "tcp")] {
//! use wayside::{Transport, backend::Tcp};
//!
//! // What the two sides say to each other. Both programs share this.
//! struct Shop;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Sold {
//!     item: String,
//!     count: u32,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! enum Question {
//!     HowMany { item: String },
//! }
//!
//! impl Protocol for Shop {
//!     const NAME: &'static str = "shop";
//!     const VERSION: u32 = 1;
//!     type Event = Sold;
//!     type Request = Question;
//!     type Reply = u32;
//!     type Push = String;
//! }
//!
//! // The server's side: one value, called by one thread, so it needs no locks.
//! #[derive(Default)]
//! struct Till {
//!     sold: HashMap<String, u32>,
//! }
//!
//! impl Handler<Shop> for Till {
//!     fn event(&mut self, _peer: &Peer<Shop>, sold: Sold) {
//!         *self.sold.entry(sold.item).or_default() += sold.count;
//!     }
//!
//!     fn request(&mut self, peer: &Peer<Shop>, question: Question, responder: Responder<Shop>) {
//!         let Question::HowMany { item } = question;
//!         let count = self.sold.get(&item).copied().unwrap_or_default();
//!         // Who has gone meanwhile needs no answer; the server counts it.
//!         responder.reply(&count).ok();
//!         peer.push(&format!("thank you for asking about {item}")).ok();
//!     }
//! }
//!
//! // A port that the system chooses, and a key that both sides read from a file of theirs.
//! let folder = tempfile::tempdir()?;
//! let place = Transport::new(Tcp::new(folder.path().join("shop.key")), "127.0.0.1:0");
//! let server = Server::builder().listen(place.clone()).bind(Till::default())?.spawn()?;
//!
//! // In the other program:
//! let patience = Duration::from_secs(5);
//! let place = place.at(server.endpoints()[0].address());
//! let client = Client::<Shop>::builder().transport(place).connect(patience)?;
//! client.send(&Sold { item: "soap".to_owned(), count: 2 })?;
//! client.send(&Sold { item: "soap".to_owned(), count: 1 })?;
//! let question = Question::HowMany { item: "soap".to_owned() };
//! assert_eq!(client.call(&question, patience)?, 3);
//! let push = client.next_push(patience);
//! assert_eq!(push.as_deref(), Some("thank you for asking about soap"));
//!
//! client.close(patience)?;
//! assert!(server.shutdown(patience), "a client was cut off");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A server serves on a thread of its own ([`Server::spawn`]), on the caller's ([`Server::run`]), or
//! in a poll of the caller's own ([below](#a-loop-of-your-own)). A handler that needs time hands the
//! [`Responder`] to another thread and goes on.
//!
//! # Choosing the transport
//!
//! Programs usually name none, and leave it to `wayside.toml` and the environment (feature
//! `settings`):
//!
//! ```
//! # #[cfg(all(feature = "tcp", feature = "settings"))] {
//! use wayside::Settings;
//!
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path().join("run");
//! // Settings::load() reads wayside.toml and the environment; this is what they may say.
//! let text = format!("transport = 'tcp:127.0.0.1:9000'\ndir = '{}'", dir.display());
//! let settings = Settings::from_text(&text, "wayside.toml")?;
//! let transports = settings.transports()?;
//! assert_eq!(transports[0].to_string(), "tcp:127.0.0.1:9000");
//! // Server::builder().settings(&settings)?.bind(handler)?
//! // Client::builder().settings(&settings)?.connect(patience)?
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With several transports a server listens on all, and a client takes the first that answers: that
//! is how a deployment moves from one to another without a gap. Which one to take:
//!
//! - `uds` where there is Unix: the kernel says who the other side is, files say who may connect,
//!   and nothing listens on a port.
//! - `fifo` on Windows, where it is a named pipe, and on Unix where sockets are not to be had.
//! - `mqueue` on Linux where not even a directory is shared. Few peers fit into the system's limits.
//! - `tcp` between containers that share a network but no directory, or next to
//!   programs that can only do TCP. Both sides prove that they know a key in a file.
//! - your own, by three small traits: see [`backend`] and the module `conformance` (feature
//!   `conformance`), which tests it.
//!
//! Whether they would work on the host at hand, why not, and what to do about it, says [`doctor`].
//!
//! # Features and platforms
//!
//! Features add names and never change what there is: Cargo switches a feature on for all crates of a
//! program when one of them asks for it. So settings that name no transport mean `uds`, on Windows `tcp`,
//! whatever is in; in a build without that one they say that another has to be named, once it is to be
//! used. All compile on every platform.
//!
//! | feature | default | Linux, Android | macOS, BSD | Windows |
//! |---|---|---|---|---|
//! | `uds` | yes | yes, knows user, group, process | yes, knows user, group | says `Unsupported` and what to use |
//! | `tcp` | yes | yes, knows who has the key | the same | the same |
//! | `fifo` | yes | yes, knows user, group | yes, knows user, group | yes, knows user, process |
//! | `mqueue` | yes | yes, knows user, group, process; not on Android | FreeBSD: knows user, group; others say `Unsupported` and what to use | says `Unsupported` and what to use |
//! | `settings` | yes | yes | yes | yes |
//! | `aggregator` | no | yes | yes | yes; nothing asks the agent to end as SIGTERM does |
//! | `http` | no | yes | yes | yes |
//! | `conformance` | no | the tests of a backend's contract, for backends of your own | | |
//!
//! # An agent for all processes
//!
//! What many processes of an application have to say about themselves needs more than a connection:
//! sums that are right whatever dies, reports that can't wait, a configuration that all of them run.
//! The module `aggregator` (feature `aggregator`) has that, on nothing but [`Server`] and [`Client`]: a
//! `Worker` in each process, one `Agent` for all.
//!
//! # Errors, and what to do
//!
//! Each operation has an error of its own, in one line that names the place, the numbers and, where
//! it can, the remedy. Nothing is logged *and* returned.
//!
//! | error | meaning | what to do |
//! |---|---|---|
//! | [`BindError::Endpoint`] | the place can't be had: taken by a live process, or not permitted | stop that process, or choose another place; see [`doctor`] |
//! | [`ConnectError::TimedOut`] | nobody answered; says why, for each endpoint | start the server; compare the endpoints of both sides |
//! | [`ConnectError::Mismatch`] | every server that answered speaks another protocol or version | deploy builds that match: trying again can't help |
//! | [`SendError::Full`] | the server is away or too slow; the event is still yours | drop it and count it, or wait for room with [`Client::send_within`]; of many, [`SendAllError`] says how many were taken |
//! | [`SendError::TooLong`], [`PushError::TooLong`] | beyond the lesser `frame_len_max` of both sides | send less at a time, or raise it on both |
//! | [`CallError::NotConnected`], [`CallError::TooManyCalls`] | the request was not sent | try again later |
//! | [`CallError::TimedOut`], [`CallError::Lost`] | no answer; [`CallError::may_have_run`] says whether the server may have acted | try again only what does no harm twice |
//! | [`CallError::Failed`] | the server let go of the request, or its reply was too long or found no room: see [`Failure`] | a matter of the server: look there |
//! | [`PushError::Full`] | that client reads too slowly; the push is still yours | drop it, wait with [`Peer::push_within`], or [close](Peer::close) the client |
//! | [`ReplyError::Full`] | that client reads too slowly; its call was failed | answer with [`Responder::reply_within`] where answers are long and many |
//! | [`PushError::Gone`], [`ReplyError`] | the client has left or stopped waiting | nothing: the server counts it |
//! | [`CloseError`] | how many events never left, or left and may be lost | know it; resend what does no harm twice |
//!
//! Why connections end is counted by reason in [`ServerCounters::closed`] and
//! [`ClientCounters::closed`], and told to the handler as a [`CloseReason`]: by
//! [`Handler::disconnected`], and of those that never became clients by [`Handler::refused`].
//!
//! # What arrives
//!
//! While a connection lasts, everything arrives once and in order, except that urgent messages
//! overtake others. When it breaks, an event that was on its way is handled once or not at all, and
//! counted as *in doubt*; one that was not yet written waits for the next connection; a call ends
//! at once with an error. [`Client::flush`] returns once the server has handled all that was sent
//! before. Nothing is stored: what must survive the end of a process is the application's to keep.
//!
//! # Threads and fork
//!
//! [`Client`], [`Peer`] and [`ServerHandle`] are cheap to clone and work from any thread. A client
//! has a thread in the background, but whoever waits drives: a thread that blocks in
//! [`call`](Client::call) reads its reply itself. The [`Handler`] is called by one thread.
//!
//! A [`Pending`] is a plain [`Future`]: it needs no runtime, and works in any.
//!
//! In a forked child the parent's connections lead nowhere. A [`Client`] that the child uses becomes
//! one of its own and connects anew; a call that the parent had begun is [`CallError::Forked`] there.
//! A server stays the parent's.
//!
//! # A loop of your own
//!
//! [`ServerBuilder::embed`] and [`ClientBuilder::embed`] put a server or client into a `mio::Poll` of
//! yours, without a thread. There, use what does not block: [`Client::send`], [`Client::start`],
//! [`Client::begin_close`], [`ServerHandle::begin_shutdown`]. The example `own_event_loop` does it.
//!
//! # Limits
//!
//! Everything that a peer can make this process hold, wait for or loop over has a bound in
//! [`Limits`]. A full queue hands the message back; every drop is counted, in [`ServerCounters`] and
//! [`ClientCounters`].
//!
//! # Stability of the wire
//!
//! Both sides say in their hello which wire format, protocol and version they speak, and refuse each
//! other with an error that names both if they differ. The format below your messages is described
//! byte by byte in
//! [docs/wire.md](https://docs.rs/crate/wayside/latest/source/docs/wire.md). Before 1.0 a release
//! may raise the wire version, which the changelog says; so far there is one. Your messages are
//! encoded by position: see [`Protocol`] for what may change without a new version.

#[cfg(feature = "aggregator")]
pub mod aggregator;
mod ambient;
pub mod backend;
mod client;
mod close;
#[cfg(feature = "conformance")]
pub mod conformance;
mod counters;
mod decode;
#[cfg(feature = "settings")]
pub mod doctor;
mod encoded;
mod endpoint;
mod envelope;
mod event_loop;
mod fork;
mod frame;
#[cfg(feature = "internals")]
mod fuzzing;
mod hello;
mod identity;
mod inbox;
mod limits;
mod outbox;
mod protocol;
mod server;
mod session;
#[cfg(feature = "settings")]
pub mod settings;
mod spin;
mod sync;
mod timers;
mod transport;
mod turn;
mod wire;

// What the two sides say to each other.
pub use encoded::{Encoded, Undecodable};
pub use protocol::{NAME_LEN_MAX, Never, Protocol};

// Where they meet, and within which bounds.
pub use endpoint::{Endpoint, EndpointError};
pub use identity::PeerId;
pub use limits::{Limits, LimitsError};
#[cfg(feature = "settings")]
pub use settings::{Settings, SettingsError};
pub use spin::Spin;
pub use transport::Transport;

// The server's side.
pub use server::{
    BindError, Broadcast, EmbeddedServer, Handler, Peer, PeerKey, PushError, ReplyError, Responder,
    Server, ServerBuilder, ServerHandle, ServerThread,
};

// The client's side.
pub use client::{
    CallError, Client, ClientBuilder, ClientState, CloseError, ConnectError, ConnectFailures,
    EmbeddedClient, NotConnected, Pending, SendAllError, SendError,
};

// How things went.
pub use close::{CloseReason, ProtocolId};
pub use counters::{ClientCounters, Closed, ServerCounters};
pub use envelope::Failure;

/// The code of the README, compiled.
#[cfg(all(doctest, feature = "aggregator"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The pure inner parts, for this project's own simulation, fuzzing and benches.
///
/// Not covered by any promise: it may change with any release.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    #[cfg(feature = "aggregator")]
    pub use crate::aggregator::journal::fuzz::fuzz_journal;
    pub use crate::ambient::simulated;
    pub use crate::client::Flushing;
    pub use crate::decode::*;
    pub use crate::envelope::*;
    pub use crate::fuzzing::*;
    pub use crate::hello::*;
    pub use crate::inbox::*;
    pub use crate::outbox::*;
    pub use crate::server::Holdings;
    pub use crate::session::*;
    #[cfg(feature = "settings")]
    pub use crate::settings::fuzz::fuzz_settings;

    /// Lengths and boundaries.
    pub mod frame {
        pub use crate::frame::*;
    }
}
