//! Values to bytes: serde's encoding side of the format that `docs/wire.md` describes.
//!
//! It is postcard's format, and `tests/properties/codec.rs` holds it to the crate of that name. It
//! is written out here for speed: what a short message costs is its encoding. One comparison stands
//! in front of each value, that with the memory at hand; the bound of the whole is looked at when
//! that is used up, and once at the end.

use std::fmt;

use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};

/// Why a value was not encoded. One pointer, so that a result fits a register.
#[derive(Debug)]
pub struct Refused(Box<Why>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There is no room within the bound.
    TooLong,
    /// In words.
    Said(String),
}

impl Refused {
    #[cold]
    fn too_long() -> Self {
        Self(Box::new(Why::TooLong))
    }

    pub fn why(self) -> Why {
        *self.0
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Why::TooLong => f.write_str("too long"),
            Why::Said(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(Box::new(Why::Said(what.to_string())))
    }
}

/// Appends values to a vector.
pub struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    /// What `bytes` may have in the end.
    len_max: usize,
}

impl<'a> Encoder<'a> {
    /// Appends at most `len_max` bytes to `bytes`.
    #[inline]
    pub fn new(bytes: &'a mut Vec<u8>, len_max: usize) -> Self {
        let len_max = bytes.len().saturating_add(len_max);
        Self { bytes, len_max }
    }

    /// Whether all that was encoded is within the bound.
    #[inline]
    pub fn finish(self) -> Result<(), Refused> {
        if self.bytes.len() > self.len_max {
            return Err(Refused::too_long());
        }
        Ok(())
    }

    /// Makes room for `len` more bytes, if there may be so many.
    #[inline]
    fn room(&mut self, len: usize) -> Result<(), Refused> {
        if self.bytes.capacity() - self.bytes.len() < len {
            self.grow(len)?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, len: usize) -> Result<(), Refused> {
        if len > self.len_max.saturating_sub(self.bytes.len()) {
            return Err(Refused::too_long());
        }
        self.bytes.reserve(len);
        Ok(())
    }

    /// Bytes whose number is known when this is compiled: no call of `memcpy`.
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), Refused> {
        self.room(N)?;
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    #[inline]
    fn counted(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.count(bytes.len())?;
        self.room(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn count(&mut self, count: usize) -> Result<(), Refused> {
        match u64::try_from(count) {
            Ok(count) => self.varint(count),
            Err(_) => Err(Refused::too_long()),
        }
    }

    #[inline]
    fn varint(&mut self, number: u64) -> Result<(), Refused> {
        if number < 1 << 7 {
            let [byte, ..] = number.to_le_bytes();
            self.put([byte])
        } else {
            self.long_varint(number)
        }
    }

    /// Moves the groups of seven bits apart, all eight of them at once: first halves of the number,
    /// then quarters, then eighths. The highest byte that is not zero is the last one.
    #[inline(never)]
    fn long_varint(&mut self, number: u64) -> Result<(), Refused> {
        let spare = self.bytes.capacity() - self.bytes.len();
        if spare < 8 || number >= 1 << 56 {
            return self.longest_varint(number.into());
        }
        let spread = (number & 0x0fff_ffff) | (number & 0x00ff_ffff_f000_0000) << 4;
        let spread = (spread & 0x0000_3fff_0000_3fff) | (spread & 0x0fff_c000_0fff_c000) << 2;
        let spread = (spread & 0x007f_007f_007f_007f) | (spread & 0x3f80_3f80_3f80_3f80) << 1;
        // Of the last byte eight times the index: a group has its highest bit free.
        let last = (u64::BITS - 1 - spread.leading_zeros()) / 8 * 8;
        let more = 0x8080_8080_8080_8080 & ((1 << last) - 1);
        let len = self.bytes.len() + 1 + usize::try_from(last / 8).unwrap_or_default();
        self.bytes.extend_from_slice(&(spread | more).to_le_bytes());
        self.bytes.truncate(len);
        Ok(())
    }

    /// Byte by byte: any number, and any memory.
    #[cold]
    #[inline(never)]
    fn longest_varint(&mut self, mut number: u128) -> Result<(), Refused> {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.put([low & 0x7f]);
            }
            self.put([low | 0x80])?;
        }
    }
}

/// Positive numbers to even ones, negative to odd ones: short whichever way they are small.
macro_rules! zigzag {
    ($number:expr, $unsigned:ty) => {{
        let folded = $number << 1 ^ $number >> (<$unsigned>::BITS - 1);
        <$unsigned>::from_le_bytes(folded.to_le_bytes())
    }};
}

impl ser::Serializer for &mut Encoder<'_> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Refused> {
        self.put([u8::from(value)])
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Result<(), Refused> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Result<(), Refused> {
        self.varint(zigzag!(value, u16).into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Result<(), Refused> {
        self.varint(zigzag!(value, u32).into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Result<(), Refused> {
        self.varint(zigzag!(value, u64))
    }

    #[inline]
    fn serialize_i128(self, value: i128) -> Result<(), Refused> {
        self.longest_varint(zigzag!(value, u128))
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<(), Refused> {
        self.put([value])
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Result<(), Refused> {
        self.varint(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Result<(), Refused> {
        self.varint(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Refused> {
        self.varint(value)
    }

    #[inline]
    fn serialize_u128(self, value: u128) -> Result<(), Refused> {
        self.longest_varint(value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        self.put(value.to_le_bytes())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        self.put(value.to_le_bytes())
    }

    fn serialize_char(self, value: char) -> Result<(), Refused> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Refused> {
        self.counted(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refused> {
        self.counted(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Refused> {
        self.put([0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        self.put([1])?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refused> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), Refused> {
        self.varint(index.into())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.varint(index.into())?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Refused> {
        let len = len.ok_or_else(|| ser::Error::custom("a list that does not know its length"))?;
        self.count(len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self, Refused> {
        self.varint(index.into())?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self, Refused> {
        let len = len.ok_or_else(|| ser::Error::custom("a map that does not know its length"))?;
        self.count(len)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self, Refused> {
        self.varint(index.into())?;
        Ok(self)
    }

    /// Without memory of its own: the count, which is known last, is moved in front.
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Refused> {
        let start = self.bytes.len();
        let mut text = Text {
            encoder: self,
            refused: None,
        };
        if fmt::write(&mut text, format_args!("{value}")).is_err() {
            let by_itself = || ser::Error::custom("a value whose Display fails");
            return Err(text.refused.unwrap_or_else(by_itself));
        }
        let end = self.bytes.len();
        self.count(end - start)?;
        let count_len = self.bytes.len() - end;
        self.bytes[start..].rotate_right(count_len);
        Ok(())
    }
}

/// What is displayed, as it comes.
struct Text<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    refused: Option<Refused>,
}

impl fmt::Write for Text<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Err(refused) = self.encoder.room(text.len()) {
            self.refused = Some(refused);
            return Err(fmt::Error);
        }
        self.encoder.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// All that is made of parts is those parts, one after the other.
macro_rules! parts {
    ($($compound:ident: $method:ident($($key:ident)?);)*) => {
        $(impl $compound for &mut Encoder<'_> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), Refused> {
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(_key);
    SerializeStructVariant: serialize_field(_key);
}

impl SerializeMap for &mut Encoder<'_> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        key.serialize(&mut **self)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}
