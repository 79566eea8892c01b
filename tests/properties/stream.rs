//! Messages through bytes and back: whatever the chunks, what went in comes out.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wayside::Failure;
use wayside::internals::{
    EncodeError, Head, Inbox, Lane, Outbox, Refusal, decode_body, decode_head, encode,
};

const FRAME_LEN_MAX: u32 = 1 << 20;

/// A body with something of everything.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Rich {
    unit: (),
    flag: bool,
    small: (u8, i8, u16, i16),
    large: (u32, i32, u64, i64, u128, i128),
    float: (f32, f64),
    letter: char,
    text: String,
    bytes: Vec<u8>,
    maybe: Option<Option<Box<Rich>>>,
    shape: Shape,
    nested: Vec<Vec<Option<u16>>>,
    map: BTreeMap<String, Vec<()>>,
    array: [u16; 4],
    wrapped: Wrapped,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Wrapped(u64);

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
enum Shape {
    Unit,
    Newtype(String),
    Tuple(i32, bool),
    Struct { x: i64, y: Option<char> },
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Unit),
        any::<String>().prop_map(Shape::Newtype),
        any::<(i32, bool)>().prop_map(|(a, b)| Shape::Tuple(a, b)),
        any::<(i64, Option<char>)>().prop_map(|(x, y)| Shape::Struct { x, y }),
    ]
}

fn rich() -> impl Strategy<Value = Rich> {
    let numbers = (
        any::<bool>(),
        any::<(u8, i8, u16, i16)>(),
        any::<(u32, i32, u64, i64, u128, i128)>(),
        (
            any::<f32>().prop_filter("equal to itself", |f| !f.is_nan()),
            any::<f64>().prop_filter("equal to itself", |f| !f.is_nan()),
        ),
        any::<char>(),
        any::<[u16; 4]>(),
        any::<u64>(),
    );
    let rest = (
        any::<String>(),
        prop::collection::vec(any::<u8>(), 0..2000),
        shape(),
        prop::collection::vec(prop::collection::vec(any::<Option<u16>>(), 0..6), 0..20),
        prop::collection::btree_map(
            any::<String>(),
            (0..9_usize).prop_map(|n| vec![(); n]),
            0..5,
        ),
    );
    let leaf = (numbers, rest).prop_map(|(numbers, rest)| {
        let (flag, small, large, float, letter, array, wrapped) = numbers;
        let (text, bytes, shape, nested, map) = rest;
        Rich {
            unit: (),
            flag,
            small,
            large,
            float,
            letter,
            text,
            bytes,
            maybe: None,
            shape,
            nested,
            map,
            array,
            wrapped: Wrapped(wrapped),
        }
    });
    let leaf = leaf.boxed();
    (
        leaf.clone(),
        prop::option::of(prop::option::of(leaf.prop_map(Box::new))),
    )
        .prop_map(|(mut outer, maybe)| {
            outer.maybe = maybe;
            outer
        })
}

pub fn head() -> impl Strategy<Value = Head> {
    let failure = prop_oneof![
        Just(Failure::Unanswered),
        Just(Failure::TooManyCalls),
        Just(Failure::ReplyUnencodable),
        Just(Failure::OutboxFull)
    ];
    prop_oneof![
        Just(Head::Hello),
        Just(Head::Welcome),
        any::<u32>().prop_map(|code| Head::Refuse { code }),
        Just(Head::Event),
        any::<(u64, u64)>().prop_map(|(id, timeout_ms)| Head::Request { id, timeout_ms }),
        any::<u64>().prop_map(|id| Head::Reply { id }),
        (any::<u64>(), failure).prop_map(|(id, failure)| Head::Failed { id, failure }),
        any::<u64>().prop_map(|id| Head::Cancel { id }),
        Just(Head::Push),
        any::<u64>().prop_map(|id| Head::Ping { id }),
        any::<u64>().prop_map(|id| Head::Pong { id }),
        any::<u64>().prop_map(|id| Head::Sync { id }),
        any::<(u64, u64)>().prop_map(|(id, events)| Head::Ack { id, events }),
        Just(Head::Drain),
        Just(Head::Goodbye),
        Just(Head::Farewell),
        any::<u32>().prop_map(|code| Head::Abort { code }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any head with any body, through the envelope and back.
    #[test]
    fn heads_and_bodies_come_out_as_they_went_in(head in head(), body in rich()) {
        let mut payload = Vec::new();
        encode(&mut payload, &head, &body, FRAME_LEN_MAX).unwrap();
        let (decoded, rest) = decode_head(&payload).unwrap();
        prop_assert_eq!(decoded, head);
        prop_assert_eq!(decode_body::<Rich>(rest).unwrap(), body.clone());

        // A byte more or less is refused, and so is a length one short of what is needed.
        let longer = [rest, &[0]].concat();
        prop_assert!(decode_body::<Rich>(&longer).is_err());
        prop_assert!(decode_body::<Rich>(&rest[..rest.len() - 1]).is_err());
        let len = u32::try_from(payload.len()).unwrap();
        prop_assert_eq!(encode(&mut Vec::new(), &head, &body, len), Ok(()));
        let short = encode(&mut Vec::new(), &head, &body, len - 1);
        prop_assert_eq!(short, Err(EncodeError::TooLong { max: len - 1 }));
    }

    /// Cut anywhere on the way out, on the way in, and with the buffer given back anywhere.
    #[test]
    fn any_chunking_gives_the_same_payloads(
        payloads in prop::collection::vec(payload(), 0..30),
        written in prop::collection::vec(1_usize..3000, 1..20),
        read in prop::collection::vec((1_usize..3000, any::<bool>()), 1..20),
    ) {
        let mut outbox = Outbox::new(usize::MAX);
        outbox.open();
        for payload in &payloads {
            let taken: Result<(), Refusal<()>> = outbox.append(Lane::Bulk, |bytes| {
                bytes.extend_from_slice(payload);
                Ok(())
            });
            prop_assert!(taken.is_ok());
        }
        let mut stream = Vec::new();
        let mut written = written.iter().cycle();
        while !outbox.is_drained() {
            let next = outbox.next_bytes();
            let len = next.len().min(*written.next().unwrap());
            stream.extend_from_slice(&next[..len]);
            outbox.written(len);
        }

        let (mut inbox, mut lent) = (Inbox::default(), Vec::new());
        let mut got = Vec::new();
        let mut read = read.iter().cycle();
        let mut rest = &stream[..];
        inbox.lend(&mut lent);
        while !rest.is_empty() {
            let (len, give_back) = *read.next().unwrap();
            let room = inbox.room();
            prop_assert!(!room.is_empty());
            let len = len.min(rest.len()).min(room.len());
            room[..len].copy_from_slice(&rest[..len]);
            inbox.filled(len);
            rest = &rest[len..];
            if give_back {
                let partial = inbox.partial_len();
                inbox.give_back(&mut lent);
                prop_assert_eq!(inbox.partial_len(), partial);
                inbox.lend(&mut lent);
            }
            while let Some(payload) = inbox.next_payload(FRAME_LEN_MAX).unwrap() {
                got.push(payload.to_vec());
            }
        }
        prop_assert_eq!(inbox.partial_len(), 0);
        prop_assert!(got == payloads, "other payloads came out");
    }
}

/// Mostly short ones, some longer than the buffer that is lent.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![20 => 1_usize..200, 3 => 200..20_000_usize, 1 => 250_000..600_000_usize];
    (len, any::<u8>()).prop_map(|(len, seed)| {
        let byte = |at: usize| u8::try_from((at * 7 + usize::from(seed)) % 256).unwrap();
        (0..len).map(byte).collect()
    })
}
