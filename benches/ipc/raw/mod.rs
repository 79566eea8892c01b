//! Loops over bare sockets, FIFOs and queues: the limits of the mechanism, not competitors.
//!
//! A message is its number, a checksum, the client it comes from, the moment it was sent, and a body;
//! nothing says how long it is, both sides know. One that wants to be confirmed is answered with
//! its number.

mod encoded;
#[cfg(unix)]
mod fifo;
#[cfg(target_os = "linux")]
mod many;
#[cfg(target_os = "linux")]
mod mqueue;
#[cfg(target_os = "linux")]
mod polled;
mod spin;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as uds;
#[cfg(not(target_os = "linux"))]
mod nowhere;
#[cfg(not(target_os = "linux"))]
use nowhere as many;
#[cfg(not(target_os = "linux"))]
use nowhere as mqueue;
#[cfg(not(target_os = "linux"))]
use nowhere as polled;
#[cfg(not(unix))]
use nowhere as uds;
#[cfg(not(unix))]
use nowhere as fifo;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::case::{Case, Way, Workload};
use crate::ledger::Ledger;
use crate::mechanism::Mechanism;
use crate::message::{self, CONFIRM, for_len};
use crate::side::{Serving, Traffic};
use crate::{Error, platform};

/// A connected socket, or what does for one.
trait Stream: Read + Write + Send {
    /// From now on it says that it would block, instead of blocking.
    fn set_nonblocking(&self) -> io::Result<()>;

    /// What is ready when there is something to read.
    #[cfg(target_os = "linux")]
    fn descriptor(&self) -> BorrowedFd<'_>;
}

impl Stream for TcpStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    #[cfg(target_os = "linux")]
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// The stream as the mechanism wants it.
fn moved_by(case: &Case, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    Ok(match case.mechanism {
        Mechanism::RawPoll => polled::polled(stream)?,
        mechanism if mechanism.spins(case.workload) => Box::new(spin::Spin::new(stream)?),
        _ => stream,
    })
}

/// The number, the checksum, the source, and the moment.
const HEAD_LEN: usize = 32;

/// What is written at once in a batch.
const BATCH_LEN: usize = 64 * 1024;

/// What is read at once: more would leave the processor's nearer caches.
const READ_LEN: usize = 64 * 1024;

/// A buffer behind some bytes of nothing: where long copies are slow for reasons of the processor (`FRONT_LEN` in
/// `src/frame.rs`), a limit must not have them.
struct Buffer(Vec<u8>);

const FRONT_LEN: usize = 64;

impl Buffer {
    fn new(len: usize) -> Self {
        Self(vec![0; FRONT_LEN + len])
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0[FRONT_LEN..]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0[FRONT_LEN..]
    }
}

type Accept = Box<dyn FnOnce() -> io::Result<Box<dyn Stream>> + Send>;

/// Listens, and serves as many as the case has clients.
pub fn serve(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let ledger = Ledger::of(case.clients);
    let server = Server {
        len: case.len,
        ledger: Arc::clone(&ledger),
    };
    let (address, accepts) = listen(case, folder)?;
    let case = case.clone();
    thread::spawn(move || {
        let mut streams = Vec::new();
        for accept in accepts {
            let stream = accept().expect("a client comes");
            streams.push(moved_by(&case, stream).expect("a connected stream"));
        }
        if case.mechanism == Mechanism::RawTyped {
            let stream = streams.remove(0);
            let calls = case.workload == Workload::Calls;
            return for_len!(case.len, M => {
                encoded::serve::<M>(stream, case.len, calls, &server.ledger)
            })
            .expect("a working stream");
        }
        match (case.workload, streams.as_mut_slice()) {
            (Workload::Calls, [stream]) => server.echo(&mut **stream),
            (_, [stream]) => server.take_in(&mut **stream),
            _ => many::take_in(&server, &mut streams).expect("working streams"),
        }
    });
    Ok(Serving {
        address,
        ledger,
        keep: Box::new(()),
    })
}

fn listen(case: &Case, folder: &Path) -> Result<(String, Vec<Accept>), Error> {
    let mut accepts: Vec<Accept> = Vec::new();
    if case.way == Way::Tcp {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        for _ in 0..case.clients {
            let listener = listener.try_clone()?;
            accepts.push(Box::new(move || {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }));
        }
        return Ok((address, accepts));
    }
    for source in 0..case.clients {
        let path = path_of(folder, source);
        accepts.push(match case.way {
            Way::Fifo => fifo::listen(&path)?,
            Way::Mqueue => mqueue::listen(&path)?,
            Way::Uds | Way::Tcp => uds::listen(&path)?,
        });
    }
    let folder = folder.to_str().ok_or("a path that is no text")?;
    Ok((folder.to_owned(), accepts))
}

/// Each client has its own: a FIFO and a queue know no connections.
fn path_of(folder: &Path, source: usize) -> PathBuf {
    folder.join(format!("raw{source}"))
}

struct Server {
    len: usize,
    ledger: Arc<Ledger>,
}

impl Server {
    fn echo(&self, stream: &mut dyn Stream) {
        let mut bytes = Buffer::new(self.len);
        // The end of the stream is the end of the work.
        while stream.read_exact(&mut bytes).is_ok() {
            self.verify(&bytes);
            stream.write_all(&bytes).expect("the client reads");
        }
    }

    fn take_in(&self, stream: &mut dyn Stream) {
        let mut bytes = Buffer::new(READ_LEN.max(self.len));
        let mut filled = 0;
        loop {
            let read = stream.read(&mut bytes[filled..]).expect("a working socket");
            if read == 0 {
                return;
            }
            let (end, rest) = self.handle(stream, &bytes[..filled + read]);
            bytes.copy_within(end..end + rest, 0);
            filled = rest;
        }
    }

    /// Handles the whole messages among some bytes. Answers where they end, and how many bytes of
    /// the next one follow.
    fn handle(&self, stream: &mut dyn Stream, bytes: &[u8]) -> (usize, usize) {
        let mut messages = bytes.chunks_exact(self.len);
        for message in &mut messages {
            let number = self.verify(message);
            if number & CONFIRM != 0 {
                let confirmation = number.to_le_bytes();
                stream.write_all(&confirmation).expect("the client reads");
            }
        }
        let rest = messages.remainder().len();
        (bytes.len() - rest, rest)
    }

    fn verify(&self, message: &[u8]) -> u64 {
        let head = Head::verified(message);
        let sent_ns = (head.sent_ns != 0).then_some(head.sent_ns);
        let source = usize::try_from(head.source).unwrap_or(usize::MAX);
        self.ledger.enter(source, head.number, sent_ns);
        head.number
    }
}

struct Head {
    number: u64,
    source: u64,
    /// 0 where nobody wants to know.
    sent_ns: u64,
}

impl Head {
    /// That of a message that is whole.
    fn verified(message: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = message[at..at + 8].try_into().expect("8 bytes");
            u64::from_le_bytes(bytes)
        };
        let head = Self {
            number: word(0),
            source: word(16),
            sent_ns: word(24),
        };
        let sum = message::sum(&message[HEAD_LEN..]);
        assert_eq!(word(8), head.sum(sum), "a message is not what was sent");
        head
    }

    fn sum(&self, body_sum: u64) -> u64 {
        let head_sum = self.number.wrapping_add(self.source);
        head_sum.wrapping_add(self.sent_ns).wrapping_add(body_sum)
    }

    fn write(&self, body_sum: u64, message: &mut [u8]) {
        let words = [self.number, self.sum(body_sum), self.source, self.sent_ns];
        for (to, word) in message.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// The client's side.
struct Client {
    stream: Box<dyn Stream>,
    /// The message of the moment.
    message: Buffer,
    body_sum: u64,
    source: u64,
    is_timed: bool,
    /// What waits to be written: so much of this.
    batch: Buffer,
    batched: usize,
    batch_len: usize,
}

/// One client.
pub fn connect(case: &Case, address: &str, source: usize) -> Result<Box<dyn Traffic>, Error> {
    let path = path_of(Path::new(address), source);
    let stream: Box<dyn Stream> = match case.way {
        Way::Uds => uds::connect(&path)?,
        Way::Fifo => fifo::connect(&path)?,
        Way::Mqueue => mqueue::connect(&path)?,
        Way::Tcp => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
    };
    let stream = moved_by(case, stream)?;
    Ok(match case.mechanism {
        Mechanism::RawTyped => for_len!(case.len, M => {
            Box::new(encoded::Caller::<M>::new(stream, case.len, source))
        }),
        _ => Box::new(Client::new(case, stream, source)?),
    })
}

impl Client {
    fn new(case: &Case, stream: Box<dyn Stream>, source: usize) -> Result<Self, Error> {
        let mut message = Buffer::new(case.len);
        let body = message[HEAD_LEN..].iter_mut();
        for (to, byte) in body.zip(message::pattern(case.len - HEAD_LEN)) {
            *to = byte;
        }
        Ok(Self {
            stream,
            body_sum: message::sum(&message[HEAD_LEN..]),
            message,
            source: u64::try_from(source)?,
            is_timed: case.workload == Workload::Bursts,
            batch: Buffer::new(BATCH_LEN.max(case.len)),
            batched: 0,
            batch_len: if case.mechanism == Mechanism::RawBatch {
                BATCH_LEN
            } else {
                0
            },
        })
    }

    fn number(&mut self, number: u64) {
        let head = Head {
            number,
            source: self.source,
            sent_ns: if self.is_timed { platform::now_ns() } else { 0 },
        };
        head.write(self.body_sum, &mut self.message);
    }

    fn send(&mut self, number: u64) -> Result<(), Error> {
        self.number(number);
        if self.batch_len <= self.message.len() {
            self.stream.write_all(&self.message)?;
            return Ok(());
        }
        let end = self.batched + self.message.len();
        self.batch[self.batched..end].copy_from_slice(&self.message);
        self.batched = end;
        if end + self.message.len() > self.batch_len {
            self.write_batch()?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        let batched = std::mem::take(&mut self.batched);
        Ok(self.stream.write_all(&self.batch[..batched])?)
    }
}

impl Traffic for Client {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.number(number);
        self.stream.write_all(&self.message)?;
        self.stream.read_exact(&mut self.message)?;
        let answer = Head::verified(&self.message);
        assert_eq!(answer.number, number, "another answer");
        Ok(())
    }

    fn send_many(&mut self, first: u64, count: u64) -> Result<(), Error> {
        (first..first + count).try_for_each(|number| self.send(number))
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        self.write_batch()
    }

    fn flush(&mut self, number: u64) -> Result<(), Error> {
        self.send(number | CONFIRM)?;
        self.write_batch()?;
        let mut confirmation = [0; 8];
        self.stream.read_exact(&mut confirmation)?;
        assert_eq!(u64::from_le_bytes(confirmation), number | CONFIRM);
        Ok(())
    }
}
