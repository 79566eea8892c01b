//! Windows: takes the port for a moment.

use std::io;
use std::net::{SocketAddr, TcpListener};

pub(super) fn try_bind(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}
