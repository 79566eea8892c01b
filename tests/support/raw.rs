//! A peer without manners: frames, or any bytes at all, over a link of the backend's own, so that
//! it gets past a transport's own handshake and no further.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use wayside::backend::{Link, Listener};
use wayside::internals::{Head, Hello, decode_head, encode, frame};
use wayside::{Limits, Protocol, Transport};

use super::{Chat, PATIENCE};

/// A frame of any head and body, as a peer would write it.
pub fn framed<T: Serialize + ?Sized>(head: Head, body: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let at = frame::start(&mut bytes);
    encode(&mut bytes, &head, body, u32::MAX).unwrap();
    frame::finish(&mut bytes, at);
    bytes
}

/// A frame with this payload, whatever it is.
pub fn framed_bytes(payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// What a peer of [`Chat`] says of itself.
pub fn hello() -> Hello {
    Hello::new(Chat::NAME, Chat::VERSION, &Limits::default(), 1)
}

/// One end of a link, in the hands of the test.
pub struct Raw {
    link: Box<dyn Link>,
    received: Vec<u8>,
    ended: bool,
    /// Goes last; see [`Turns`].
    turns: Arc<Turns>,
}

impl Raw {
    /// A connection on which nothing was said yet.
    pub fn connect(transport: &Transport) -> Self {
        Self::new(bare(transport), Arc::new(Turns::new()))
    }

    /// A connection with a session on it.
    pub fn greeted(transport: &Transport) -> Self {
        let mut raw = Self::connect(transport);
        raw.say(&framed(Head::Hello, &hello()));
        assert_eq!(raw.head(), Some(Head::Welcome));
        raw
    }

    fn new(mut link: Box<dyn Link>, turns: Arc<Turns>) -> Self {
        turns.add(&mut link);
        Self {
            turns,
            link,
            received: Vec::new(),
            ended: false,
        }
    }

    /// Writes all of it, waiting for room. False if the link ends before.
    pub fn send(&mut self, mut bytes: &[u8]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            let written = self.send_some(bytes);
            if self.ended {
                return false;
            }
            bytes = &bytes[written..];
            if !bytes.is_empty() {
                self.wait(deadline, "room to write");
            }
        }
        true
    }

    /// Writes all of it to a peer that has to take it.
    pub fn say(&mut self, bytes: &[u8]) {
        assert!(self.send(bytes), "the link has ended");
    }

    /// The same, and reads meanwhile: its peer may take no more before it has got rid of something.
    pub fn say_listening(&mut self, mut bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            bytes = &bytes[self.send_some(bytes)..];
            assert!(!self.ended, "the link has ended");
            if bytes.is_empty() {
                return;
            }
            if !self.read() {
                self.wait(deadline, "room to write");
            }
        }
    }

    /// Writes as much as the link takes now.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.link.send(&bytes[sent..]) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.ended = true;
                    break;
                }
            }
        }
        sent
    }

    /// Writes the same again and again until the link ends, reading nothing.
    pub fn flood(&mut self, bytes: &[u8]) {
        while self.send(bytes) {}
    }

    /// The next frame; waits for it. `None` once the link has ended.
    pub fn payload(&mut self) -> Option<Vec<u8>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(payload) = self.take_payload() {
                return Some(payload);
            }
            if self.ended {
                return None;
            }
            if !self.read() {
                self.wait(deadline, "a frame");
            }
        }
    }

    /// The head of the next frame; `None` once the link has ended.
    pub fn head(&mut self) -> Option<Head> {
        self.payload()
            .map(|payload| decode_head(&payload).unwrap().0)
    }

    /// The head of the next frame, if it is there by now.
    pub fn head_now(&mut self) -> Option<Head> {
        self.turns.take(Duration::ZERO);
        while !self.ended && self.read() {}
        let payload = self.take_payload()?;
        Some(decode_head(&payload).unwrap().0)
    }

    fn take_payload(&mut self) -> Option<Vec<u8>> {
        let Ok(frame::Boundary::Whole { len }) = frame::boundary(&self.received, u32::MAX) else {
            return None;
        };
        let payload = self.received[frame::HEADER_LEN..len].to_vec();
        self.received.drain(..len);
        Some(payload)
    }

    /// Reads and forgets until the link ends; gives the last head that came.
    pub fn until_end(&mut self) -> Option<Head> {
        let mut last = None;
        while let Some(head) = self.head() {
            last = Some(head);
        }
        last
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.link.recv(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(len) => self.received.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.ended = true,
        }
        true
    }

    fn wait(&mut self, deadline: Instant, what: &str) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(left > Duration::ZERO, "not in time: {what}");
        self.turns.take(left);
    }
}

/// A connection that nothing drives.
pub fn bare(transport: &Transport) -> Box<dyn Link> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match transport.backend().connect(transport.address()) {
            Ok(link) => return link,
            Err(error) => {
                // A full backlog, which not every system tells from nobody at home.
                assert!(Instant::now() < deadline, "can't connect: {error}");
                std::thread::yield_now();
            }
        }
    }
}

/// A server without manners.
pub struct RawServer {
    listener: Box<dyn Listener>,
    pub transport: Transport,
    turns: Arc<Turns>,
}

impl RawServer {
    pub fn bind(transport: &Transport) -> Self {
        let mut listener = transport.backend().bind(transport.address()).unwrap();
        let transport = transport.at(listener.address());
        let turns = Arc::new(Turns::new());
        turns.add(&mut listener);
        Self {
            turns,
            listener,
            transport,
        }
    }

    /// The next client, of which nothing was read yet.
    pub fn accept(&mut self) -> Raw {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.accept() {
                Ok(link) => return Raw::new(link, Arc::clone(&self.turns)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    assert!(left > Duration::ZERO, "nobody has connected in time");
                    self.turns.take(left);
                }
                Err(error) => eprintln!("accept: {error}"),
            }
        }
    }

    /// The next client, with a session.
    pub fn welcome(&mut self) -> Raw {
        self.welcome_with(&hello())
    }

    /// The next client, welcomed with these words.
    pub fn welcome_with(&mut self, hello: &Hello) -> Raw {
        let mut raw = self.accept();
        assert_eq!(raw.head(), Some(Head::Hello));
        raw.say(&framed(Head::Welcome, hello));
        raw
    }
}

/// One poll for a server and all that it accepts: some transports join them for ever.
struct Turns(Mutex<(Poll, Events)>);

impl Drop for Turns {
    /// A last one, by which what has been dropped ends for its peers.
    fn drop(&mut self) {
        self.take(Duration::from_millis(10));
    }
}

impl Turns {
    fn new() -> Self {
        Self(Mutex::new((Poll::new().unwrap(), Events::with_capacity(8))))
    }

    fn add<S: Source + ?Sized>(&self, source: &mut S) {
        let both = Interest::READABLE | Interest::WRITABLE;
        let turns = self.0.lock().unwrap();
        turns.0.registry().register(source, Token(0), both).unwrap();
    }

    /// Waits for an event, though not for long: it may have come in another's turn.
    fn take(&self, time: Duration) {
        let (poll, events) = &mut *self.0.lock().unwrap();
        match poll.poll(events, Some(time.min(Duration::from_millis(10)))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("poll: {error}"),
            _ => {}
        }
    }
}
