//! One end of an instance, and who is at the other.
//!
//! mio reads ahead and writes behind: it has a read of 4 KiB under way all the time, and one write,
//! of a copy of what it was given. A second has to wait for the first.

use std::io::{self, Read, Write};

use mio::event::Source;
use mio::windows::NamedPipe;
use mio::{Interest, Registry, Token};

use super::name::Name;
use super::{Link, sys, user};
use crate::identity::PeerId;

/// The most that one write is given, and a pipe holds each way: what may be in flight.
pub(super) const SEND_LEN_MAX: u32 = 64 << 10;

/// What mio knows a pipe as.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// As one of its listener's instances, with that one's token.
    AsInstance,
    /// As itself, or not yet.
    AsLink,
}

/// One end.
pub(super) struct PipeLink {
    pipe: NamedPipe,
    known: Known,
    /// Keeps the completion port of a dropped `Poll`, so that mio can take back what was under way
    /// and close the handle. Behind the pipe: what dropping that cancels comes to the port.
    _port: Option<Registry>,
    peer: PeerId,
    /// The peer is known to be our user.
    identified: bool,
    /// How it ended, for ever.
    end: Option<End>,
}

enum End {
    /// The peer has closed its end, or its process has died.
    Closed,
    Failed(io::ErrorKind, String),
}

impl PipeLink {
    /// The client's end. Fails if the server is not our user's.
    pub(super) fn connected(pipe: NamedPipe, name: &Name) -> io::Result<Self> {
        // Whoever creates a pipe owns it; only administrators can make it another's.
        let owner = sys::security(&pipe)?.owner;
        let own = user::own_sid()?;
        if owner.as_ref() != Some(&own) {
            let owner = owner.as_deref().unwrap_or("nobody");
            let text = format!("{name} belongs to {owner}, who is not our user ({own})");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let peer = PeerId {
            sid: owner,
            pid: sys::server_process(&pipe).ok(),
            ..PeerId::default()
        };
        Ok(Self {
            pipe,
            known: Known::AsLink,
            _port: None,
            peer,
            identified: true,
            end: None,
        })
    }

    /// The server's end of an instance that a client has taken, and where it is registered.
    pub(super) fn accepted(pipe: NamedPipe, registry: Option<Registry>) -> Self {
        let peer = PeerId {
            // The system may want to see a byte of the client's first; see `identify`.
            sid: sys::client_sid(&pipe).ok(),
            pid: sys::client_process(&pipe).ok(),
            ..PeerId::default()
        };
        Self {
            pipe,
            known: match registry {
                Some(_) => Known::AsInstance,
                None => Known::AsLink,
            },
            _port: registry,
            peer,
            identified: false,
            end: None,
        }
    }

    /// Makes sure that the peer is our user, before anything it sends is looked at. The access list
    /// keeps others out; this is for systems that don't enforce it, and for the name.
    fn identify(&mut self) -> io::Result<()> {
        let refuse = |text: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        if self.peer.sid.is_none() {
            match sys::client_sid(&self.pipe) {
                Ok(sid) => self.peer.sid = Some(sid),
                Err(error) => return refuse(format!("can't tell who the client is: {error}")),
            }
        }
        let own = user::own_sid()?;
        match &self.peer.sid {
            Some(sid) if *sid == own => Ok(()),
            _ => refuse(format!("the client is {}, not our user ({own})", self.peer)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.pipe.read(buffer)?;
        if len > 0 && !self.identified {
            self.identify()?;
            self.identified = true;
        }
        Ok(len)
    }
}

impl Link for PipeLink {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.end {
            Some(End::Closed) => return Ok(0),
            Some(End::Failed(kind, text)) => return Err(io::Error::new(*kind, text.clone())),
            None => {}
        }
        let result = self.read(buffer);
        match &result {
            Ok(0) => self.end = Some(End::Closed),
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                self.end = Some(End::Failed(error.kind(), error.to_string()));
            }
            _ => {}
        }
        result
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(End::Failed(kind, text)) = &self.end {
            return Err(io::Error::new(*kind, text.clone()));
        }
        let len = usize::try_from(SEND_LEN_MAX).map_or(bytes.len(), |max| bytes.len().min(max));
        self.pipe.write(&bytes[..len])
    }

    fn peer(&self) -> PeerId {
        self.peer.clone()
    }
}

impl Drop for PipeLink {
    /// mio lets a write go on that is under way. A peer that does not read would then neither see
    /// the end nor let go of our handle, for as long as it likes; the contract says how much may be
    /// lost instead. Under Wine the peer can still read after the end what the system had taken already;
    /// what is written of Windows is not of one mind about that. Sessions don't count on it: they end by a
    /// goodbye that was answered.
    fn drop(&mut self) {
        sys::cancel(&self.pipe);
    }
}

impl Source for PipeLink {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match self.known {
            Known::AsInstance => self.pipe.reregister(registry, token, interest)?,
            Known::AsLink => self.pipe.register(registry, token, interest)?,
        }
        self.known = Known::AsLink;
        self._port = Some(registry.try_clone()?);
        Ok(())
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.pipe.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.pipe.deregister(registry)?;
        self.known = Known::AsLink;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};
    use windows_sys::Win32::Security::SecurityIdentification;

    use super::super::sys::Instance;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// An end that is not of mio's: writes, and waits until that is done.
    fn write(mut client: &File, bytes: &[u8]) {
        client.write_all(bytes).unwrap();
    }

    #[test]
    fn a_server_may_see_who_its_client_is_and_not_act_as_it() {
        let name = Name::parse(&format!("link-test-{}", std::process::id())).unwrap();
        let descriptor = user::only_us().unwrap();
        let pipe = sys::create_instance(&name, &descriptor, Instance::First).unwrap();
        let client = super::super::open(&name).unwrap();
        let mut server = PipeLink::accepted(pipe, None);
        let mut poll = Poll::new().unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        server.register(poll.registry(), Token(0), both).unwrap();
        write(&client, b"x");
        let deadline = Instant::now() + PATIENCE;
        let mut events = Events::with_capacity(4);
        while let Err(error) = server.recv(&mut [0]) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            assert!(Instant::now() < deadline, "the byte does not come");
            poll.poll(&mut events, Some(PATIENCE)).unwrap();
        }
        assert_eq!(server.peer().sid, Some(user::own_sid().unwrap()));
        let level = sys::client_level(&server.pipe).unwrap();
        if !super::super::under_wine("lets a server act as its client, whatever that allows") {
            assert_eq!(level, SecurityIdentification);
        }
    }
}
