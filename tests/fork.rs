//! A forked child has none of its parent's connections.
#![cfg(all(
    unix,
    any(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue")
))]
#![expect(unsafe_code, reason = "fork is what is tested")]
#![expect(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

mod roles;

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;

use roles::{Process, accept, directory, greet, hear, receive, say, send, wait};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use wayside::backend::{Backend, Link, Listener};

#[test]
fn in_a_role() {
    if let Some((scheme, arguments)) = roles::role() {
        forker(&*backend(&scheme, &arguments[1]), &arguments[0]);
    }
}

/// The transport of that name; `tcp` with this key.
fn backend(scheme: &str, key: &str) -> Box<dyn Backend> {
    let _only_of_tcp = key;
    match scheme {
        #[cfg(feature = "uds")]
        "uds" => Box::new(wayside::backend::Uds::new()),
        #[cfg(feature = "fifo")]
        "fifo" => Box::new(wayside::backend::Fifo::new()),
        #[cfg(feature = "mqueue")]
        "mqueue" => Box::new(wayside::backend::Mqueue::new()),
        #[cfg(feature = "tcp")]
        "tcp" => Box::new(wayside::backend::Tcp::new(key)),
        other => panic!("no such transport: {other}"),
    }
}

/// Listens, greets one peer, leaves a child behind and waits to be killed.
fn forker(backend: &dyn Backend, address: &str) {
    let mut listener = backend.bind(address).unwrap();
    say(&listener.address());
    let mut link = accept(&mut *listener).unwrap();
    send(&mut *link, b"y").unwrap();
    // SAFETY: the child only waits and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // From here, behind the fork: what happens in it has happened. Nobody else prints.
        say(&std::process::id().to_string());
        // Until whoever runs the test ends.
        drop(std::io::stdin().read(&mut [0]));
        // SAFETY: ends this process, without running what the parent wants run once.
        unsafe { libc::_exit(0) };
    }
    hear();
}

/// A killed process drops nothing: only what happens in its child at the fork helps.
fn the_child_of_a_killed_process_holds_nothing(scheme: &str) {
    let keys = directory();
    let key = keys.path().join("key");
    let key = roles::address(&key);
    let backend = backend(scheme, key);
    over(scheme, |_, address| {
        let mut forker = Process::start(scheme, &[address, key]);
        let address = forker.says();
        let mut link = backend.connect(&address).unwrap();
        assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
        let child = Pid::from_raw(forker.says().parse().unwrap()).unwrap();
        forker.kill();
        let end = wait(&mut *link, |link| link.recv(&mut [0; 64]));
        assert!(!matches!(end, Ok(1..)), "{end:?}");
        let listener = backend.bind(&address).unwrap();
        assert!(test_kill_process(child).is_ok(), "the child is gone, too");
        drop(listener);
        kill_process(child, Signal::KILL).unwrap();
    });
}

/// A forked child that lives until it is dropped.
struct Child {
    pid: libc::pid_t,
    /// Its end closes with the process; ours tells it to end.
    pipe: UnixStream,
}

impl Child {
    /// Forks. The child does its duty, says whether it could, and waits.
    fn fork(duty: impl FnOnce() -> bool) -> Self {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        // SAFETY: the child of a threaded process may use only what is safe between fork and
        // exec. The duties here do system calls and allocate, which the C library's allocator
        // allows, and the child leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "fork fails");
        if pid == 0 {
            drop(ours);
            let done = duty();
            let mut theirs = theirs;
            drop(std::io::Write::write_all(&mut theirs, &[u8::from(done)]));
            drop(theirs.read(&mut [0]));
            // SAFETY: ends this process, without running what the parent wants run once.
            unsafe { libc::_exit(0) };
        }
        drop(theirs);
        ours.set_read_timeout(Some(roles::PATIENCE)).unwrap();
        let mut done = [0];
        ours.read_exact(&mut done).unwrap();
        assert_eq!(done, [1], "the child saw something else");
        Self { pid, pipe: ours }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.pipe.shutdown(std::net::Shutdown::Both));
        // SAFETY: `pid` is a child of this process that nobody else waits for.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

fn connection(
    backend: &dyn Backend,
    address: &str,
) -> (Box<dyn Listener>, Box<dyn Link>, Box<dyn Link>) {
    let mut listener = backend.bind(address).expect("it can be bound");
    let mut client = backend.connect(&listener.address()).expect("it connects");
    let mut server = accept(&mut *listener).expect("it is accepted");
    for result in greet([&mut *client, &mut *server]) {
        result.expect("the ends hear each other");
    }
    (listener, client, server)
}

/// Neither sends nor receives in the child, and is whole in the parent.
fn a_child_can_t_use_the_links(backend: &dyn Backend, address: &str) {
    let (_listener, mut client, mut server) = connection(backend, address);
    send(&mut *server, b"for the parent").unwrap();
    let child = Child::fork(|| {
        let sent = client.send(b"from the child").map_err(|error| error.kind());
        let received = client.recv(&mut [0; 64]).map_err(|error| error.kind());
        sent == Err(ErrorKind::NotConnected) && received == Err(ErrorKind::NotConnected)
    });
    let bytes = receive(&mut *client, b"for the parent".len()).unwrap();
    assert_eq!(bytes, b"for the parent");
    send(&mut *client, b"from the parent").unwrap();
    let bytes = receive(&mut *server, b"from the parent".len()).unwrap();
    assert_eq!(bytes, b"from the parent");
    drop(child);
    let kind = server.recv(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(
        kind,
        Err(ErrorKind::WouldBlock),
        "the child's end ended the connection"
    );
}

/// The peer sees the parent's end at once, whatever copies a child has.
fn a_child_does_not_keep_the_links_open(backend: &dyn Backend, address: &str) {
    let (_listener, client, mut server) = connection(backend, address);
    let _child = Child::fork(|| true);
    drop(client);
    let end = wait(&mut *server, |link| link.recv(&mut [0; 64]));
    assert!(matches!(end, Ok(0)), "{end:?}");
}

/// What a child drops is its own copy.
fn a_child_that_drops_the_links_ends_nothing(backend: &dyn Backend, address: &str) {
    let (_listener, client, mut server) = connection(backend, address);
    let mut client = Some(client);
    let _child = Child::fork(|| {
        // Only the child's: this closure never runs in the parent.
        drop(client.take());
        true
    });
    let kind = server.recv(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(
        kind,
        Err(ErrorKind::WouldBlock),
        "the child ended the connection"
    );
}

/// The parent's address is free when the parent lets go, and the child's drop removes nothing.
fn a_child_does_not_hold_the_address(backend: &dyn Backend, address: &str) {
    let (listener, ..) = connection(backend, address);
    let address = listener.address();
    let _child = Child::fork(|| true);
    drop(listener);
    let listener = backend.bind(&address).expect("the address is free");
    let mut copy = Some(listener);
    let _other = Child::fork(|| {
        drop(copy.take());
        true
    });
    backend.connect(&address).expect("the parent still listens");
    let error = backend.bind(&address).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

/// Runs a test over a transport, at an address that no other test has.
fn over(scheme: &str, test: impl FnOnce(&dyn Backend, &str)) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = directory();
    let path = directory.path().join("a");
    let path = roles::address(&path);
    match scheme {
        "mqueue" => {
            let pid = std::process::id();
            test(
                &*backend(scheme, path),
                &format!("/wayside-fork-{pid}-{count}"),
            );
        }
        "tcp" => test(&*backend(scheme, path), "127.0.0.1:0"),
        _ => test(&*backend(scheme, path), path),
    }
}

/// The tests of one transport, in a module of its name.
macro_rules! tests_over {
    ($scheme:ident) => {
        mod $scheme {
            use super::*;

            const SCHEME: &str = stringify!($scheme);

            #[test]
            fn the_child_of_a_killed_process_has_nothing() {
                the_child_of_a_killed_process_holds_nothing(SCHEME);
            }

            #[test]
            fn the_links_can_t_be_used() {
                over(SCHEME, a_child_can_t_use_the_links);
            }

            #[test]
            fn the_links_are_not_kept_open() {
                over(SCHEME, a_child_does_not_keep_the_links_open);
            }

            #[test]
            fn dropping_the_links_ends_nothing() {
                over(SCHEME, a_child_that_drops_the_links_ends_nothing);
            }

            #[test]
            fn the_address_is_not_held() {
                over(SCHEME, a_child_does_not_hold_the_address);
            }
        }
    };
}

#[cfg(feature = "uds")]
tests_over!(uds);
#[cfg(feature = "fifo")]
tests_over!(fifo);
#[cfg(all(target_os = "linux", feature = "mqueue"))]
tests_over!(mqueue);
#[cfg(feature = "tcp")]
tests_over!(tcp);
