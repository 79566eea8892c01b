//! Decoding a body without trusting it.
//!
//! postcard alone is not enough against a hostile peer: a type that contains itself lets a few
//! kilobytes overflow the stack, and five bytes can announce two thousand million elements of a
//! type without a size. [`Guarded`] stands between the user's type and the format and bounds
//! both: nesting, and elements for which there can't be bytes. Size hints are bounded with them,
//! so that what is allocated in advance follows from what has arrived.
//!
//! Knows serde only: the format behind it is the envelope's business.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

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

/// What is left to one message. Shared by all levels of one decoding.
pub struct Budget {
    depth: Cell<u32>,
    elements: Cell<usize>,
    /// What size hints may still promise.
    hints: Cell<usize>,
}

impl Budget {
    /// The budget of a body of so many bytes: no element but a sizeless one takes less than one.
    #[inline]
    pub fn for_len(len: usize) -> Self {
        Self {
            depth: Cell::new(DEPTH_MAX),
            elements: Cell::new(len.saturating_add(SIZELESS_MAX)),
            hints: Cell::new(len),
        }
    }

    #[inline]
    fn nested<T, E: de::Error>(&self, inner: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let depth = self.depth.get();
        let Some(left) = depth.checked_sub(1) else {
            return Err(E::custom(format_args!("nested more than {DEPTH_MAX} deep")));
        };
        self.depth.set(left);
        let result = inner();
        self.depth.set(depth);
        result
    }

    #[inline]
    fn element<E: de::Error>(&self, counted: bool) -> Result<(), E> {
        let left = self.elements.get().checked_sub(usize::from(counted));
        self.elements
            .set(left.ok_or_else(|| E::custom("more elements than bytes"))?);
        Ok(())
    }

    #[inline]
    fn hint(&self, hint: Option<usize>) -> Option<usize> {
        let granted = hint?.min(self.hints.get());
        self.hints.set(self.hints.get() - granted);
        Some(granted)
    }
}

/// Wraps anything of serde's decoding side and passes the budget on.
///
/// `COUNTED` marks the way from a sequence whose length came from the peer to its elements. Those
/// of a struct or tuple are as many as the type says, and cost nothing of the budget.
pub struct Guarded<'b, T, const COUNTED: bool = false> {
    inner: T,
    budget: &'b Budget,
}

impl<'b, T, const COUNTED: bool> Guarded<'b, T, COUNTED> {
    #[inline]
    fn of(inner: T, budget: &'b Budget) -> Self {
        Self { inner, budget }
    }
}

impl<'b, T> Guarded<'b, T> {
    /// Puts `inner` under the budget.
    #[inline]
    pub fn new(inner: T, budget: &'b Budget) -> Self {
        Self { inner, budget }
    }
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* Guarded::new(visitor, self.budget))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = Guarded::<_, true>::of(visitor, self.budget);
        self.inner.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = Guarded::<_, true>::of(visitor, self.budget);
        self.inner.deserialize_map(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {
        $(#[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>, const COUNTED: bool> Visitor<'de> for Guarded<'_, V, COUNTED> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    #[inline]
    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let budget = self.budget;
        budget.nested(|| self.inner.visit_some(Guarded::new(inner, budget)))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let budget = self.budget;
        budget.nested(|| self.inner.visit_newtype_struct(Guarded::new(inner, budget)))
    }

    #[inline]
    fn visit_seq<A: de::SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let budget = self.budget;
        let inner = Guarded::<_, COUNTED>::of(inner, budget);
        budget.nested(|| self.inner.visit_seq(inner))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let budget = self.budget;
        let inner = Guarded::<_, COUNTED>::of(inner, budget);
        budget.nested(|| self.inner.visit_map(inner))
    }

    #[inline]
    fn visit_enum<A: de::EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let budget = self.budget;
        budget.nested(|| self.inner.visit_enum(Guarded::new(inner, budget)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guarded<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Guarded::new(inner, self.budget))
    }
}

impl<'de, A: de::SeqAccess<'de>, const COUNTED: bool> de::SeqAccess<'de>
    for Guarded<'_, A, COUNTED>
{
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let element = self
            .inner
            .next_element_seed(Guarded::new(seed, self.budget))?;
        self.budget.element(COUNTED && element.is_some())?;
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.budget.hint(self.inner.size_hint())
    }
}

impl<'de, A: de::MapAccess<'de>, const COUNTED: bool> de::MapAccess<'de>
    for Guarded<'_, A, COUNTED>
{
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(Guarded::new(seed, self.budget))?;
        self.budget.element(COUNTED && key.is_some())?;
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Guarded::new(seed, self.budget))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.budget.hint(self.inner.size_hint())
    }
}

impl<'b, 'de, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Guarded<'b, A> {
    type Error = A::Error;
    type Variant = Guarded<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(Guarded::new(seed, self.budget))?;
        Ok((value, Guarded::new(variant, self.budget)))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Guarded<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner
            .newtype_variant_seed(Guarded::new(seed, self.budget))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner
            .tuple_variant(len, Guarded::new(visitor, self.budget))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner
            .struct_variant(fields, Guarded::new(visitor, self.budget))
    }
}
