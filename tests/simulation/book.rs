//! What was said and what came of it: the model that both sides are held to.
//!
//! Handlers and clients enter what happens; an entry that can't be is kept as the violation, for
//! the run to fail on. (A panic in a handler would only close the peer.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use wayside::{CloseReason, Handler, Peer, PeerKey, Protocol, Responder};

/// The protocol of the simulation. Every message says who it is and shows it by its filling.
pub struct Talk;

impl Protocol for Talk {
    const NAME: &'static str = "talk";
    const VERSION: u32 = 1;
    type Event = Numbered;
    type Request = Ask;
    type Reply = Numbered;
    type Push = Numbered;
}

/// A message of a lane. Numbers count up from 1, each lane of each speaker for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    pub speaker: u32,
    pub urgent: bool,
    pub number: u64,
    filling: String,
}

impl Numbered {
    pub fn new(speaker: u32, urgent: bool, number: u64, len: usize) -> Self {
        let filling = pattern(number, len).to_owned();
        Self {
            speaker,
            urgent,
            number,
            filling,
        }
    }

    fn is_whole(&self) -> bool {
        self.filling == pattern(self.number, self.filling.len())
    }
}

/// The longest filling of a message.
const FILLING_LEN_MAX: usize = 4096;

/// What a message of this number is filled with.
fn pattern(number: u64, len: usize) -> &'static str {
    const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789.";
    static PATTERN: LazyLock<String> = LazyLock::new(|| ALPHABET.repeat(FILLING_LEN_MAX / 37 + 2));
    let start = usize::try_from(number % 37).unwrap();
    &PATTERN[start..start + len]
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ask {
    pub call: Numbered,
    pub wish: Wish,
}

/// What the handler is to do about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Reply with a filling of this length.
    Reply(u32),
    /// Keep the responder for later.
    Hold,
    /// Let go of the responder.
    LetGo,
    /// Push this many messages, then reply.
    PushMe(u32),
    Panic,
}

/// One client, from both sides.
#[derive(Debug, Default)]
pub struct Account {
    /// The last number that was taken: bulk, urgent.
    pub sent: [u64; 2],
    /// The last number that the handler has seen.
    pub seen: [u64; 2],
    /// How many events the handler has seen.
    pub delivered: u64,
    pub calls: BTreeMap<u64, CallFacts>,
    /// The last push that the client has taken.
    pub pushed: [u64; 2],
    pub pushes: u64,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct CallFacts {
    pub handled: bool,
    pub replied: bool,
    /// The client was told that it has not run.
    pub denied: bool,
}

#[derive(Default)]
pub struct Book {
    pub accounts: BTreeMap<u32, Account>,
    pub held: Vec<(Numbered, Responder<Talk>)>,
    /// The peers that are connected to the server that runs now.
    pub peers: BTreeSet<PeerKey>,
    /// The last push of all: bulk, urgent.
    pub pushes: [u64; 2],
    /// The server of this incarnation is dead: what it still does is nobody's business.
    pub incarnation: u64,
    pub violation: Option<String>,
}

#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Book>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }
}

impl Book {
    pub fn violated(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    fn event(&mut self, event: &Numbered) {
        let lane = usize::from(event.urgent);
        let account = self.accounts.entry(event.speaker).or_default();
        let (sent, seen) = (account.sent[lane], account.seen[lane]);
        account.seen[lane] = event.number;
        account.delivered += 1;
        if event.number <= seen {
            self.violated(format!("{event:?} came after number {seen} of its lane"));
        } else if event.number > sent || !event.is_whole() {
            self.violated(format!("{event:?} was never sent"));
        }
    }

    fn request(&mut self, call: &Numbered) {
        let account = self.accounts.entry(call.speaker).or_default();
        let whole = call.is_whole();
        let Some(facts) = account.calls.get_mut(&call.number).filter(|_| whole) else {
            self.violated(format!("{call:?} was never asked"));
            return;
        };
        let before = std::mem::replace(&mut facts.handled, true);
        let denied = facts.denied;
        if before {
            self.violated(format!("{call:?} was handled twice"));
        } else if denied {
            self.violated(format!("{call:?} was handled after an error denied it"));
        }
    }

    /// A client has got a reply.
    pub fn reply(&mut self, client: u32, call: u64, reply: &Numbered) {
        let facts = self.accounts[&client].calls[&call];
        if reply.speaker != client || reply.number != call || !reply.is_whole() {
            self.violated(format!("call {call} of client {client} got {reply:?}"));
        } else if !facts.replied {
            self.violated(format!("{reply:?} was never given"));
        }
    }

    /// A client was told that its request can't have run.
    pub fn denied(&mut self, client: u32, call: u64) {
        let account = self.accounts.get_mut(&client).unwrap();
        let facts = account.calls.get_mut(&call).unwrap();
        facts.denied = true;
        if facts.handled {
            self.violated(format!(
                "call {call} of client {client} ran, and was denied"
            ));
        }
    }

    /// A client has taken a push.
    pub fn push(&mut self, client: u32, push: &Numbered) {
        let lane = usize::from(push.urgent);
        let account = self.accounts.get_mut(&client).unwrap();
        let before = std::mem::replace(&mut account.pushed[lane], push.number);
        account.pushes += 1;
        if push.number <= before {
            self.violated(format!("client {client} got {push:?} after {before}"));
        } else if push.number > self.pushes[lane] || !push.is_whole() {
            self.violated(format!("client {client} got {push:?}, never pushed"));
        } else if push.speaker != 0 && push.speaker != client {
            self.violated(format!("client {client} got {push:?}, not for it"));
        }
    }

    /// The next push, for one client or (0) for all.
    pub fn next_push(&mut self, to: u32, urgent: bool, len: usize) -> Numbered {
        let number = &mut self.pushes[usize::from(urgent)];
        *number += 1;
        Numbered::new(to, urgent, *number, len)
    }

    pub fn replied(&mut self, call: &Numbered) {
        let account = self.accounts.get_mut(&call.speaker).unwrap();
        account.calls.get_mut(&call.number).unwrap().replied = true;
    }
}

/// The handler of the simulated server.
pub struct Clerk {
    pub shared: Shared,
    pub incarnation: u64,
}

impl Clerk {
    /// The book, if this server is still the one that runs.
    fn book(&self, peer: &Peer<Talk>) -> Option<MutexGuard<'_, Book>> {
        let mut book = self.shared.lock();
        if book.incarnation != self.incarnation {
            return None;
        }
        if !book.peers.contains(&peer.key()) {
            book.violated(format!("{peer:?} was handled while not connected"));
        }
        Some(book)
    }
}

impl Handler<Talk> for Clerk {
    fn connected(&mut self, peer: &Peer<Talk>) {
        let mut book = self.shared.lock();
        if book.incarnation == self.incarnation && !book.peers.insert(peer.key()) {
            book.violated(format!("{peer:?} connected twice"));
        }
    }

    fn event(&mut self, peer: &Peer<Talk>, event: Numbered) {
        if let Some(mut book) = self.book(peer) {
            book.event(&event);
        }
    }

    fn request(&mut self, peer: &Peer<Talk>, ask: Ask, responder: Responder<Talk>) {
        let Some(mut book) = self.book(peer) else {
            return;
        };
        let Ask { call, wish } = ask;
        book.request(&call);
        let mut reply_len = 0;
        match wish {
            Wish::Reply(len) => reply_len = usize::try_from(len).unwrap(),
            Wish::Hold => {
                book.held.push((call, responder));
                return;
            }
            Wish::LetGo => return,
            Wish::PushMe(count) => {
                for number in 0..count {
                    let push = book.next_push(call.speaker, number % 3 == 2, 5);
                    // Without room it is not sent.
                    if push.urgent {
                        peer.push_urgent(&push).ok();
                    } else {
                        peer.push(&push).ok();
                    }
                }
            }
            Wish::Panic => {
                drop(book);
                // Unlike a panic, this prints nothing.
                std::panic::resume_unwind(Box::new("as the test asked"));
            }
        }
        book.replied(&call);
        drop(book);
        let reply = Numbered::new(call.speaker, false, call.number, reply_len);
        // It may be too long or not wanted any more.
        responder.reply(&reply).ok();
    }

    fn disconnected(&mut self, peer: &Peer<Talk>, _: &CloseReason) {
        let mut book = self.shared.lock();
        if book.incarnation == self.incarnation && !book.peers.remove(&peer.key()) {
            book.violated(format!("{peer:?} disconnected twice"));
        }
    }
}
