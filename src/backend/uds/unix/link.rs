//! A connected stream.

use std::io::{self, Read};

use mio::event::Source;
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use super::{Link, system};
use crate::fork::Guarded;
use crate::identity::PeerId;

/// One end; the other has been identified and found welcome.
#[derive(Debug)]
pub(super) struct UdsLink {
    stream: Guarded<UnixStream>,
    peer: PeerId,
}

impl UdsLink {
    /// Takes over the stream that `open` makes.
    pub(super) fn open(
        open: impl FnOnce() -> io::Result<(UnixStream, PeerId)>,
    ) -> io::Result<Self> {
        let (stream, peer) = Guarded::open(open)?;
        system::prepare(&stream)?;
        Ok(Self { stream, peer })
    }
}

impl Link for UdsLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.check()?;
        self.stream.read(buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.check()?;
        self.stream.try_io(|| system::send(&self.stream, bytes))
    }

    fn peer(&self) -> PeerId {
        self.peer.clone()
    }
}

impl Source for UdsLink {
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
