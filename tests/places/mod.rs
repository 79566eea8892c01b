//! Places for mailboxes, one per transport that meets at one: what their tests must know of each.
#![allow(dead_code, reason = "no file of tests needs all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says by panic what is wrong"
)]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use tempfile::TempDir;
use wayside::backend::{Backend, Fifo};

use crate::roles;

/// A directory of its own, and addresses in it.
pub(crate) struct Place {
    pub(crate) scheme: &'static str,
    directory: TempDir,
}

/// The transport of that name.
pub(crate) fn backend(scheme: &str) -> Box<dyn Backend> {
    match scheme {
        "fifo" => Box::new(Fifo::new()),
        other => panic!("no such transport: {other}"),
    }
}

/// Runs a test at each place.
pub(crate) fn each_place(test: impl Fn(&Place)) {
    const SCHEMES: &[&str] = &["fifo"];
    for scheme in SCHEMES {
        println!("on {scheme}");
        test(&Place {
            scheme,
            directory: roles::directory(),
        });
    }
}

impl Place {
    pub(crate) fn backend(&self) -> Box<dyn Backend> {
        backend(self.scheme)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn address(&self, number: usize) -> String {
        let path = self.directory.path().join(format!("{number}.fifo"));
        path.to_str().unwrap().to_owned()
    }

    /// One at which that user can listen.
    pub(crate) fn address_of_nobody(&self) -> String {
        let theirs = self.directory.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        let nobody = Some(roles::NOBODY);
        std::os::unix::fs::chown(&theirs, nobody, nobody).unwrap();
        theirs.join("a.fifo").to_str().unwrap().to_owned()
    }

    /// All that the transport has made and not yet removed.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = roles::names(self.directory.path()).into_iter();
        names
            .map(|name| name.to_str().unwrap().to_owned())
            .filter(|name| name != "exe")
            .collect()
    }

    /// The modes of all of it.
    pub(crate) fn modes(&self) -> Vec<u32> {
        let mode = |name| fs::symlink_metadata(self.directory.path().join(name)).unwrap();
        let names = self.names().into_iter();
        names.map(|name| mode(name).mode() & 0o7777).collect()
    }

    /// Leaves what a killed owner and a killed client leave.
    pub(crate) fn leave_stale(&self, address: &str) {
        for path in [
            address.to_owned(),
            format!("{address}.{:032x}.up", 4711),
            format!("{address}.{:032x}.down", 4711),
        ] {
            make_fifo(&path);
        }
        fs::write(format!("{address}.lock"), "1\n").unwrap();
    }

    /// The record of a client that was there and has gone.
    pub(crate) fn last_record(&self, address: &str) -> Vec<u8> {
        // Reads beside the listener, which is not asked meanwhile.
        let mut mailbox = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(address)
            .unwrap();
        drop(self.backend().connect(address).unwrap());
        let mut record = vec![0; 512];
        let len = mailbox.read(&mut record).unwrap();
        record.truncate(len);
        record
    }

    pub(crate) fn put_into_mailbox(&self, address: &str, bytes: &[u8]) {
        self.try_put_into_mailbox(address, bytes).unwrap();
    }

    /// Fails when the mailbox is full.
    pub(crate) fn try_put_into_mailbox(&self, address: &str, bytes: &[u8]) -> io::Result<()> {
        let mut mailbox = File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(address)?;
        mailbox.write_all(bytes)
    }

    /// How many can wait at the least.
    pub(crate) fn backlog_min(&self) -> usize {
        64
    }

    /// How many peers there must be room for under the limits that a system comes with.
    pub(crate) fn peers_min(&self) -> usize {
        500
    }
}

#[allow(unsafe_code, reason = "rustix has it on some systems only")]
pub(crate) fn make_fifo(path: &str) {
    let path = std::ffi::CString::new(path).unwrap();
    // SAFETY: the pointer leads to a text that ends in NUL and lives longer than the call.
    let result = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
