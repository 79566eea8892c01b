//! No descriptor is leaked. Alone in its file: other tests of the process would disturb the count.
#![cfg(all(
    target_os = "linux",
    feature = "uds",
    feature = "tcp",
    feature = "fifo",
    feature = "mqueue"
))]

mod roles;

use roles::{accept, directory, greet};
use wayside::backend::{Backend, Fifo, Mqueue, Tcp, Uds};

fn open_descriptors() -> usize {
    roles::names(std::path::Path::new("/proc/self/fd")).len()
}

/// Everything that can be opened, dropped in every state.
fn cycle(backend: &dyn Backend, address: &str) {
    let mut listener = backend.bind(address).expect("it can be bound");
    let address = listener.address();
    drop(backend.bind(&address));
    let mut client = backend.connect(&address).expect("it connects");
    let mut server = accept(&mut *listener).expect("it is accepted");
    for result in greet([&mut *client, &mut *server]) {
        result.expect("the ends hear each other");
    }
    let unfinished = backend.connect(&address).expect("it connects");
    let half = accept(&mut *listener).expect("it is accepted");
    drop((unfinished, half));
    drop(backend.connect(&address));
    drop(listener);
    drop(backend.connect(&address));
}

#[test]
fn whatever_is_dropped_is_closed() {
    let directory = directory();
    let path = directory.path().join("a.sock");
    let mailbox = directory.path().join("a.fifo");
    let queue = format!("/wayside-descriptors-{}", std::process::id());
    let tcp = Tcp::new(directory.path().join("key"));
    let run = || {
        cycle(&Uds::new(), roles::address(&path));
        cycle(&Fifo::new(), roles::address(&mailbox));
        cycle(&Mqueue::new(), &queue);
        cycle(&tcp, "127.0.0.1:0");
    };
    // What is opened once and for ever is opened now.
    run();
    let before = open_descriptors();
    for _ in 0..50 {
        run();
    }
    assert_eq!(open_descriptors(), before);
}
