//! Bytes to values, without trusting them: serde's decoding side of the format that `docs/wire.md`
//! describes. It is postcard's format, as that of `encode.rs` is.
//!
//! The format alone is not enough against a hostile peer: a type that contains itself lets a few
//! kilobytes overflow the stack, and five bytes can announce two thousand million elements of a
//! type without a size. So a [`Decoder`] bounds both: nesting, and elements for which there can't be
//! bytes. Size hints are bounded with them, so that what is allocated in advance follows from what
//! has arrived. The bounds are fields of the decoder itself, and a number of elements is looked at
//! once, where it is announced: that makes them all but free.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

/// How deep values may be nested in each other.
///
/// What it costs: without optimization a level takes 1.0 to 1.5 KiB of stack, and several times
/// the size of the value on it; so 192 KiB for small values at the deepest, where a thread of std
/// has 2 MiB. A type that contains itself and is larger than a kilobyte or two wants its fields
/// boxed. What it forbids: a list of more than 64 links, each of which is an `Option<Box<_>>` in a
/// struct and so takes two levels; a long list is a `Vec`.
pub const DEPTH_MAX: u32 = 128;

/// Elements that a message may have beyond the number of its bytes.
const SIZELESS_MAX: usize = 4096;

/// Why bytes are not the value that they should be. One pointer, so that a result fits registers.
#[derive(Debug)]
pub struct Wrong(Box<Cow<'static, str>>);

impl Wrong {
    #[cold]
    #[inline(never)]
    fn because(what: &'static str) -> Self {
        Self(Box::new(what.into()))
    }

    /// There is more behind the value.
    #[cold]
    pub fn trailing(len: usize) -> Self {
        de::Error::custom(format_args!("{len} bytes behind the message"))
    }

    fn early_end() -> Self {
        Self::because("the bytes end too early")
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    #[cold]
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(Box::new(what.to_string().into()))
    }
}

/// Reads values from the front of a body.
pub struct Decoder<'de> {
    rest: &'de [u8],
    /// How much deeper values may be nested.
    depth: u32,
    /// The elements that lists and maps may still announce.
    elements: usize,
    /// The elements that size hints may still promise.
    hints: usize,
}

impl<'de> Decoder<'de> {
    /// A decoder of these bytes: no element but a sizeless one takes less than one of them.
    #[inline]
    pub fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            depth: DEPTH_MAX,
            elements: bytes.len().saturating_add(SIZELESS_MAX),
            hints: bytes.len(),
        }
    }

    /// The bytes that are not read.
    #[inline]
    pub fn rest(self) -> &'de [u8] {
        self.rest
    }

    #[inline]
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth == 0 {
            return Err(Wrong::because("nested more than 128 deep"));
        }
        self.depth -= 1;
        let result = inner(self);
        self.depth += 1;
        result
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Wrong> {
        let (byte, rest) = self.rest.split_first().ok_or_else(Wrong::early_end)?;
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(Wrong::early_end)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn counted(&mut self) -> Result<&'de [u8], Wrong> {
        let len = self.count()?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(Wrong::early_end)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn text(&mut self) -> Result<&'de str, Wrong> {
        std::str::from_utf8(self.counted()?).map_err(|_| Wrong::because("a text that is not UTF-8"))
    }

    #[inline]
    fn count(&mut self) -> Result<usize, Wrong> {
        self.number(10)
    }

    /// The elements of a list or map, as many as it announces to have.
    #[inline]
    fn list(&mut self) -> Result<Parts<'_, 'de>, Wrong> {
        let left = self.count()?;
        let others = self.elements.checked_sub(left);
        self.elements = others.ok_or_else(|| Wrong::because("more elements than bytes"))?;
        // Each byte is promised once, to the list that comes first.
        let hint = left.min(self.hints).min(self.rest.len());
        self.hints -= hint;
        Ok(Parts {
            decoder: self,
            left,
            hint,
        })
    }

    /// A number of at most `len_max` bytes that its type has room for.
    #[inline]
    fn number<T: TryFrom<u64>>(&mut self, len_max: usize) -> Result<T, Wrong> {
        let number = match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                u64::from(*byte)
            }
            _ => self.long_varint(len_max)?,
        };
        T::try_from(number).map_err(|_| too_large())
    }

    /// The opposite of what `encode.rs` does: eight groups of seven bits at once move together.
    #[inline(never)]
    fn long_varint(&mut self, len_max: usize) -> Result<u64, Wrong> {
        let Some((bytes, _)) = self.rest.split_first_chunk() else {
            return self.longest_u64(len_max);
        };
        let word = u64::from_le_bytes(*bytes);
        let ends = !word & 0x8080_8080_8080_8080;
        // Of the byte that says that it is the last; 8 if none of them does.
        let last = usize::try_from(ends.trailing_zeros() / 8).unwrap_or(usize::MAX);
        if last >= len_max.min(8) {
            return self.longest_u64(len_max);
        }
        let number = word & (ends ^ (ends - 1));
        let number = (number & 0x007f_007f_007f_007f) | (number & 0x7f00_7f00_7f00_7f00) >> 1;
        let number = (number & 0x0000_3fff_0000_3fff) | (number & 0x3fff_0000_3fff_0000) >> 2;
        let number = (number & 0x0fff_ffff) | (number & 0x0fff_ffff_0000_0000) >> 4;
        self.rest = &self.rest[last + 1..];
        Ok(number)
    }

    #[cold]
    #[inline(never)]
    fn longest_u64(&mut self, len_max: usize) -> Result<u64, Wrong> {
        u64::try_from(self.longest_varint(len_max)?).map_err(|_| too_large())
    }

    /// Byte by byte: any number, and any end.
    #[inline(never)]
    fn longest_varint(&mut self, len_max: usize) -> Result<u128, Wrong> {
        let mut number = 0;
        for index in 0..len_max {
            let byte = self.byte()?;
            // Of 128 bits, the nineteenth byte has the last two.
            if index == 18 && byte > 3 {
                break;
            }
            number |= u128::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(too_large())
    }
}

#[cold]
fn too_large() -> Wrong {
    Wrong::because("a number larger than its type")
}

#[cold]
fn not_told() -> Wrong {
    Wrong::because("the format does not say what comes: the type has to know")
}

macro_rules! unzigzag {
    ($number:expr, $signed:ty) => {{
        let number = $number;
        let half = <$signed>::from_le_bytes((number >> 1).to_le_bytes());
        let sign = <$signed>::from_le_bytes((number & 1).to_le_bytes());
        half ^ -sign
    }};
}

/// Values without parts: how each is read, and what it is shown as.
macro_rules! simple {
    ($($method:ident: $visit:ident($decoder:ident => $value:expr);)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let $decoder = self;
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Wrong;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    simple! {
        deserialize_bool: visit_bool(decoder => match decoder.byte()? {
            0 => false,
            1 => true,
            _ => return Err(Wrong::because("a bool that is neither 0 nor 1")),
        });
        deserialize_i8: visit_i8(decoder => i8::from_le_bytes(decoder.array()?));
        deserialize_i16: visit_i16(decoder => unzigzag!(decoder.number::<u16>(3)?, i16));
        deserialize_i32: visit_i32(decoder => unzigzag!(decoder.number::<u32>(5)?, i32));
        deserialize_i64: visit_i64(decoder => unzigzag!(decoder.number::<u64>(10)?, i64));
        deserialize_i128: visit_i128(decoder => unzigzag!(decoder.longest_varint(19)?, i128));
        deserialize_u8: visit_u8(decoder => decoder.byte()?);
        deserialize_u16: visit_u16(decoder => decoder.number(3)?);
        deserialize_u32: visit_u32(decoder => decoder.number(5)?);
        deserialize_u64: visit_u64(decoder => decoder.number(10)?);
        deserialize_u128: visit_u128(decoder => decoder.longest_varint(19)?);
        deserialize_f32: visit_f32(decoder => f32::from_le_bytes(decoder.array()?));
        deserialize_f64: visit_f64(decoder => f64::from_le_bytes(decoder.array()?));
        deserialize_str: visit_borrowed_str(decoder => decoder.text()?);
        deserialize_string: visit_borrowed_str(decoder => decoder.text()?);
        deserialize_bytes: visit_borrowed_bytes(decoder => decoder.counted()?);
        deserialize_byte_buf: visit_borrowed_bytes(decoder => decoder.counted()?);
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        // The first of a text of four bytes at most, as postcard has it.
        let text = self.text()?;
        let first = text.chars().next().filter(|_| text.len() <= 4);
        visitor.visit_char(first.ok_or_else(|| Wrong::because("not one character"))?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => self.nested(|decoder| visitor.visit_some(decoder)),
            _ => Err(Wrong::because("an option that is neither 0 nor 1")),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.nested(|decoder| visitor.visit_newtype_struct(decoder))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.nested(|decoder| visitor.visit_seq(decoder.list()?))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        // As many as the type says: they cost nothing of the bounds.
        self.nested(|decoder| {
            visitor.visit_seq(Parts {
                decoder,
                left: len,
                hint: len,
            })
        })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.nested(|decoder| visitor.visit_map(decoder.list()?))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.nested(|decoder| visitor.visit_enum(decoder))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Wrong> {
        Err(not_told())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Wrong> {
        Err(not_told())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Wrong> {
        Err(not_told())
    }
}

/// The elements of a list, a map, a tuple or a struct.
struct Parts<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    /// For how many of them memory may be reserved before they are read.
    hint: usize,
}

impl<'de> Parts<'_, 'de> {
    #[inline]
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Wrong> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.decoder).map(Some)
    }
}

impl<'de> de::SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Wrong;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Wrong> {
        self.next(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.hint))
    }
}

impl<'de> de::MapAccess<'de> for Parts<'_, 'de> {
    type Error = Wrong;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Wrong> {
        self.next(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.hint))
    }
}

impl<'de> de::EnumAccess<'de> for &mut Decoder<'de> {
    type Error = Wrong;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Wrong> {
        let index: u32 = self.number(5)?;
        let variant = seed.deserialize(index.into_deserializer())?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Wrong;

    #[inline]
    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Wrong> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
