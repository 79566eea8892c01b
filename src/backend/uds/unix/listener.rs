//! A bound path.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use interprocess::local_socket::{ListenerNonblockingMode, ListenerOptions, prelude::*};
use interprocess::os::unix::local_socket::{FilesystemUdSocket, ListenerOptionsExt};
use interprocess::os::unix::uds_local_socket;
use mio::event::Source;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use super::{Link, Listener, Uds, UdsLink, denied, peer};
use crate::backend::directory;
use crate::backend::name::{Kind, Name, Probe};
use crate::fork::Guarded;

/// The file that has the name.
pub(super) const SOCKET: Kind = Kind {
    what: "socket",
    is: FileTypeExt::is_socket,
    probe,
    // It connects.
    probes_unseen: false,
};

/// Finds out whether someone listens there.
fn probe(path: &Path) -> io::Result<Probe> {
    match UnixStream::connect(path) {
        Ok(stream) => {
            let pid = peer::identify(stream).ok().and_then(|(_, peer)| peer.pid);
            Ok(Probe::Live(pid))
        }
        Err(error) => match error.kind() {
            // A full backlog: someone listens, though busy.
            io::ErrorKind::WouldBlock => Ok(Probe::Live(None)),
            io::ErrorKind::ConnectionRefused => Ok(Probe::Dead),
            io::ErrorKind::NotFound => Ok(Probe::Gone),
            _ => Err(error),
        },
    }
}

/// Accepts whom the kernel vouches for.
#[derive(Debug)]
pub(super) struct UdsListener {
    // Dropped in this order: the socket is closed before its name is given up.
    listener: Guarded<UnixListener>,
    name: Name,
    uds: Uds,
}

impl UdsListener {
    /// Takes the path and listens there.
    pub(super) fn bind(uds: &Uds, path: PathBuf) -> io::Result<Self> {
        let open = !uds.uids.is_empty() || !uds.gids.is_empty();
        // An absolute path with a file name has a parent.
        if let Some(parent) = path.parent() {
            directory::create(parent, if open { 0o711 } else { 0o700 })?;
            directory::check_not_writable(parent)?;
        }
        let mut name = Name::take(path, SOCKET)?;
        let mode = if open { 0o666 } else { 0o600 };
        let (listener, ()) = Guarded::open(|| {
            let socket = listen(&name, mode)?;
            Ok((UnixListener::from(socket), ()))
        })?;
        name.created()?;
        Ok(Self {
            listener,
            name,
            uds: uds.clone(),
        })
    }
}

/// Creates the socket, with the mode from its first moment where the system can do that.
fn listen(name: &Name, mode: libc::mode_t) -> io::Result<OwnedFd> {
    let path = name.path();
    let options = || {
        let name = path.to_fs_name::<FilesystemUdSocket>()?;
        // Its own reclaiming and overwriting displace live listeners; `Name` does both.
        let options = ListenerOptions::new()
            .name(name)
            .nonblocking(ListenerNonblockingMode::Both)
            .reclaim_name(false);
        io::Result::Ok(options)
    };
    let create = |options: ListenerOptions<'_>| -> io::Result<uds_local_socket::Listener> {
        options.create_sync_as()
    };
    let listener = match create(options()?.mode(mode)) {
        // macOS and older BSDs can't set it beforehand. Until the change below the umask decides,
        // and the directory and the check of the peer's user protect us.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => create(options()?),
        other => other,
    }?;
    // Also where it was set: the umask may have taken bits away.
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode))?;
    Ok(listener.into())
}

impl Listener for UdsListener {
    fn accept(&mut self) -> io::Result<Box<dyn Link>> {
        let link = UdsLink::open(|| {
            let (stream, _) = self.listener.accept()?;
            peer::identify(stream)
        })?;
        peer::check(&self.uds, &link.peer()).map_err(|text| {
            let path = self.name.path().display();
            denied(&format!("{path} turned away {text}"))
        })?;
        Ok(Box::new(link))
    }

    fn address(&self) -> String {
        // It came in as text, so nothing is lost.
        self.name.path().to_string_lossy().into_owned()
    }
}

impl Source for UdsListener {
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

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};

    use super::*;

    #[test]
    fn a_socket_that_nobody_listens_to_is_dead() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        assert_eq!(probe(&path).unwrap(), Probe::Gone);
        // As a killed process leaves it. It never listened: a process that another test forks this
        // moment has a copy for a while, and a copy that listens would be a live owner.
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        drop(socket);
        assert_eq!(probe(&path).unwrap(), Probe::Dead);
        assert!((SOCKET.is)(
            &std::fs::symlink_metadata(&path).unwrap().file_type()
        ));
    }

    #[test]
    fn one_that_somebody_listens_to_is_live() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(probe(&path).unwrap(), Probe::Live(_)));
    }
}
