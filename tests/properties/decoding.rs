//! Bodies that try to overflow the stack, to reserve memory that they don't fill, or to keep the
//! decoder busy; and honest ones of every shape, which have to get through.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wayside::CloseReason;
use wayside::internals::{DEPTH_MAX, Head, decode_body, decode_head, encode};

use crate::allocation::peak_of;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Expression {
    Number(i64),
    Not(Box<Expression>),
    Both {
        left: Box<Expression>,
        right: Box<Expression>,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Mapped(BTreeMap<u8, Mapped>);

/// Without optimization a level of nesting takes 1.0 to 1.5 KiB of stack for small values, which
/// is what `decode.rs` says. Threads of std have eight times this.
const STACK_LEN: usize = 256 * 1024;

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    on_a_stack(STACK_LEN, test);
}

fn on_a_stack(len: usize, test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(len).spawn(test);
    thread.unwrap().join().unwrap();
}

fn refused<T: DeserializeOwned + Debug>(body: &[u8]) -> String {
    match decode_body::<T>(body) {
        Err(CloseReason::Undecodable(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_type_that_contains_itself_does_not_overflow_the_stack() {
    on_a_small_stack(|| {
        for byte in [1, 2] {
            let body = vec![byte; 2 << 20];
            for what in [
                refused::<Tree>(&body),
                refused::<Chain>(&body),
                refused::<Expression>(&body),
                refused::<Mapped>(&body),
            ] {
                // A chain has no two links: there its second byte is wrong already.
                assert!(!what.is_empty());
            }
        }
        refused::<Chain>(&vec![1; 2 << 20]);
    });
}

/// Wide values cost their own size several times at each level.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wide {
    next: Option<Box<Wide>>,
    filling: [u128; 32],
}

#[test]
fn a_wide_type_that_contains_itself_fits_the_stack_of_a_thread() {
    on_a_stack(2 << 20, || drop(refused::<Wide>(&vec![1; 2 << 20])));
}

#[test]
fn what_is_nested_less_deep_is_accepted() {
    on_a_small_stack(|| {
        // A tree takes two levels: the newtype and the sequence.
        let deepest = usize::try_from(DEPTH_MAX / 2).unwrap();
        let mut body = vec![1; deepest - 1];
        body.push(0);
        decode_body::<Tree>(&body).unwrap();
        body.insert(0, 1);
        refused::<Tree>(&body);
    });
}

#[test]
fn elements_without_size_are_bounded() {
    let body = [0xFF, 0xFF, 0xFF, 0xFF, 0x07];
    let started = Instant::now();
    refused::<Vec<()>>(&body);
    refused::<Vec<[u8; 0]>>(&body);
    refused::<Vec<Vec<()>>>(&[&[1], &body[..]].concat());
    refused::<HashMap<(), ()>>(&body);
    // Two thousand million steps take longer on any machine.
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// What is reserved follows from the bytes that are there: one element for each at most.
#[test]
fn a_length_alone_reserves_nothing() {
    fn check<T: DeserializeOwned + Debug>(element_len: usize) {
        for len in [5, 50, 5000] {
            let mut body = vec![0xFF, 0xFF, 0xFF, 0xFF, 0x07];
            body.resize(len, 0xFF);
            let (what, peak) = peak_of(|| refused::<T>(&body));
            // Twice, for a vector that grows; and the text of the error.
            assert!(
                peak <= 2 * len * element_len + 512,
                "{peak} bytes for {len}: {what}"
            );
        }
    }
    check::<Vec<u64>>(8);
    check::<Vec<[u64; 32]>>(256);
    check::<Vec<String>>(24);
    check::<String>(1);
    check::<HashMap<u64, u64>>(2 * 17);
    // The outer ones can't promise the same bytes again and again.
    check::<Vec<Vec<Vec<u64>>>>(24);
}

#[test]
fn what_follows_a_message_is_refused() {
    assert!(decode_body::<u8>(&[1]).is_ok());
    assert_eq!(refused::<u8>(&[1, 0]), "1 bytes behind the message");
    assert_eq!(refused::<()>(&[0]), "1 bytes behind the message");
}

fn accepted<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let mut payload = Vec::new();
    encode(&mut payload, &Head::Event, &value, u32::MAX).unwrap();
    let (_, body) = decode_head(&payload).unwrap();
    let decoded: T = decode_body(body).unwrap();
    assert!(decoded == value, "something else came out");
}

#[test]
fn honest_bodies_of_every_shape_are_accepted() {
    accepted(());
    accepted(vec![(); 4096]);
    accepted(vec![vec![(); 10]; 100]);
    accepted::<Vec<Vec<u8>>>(vec![Vec::new(); 100_000]);
    accepted::<Vec<Vec<Vec<()>>>>(vec![vec![Vec::new(); 300]; 300]);
    accepted(vec![None::<u64>; 100_000]);
    accepted(vec![Some(Some(7_u8)); 1000]);
    accepted("x".repeat(1 << 20));
    accepted(vec![0xAB_u8; 1 << 20]);
    accepted(vec![String::new(); 10_000]);
    let map = |n: u32| {
        (0..n)
            .map(|key| (key, key.to_string()))
            .collect::<BTreeMap<_, _>>()
    };
    accepted(map(10_000));
    accepted(vec![map(3); 3000]);
    accepted((0..1000).map(|n| (n, ())).collect::<HashMap<u16, ()>>());
    accepted([[1_u64; 4]; 4]);
    accepted((1_u8, -1_i128, u128::MAX, 'ß', 1.5_f32, f64::MIN));
    accepted(Expression::Both {
        left: Box::new(Expression::Number(-5)),
        right: Box::new(Expression::Not(Box::new(Expression::Number(i64::MAX)))),
    });
    accepted(Ok::<u8, String>(3));
    accepted(Duration::from_millis(1234));
    accepted(std::net::IpAddr::from([127, 0, 0, 1]));
}
