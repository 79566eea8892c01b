//! Loops over bare sockets, FIFOs and queues: the limits of the mechanism, not competitors.
//!
//! A message is its number, a checksum, and a body; nothing says how long it is, both sides know.
//! The number of one that wants to be confirmed has its top bit set, and is answered with itself.

#[cfg(unix)]
mod fifo;
#[cfg(target_os = "linux")]
mod mqueue;
mod spin;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as uds;
#[cfg(not(target_os = "linux"))]
mod nowhere;
#[cfg(not(target_os = "linux"))]
use nowhere as mqueue;
#[cfg(not(unix))]
use nowhere as uds;
#[cfg(not(unix))]
use nowhere as fifo;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Error;
use crate::case::{Case, Mechanism, Way, Workload};
use crate::message;
use crate::side::{Serving, Traffic};

/// A connected socket, or what does for one.
trait Stream: Read + Write + Send {
    /// From now on it says that it would block, instead of blocking.
    fn set_nonblocking(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }
}

/// The stream as the mechanism wants it.
fn moved_by(mechanism: Mechanism, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
    Ok(match mechanism {
        Mechanism::RawSpin => Box::new(spin::Spin::new(stream)?),
        _ => stream,
    })
}

/// Set in the number of a message that wants to be confirmed.
const CONFIRM: u64 = 1 << 63;

/// The number and the checksum.
const HEAD_LEN: usize = 16;

/// What is written at once in a batch.
const BATCH_LEN: usize = 64 * 1024;

/// What is read at once.
const READ_LEN: usize = 256 * 1024;

/// Listens, and serves the first who comes.
pub fn serve(case: &Case, folder: &Path) -> Result<Serving, Error> {
    let handled = Arc::new(AtomicU64::new(0));
    let mut server = Server {
        len: case.len,
        next: 0,
        handled: Arc::clone(&handled),
    };
    let calls = case.workload == Workload::Calls;
    let mechanism = case.mechanism;
    let mut work = move |stream: Box<dyn Stream>| {
        let mut stream = moved_by(mechanism, stream).expect("a connected stream");
        if calls {
            server.echo(&mut *stream);
        } else {
            server.take_in(&mut *stream);
        }
    };
    let address = match case.way {
        Way::Uds | Way::Fifo | Way::Mqueue => {
            let path = folder.join("raw");
            let accept = match case.way {
                Way::Fifo => fifo::listen(&path)?,
                Way::Mqueue => mqueue::listen(&path)?,
                _ => uds::listen(&path)?,
            };
            thread::spawn(move || work(accept().expect("a client comes")));
            path.to_str().ok_or("a path that is no text")?.to_owned()
        }
        Way::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            thread::spawn(move || {
                let (stream, _) = listener.accept().expect("a client comes");
                stream.set_nodelay(true).expect("a connected socket");
                work(Box::new(stream));
            });
            address.to_string()
        }
    };
    Ok(Serving {
        address,
        handled,
        keep: Box::new(()),
    })
}

struct Server {
    len: usize,
    next: u64,
    handled: Arc<AtomicU64>,
}

impl Server {
    fn echo(&mut self, stream: &mut dyn Stream) {
        let mut bytes = vec![0; self.len];
        // The end of the stream is the end of the work.
        while stream.read_exact(&mut bytes).is_ok() {
            self.verify(&bytes);
            stream.write_all(&bytes).expect("the client reads");
        }
    }

    fn take_in(&mut self, stream: &mut dyn Stream) {
        let mut bytes = vec![0; READ_LEN.max(self.len)];
        let mut filled = 0;
        loop {
            let read = stream.read(&mut bytes[filled..]).expect("a working socket");
            if read == 0 {
                return;
            }
            filled += read;
            let mut messages = bytes[..filled].chunks_exact(self.len);
            for message in &mut messages {
                let number = self.verify(message);
                if number & CONFIRM != 0 {
                    let confirmation = number.to_le_bytes();
                    stream.write_all(&confirmation).expect("the client reads");
                }
            }
            let rest = messages.remainder().len();
            bytes.copy_within(filled - rest..filled, 0);
            filled = rest;
        }
    }

    fn verify(&mut self, message: &[u8]) -> u64 {
        let number = verified(message);
        assert_eq!(number & !CONFIRM, self.next, "a message is missing");
        self.next += 1;
        self.handled.store(self.next, Ordering::Relaxed);
        number
    }
}

/// The number of a message that is whole.
fn verified(message: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = message[at..at + 8].try_into().expect("8 bytes");
        u64::from_le_bytes(bytes)
    };
    let number = word(0);
    let sum = message::sum(&message[HEAD_LEN..]).wrapping_add(number);
    assert_eq!(word(8), sum, "a message is not what was sent");
    number
}

/// The client's side.
pub struct Client {
    stream: Box<dyn Stream>,
    /// The message of the moment.
    message: Vec<u8>,
    body_sum: u64,
    /// What waits to be written.
    batch: Vec<u8>,
    batch_len: usize,
}

impl Client {
    pub fn connect(case: &Case, address: &str) -> Result<Self, Error> {
        let stream: Box<dyn Stream> = match case.way {
            Way::Uds => uds::connect(Path::new(address))?,
            Way::Fifo => fifo::connect(Path::new(address))?,
            Way::Mqueue => mqueue::connect(Path::new(address))?,
            Way::Tcp => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        let mut message = vec![0; HEAD_LEN];
        message.extend(message::pattern(case.len - HEAD_LEN));
        Ok(Self {
            stream: moved_by(case.mechanism, stream)?,
            body_sum: message::sum(&message[HEAD_LEN..]),
            message,
            batch: Vec::with_capacity(BATCH_LEN.max(case.len)),
            batch_len: if case.mechanism == Mechanism::RawBatch {
                BATCH_LEN
            } else {
                0
            },
        })
    }

    fn number(&mut self, number: u64) {
        let sum = self.body_sum.wrapping_add(number);
        self.message[..8].copy_from_slice(&number.to_le_bytes());
        self.message[8..HEAD_LEN].copy_from_slice(&sum.to_le_bytes());
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        self.stream.write_all(&self.batch)?;
        self.batch.clear();
        Ok(())
    }
}

impl Traffic for Client {
    fn call(&mut self, number: u64) -> Result<(), Error> {
        self.number(number);
        self.stream.write_all(&self.message)?;
        self.stream.read_exact(&mut self.message)?;
        assert_eq!(verified(&self.message), number, "another answer");
        Ok(())
    }

    fn send(&mut self, number: u64) -> Result<(), Error> {
        self.number(number);
        if self.batch_len <= self.message.len() {
            self.stream.write_all(&self.message)?;
            return Ok(());
        }
        self.batch.extend_from_slice(&self.message);
        if self.batch.len() + self.message.len() > self.batch_len {
            self.write_batch()?;
        }
        Ok(())
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
