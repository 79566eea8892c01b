//! The bounds on what a peer can make of its bytes change nothing that is within them: what is encoded
//! and decoded is what bare postcard does, and a value that borrows is the value that owns.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use wayside::CloseReason;
use wayside::internals::{EncodeError, Head, decode_body, decode_head, encode};

/// Something of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct All {
    bool: bool,
    signed: (i8, i16, i32, i64, i128),
    unsigned: (u8, u16, u32, u64, u128),
    floats: [f64; 2],
    float: f32,
    char: char,
    text: String,
    bytes: Vec<u8>,
    lists: Vec<Vec<u32>>,
    map: BTreeMap<String, Option<i16>>,
    kinds: Vec<Kind>,
    unit: (),
    newtype: Newtype,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(u64),
    Tuple(u16, Option<bool>),
    Struct { inner: Option<Box<Kind>> },
}

/// As [`All`], but for what it borrows.
#[derive(Debug, PartialEq, Deserialize)]
struct Borrowed<'a> {
    bool: bool,
    signed: (i8, i16, i32, i64, i128),
    unsigned: (u8, u16, u32, u64, u128),
    floats: [f64; 2],
    float: f32,
    char: char,
    text: &'a str,
    bytes: &'a [u8],
    lists: Vec<Vec<u32>>,
    #[serde(borrow)]
    map: BTreeMap<&'a str, Option<i16>>,
    kinds: Vec<Kind>,
    unit: (),
    newtype: Newtype,
}

impl Borrowed<'_> {
    fn to_owned(&self) -> All {
        let map = self.map.iter();
        All {
            bool: self.bool,
            signed: self.signed,
            unsigned: self.unsigned,
            floats: self.floats,
            float: self.float,
            char: self.char,
            text: self.text.to_owned(),
            bytes: self.bytes.to_vec(),
            lists: self.lists.clone(),
            map: map
                .map(|(key, value)| ((*key).to_owned(), *value))
                .collect(),
            kinds: self.kinds.clone(),
            unit: self.unit,
            newtype: self.newtype.clone(),
        }
    }
}

/// Of any length in bits, as the lengths on the wire are what differs.
macro_rules! of_any_length {
    ($name:ident, $number:ty) => {
        fn $name() -> impl Strategy<Value = $number> {
            (any::<$number>(), 0..<$number>::BITS).prop_map(|(number, shift)| number >> shift)
        }
    };
}

of_any_length!(short, i16);
of_any_length!(int, i32);
of_any_length!(long, i64);
of_any_length!(longest, i128);
of_any_length!(word, u32);
of_any_length!(quad, u64);
of_any_length!(octa, u128);

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Unit),
        quad().prop_map(Kind::Newtype),
        any::<(u16, Option<bool>)>().prop_map(|(number, flag)| Kind::Tuple(number, flag)),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        proptest::option::of(inner).prop_map(|inner| Kind::Struct {
            inner: inner.map(Box::new),
        })
    })
}

fn all() -> impl Strategy<Value = All> {
    let numbers = (
        (any::<i8>(), short(), int(), long(), longest()),
        (any::<u8>(), any::<u16>(), word(), quad(), octa()),
        any::<(bool, [f64; 2], f32, char)>(),
    );
    let lists = (
        ".{0,300}",
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(proptest::collection::vec(word(), 0..5), 0..5),
        proptest::collection::btree_map(".{0,5}", any::<Option<i16>>(), 0..5),
        proptest::collection::vec(kinds(), 0..4),
        quad(),
    );
    (numbers, lists).prop_map(|(numbers, lists)| {
        let (signed, unsigned, (bool, floats, float, char)) = numbers;
        let (text, bytes, lists, map, kinds, newtype) = lists;
        All {
            bool,
            signed,
            unsigned,
            floats,
            float,
            char,
            text,
            bytes,
            lists,
            map,
            kinds,
            unit: (),
            newtype: Newtype(newtype),
        }
    })
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut payload = Vec::new();
    encode(&mut payload, &Head::Event, value, u32::MAX).unwrap();
    decode_head(&payload).unwrap().1.to_vec()
}

/// What postcard makes of the whole of it.
fn by_postcard<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

/// By text, in which NaN is NaN.
fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Both say the same of these bytes.
fn agree<'a, T: Deserialize<'a> + Debug>(body: &'a [u8]) {
    let ours = decode_body::<T>(body).ok();
    assert_eq!(text(&ours), text(&by_postcard::<T>(body)), "{body:02x?}");
}

fn agree_on_all(body: &[u8]) {
    agree::<All>(body);
    agree::<Borrowed<'_>>(body);
    agree::<Kind>(body);
    agree::<(i16, u16)>(body);
    agree::<(i32, u32)>(body);
    agree::<(i64, u64)>(body);
    agree::<(i128, u128)>(body);
    agree::<u64>(body);
    agree::<&str>(body);
    agree::<Cow<'_, str>>(body);
    agree::<&[u8]>(body);
    agree::<char>(body);
    agree::<Vec<Option<bool>>>(body);
    agree::<(f32, f64)>(body);
    // Why not, may be said in other words: the bytes of one are a list's elements to the other.
    let borrowed = decode_body::<Borrowed<'_>>(body).ok();
    let owned = decode_body::<All>(body).ok();
    let borrowed = borrowed.map(|borrowed| borrowed.to_owned());
    assert_eq!(text(&borrowed), text(&owned));
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let body = encoded(value);
    assert_eq!(body, postcard::to_stdvec(value).unwrap());
    assert_eq!(decode_body::<T>(&body).unwrap(), *value);
}

/// Where one number of bits becomes another number of bytes.
#[test]
fn numbers_at_every_boundary_are_those_of_postcard() {
    for bits in 0..128 {
        for number in [1_u128 << bits, (1 << bits) - 1, u128::MAX >> bits] {
            let bytes = number.to_le_bytes();
            let quad = u64::from_le_bytes(*bytes.first_chunk().unwrap());
            let word = u32::from_le_bytes(*bytes.first_chunk().unwrap());
            let half = u16::from_le_bytes(*bytes.first_chunk().unwrap());
            let signed = (
                i128::from_le_bytes(bytes),
                i64::from_le_bytes(quad.to_le_bytes()),
            );
            let short = (
                i32::from_le_bytes(word.to_le_bytes()),
                i16::from_le_bytes(half.to_le_bytes()),
            );
            // With something behind it, and with nothing: both ways to read a number.
            let values = (number, quad, word, half, signed, short);
            comes_back(&values);
            comes_back(&quad);
            comes_back(&signed.1);
        }
    }
}

/// Numbers that are longer than they need be, or than their type.
#[test]
fn numbers_of_every_length_are_read_as_postcard_reads_them() {
    for len in 0..22 {
        for last in 0..=255_u8 {
            for filling in [0x80, 0x81, 0xff] {
                let mut body = vec![filling; len];
                body.push(last);
                agree::<u16>(&body);
                agree::<u32>(&body);
                agree::<u64>(&body);
                agree::<u128>(&body);
                agree::<i64>(&body);
                // The same with enough behind it to be read at once.
                body.extend([0, 1, 0, 0, 0, 0, 0, 0]);
                agree::<(u16, [u8; 8])>(&body);
                agree::<(u32, [u8; 8])>(&body);
                agree::<(u64, [u8; 8])>(&body);
                agree::<(u128, [u8; 8])>(&body);
            }
        }
    }
}

/// A value that is encoded as it is displayed, as times and addresses are by some crates.
struct Displayed<'a>(&'a [&'a str]);

impl fmt::Display for Displayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| f.write_str(part))
    }
}

impl Serialize for Displayed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[test]
fn what_is_displayed_is_encoded_as_a_text() {
    let long = "long".repeat(100);
    for parts in [&[][..], &["a"], &["a", "bc", "ß"], &[&long, "x", &long]] {
        let value = (7, Displayed(parts), true);
        let body = encoded(&value);
        assert_eq!(body, postcard::to_stdvec(&value).unwrap());
        let decoded = decode_body::<(i32, &str, bool)>(&body).unwrap();
        assert_eq!(decoded, (7, &*parts.concat(), true));
    }
}

/// A list that contains itself, with a text on the way.
#[derive(Debug, Deserialize)]
struct Chain<'a> {
    _text: &'a str,
    #[serde(borrow)]
    _next: Option<Box<Chain<'a>>>,
}

#[test]
fn what_borrows_is_bounded_too() {
    let undecodable = |result: Result<(), CloseReason>| match result {
        Err(CloseReason::Undecodable(what)) => what,
        other => panic!("{other:?}"),
    };
    let deep = [0, 1].repeat(1 << 20);
    // postcard has no words for what is not its own.
    let bound = postcard::Error::SerdeDeCustom.to_string();
    let what = undecodable(decode_body::<Chain<'_>>(&deep).map(drop));
    assert_eq!(what, bound);
    let many = [0xff, 0xff, 0xff, 0xff, 0x07];
    let what = undecodable(decode_body::<Vec<()>>(&many).map(drop));
    assert_eq!(what, bound);
    let what = undecodable(decode_body::<&str>(&many).map(drop));
    assert_eq!(what, postcard::Error::DeserializeUnexpectedEnd.to_string());
    let what = undecodable(decode_body::<&str>(&[1, 0xff]).map(drop));
    assert_eq!(what, postcard::Error::DeserializeBadUtf8.to_string());
}

proptest! {
    #[test]
    fn values_become_the_same_bytes_and_the_same_values(value in all()) {
        let body = encoded(&value);
        prop_assert_eq!(&body, &postcard::to_stdvec(&value).unwrap());
        agree_on_all(&body);
        let decoded: All = decode_body(&body).unwrap();
        prop_assert_eq!(text(&decoded), text(&value));
        let borrowed: Borrowed<'_> = decode_body(&body).unwrap();
        let range = body.as_ptr_range();
        prop_assert!(borrowed.bytes.is_empty() || range.contains(&borrowed.bytes.as_ptr()));
        prop_assert_eq!(text(&borrowed.to_owned()), text(&value));
    }

    #[test]
    fn what_is_damaged_is_refused_by_both_or_by_none(
        value in all(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        shortened: bool,
    ) {
        let mut body = encoded(&value);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if shortened {
            body.truncate(cut.index(body.len()));
        }
        agree_on_all(&body);
    }

    #[test]
    fn noise_is_read_alike(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        agree_on_all(&body);
    }

    /// The bound is of the whole, whatever memory there is already.
    #[test]
    fn what_fits_the_bound_is_encoded_and_nothing_else(
        value in all(),
        max in 0..700_u32,
        capacity in 0..1500_usize,
    ) {
        let whole = encoded(&value).len() + 1;
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(b"before");
        let result = encode(&mut bytes, &Head::Event, &value, max);
        if whole <= usize::try_from(max).unwrap() {
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(bytes.len(), 6 + whole);
        } else {
            prop_assert_eq!(result, Err(EncodeError::TooLong { max }));
            // Not much more is ever written than there was memory for, or may be.
            prop_assert!(bytes.len() <= bytes.capacity());
            prop_assert!(bytes.capacity() <= capacity.max(2 * (700 + 6 + 8)));
        }
        prop_assert_eq!(&bytes[..6], b"before");
    }
}
