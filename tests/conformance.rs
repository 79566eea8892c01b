//! The contract of the backends, proven for each that this system has.
//!
//! A new backend adds a module here.
#![cfg(any(
    all(unix, any(feature = "uds", feature = "fifo")),
    all(windows, feature = "fifo"),
    feature = "tcp"
))]

use wayside::conformance::Fixture;

/// A directory that is closed to others, as tempfile's own are not.
#[cfg(any(all(unix, any(feature = "uds", feature = "fifo")), feature = "tcp"))]
fn private_directory() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    restrict(&mut builder);
    builder.tempdir().expect("a directory")
}

#[cfg(unix)]
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

#[cfg(feature = "tcp")]
mod tcp {
    use wayside::backend::Tcp;

    use super::{Fixture, private_directory};

    fn fixture_at(address: &'static str) -> Fixture {
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

    use super::Fixture;

    /// Names are shared by all of the system.
    static COUNT: AtomicU32 = AtomicU32::new(0);

    fn fixture() -> Fixture {
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
