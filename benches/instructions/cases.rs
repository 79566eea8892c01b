//! What is counted: a message through the pure parts, from a value to bytes and back.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wayside::Limits;
use wayside::internals::{
    EncodeError, Head, Hello, Inbox, Incoming, Lane, Outbox, Role, Session, decode_body, encode,
    read_body,
};

pub struct Case {
    pub name: &'static str,
    /// The messages of the first run; the second has twice as many.
    pub count: u64,
    run: fn(u64),
}

pub const CASES: &[Case] = &[
    Case {
        name: "send an event of 64 B",
        count: 10_000,
        run: |count| send(count, 40),
    },
    Case {
        name: "send an event of 1 KiB",
        count: 10_000,
        run: |count| send(count, 1000),
    },
    Case {
        name: "send an event of 64 KiB",
        count: 200,
        run: |count| send(count, 65_000),
    },
    Case {
        name: "receive an event of 64 B",
        count: 10_000,
        run: |count| receive(count, 40, 1),
    },
    Case {
        name: "receive an event of 64 B, 100 to a read",
        count: 10_000,
        run: |count| receive(count, 40, 100),
    },
    Case {
        name: "receive an event of 1 KiB",
        count: 10_000,
        run: |count| receive(count, 1000, 1),
    },
    Case {
        name: "receive an event of 64 KiB",
        count: 200,
        run: |count| receive(count, 65_000, 1),
    },
    Case {
        name: "bare postcard: encode 64 B",
        count: 10_000,
        run: |count| encode_bare(count, 40),
    },
    Case {
        name: "bare postcard: decode 64 B",
        count: 10_000,
        run: |count| decode_bare(count, 40),
    },
    Case {
        name: "a call of 64 B, both sides",
        count: 10_000,
        run: |count| call(count, 40),
    },
    Case {
        name: "open and close a session, both sides",
        count: 1_000,
        run: open,
    },
];

pub fn run(name: &str, count: u64) {
    let case = CASES.iter().find(|case| case.name == name);
    (case.expect("one of the cases").run)(count);
}

const FRAME_LEN_MAX: u32 = 1 << 20;
const OUTBOX_LEN_MAX: usize = 1 << 22;
/// What one read of a loop takes.
const READ_LEN: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Note {
    number: u64,
    at: u64,
    flag: bool,
    text: String,
}

fn note(len: usize) -> Note {
    Note {
        number: 1 << 40,
        at: 1 << 50,
        flag: true,
        text: "x".repeat(len),
    }
}

fn append(outbox: &mut Outbox, head: Head, note: &Note) {
    outbox
        .append(Lane::Bulk, |bytes| {
            encode(bytes, &head, note, FRAME_LEN_MAX)
        })
        .map_err(|_: wayside::internals::Refusal<EncodeError>| ())
        .expect("there is room");
}

/// One side of a connection, without a link.
struct Side {
    role: Role,
    session: Session,
    outbox: Outbox,
    inbox: Inbox,
    lent: Vec<u8>,
}

impl Side {
    fn new(role: Role, now: Instant) -> Self {
        let limits = Limits::default();
        let hello = Hello::new("instructions", 1, &limits, 7);
        let mut outbox = Outbox::new(OUTBOX_LEN_MAX);
        let session = Session::new(role, hello, limits, &mut outbox, now);
        Self {
            role,
            session,
            outbox,
            inbox: Inbox::default(),
            lent: Vec::new(),
        }
    }

    /// Carries all that waits here to the other side, and hands it what it means.
    fn carry(
        &mut self,
        to: &mut Self,
        now: Instant,
        mut handle: impl FnMut(Incoming<'_>, &mut Outbox),
    ) {
        loop {
            let bytes = self.outbox.next_bytes();
            if bytes.is_empty() {
                return;
            }
            to.inbox.lend(&mut to.lent);
            let room = to.inbox.room();
            let len = bytes.len().min(room.len()).min(READ_LEN);
            room[..len].copy_from_slice(&bytes[..len]);
            to.inbox.filled(len);
            self.outbox.written(len);
            while let Some(payload) = to.inbox.next_payload(FRAME_LEN_MAX).expect("sound frames") {
                let incoming = to.session.receive(payload).expect("a sound message");
                if matches!(incoming, Incoming::Opened) {
                    if to.role == Role::Server {
                        to.session.welcome(&mut to.outbox);
                    }
                    to.outbox.open();
                }
                handle(incoming, &mut to.outbox);
            }
            to.session.heard(to.inbox.partial_len(), now);
            to.inbox.give_back(&mut to.lent);
        }
    }
}

/// Two sides that have said hello.
fn opened(now: Instant) -> (Side, Side) {
    let mut client = Side::new(Role::Client, now);
    let mut server = Side::new(Role::Server, now);
    client.carry(&mut server, now, |_, _| {});
    server.carry(&mut client, now, |_, _| {});
    assert!(client.session.is_open() && server.session.is_open());
    (client, server)
}

fn send(count: u64, len: usize) {
    let note = note(len);
    let mut outbox = Outbox::new(OUTBOX_LEN_MAX);
    outbox.open();
    for _ in 0..count {
        append(&mut outbox, Head::Event, black_box(&note));
        if outbox.queued_len() >= READ_LEN {
            drain(&mut outbox);
        }
    }
    drain(&mut outbox);
}

fn drain(outbox: &mut Outbox) {
    loop {
        let len = black_box(outbox.next_bytes()).len();
        if len == 0 {
            return;
        }
        outbox.written(len);
    }
}

fn receive(count: u64, len: usize, to_a_read: u64) {
    let now = Instant::now();
    let (mut client, mut server) = opened(now);
    // What a read brings: whole frames, encoded once.
    let note = note(len);
    let mut stream = Vec::new();
    for _ in 0..to_a_read {
        let start = wayside::internals::frame::start(&mut stream);
        encode(&mut stream, &Head::Event, &note, FRAME_LEN_MAX).expect("it fits");
        wayside::internals::frame::finish(&mut stream, start);
    }
    client.outbox.open();
    for _ in 0..count / to_a_read {
        server.inbox.lend(&mut server.lent);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let room = server.inbox.room();
            let len = rest.len().min(room.len());
            room[..len].copy_from_slice(&rest[..len]);
            server.inbox.filled(len);
            rest = &rest[len..];
        }
        while let Some(payload) = server.inbox.next_payload(FRAME_LEN_MAX).expect("sound") {
            let Ok(Incoming::Event(body)) = server.session.receive(payload) else {
                panic!("not an event");
            };
            // As the server does, which catches panics around all of them.
            black_box(read_body::<Note>(body).expect("a note"));
        }
        server.inbox.give_back(&mut server.lent);
    }
}

/// What encoding takes anyway: to a buffer that is large enough, with nothing around it.
fn encode_bare(count: u64, len: usize) {
    let note = note(len);
    let mut buffer = vec![0; 2 * len];
    for _ in 0..count {
        black_box(postcard::to_slice(black_box(&note), &mut buffer).expect("it fits"));
    }
}

/// What decoding takes anyway, and the text that the message owns.
fn decode_bare(count: u64, len: usize) {
    let bytes = postcard::to_stdvec(&note(len)).expect("a note");
    for _ in 0..count {
        black_box(postcard::from_bytes::<Note>(black_box(&bytes)).expect("a note"));
    }
}

fn call(count: u64, len: usize) {
    let now = Instant::now();
    let (mut client, mut server) = opened(now);
    let note = note(len);
    for id in 1..=count {
        let head = Head::Request {
            id,
            timeout_ms: 5000,
        };
        append(&mut client.outbox, head, black_box(&note));
        client.carry(&mut server, now, |incoming, outbox| {
            if let Incoming::Request { id, timeout, body } = incoming {
                black_box::<Duration>(timeout);
                let question: Note = decode_body(body).expect("a note");
                append(outbox, Head::Reply { id }, &question);
            }
        });
        server.session.answer(&mut server.outbox);
        server.carry(&mut client, now, |incoming, _| {
            if let Incoming::Reply { body, .. } = incoming {
                black_box(decode_body::<Note>(body).expect("a note"));
            }
        });
    }
}

fn open(count: u64) {
    let now = Instant::now();
    for _ in 0..count {
        let (mut client, mut server) = opened(now);
        client.session.say_goodbye(&mut client.outbox, now);
        client.carry(&mut server, now, |_, _| {});
        server.session.say_goodbye(&mut server.outbox, now);
        server.session.answer(&mut server.outbox);
        server.carry(&mut client, now, |_, _| {});
        client.session.answer(&mut client.outbox);
        client.carry(&mut server, now, |_, _| {});
        black_box((client.outbox.is_drained(), server.outbox.is_drained()));
    }
}
