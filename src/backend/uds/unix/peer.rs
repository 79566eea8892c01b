//! With whom we talk: what the kernel says about the other end, and whether that will do.

use std::io;
use std::os::fd::OwnedFd;

use interprocess::local_socket::traits::StreamCommon;
use interprocess::os::unix::uds_local_socket::Stream;
use mio::net::UnixStream;

use super::{Uds, system};
use crate::identity::PeerId;

/// Asks the kernel who is at the other end. What it says is as of the connect (of a client) or the
/// listen (of a server), and can't be forged.
pub(super) fn identify(stream: UnixStream) -> io::Result<(UnixStream, PeerId)> {
    // Moves the descriptor to and fro; no system call but the one that asks.
    let stream = Stream::from(OwnedFd::from(stream));
    let peer = match stream.peer_creds() {
        Ok(credentials) => PeerId {
            uid: credentials.euid(),
            gid: credentials.egid(),
            pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()),
            ..PeerId::default()
        },
        // interprocess takes process id 0 for a lost peer; see `system`.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            system::credentials(&stream).ok_or(error)?
        }
        Err(error) => return Err(error),
    };
    Ok((UnixStream::from(OwnedFd::from(stream)), peer))
}

/// Whether we talk to this peer; if not, who it is and who would be welcome.
pub(super) fn check(uds: &Uds, peer: &PeerId) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    let welcome = peer
        .uid
        .is_some_and(|uid| uid == own || uid == 0 || uds.uids.contains(&uid))
        || peer.gid.is_some_and(|gid| uds.gids.contains(&gid));
    if welcome {
        return Ok(());
    }
    let mut text = format!("{peer}, who is neither our user (uid {own}) nor root");
    for (kind, allowed) in [("uid", &uds.uids), ("gid", &uds.gids)] {
        for id in allowed {
            text.push_str(&format!(" nor {kind} {id}"));
        }
    }
    text.push_str(": allow its uid or gid if that is meant to be");
    Err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> PeerId {
        PeerId {
            uid: Some(uid),
            gid: Some(gid),
            ..PeerId::default()
        }
    }

    #[test]
    fn only_the_own_user_and_root_and_those_allowed_are_welcome() {
        let own = rustix::process::geteuid().as_raw();
        let stranger = own + 4711;
        let uds = Uds::new();
        assert_eq!(check(&uds, &peer(own, 1)), Ok(()));
        assert_eq!(check(&uds, &peer(0, 1)), Ok(()));
        let text = check(&uds, &peer(stranger, 1)).unwrap_err();
        assert!(text.contains(&stranger.to_string()), "{text}");
        assert!(check(&uds, &PeerId::default()).is_err());
        let uds = uds.allow_uid(stranger).allow_gid(77);
        assert_eq!(check(&uds, &peer(stranger, 1)), Ok(()));
        assert_eq!(check(&uds, &peer(stranger + 1, 77)), Ok(()));
        assert!(check(&uds, &peer(stranger + 1, 78)).is_err());
        assert!(check(&uds, &peer(77, stranger)).is_err());
    }
}
