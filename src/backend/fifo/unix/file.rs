//! FIFOs as files: created closed to others, opened without waiting, and checked once open.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use interprocess::os::unix::fifo_file::create_fifo;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getegid, geteuid, getrlimit};

use super::system;
use crate::identity::PeerId;

/// Which end is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Works before anybody writes.
    Read,
    /// Fails with ENXIO while nobody reads.
    Write,
    /// The mailbox's own: reading, and never an end, as there is always somebody who could write.
    /// POSIX leaves it open whether that works; it does on every system that we know.
    Both,
}

/// Creates a FIFO that only its owner can open.
pub(super) fn create(path: &Path) -> io::Result<()> {
    create_fifo(path, 0o600).map_err(|error| {
        let text = format!("the FIFO {} can't be created: {error}", path.display());
        io::Error::new(error.kind(), text)
    })?;
    // The umask may have taken bits away. Nobody else can have put another file there: the
    // directory is one that only its owner writes to.
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    Ok(())
}

/// Opens one end of a FIFO and says whose it is. Never through a link, never waiting.
///
/// # Errors
/// `PermissionDenied` if it is someone else's, or no FIFO; else what the system says. What it says
/// about a limit is made to name the limit.
pub(super) fn open(path: &Path, end: End) -> io::Result<(File, PeerId)> {
    let access = match end {
        End::Read => OFlags::RDONLY,
        End::Write => OFlags::WRONLY,
        End::Both => OFlags::RDWR,
    };
    let careful = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, access | careful, Mode::empty()).map_err(name_limit)?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    let denied = |problem: String| {
        let text = format!("{} {problem}", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
    };
    if !metadata.file_type().is_fifo() {
        return denied("is not a FIFO".to_owned());
    }
    let own = geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        let owner = metadata.uid();
        return denied(format!(
            "belongs to uid {owner}, who is neither our user (uid {own}) nor root"
        ));
    }
    if end != End::Read {
        system::prepare(&file)?;
    }
    let owner = PeerId {
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        ..PeerId::default()
    };
    Ok((file, owner))
}

/// Gives a FIFO that we have created our effective group: some systems, and some directories, give
/// it the directory's, and the other side takes it for ours.
pub(super) fn sign(file: &File) -> io::Result<()> {
    let group = getegid();
    if file.metadata()?.gid() != group.as_raw() {
        rustix::fs::fchown(file, None, Some(group))?;
    }
    Ok(())
}

/// Says which limit was hit, its value, and how to raise it.
fn name_limit(error: Errno) -> io::Error {
    let text = match error {
        Errno::MFILE => {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or("no".to_owned(), |limit| limit.to_string());
            format!(
                "this process may have {limit} open files (RLIMIT_NOFILE), and each peer takes 2: \
                 raise it with ulimit -n, or LimitNOFILE= of systemd"
            )
        }
        Errno::NFILE => "the system has as many open files as it may (sysctl fs.file-max, \
                         kern.maxfiles): raise it"
            .to_owned(),
        // What Linux answers when the user has too many pages in pipes; by default that has no
        // bound.
        Errno::NOMEM => "no memory for another FIFO: on Linux, see whether the sysctl \
                         fs.pipe-user-pages-hard bounds it"
            .to_owned(),
        error => return error.into(),
    };
    io::Error::new(io::ErrorKind::QuotaExceeded, text)
}
