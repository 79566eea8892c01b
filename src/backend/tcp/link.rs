//! A stream that proves the key first, then carries bytes as they are.
//!
//! ```text
//! Connecting --connected--> Proving --proven--> Open
//!      └───────────┴──────────────────────────────> Failed, for ever
//! ```
//!
//! Both `recv` and `send` drive the handshake in both directions: whichever is called takes it as
//! far as the socket allows, and answers `WouldBlock` until it is done. A caller that tries both on
//! every readiness event (see the contract, L3) therefore misses nothing: what had to wait for the
//! handshake is tried again on the event that ends it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::Link;
use super::handshake::{Handshake, NONCE_LEN, Refusal};
use super::key::Key;
use crate::fork::Guarded;
use crate::identity::PeerId;

/// One end.
#[derive(Debug)]
pub(super) struct TcpLink {
    stream: Guarded<TcpStream>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The client's connect is on its way. Holds what the handshake will need.
    Connecting {
        key: Arc<Key>,
        nonce: [u8; NONCE_LEN],
    },
    /// Boxed, as most links are past it.
    Proving(Box<Handshake>),
    Open,
    /// The kind and text of the error that ended it.
    Failed(io::ErrorKind, String),
}

impl TcpLink {
    /// Starts to connect.
    pub(super) fn connect(address: SocketAddr, key: Arc<Key>) -> io::Result<Self> {
        let nonce = nonce()?;
        let (stream, ()) = Guarded::open(|| Ok((TcpStream::connect(address)?, ())))?;
        Ok(Self {
            stream,
            state: State::Connecting { key, nonce },
        })
    }

    /// Takes over an accepted stream.
    pub(super) fn accepted(stream: Guarded<TcpStream>, key: Arc<Key>) -> io::Result<Self> {
        let nonce = nonce()?;
        let (local, _) = settle(&stream)?;
        Ok(Self {
            stream,
            state: State::Proving(Box::new(Handshake::server(key, local, nonce))),
        })
    }

    /// Takes the connect and the handshake as far as they go. `Ok` means open.
    fn advance(&mut self) -> io::Result<()> {
        self.stream.check()?;
        if matches!(self.state, State::Open) {
            return Ok(());
        }
        let result = self.prove();
        if let Err(error) = &result {
            let passing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
            if !passing.contains(&error.kind()) {
                self.state = State::Failed(error.kind(), error.to_string());
            }
        }
        result
    }

    fn prove(&mut self) -> io::Result<()> {
        if let State::Connecting { key, nonce } = &self.state {
            let server = connected(&self.stream)?;
            let handshake = Handshake::client(Arc::clone(key), server, *nonce);
            self.state = State::Proving(Box::new(handshake));
        }
        match &mut self.state {
            State::Proving(handshake) => {
                let result = exchange(&mut self.stream, handshake);
                result.map_err(|error| match error.kind() {
                    // How a side that refuses the other may look from there.
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                        left(handshake.key())
                    }
                    _ => error,
                })?;
                self.state = State::Open;
                Ok(())
            }
            State::Failed(kind, text) => Err(io::Error::new(*kind, text.clone())),
            State::Connecting { .. } | State::Open => Ok(()),
        }
    }
}

impl Link for TcpLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.advance()?;
        self.stream.read(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.advance()?;
        // The standard library sends without SIGPIPE.
        self.stream.write(bytes)
    }

    fn peer(&self) -> PeerId {
        PeerId {
            key_proven: matches!(self.state, State::Open),
            ..PeerId::default()
        }
    }
}

fn nonce() -> io::Result<[u8; NONCE_LEN]> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce)?;
    Ok(nonce)
}

/// Finds out whether the connect is finished, and how. The server's address if it went well.
fn connected(stream: &TcpStream) -> io::Result<SocketAddr> {
    // Through mio, which on Windows watches the socket again only after a `WouldBlock` it has seen.
    stream.try_io(|| {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            // macOS answers so for a connect that failed, and has told why already.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Err(error) => Err(error),
        }
    })?;
    let (local, peer) = settle(stream)?;
    // A connect to a port from which the system also picks ours may meet itself, when nobody
    // listens there. Such a link would hold the port that the server wants.
    if local == peer {
        let text = format!("nobody listens at {peer}: the connection met itself");
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
    }
    Ok(peer)
}

/// Sets up a connected stream and gives both its addresses, ours first.
fn settle(stream: &TcpStream) -> io::Result<(SocketAddr, SocketAddr)> {
    let settle = || {
        // Frames are sent whole; waiting for more to join them only costs time.
        stream.set_nodelay(true)?;
        Ok((stream.local_addr()?, stream.peer_addr()?))
    };
    settle().map_err(|error: io::Error| match error.kind() {
        // What the systems say of a peer that has gone already.
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected => {
            io::Error::new(io::ErrorKind::ConnectionAborted, error)
        }
        _ => error,
    })
}

/// Sends and receives until the handshake is done or the socket has enough.
fn exchange(stream: &mut TcpStream, handshake: &mut Handshake) -> io::Result<()> {
    loop {
        while !handshake.outgoing().is_empty() {
            let sent = stream.write(handshake.outgoing())?;
            handshake.sent(sent);
        }
        if handshake.is_done() {
            return Ok(());
        }
        let mut buffer = [0; 64];
        let wanted = handshake.wanted().min(buffer.len());
        let received = stream.read(&mut buffer[..wanted])?;
        if received == 0 {
            return Err(left(handshake.key()));
        }
        if let Err(refusal) = handshake.receive(&buffer[..received]) {
            return Err(refused(refusal, handshake.key()));
        }
    }
}

fn left(key: &Key) -> io::Error {
    let text = format!(
        "the other side closed the connection before it had proven its key: it may have no room for \
         more, be no wayside program, or use another key file than {}",
        key.path.display()
    );
    io::Error::new(io::ErrorKind::ConnectionAborted, text)
}

fn refused(refusal: Refusal, key: &Key) -> io::Error {
    let text = match refusal {
        Refusal::Stranger => "the other side does not speak wayside's handshake".to_owned(),
        Refusal::Version(version) => format!(
            "the other side speaks version {version} of wayside's TCP handshake, we speak 1: use \
             the same release on both sides"
        ),
        Refusal::Proof => format!(
            "the other side does not know the key in {}, or is no wayside program: use the same key \
             file on both sides, and the address at which the server listens, not one that is \
             passed on to it",
            key.path.display()
        ),
    };
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

impl Source for TcpLink {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.stream.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.stream.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for the connect, as a caller of `recv` does.
    fn connect(client: &mut TcpLink) {
        let mut poll = mio::Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        client.register(poll.registry(), Token(0), both).unwrap();
        let mut events = mio::Events::with_capacity(4);
        while matches!(client.state, State::Connecting { .. }) {
            let patience = std::time::Duration::from_secs(30);
            poll.poll(&mut events, Some(patience)).unwrap();
            assert!(!events.is_empty(), "no event in {patience:?}");
            match client.advance() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => result.unwrap(),
            }
        }
    }

    #[test]
    fn neither_end_waits_for_more_bytes_to_send_along() {
        let directory = tempfile::tempdir().unwrap();
        let key = Arc::new(Key::open_or_create(&directory.path().join("key")).unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpLink::connect(address, Arc::clone(&key)).unwrap();
        connect(&mut client);
        let (stream, ()) = Guarded::open(|| {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            Ok((TcpStream::from_std(stream), ()))
        })
        .unwrap();
        assert!(
            !stream.nodelay().unwrap(),
            "the system's own choice is to wait"
        );
        let server = TcpLink::accepted(stream, key).unwrap();
        assert!(client.stream.nodelay().unwrap());
        assert!(server.stream.nodelay().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_connection_that_met_itself_is_refused() {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let stream = std::net::TcpStream::from(socket);
        connect(&stream, &stream.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let error = connected(&TcpStream::from_std(stream)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("met itself"), "{error}");
    }
}
