//! Whether a port can be had, seen without listening at it.

use std::io;
use std::net::SocketAddr;

use super::{About, Finding};

cfg_if::cfg_if! {
    if #[cfg(unix)] {
        mod unix;
        use unix as platform;
    } else {
        mod elsewhere;
        use elsewhere as platform;
    }
}

pub(super) fn port(address: SocketAddr) -> Vec<Finding> {
    let Err(error) = platform::try_bind(address) else {
        return Vec::new();
    };
    vec![match error.kind() {
        io::ErrorKind::AddrInUse => {
            let text = format!(
                "somebody listens at {address}; clients can connect if it is our server, a second \
                 one can't listen"
            );
            Finding::warning(About::Taken { pid: None }, text)
        }
        io::ErrorKind::PermissionDenied => {
            let text = format!("this user may not listen at {address}: use a port from 1024 up");
            Finding::obstacle(About::Address, text)
        }
        io::ErrorKind::AddrNotAvailable => {
            let text =
                format!("no interface of this host has the address of {address}: use another");
            Finding::obstacle(About::Address, text)
        }
        _ => {
            let text = format!("nobody could listen at {address}: {error}");
            Finding::obstacle(About::Address, text)
        }
    }]
}
