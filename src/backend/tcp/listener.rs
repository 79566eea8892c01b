//! A bound port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use super::key::Key;
use super::{Link, Listener, TcpLink};
use crate::fork::Guarded;

/// Accepts anybody; the link then wants proof.
#[derive(Debug)]
pub(super) struct TcpListener {
    listener: Guarded<mio::net::TcpListener>,
    /// What the system made of the address that was asked for.
    address: SocketAddr,
    key: Arc<Key>,
}

impl TcpListener {
    pub(super) fn bind(address: SocketAddr, key: Arc<Key>) -> io::Result<Self> {
        let (listener, ()) = Guarded::open(|| {
            mio::net::TcpListener::bind(address)
                .map(|listener| (listener, ()))
                .map_err(|error| {
                    let remedy = match error.kind() {
                        io::ErrorKind::AddrInUse => {
                            ": end whoever listens there, or use another port"
                        }
                        io::ErrorKind::PermissionDenied => ": use a port from 1024 up",
                        _ => "",
                    };
                    let text = format!("can't listen at {address}: {error}{remedy}");
                    io::Error::new(error.kind(), text)
                })
        })?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            key,
        })
    }
}

impl Listener for TcpListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let (stream, _) = Guarded::open(|| self.listener.accept())?;
        let link = TcpLink::accepted(stream, Arc::clone(&self.key))?;
        Ok(Box::new(link))
    }

    fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Source for TcpListener {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.listener.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.listener.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}
