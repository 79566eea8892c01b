//! One program; only the line `transport = …` of its file differs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use wayside::backend::Link;
use wayside::settings::Settings;

use crate::{directory, toml};

const GREETING: &[u8] = b"hello";

/// Listens as its file says, connects to itself, and greets.
fn program(file: &Path) -> String {
    let settings = Settings::from_file(file).unwrap();
    let transport = settings.transports().unwrap().remove(0);
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let both = Interest::READABLE | Interest::WRITABLE;
    let mut listener = transport.backend().bind(transport.address()).unwrap();
    let mut client = transport.backend().connect(transport.address()).unwrap();
    poll.registry()
        .register(&mut listener, Token(0), Interest::READABLE)
        .unwrap();
    poll.registry()
        .register(&mut client, Token(1), both)
        .unwrap();
    let mut server: Option<Box<dyn Link>> = None;
    let (mut sent, mut got) = (0, Vec::new());
    while got.len() < GREETING.len() {
        assert!(Instant::now() < deadline, "over {transport} nothing came");
        poll.poll(&mut events, Some(Duration::from_millis(20)))
            .unwrap();
        if server.is_none() {
            if let Ok(mut link) = listener.accept() {
                poll.registry().register(&mut link, Token(2), both).unwrap();
                server = Some(link);
            }
        }
        if sent < GREETING.len() {
            sent += client.send(&GREETING[sent..]).unwrap_or(0);
        }
        let mut buffer = [0; 16];
        // What drives a handshake that asks the client before it may send.
        let _nothing = client.recv(&mut buffer);
        let len = server
            .as_mut()
            .map_or(0, |server| server.recv(&mut buffer).unwrap_or(0));
        got.extend_from_slice(&buffer[..len]);
    }
    assert_eq!(got, GREETING);
    transport.to_string()
}

#[cfg(target_os = "linux")]
#[test]
fn the_sizes_of_queues_reach_the_queues() {
    let directory = directory();
    let text = format!(
        "transport = 'mqueue'\nname = 'sizes-{}'\ndir = {}\nmqueue = {{ messages = 4, message_len = 256 }}",
        std::process::id(),
        toml(directory.path())
    );
    let settings = Settings::from_text(&text, "wayside.toml").unwrap();
    let transport = settings.transports().unwrap().remove(0);
    let backend = transport.backend();
    assert_eq!(backend.capabilities().chunk_len_max, Some(256));
    assert_eq!(backend.capabilities().peers_stock_max, Some(127));

    let mut listener = backend.bind(transport.address()).unwrap();
    let mut client = backend.connect(transport.address()).unwrap();
    let _server = listener.accept().unwrap();
    let bytes = [7; 1000];
    for _ in 0..4 {
        assert_eq!(client.send(&bytes).unwrap(), 256);
    }
    let full = client.send(&bytes).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_program_moves_by_editing_its_transport() {
    let directory = directory();
    let file = directory.path().join("wayside.toml");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = format!(
        "transport = \"{{transport}}\"\nname = \"{}\"\ndir = {}\n[tcp]\naddress = \"127.0.0.1:{port}\"\n",
        // Queues are the whole system's.
        format_args!("shop-{}", std::process::id()),
        toml(&directory.path().join("run"))
    );
    let schemes: &[&str] = if cfg!(target_os = "linux") {
        &["uds", "tcp", "fifo", "mqueue", "uds"]
    } else if cfg!(unix) {
        &["uds", "tcp", "fifo", "uds"]
    } else {
        &["tcp", "fifo", "tcp"]
    };
    for scheme in schemes {
        fs::write(&file, text.replace("{transport}", scheme)).unwrap();
        assert!(program(&file).starts_with(scheme));
    }
}
