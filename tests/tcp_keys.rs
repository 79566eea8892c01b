//! The key of the TCP transport, against real processes and strangers on the port.
#![cfg(feature = "tcp")]
#![expect(clippy::unwrap_used, reason = "a test says by panic what is wrong")]

mod roles;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use roles::{Process, accept, address, directory, greet, hear, names, receive, say, send, wait};
use wayside::backend::{Backend, Link, Tcp};

/// Magic and nonce; nonce and proof; proof.
const HELLO_LEN: usize = 40;
const ANSWER_LEN: usize = 64;

#[test]
fn in_a_role() {
    let Some((role, arguments)) = roles::role() else {
        return;
    };
    match role.as_str() {
        "server" => server(&arguments),
        other => panic!("no such role: {other}"),
    }
}

/// Binds on command, creating the key if need be, and greets whoever comes.
fn server(arguments: &[String]) {
    let tcp = Tcp::new(&arguments[0]);
    say("ready");
    hear();
    let mut listener = tcp.bind("127.0.0.1:0").unwrap();
    say(&listener.address());
    let mut link = accept(&mut *listener).unwrap();
    send(&mut *link, b"y").unwrap();
    hear();
}

#[test]
fn sixteen_processes_that_start_at_once_make_one_key() {
    let directory = directory();
    for round in 0..3 {
        let below = directory.path().join(format!("{round}"));
        let path = below.join("shop.key");
        let mut servers: Vec<Process> = (0..16)
            .map(|_| Process::start("server", &[address(&path)]))
            .collect();
        for server in &mut servers {
            assert_eq!(server.says(), "ready");
        }
        for server in &mut servers {
            server.tell("go");
        }
        for server in &mut servers {
            let mut link = Tcp::new(&path).connect(&server.says()).unwrap();
            assert_eq!(receive(&mut *link, 1).unwrap(), b"y");
            assert!(link.peer().key_proven);
        }
        assert_eq!(names(&below), [std::path::Path::new("shop.key")]);
    }
}

/// A program that took the port before the server did.
fn squatter() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Receives all until the other side closes.
fn everything(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(roles::PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    // A reset is an end, too.
    drop(stream.read_to_end(&mut bytes));
    bytes
}

#[test]
fn a_squatter_sees_a_nonce_and_its_answer_is_refused() {
    let directory = directory();
    let tcp = Tcp::new(directory.path().join("shop.key"));
    let (squatter, address) = squatter();
    let squatting = thread::spawn(move || {
        let (mut stream, _) = squatter.accept().unwrap();
        stream.write_all(&[7; ANSWER_LEN]).unwrap();
        everything(stream)
    });
    let mut link = tcp.connect(&address).unwrap();
    let result = wait(&mut *link, |link| match link.send(b"a secret") {
        Err(error) if error.kind() == ErrorKind::WouldBlock => link.recv(&mut [0; 16]),
        other => other,
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("shop.key"), "{error}");
    // For ever.
    let again = link.send(b"a secret").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::PermissionDenied);
    assert_eq!(again.to_string(), error.to_string());
    assert!(!link.peer().key_proven);
    drop(link);
    let seen = squatting.join().unwrap();
    assert_eq!(seen.len(), HELLO_LEN);
    assert_eq!(&seen[..6], b"WAYTCP");
}

/// Carries bytes from one stream to the other until one ends.
fn carry(mut from: TcpStream, mut to: TcpStream) -> usize {
    let mut buffer = [0; 1024];
    let mut carried = 0;
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
        carried += len;
    }
    drop(to.shutdown(Shutdown::Both));
    carried
}

#[test]
fn a_squatter_that_passes_everything_on_to_the_real_server_is_found_out() {
    let directory = directory();
    let tcp = Tcp::new(directory.path().join("shop.key"));
    let mut listener = tcp.bind("127.0.0.1:0").unwrap();
    let real = listener.address();
    let (squatter, address) = squatter();
    let squatting = thread::spawn(move || {
        let (client, _) = squatter.accept().unwrap();
        let server = TcpStream::connect(real).unwrap();
        let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let down = thread::spawn(move || carry(back, forth));
        (carry(client, server), down.join().unwrap())
    });
    let mut client = tcp.connect(&address).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    let [seen, _] = greet([&mut *client, &mut *server]);
    assert_eq!(seen.unwrap_err().kind(), ErrorKind::PermissionDenied);
    drop(client);
    let end = wait(&mut *server, |link| link.recv(&mut [0; 16])).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionAborted);
    assert!(!server.peer().key_proven);
    // On Windows a read does not end by our own shutdown in another thread.
    drop(server);
    // The hello went up and the answer came down; the client's proof never left it.
    assert_eq!(squatting.join().unwrap(), (HELLO_LEN, ANSWER_LEN));
}

#[test]
fn two_keys_don_t_fit() {
    let directory = directory();
    let ours = Tcp::new(directory.path().join("ours.key"));
    let theirs = Tcp::new(directory.path().join("theirs.key"));
    let mut listener = ours.bind("127.0.0.1:0").unwrap();
    let mut client = theirs.connect(&listener.address()).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    let [refused, _] = greet([&mut *client, &mut *server]);
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("theirs.key"), "{error}");
    drop(client);
    let left = wait(&mut *server, |link| link.recv(&mut [0; 16])).unwrap_err();
    assert!(left.to_string().contains("ours.key"), "{left}");
}

#[test]
fn a_stranger_is_refused_before_it_has_said_much() {
    let directory = directory();
    let tcp = Tcp::new(directory.path().join("shop.key"));
    let mut listener = tcp.bind("127.0.0.1:0").unwrap();
    let mut stranger = TcpStream::connect(listener.address()).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let error = wait(&mut *server, |link| link.recv(&mut [0; 16])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    drop(server);
    assert!(everything(stranger).is_empty());
}

#[test]
fn a_client_that_can_t_prove_the_key_gets_nothing_through() {
    let directory = directory();
    let tcp = Tcp::new(directory.path().join("shop.key"));
    let mut listener = tcp.bind("127.0.0.1:0").unwrap();
    let mut stranger = TcpStream::connect(listener.address()).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    // A right hello, a wrong proof, and a message behind it, all at once.
    let hello = [b"WAYTCP\x01\n", &[7; HELLO_LEN - 8][..]].concat();
    let bytes = [&hello[..], &[7; 32], b"a forged message"].concat();
    stranger.write_all(&bytes).unwrap();
    let mut buffer = [0; 64];
    let error = wait(&mut *server, |link| link.recv(&mut buffer)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(buffer, [0; 64], "bytes of a stranger were handed out");
    assert!(server.send(b"an answer").is_err());
}

#[test]
fn what_is_sent_right_behind_the_proof_is_not_lost() {
    let directory = directory();
    let tcp = Tcp::new(directory.path().join("shop.key"));
    let mut listener = tcp.bind("127.0.0.1:0").unwrap();
    let mut client = tcp.connect(&listener.address()).unwrap();
    let mut server = accept(&mut *listener).unwrap();
    let would_block = |link: &mut dyn Link| {
        let error = link.recv(&mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    };
    // Turn by turn, until the client's proof and message lie in the server's socket together.
    let mut tries = 0;
    while client.send(b"right behind").is_err() {
        would_block(&mut *server);
        tries += 1;
        assert!(tries < 1_000_000, "the handshake does not end");
        thread::yield_now();
    }
    let bytes = receive(&mut *server, b"right behind".len()).unwrap();
    assert_eq!(bytes, b"right behind");
}
