//! One program; only the line `transport = …` of its file differs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use wayside::settings::Settings;
use wayside::{Client, Handler, Never, Peer, Protocol, Responder, Server};

use crate::{directory, toml};

const PATIENCE: Duration = Duration::from_secs(60);

struct Greeting;

impl Protocol for Greeting {
    const NAME: &'static str = "greeting";
    const VERSION: u32 = 1;
    type Event = Never;
    type Request = String;
    type Reply = String;
    type Push = Never;
}

struct Polite;

impl Handler<Greeting> for Polite {
    fn event(&mut self, _: &Peer<Greeting>, event: Never) {
        match event {}
    }

    fn request(&mut self, _: &Peer<Greeting>, name: String, responder: Responder<Greeting>) {
        responder.reply(&format!("hello {name}")).unwrap();
    }
}

/// Serves as its file says, and is its own client. Where it served.
fn program(file: &Path) -> String {
    let settings = Settings::from_file(file).unwrap();
    let server = Server::builder().settings(&settings).unwrap();
    let server = server.bind(Polite).unwrap().spawn().unwrap();
    let client = Client::<Greeting>::builder().settings(&settings).unwrap();
    let client = client.connect(PATIENCE).unwrap();
    let reply = client.call(&"you".to_owned(), PATIENCE).unwrap();
    assert_eq!(reply, "hello you");
    client.close(PATIENCE).unwrap();
    assert!(server.shutdown(PATIENCE));
    server.endpoints()[0].to_string()
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
