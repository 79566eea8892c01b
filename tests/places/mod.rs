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
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;
use wayside::backend::{Backend, Link};

#[cfg(all(target_os = "linux", feature = "mqueue"))]
use crate::queues;
use crate::roles;

/// A directory of its own, and addresses in it.
pub(crate) struct Place {
    pub(crate) scheme: &'static str,
    directory: TempDir,
    /// For queues, which lie in no directory.
    count: u32,
}

/// The transport of that name.
pub(crate) fn backend(scheme: &str) -> Box<dyn Backend> {
    match scheme {
        #[cfg(feature = "fifo")]
        "fifo" => Box::new(wayside::backend::Fifo::new()),
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        "mqueue" => Box::new(wayside::backend::Mqueue::new()),
        other => panic!("no such transport: {other}"),
    }
}

/// Runs a test at each place.
pub(crate) fn each_place(test: impl Fn(&Place)) {
    const SCHEMES: &[&str] = &[
        #[cfg(feature = "fifo")]
        "fifo",
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        "mqueue",
    ];
    // What a user may have of queues is little: one test at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    static COUNT: AtomicU32 = AtomicU32::new(0);
    for scheme in SCHEMES {
        println!("on {scheme}");
        test(&Place {
            scheme,
            directory: roles::directory(),
            count: COUNT.fetch_add(1, Ordering::Relaxed),
        });
    }
}

/// What killed processes leave would count against the limits of the user until the system is started
/// again.
#[cfg(all(target_os = "linux", feature = "mqueue"))]
impl Drop for Place {
    fn drop(&mut self) {
        if self.scheme == "mqueue" {
            let numbered = (0..3).map(|number| self.address(number));
            for address in numbered.chain([format!("{}-theirs", self.queue_prefix())]) {
                queues::remove(&address);
            }
        }
    }
}

impl Place {
    pub(crate) fn backend(&self) -> Box<dyn Backend> {
        backend(self.scheme)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn queue_prefix(&self) -> String {
        format!("/wayside-place-{}-{}", std::process::id(), self.count)
    }

    pub(crate) fn address(&self, number: usize) -> String {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            return format!("{}-{number}", self.queue_prefix());
        }
        let path = self.directory.path().join(format!("{number}.fifo"));
        path.to_str().unwrap().to_owned()
    }

    /// One at which that user can listen.
    pub(crate) fn address_of_nobody(&self) -> String {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            return format!("{}-theirs", self.queue_prefix());
        }
        let theirs = self.directory.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        let nobody = Some(roles::NOBODY);
        std::os::unix::fs::chown(&theirs, nobody, nobody).unwrap();
        theirs.join("a.fifo").to_str().unwrap().to_owned()
    }

    /// All that the transport has made and not yet removed.
    pub(crate) fn names(&self) -> Vec<String> {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            let addresses = (0..3).map(|number| self.address(number));
            return addresses.flat_map(|name| queues::names(&name)).collect();
        }
        let names = roles::names(self.directory.path()).into_iter();
        names
            .map(|name| name.to_str().unwrap().to_owned())
            .filter(|name| name != "exe")
            .collect()
    }

    /// The modes of all of it.
    pub(crate) fn modes(&self) -> Vec<u32> {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            let queue = |name: String| queues::open(&name, libc::O_RDONLY).unwrap();
            let mode = |name| queue(name).metadata().unwrap().mode() & 0o7777;
            return self.names().into_iter().map(mode).collect();
        }
        let mode = |name| fs::symlink_metadata(self.directory.path().join(name)).unwrap();
        let names = self.names().into_iter();
        names.map(|name| mode(name).mode() & 0o7777).collect()
    }

    /// Leaves what a killed owner and a killed client leave.
    pub(crate) fn leave_stale(&self, address: &str) {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            for name in [
                address.to_owned(),
                format!("{address}.3.up"),
                format!("{address}.3.down"),
            ] {
                drop(queues::create(&name));
            }
            return;
        }
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
        self.intercepted(address).0
    }

    /// The record of a client that waits, taken out before the listener sees it.
    pub(crate) fn intercepted(&self, address: &str) -> (Vec<u8>, Box<dyn Link>) {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            let mailbox = queues::open(address, libc::O_RDONLY).unwrap();
            let client = self.backend().connect(address).unwrap();
            return (queues::receive(&mailbox).unwrap(), client);
        }
        // Reads beside the listener, which is not asked meanwhile.
        let mut mailbox = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(address)
            .unwrap();
        let client = self.backend().connect(address).unwrap();
        let mut record = vec![0; 512];
        let len = mailbox.read(&mut record).unwrap();
        record.truncate(len);
        (record, client)
    }

    pub(crate) fn put_into_mailbox(&self, address: &str, bytes: &[u8]) {
        self.try_put_into_mailbox(address, bytes).unwrap();
    }

    /// Fails when the mailbox is full.
    pub(crate) fn try_put_into_mailbox(&self, address: &str, bytes: &[u8]) -> io::Result<()> {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            let mailbox = queues::open(address, libc::O_WRONLY)?;
            return queues::send(&mailbox, &bytes[..bytes.len().min(32)]);
        }
        let mut mailbox = File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(address)?;
        mailbox.write_all(bytes)
    }

    /// How many can wait at the least.
    pub(crate) fn backlog_min(&self) -> usize {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            return 10;
        }
        64
    }

    /// How many peers there must be room for under the limits that a system comes with.
    pub(crate) fn peers_min(&self) -> usize {
        #[cfg(all(target_os = "linux", feature = "mqueue"))]
        if self.scheme == "mqueue" {
            return 48;
        }
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
