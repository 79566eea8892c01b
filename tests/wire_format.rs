//! `docs/wire.md` and the code say the same: the golden bytes and the tables are read out of the page
//! and held against both directions of the code; a client in another language, written from
//! the page, talks to a real server.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use support::places;
use wayside::internals::{
    Head, Hello, Incoming, Outbox, Role, Session, decode_body, decode_head, encode, frame,
};
use wayside::{CloseReason, Failure, Limits};

const PAGE: &str = include_str!("../docs/wire.md");

/// The golden bytes of the page, by name.
fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let mut golden = BTreeMap::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```golden ") else {
            continue;
        };
        let mut bytes = Vec::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            let hex = line.split("  ").next().unwrap_or_default();
            bytes.extend(hex.split_whitespace().map(|byte| {
                u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{name}: `{byte}`"))
            }));
        }
        assert!(
            golden.insert(name, bytes).is_none(),
            "{name} is there twice"
        );
    }
    golden
}

/// The rows of the table under a heading, cells trimmed, without its first two lines.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE
        .split_once(&format!("\n## {heading}\n"))
        .expect("it is there");
    let section = section
        .split("\n## ")
        .next()
        .expect("there is always a first");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    number: u64,
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Ask {
    Echo(String),
    Forget,
}

fn hello() -> Hello {
    let epoch =
        u128::from_le_bytes(*b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f");
    Hello::new("notes", 7, &Limits::default(), epoch)
}

/// Encodes the frame and compares; decodes the page's and compares.
fn check<T>(golden: &mut BTreeMap<&'static str, Vec<u8>>, name: &str, head: Head, body: &T)
where
    T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug,
{
    let bytes = golden
        .remove(name)
        .unwrap_or_else(|| panic!("the page has no {name}"));
    let mut encoded = Vec::new();
    let at = frame::start(&mut encoded);
    encode(&mut encoded, &head, body, 4096).expect("it is short");
    frame::finish(&mut encoded, at);
    assert_eq!(encoded, bytes, "{name}");

    let boundary = frame::boundary(&bytes, 4096).expect("it is a frame");
    assert_eq!(
        boundary,
        frame::Boundary::Whole { len: bytes.len() },
        "{name}"
    );
    let (decoded, rest) = decode_head(&bytes[frame::HEADER_LEN..]).expect("it has a head");
    assert_eq!(decoded, head, "{name}");
    assert_eq!(
        &decode_body::<T>(rest).expect("it has a body"),
        body,
        "{name}"
    );
}

#[test]
fn the_golden_frames_are_those_of_the_code() {
    let mut golden = golden();
    let page = &mut golden;
    let id = 4_294_967_301;
    check(page, "hello", Head::Hello, &hello());
    check(page, "welcome", Head::Welcome, &hello());
    check(page, "refuse", Head::Refuse { code: 4 }, &hello());
    let note = Note {
        number: 300,
        text: "a note".to_owned(),
    };
    check(page, "event", Head::Event, &note);
    let head = Head::Request {
        id,
        timeout_ms: 30_000,
    };
    check(page, "request", head, &Ask::Echo("hey".to_owned()));
    check(page, "reply", Head::Reply { id }, &"hey".to_owned());
    let failure = Failure::TooManyCalls;
    check(page, "failed", Head::Failed { id, failure }, &());
    check(page, "cancel", Head::Cancel { id }, &());
    check(page, "push", Head::Push, &"new".to_owned());
    check(page, "ping", Head::Ping { id: 1 }, &());
    check(page, "pong", Head::Pong { id: 1 }, &());
    check(page, "sync", Head::Sync { id: 128 }, &());
    let head = Head::Ack {
        id: 128,
        events: 1000,
    };
    check(page, "ack", head, &());
    check(page, "drain", Head::Drain, &());
    check(page, "goodbye", Head::Goodbye, &());
    check(page, "farewell", Head::Farewell, &());
    check(page, "abort", Head::Abort { code: 19 }, &());
    // The handshake of tcp is held to the page by its own tests.
    let rest: BTreeSet<_> = golden.into_keys().collect();
    assert_eq!(rest, BTreeSet::from(["tcp-1", "tcp-2", "tcp-3"]));
}

/// Every head that there is stands in the table, with its number and its name.
#[test]
fn the_table_of_heads_is_complete() {
    let rows = table("Heads");
    for (number, row) in (0_u8..).zip(&rows) {
        // With enough numbers behind it for any head.
        let payload = [number, 1, 1, 1];
        let (head, _) = decode_head(&payload).unwrap_or_else(|_| panic!("no head {number}"));
        let debug = format!("{head:?}");
        let name = debug.split([' ', '{']).next().unwrap_or_default();
        assert_eq!(row[0], format!("{number} `{name}`"));
        let fields = row[1].matches(':').count() + usize::from(row[1].contains("`failure`"));
        assert_eq!(fields, debug.matches(':').count(), "{row:?}");
    }
    let next = u8::try_from(rows.len()).expect("there are few");
    assert!(
        decode_head(&[next, 1, 1, 1]).is_err(),
        "head {next} is missing"
    );
}

#[test]
fn the_table_of_failures_is_complete() {
    let rows = table("Failures");
    for (number, row) in (0_u8..).zip(&rows) {
        let (head, _) = decode_head(&[6, 1, number]).expect("there is such a failure");
        let Head::Failed { failure, .. } = head else {
            panic!("{head:?}");
        };
        assert_eq!(row[0], number.to_string());
        assert!(row[1].starts_with(&format!("`{failure:?}`:")), "{row:?}");
        let may_have_run = wayside::CallError::Failed(failure).may_have_run();
        assert_eq!(row[2] == "yes", may_have_run, "{row:?}");
    }
    let next = u8::try_from(rows.len()).expect("there are few");
    assert!(
        decode_head(&[6, 1, next]).is_err(),
        "failure {next} is missing"
    );
}

/// What a client reports when a server aborts with each code.
#[test]
fn the_table_of_reasons_is_complete() {
    let now = Instant::now();
    let name_of = |code| {
        let limits = Limits::default();
        let mut outbox = Outbox::new(limits.outbox_len_max);
        let mut session = Session::new(Role::Client, hello(), limits, &mut outbox, now);
        let mut payload = Vec::new();
        encode(&mut payload, &Head::Abort { code }, &(), 1024).expect("it is short");
        match session.receive(&payload) {
            Err(CloseReason::ByPeer(name)) => name,
            other => panic!("{other:?}"),
        }
    };
    let rows = table("Reasons");
    for (code, row) in (0_u32..).zip(&rows) {
        assert_eq!(row[0], code.to_string());
        assert_eq!(row[1], name_of(code));
    }
    let next = u32::try_from(rows.len()).expect("there are few");
    assert_eq!(name_of(next), "a reason this version does not know");
}

/// The examples of numbers in the text.
#[test]
fn numbers_are_written_as_the_page_says() {
    assert!(PAGE.contains("300 as a `u16`, `u32` or `u64` is `ac 02`"));
    assert_eq!(
        decode_body::<(u16, u32, u64)>(&[0xac, 2, 0xac, 2, 0xac, 2]).ok(),
        Some((300, 300, 300))
    );
    assert!(PAGE.contains("-64 as an `i32` is `7f`"));
    assert_eq!(decode_body::<i32>(&[0x7f]).ok(), Some(-64));
    // Longer than need be, but within what the type can need.
    assert_eq!(
        decode_body::<u32>(&[0x81, 0x80, 0x80, 0x80, 0]).ok(),
        Some(1)
    );
    assert!(decode_body::<u32>(&[0x81, 0x80, 0x80, 0x80, 0x80, 0]).is_err());
    assert_eq!(decode_body::<char>(&[2, 0xc3, 0x9f]).ok(), Some('ß'));
    assert_eq!(decode_body::<Option<bool>>(&[1, 1]).ok(), Some(Some(true)));
}

/// Behind a hello, and behind a head without a body, there is room for later versions.
#[test]
fn what_later_versions_may_append_is_ignored() {
    let now = Instant::now();
    let limits = Limits::default();
    let mut outbox = Outbox::new(limits.outbox_len_max);
    let mut session = Session::new(Role::Server, hello(), limits, &mut outbox, now);
    let golden = golden();
    let longer = |name: &str| [&golden[name][frame::HEADER_LEN..], b"more"].concat();
    assert_eq!(
        session.receive(&longer("hello")).ok(),
        Some(Incoming::Opened)
    );
    assert_eq!(
        session.receive(&longer("ping")).ok(),
        Some(Incoming::Nothing)
    );
    assert_eq!(
        session.receive(&longer("goodbye")).ok(),
        Some(Incoming::Goodbye)
    );
}

mod another_language {
    use super::*;

    /// What the client prints when all has gone as the page says.
    const EXPECTED: &str =
        "server chat 1\nhandled 1\nreply grüße\nfailed 0\npush pushed\nfinished\n";

    #[test]
    fn a_client_written_from_the_page_is_understood() {
        // On Windows a program of this name may be there only to say where to get it.
        let version = Command::new("python3").arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: there is no python3 here");
            return;
        }
        for place in places() {
            let serving = place.serve(Limits::default());
            let scheme = serving.transport.backend().capabilities().scheme;
            // How peers meet over the others is no part of the page.
            if !["uds", "tcp"].contains(&scheme) {
                continue;
            }
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire_client.py");
            let mut client = Command::new("python3");
            client.env("PYTHONIOENCODING", "utf-8");
            client.args([script, scheme, serving.transport.address()]);
            if scheme == "tcp" {
                client.arg(place.folder.path().join("key"));
            }
            let output = client.output().expect("it was there a moment ago");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{scheme}: {errors}");
            // Python ends lines as the system does.
            let said = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
            assert_eq!(said, EXPECTED, "{scheme}");
            assert_eq!(serving.server.counters().cancelled, 1, "{scheme}");
            // The server agrees that it was an orderly end.
            let finished = || serving.server.counters().closed.for_reason("finished") == 1;
            support::eventually("the server has seen the end", finished);
        }
    }
}
