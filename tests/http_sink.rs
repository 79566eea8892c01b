//! The HTTP sink against servers that are well, slow, full of nonsense, or not there.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use wayside::aggregator::sink::{HttpPost, Retry, Sink, SinkError};
use wayside::aggregator::{Finding, Report, UnixMicros};

/// A request as a server sees it.
struct Request {
    head: String,
    body: String,
}

/// Serves one connection after the other with each answer in turn, and tells what was asked.
fn server(answers: Vec<Vec<u8>>) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/reports?token=secret",
        listener.local_addr().unwrap()
    );
    let (asked, requests) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            // A test that has seen enough has gone.
            asked.send(read(&stream)).ok();
            stream.write_all(&answer).ok();
        }
    });
    (url, requests)
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let (mut head, mut len) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            len = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    Request { head, body }
}

fn answer(status: &str, headers: &str) -> Vec<u8> {
    let body = "so it is";
    let len = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {len}\r\nconnection: close\r\n{headers}\r\n{body}"
    );
    text.into_bytes()
}

fn report() -> Report {
    Report::Finding(Finding {
        id: "f-7".to_owned(),
        application: "shop".to_owned(),
        detector: "attack_wave".to_owned(),
        key: "203.0.113.7".to_owned(),
        at: UnixMicros(1),
        text: "15 attacks".to_owned(),
    })
}

fn deliver(url: &str) -> Result<(), SinkError> {
    let mut sink = HttpPost::new(url).timeout(Duration::from_millis(500));
    sink.deliver(&report())
}

fn error(answer: Vec<u8>) -> SinkError {
    let (url, _requests) = server(vec![answer]);
    deliver(&url).unwrap_err()
}

#[test]
fn a_report_arrives_with_its_id_and_the_headers() {
    let (url, requests) = server(vec![answer("200 OK", ""), answer("204 No Content", "")]);
    let mut sink = HttpPost::new(&url).header("authorization", "Bearer 7f3a");
    assert!(!sink.name().contains("secret"), "{}", sink.name());
    for _ in 0..2 {
        sink.deliver(&report()).unwrap();
        let request = requests.recv().unwrap();
        assert!(
            request
                .head
                .starts_with("post /reports?token=secret http/1.1")
        );
        for header in [
            "idempotency-key: f-7",
            "content-type: application/json",
            "authorization: bearer 7f3a",
        ] {
            assert!(request.head.contains(header), "{}", request.head);
        }
        let read: Report = serde_json::from_str(&request.body).unwrap();
        assert_eq!(read, report());
    }
}

#[test]
fn a_server_that_has_enough_says_when_to_come_again() {
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let told = error(answer(status, "retry-after: 17\r\n"));
        assert_eq!(told.retry, Retry::After(Duration::from_secs(17)));
        assert!(told.why.contains("so it is"), "{told}");
        assert_eq!(error(answer(status, "")).retry, Retry::Soon);
        let odd = error(answer(status, "retry-after: tomorrow\r\n"));
        assert_eq!(odd.retry, Retry::Soon);
        let endless = error(answer(status, "retry-after: 999999999999\r\n"));
        assert_eq!(endless.retry, Retry::After(Duration::from_secs(3600)));
    }
}

#[test]
fn all_is_tried_again_but_a_report_that_is_wrong_itself() {
    let failures = [
        "500 Oops",
        "502 Bad Gateway",
        "408 Request Timeout",
        "999 What",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ];
    for status in failures {
        assert_eq!(error(answer(status, "")).retry, Retry::Soon, "{status}");
    }
    let refusals = ["400 Bad Request", "413 Too Large", "422 Unprocessable"];
    for status in refusals {
        assert_eq!(error(answer(status, "")).retry, Retry::Never, "{status}");
    }
    let elsewhere = "location: http://127.0.0.1:1/\r\n";
    let told = error(answer("302 Found", elsewhere));
    assert_eq!(told.retry, Retry::Soon, "{told}");
}

#[test]
fn nonsense_and_an_early_end_are_tried_again() {
    let nonsense = [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec(),
        b"HTTP/1.1 200".to_vec(),
        vec![0xff; 4096],
        Vec::new(),
    ];
    for bytes in nonsense {
        assert_eq!(error(bytes.clone()).retry, Retry::Soon, "{bytes:?}");
    }
}

#[test]
fn an_answer_without_an_end_is_not_read_to_it() {
    let mut endless = b"HTTP/1.1 500 Oops\r\n\r\n".to_vec();
    endless.resize(1 << 20, b'x');
    let told = error(endless);
    assert_eq!(told.retry, Retry::Soon);
    assert!(told.why.len() < 1000);
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let start = std::time::Instant::now();
    let told = deliver(&url).unwrap_err();
    assert_eq!(told.retry, Retry::Soon, "{told}");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(deliver(&url).unwrap_err().retry, Retry::Soon);
}

#[test]
fn an_address_that_is_none_loses_nothing() {
    for url in ["no address", "http://", "ftp://127.0.0.1/"] {
        let told = deliver(url).unwrap_err();
        assert_eq!(told.retry, Retry::Soon, "{url}: {told}");
    }
}
