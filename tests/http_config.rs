//! Configuration by HTTP: asked for with its tag, and nonsense changes nothing.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::json;
use wayside::aggregator::source::{ConfigSource, ConfigUrl};

/// Gives each answer in turn, and tells the heads of the requests.
fn server(answers: Vec<String>) -> (ConfigUrl, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rules", listener.local_addr().unwrap());
    let (asked, heads) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            asked.send(head.join("\n").to_lowercase()).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (ConfigUrl::new(url), heads)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {len}\r\n{headers}\r\n{body}"
    )
}

#[test]
fn a_document_is_given_once_for_each_change() {
    let tag = "etag: \"one\"\r\n";
    let (mut source, heads) = server(vec![
        answer("200 OK", tag, "{\"a\": 1}"),
        answer("304 Not Modified", tag, ""),
        answer("200 OK", "", "{\"a\": 1}"),
        answer("200 OK", "content-type: application/toml\r\n", "a = 2"),
    ]);
    assert_eq!(source.poll(), Ok(Some(json!({"a": 1}))));
    assert!(!heads.recv().unwrap().contains("if-none-match"));
    assert_eq!(source.poll(), Ok(None));
    assert!(heads.recv().unwrap().contains("if-none-match: \"one\""));
    assert_eq!(source.poll(), Ok(None), "the same without a tag");
    assert_eq!(source.poll(), Ok(Some(json!({"a": 2}))));
}

#[test]
fn trouble_changes_nothing_and_is_asked_again() {
    let nonsense = answer("200 OK", "etag: \"bad\"\r\n", "{\"a\": 1,\n oops}");
    let (mut source, heads) = server(vec![
        nonsense.clone(),
        nonsense,
        answer("500 Oops", "", ""),
        answer("200 OK", "", "{\"a\": 1}"),
    ]);
    let error = source.poll().unwrap_err().to_string();
    assert!(error.contains("/rules:2:2: "), "{error}");
    assert_eq!(source.poll().unwrap_err().to_string(), error);
    let error = source.poll().unwrap_err().to_string();
    assert!(error.contains("500"), "{error}");
    assert_eq!(source.poll(), Ok(Some(json!({"a": 1}))));
    assert!(heads.iter().all(|head| !head.contains("if-none-match")));
    // Nobody is there any more.
    assert!(source.poll().is_err());
}

#[test]
fn a_document_that_is_too_long_is_refused() {
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    let (mut source, _heads) = server(vec![answer("200 OK", "", &long)]);
    assert!(source.poll().is_err());
}
