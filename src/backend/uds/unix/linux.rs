//! Linux and Android.
#![expect(
    unsafe_code,
    reason = "rustix reads the peer's credentials into a type that can't hold process id 0"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::net::UnixStream;
use rustix::net::SendFlags;

use crate::identity::PeerId;

/// Nothing to do: each send says that it wants no signal.
pub(super) fn prepare(_stream: &UnixStream) -> io::Result<()> {
    Ok(())
}

/// Sends without SIGPIPE, which would end a host program that is not Rust's: Rust's own start-up
/// code ignores the signal, but a library can't count on that.
pub(super) fn send(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?)
}

/// The credentials of a peer whose process id is 0: one in a process namespace that we can't see
/// into, as when two containers share a directory. Its user and group are as good as any. `None`
/// for a socket without a peer, whose user is reported as -1.
pub(super) fn credentials(socket: &impl AsFd) -> Option<PeerId> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: libc::uid_t::MAX,
        gid: libc::gid_t::MAX,
    };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the pointers lead to a live, writable `ucred` and to its length; the kernel writes
    // at most that many bytes, and every pattern of bytes is a valid `ucred` (three integers).
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    if result != 0 || credentials.uid == libc::uid_t::MAX {
        return None;
    }
    Some(PeerId {
        uid: Some(credentials.uid),
        gid: Some(credentials.gid),
        pid: u32::try_from(credentials.pid).ok().filter(|&pid| pid != 0),
        ..PeerId::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_are_those_of_the_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = credentials(&one).unwrap();
        assert_eq!(peer.uid, Some(rustix::process::geteuid().as_raw()));
        assert_eq!(peer.gid, Some(rustix::process::getegid().as_raw()));
        assert_eq!(peer.pid, Some(std::process::id()));
    }

    #[test]
    fn a_socket_without_a_peer_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixDatagram::bind(directory.path().join("a")).unwrap();
        assert_eq!(credentials(&socket), None);
    }
}
