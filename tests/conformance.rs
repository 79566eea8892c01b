//! The contract of the backends, proven for each that this system has.
//!
//! A new backend adds a module here.
#![cfg(any(
    all(unix, any(feature = "uds", feature = "fifo")),
    all(windows, feature = "fifo"),
    all(any(target_os = "linux", target_os = "freebsd"), feature = "mqueue"),
    feature = "tcp"
))]

#[path = "support/descriptors.rs"]
mod descriptors;

use wayside::conformance::Fixture;

/// A directory that is closed to others, as tempfile's own are not.
#[cfg(any(all(unix, any(feature = "uds", feature = "fifo")), feature = "tcp"))]
fn private_directory() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    restrict(&mut builder);
    builder.tempdir().expect("a directory")
}

#[cfg(all(unix, any(feature = "uds", feature = "fifo", feature = "tcp")))]
fn restrict(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(std::fs::Permissions::from_mode(0o700));
}

#[cfg(all(not(unix), feature = "tcp"))]
fn restrict(_builder: &mut tempfile::Builder<'_, '_>) {}

/// For a backend whose address is a path: fresh ones in a directory of their own, whose names show
/// what is left behind.
#[cfg(all(unix, any(feature = "uds", feature = "fifo")))]
fn at_paths(backend: impl wayside::backend::Backend, too_long: &str) -> Fixture {
    use std::cell::Cell;
    use std::rc::Rc;

    descriptors::raise_limit();
    let directory = Rc::new(private_directory());
    let listed = Rc::clone(&directory);
    let count = Cell::new(0);
    let fresh = move || {
        count.set(count.get() + 1);
        let path = directory.path().join(count.get().to_string());
        path.to_str().expect("text").to_owned()
    };
    let leftovers = move || {
        let entries = std::fs::read_dir(listed.path()).expect("the directory is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    Fixture::new(backend, fresh)
        .impossible(["", "/", "/tmp/", "/tmp/a\0b", too_long])
        .leftovers(leftovers)
}

#[cfg(all(unix, feature = "uds"))]
mod uds {
    use wayside::backend::Uds;

    use super::{Fixture, at_paths};

    fn fixture() -> Fixture {
        at_paths(Uds::new(), &format!("/tmp/{}", "x".repeat(200)))
    }

    wayside::conformance_tests!(fixture());
}

#[cfg(all(unix, feature = "fifo"))]
mod fifo {
    use wayside::backend::Fifo;

    use super::{Fixture, at_paths};

    fn fixture() -> Fixture {
        at_paths(Fifo::new(), &format!("/tmp/{}", "x".repeat(250)))
    }

    wayside::conformance_tests!(fixture());
}

/// Compiled and linked for it, never run on it so far.
#[cfg(all(target_os = "freebsd", feature = "mqueue"))]
mod mqueue {
    use std::cell::RefCell;
    use std::fs;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Mutex, PoisonError};

    use wayside::backend::Mqueue;

    use super::{Fixture, descriptors};

    /// What a system has of queues is little: one test at a time.
    static TURN: Mutex<()> = Mutex::new(());

    fn fixture() -> Fixture {
        descriptors::raise_limit();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let used = Rc::new(RefCell::new(Vec::new()));
        let listed = Rc::clone(&used);
        let fresh = move || {
            let _keep = &turn;
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("wayside-test-{}-{count}", std::process::id());
            used.borrow_mut().push(name.clone());
            format!("/{name}")
        };
        // Queues can't be listed, the lock files beside them can.
        let uid = rustix::process::geteuid().as_raw();
        let leftovers = move || {
            let Ok(entries) = fs::read_dir(format!("/tmp/wayside-{uid}/queues")) else {
                return Vec::new();
            };
            let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
            let names = entries.map(|entry| name(entry.expect("the folder can be read")));
            let is_ours = |name: &String| listed.borrow().iter().any(|used| name.starts_with(used));
            names.filter(is_ours).collect()
        };
        let too_long = format!("/{}", "x".repeat(249));
        Fixture::new(Mqueue::new(), fresh)
            .impossible(["", "/", "name", "/a/b", "/..", "/a\0b", &too_long])
            .leftovers(leftovers)
    }

    wayside::conformance_tests!(fixture());
}

#[cfg(all(target_os = "linux", feature = "mqueue"))]
mod queues;

#[cfg(all(target_os = "linux", feature = "mqueue"))]
mod mqueue {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::{Mutex, PoisonError};

    use wayside::backend::{Mqueue, MqueueOptions};

    use super::{Fixture, descriptors, queues};

    /// What a user may have of queues is little: one test at a time.
    static TURN: Mutex<()> = Mutex::new(());

    fn fixture_with(messages: u32, message_len: u32) -> Fixture {
        descriptors::raise_limit();
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let used = Rc::new(RefCell::new(Vec::new()));
        let listed = Rc::clone(&used);
        let fresh = move || {
            let _keep = &turn;
            let name = queues::fresh();
            used.borrow_mut().push(name.clone());
            name
        };
        let leftovers = move || {
            let used = listed.borrow();
            used.iter().flat_map(|name| queues::names(name)).collect()
        };
        let too_long = format!("/{}", "x".repeat(250));
        let options = MqueueOptions {
            messages,
            message_len,
        };
        Fixture::new(Mqueue::with(options), fresh)
            .impossible(["", "/", "name", "/a/b", "/..", "/a\0b", &too_long])
            .leftovers(leftovers)
    }

    /// One test has 64 peers.
    fn fixture() -> Fixture {
        fixture_with(8, 640)
    }

    wayside::conformance_tests!(fixture());

    #[test]
    fn queues_of_one_message_of_a_few_bytes_do() {
        let fixture = fixture_with(1, 100);
        wayside::conformance::a5_a_peer_that_left_before_accept_keeps_nobody_out(&fixture);
        wayside::conformance::l1_bytes_arrive_in_order_both_ways(&fixture);
        wayside::conformance::l4_the_end_of_a_peer_follows_its_bytes(&fixture);
    }
}

#[cfg(feature = "tcp")]
mod tcp {
    use wayside::backend::Tcp;

    use super::{Fixture, descriptors, private_directory};

    fn fixture_at(address: &'static str) -> Fixture {
        descriptors::raise_limit();
        let directory = private_directory();
        let tcp = Tcp::new(directory.path().join("key"));
        let fresh = move || {
            let _keep = &directory;
            address.to_owned()
        };
        Fixture::new(tcp, fresh).impossible([
            "",
            "127.0.0.1",
            "127.0.0.1:65536",
            "localhost:7471",
            "0.0.0.0:7471",
            "192.0.2.1:7471",
            "[::]:7471",
        ])
    }

    fn fixture() -> Fixture {
        fixture_at("127.0.0.1:0")
    }

    wayside::conformance_tests!(fixture());

    #[test]
    fn all_of_it_holds_for_ipv6() {
        if std::net::TcpListener::bind("[::1]:0").is_err() {
            println!("skipped: no IPv6 here");
            return;
        }
        wayside::conformance::run_all(&fixture_at("[::1]:0"));
    }
}

#[cfg(all(windows, feature = "fifo"))]
mod fifo {
    use std::sync::atomic::{AtomicU32, Ordering};

    use wayside::backend::Fifo;

    use super::{Fixture, descriptors};

    /// Names are shared by all of the system.
    static COUNT: AtomicU32 = AtomicU32::new(0);

    fn fixture() -> Fixture {
        descriptors::raise_limit();
        let fresh = || {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            format!("test-{}-{count}", std::process::id())
        };
        let long = "x".repeat(200);
        let impossible = [
            "",
            r"\\server\s",
            r"\\server\pipe\shop",
            r"\\.\pipe\",
            "a/b",
            "a b",
            "a\0b",
            &long,
        ];
        Fixture::new(Fifo::new(), fresh).impossible(impossible)
    }

    wayside::conformance_tests!(fixture());
}
