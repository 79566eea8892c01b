//! Unix: a socket that is bound and never listens keeps nobody from listening.

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, socket};

pub(super) fn try_bind(address: SocketAddr) -> io::Result<()> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    // As mio does it: what an earlier connection left behind is not in the way.
    set_socket_reuseaddr(&socket, true)?;
    Ok(bind(&socket, &address)?)
}
