//! Sections that the floors above and programs define: read into a type of theirs by serde, with
//! the same care as the keys of the table.
//!
//! serde hands the names of a struct's fields to the deserializer. That is what unknown keys are
//! checked against, and what says which variables of the environment belong to the section.
//! `std::time::Duration` is taken as text (`"5s"`), like everywhere in the file.

use std::fmt::Display;

use serde::de::value::{MapAccessDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::Settings;
use super::document::{Entry, Node, Place, Raw, Source};
use super::duration;
use super::environment;
use super::error::{ErrorPlace, SettingsError, SettingsErrorKind};
use super::suggest;
use super::value::{Fault, split};

/// Reads a section that was declared.
pub(super) fn read<T: DeserializeOwned>(
    settings: &Settings,
    name: &str,
    entry: Option<&Entry>,
) -> Result<T, SettingsError> {
    let deserializer = SectionDeserializer {
        settings,
        name,
        entry,
    };
    T::deserialize(deserializer).map_err(|stop| match stop {
        Stop::Fault(fault) => locate(settings, name, entry, fault),
        Stop::Error(error) => error,
    })
}

fn locate(settings: &Settings, name: &str, entry: Option<&Entry>, fault: Fault) -> SettingsError {
    let mut keys = vec![name];
    keys.extend(fault.keys.iter().rev().map(String::as_str));
    let key = keys.join(".");
    let source = settings.source.as_deref();
    let (place, excerpt) = match fault.at {
        Some((place, excerpt)) => (settings.error_place(&place), excerpt),
        None => match (entry, source) {
            (Some(entry), _) => (settings.error_place(&entry.key_place), None),
            (None, Some(source)) => (ErrorPlace::File(source.name.clone(), None), None),
            (None, None) => (ErrorPlace::Default, None),
        },
    };
    let mut problem = fault.problem;
    if fault.kind == SettingsErrorKind::Missing && keys.len() == 2 {
        let variable = environment::variable(name, keys[1]);
        problem.push_str(&format!(": write it into [{name}], or set {variable}"));
    }
    SettingsError::new(fault.kind, place, problem)
        .with_key(key)
        .with_excerpt(excerpt)
}

/// Why reading stopped.
#[derive(Debug)]
enum Stop {
    /// A value is wrong: whoever started makes the error.
    Fault(Fault),
    /// A variable is wrong: the error is complete.
    Error(SettingsError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(fault) => f.write_str(&fault.problem),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Stop {}

impl Stop {
    fn at(self, node: &Node, source: Option<&Source>) -> Self {
        match self {
            Self::Fault(fault) => Self::Fault(fault.at(node, source)),
            Self::Error(error) => Self::Error(error),
        }
    }

    fn within(self, key: &str) -> Self {
        match self {
            Self::Fault(mut fault) => {
                fault.keys.push(key.to_owned());
                Self::Fault(fault)
            }
            Self::Error(error) => Self::Error(error),
        }
    }
}

/// What serde says about a type, in the words of the file instead of those of Rust.
impl Error for Stop {
    fn custom<T: Display>(problem: T) -> Self {
        Fault::value(suggest::printable_whole(&problem.to_string())).into()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let problem = format!("must be {}", in_words(expected));
        Fault::new(SettingsErrorKind::WrongType, problem).into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::value(format!("must be {}", in_words(expected))).into()
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggest::hint(variant, expected);
        Fault::value(format!("there is no such choice{hint}")).into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut fault = unknown_key(field, expected);
        fault.keys.push(field.to_owned());
        fault.into()
    }

    fn missing_field(field: &'static str) -> Self {
        let problem = "is missing, and has no default";
        let mut fault = Fault::new(SettingsErrorKind::Missing, problem);
        fault.keys.push(field.to_owned());
        fault.into()
    }
}

fn in_words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let range = |min: i128, max: u128| format!("an integer from {min} to {max}");
    match expected.as_str() {
        "u8" => range(0, u8::MAX.into()),
        "u16" => range(0, u16::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "u64" | "usize" => range(0, u64::MAX.into()),
        "i8" => range(i8::MIN.into(), i8::MAX.unsigned_abs().into()),
        "i16" => range(i16::MIN.into(), i16::MAX.unsigned_abs().into()),
        "i32" => range(i32::MIN.into(), i32::MAX.unsigned_abs().into()),
        "i64" | "isize" => range(i64::MIN.into(), i64::MAX.unsigned_abs().into()),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") => "a table of keys".to_owned(),
        other => suggest::printable_whole(other),
    }
}

fn unknown_key(key: &str, fields: &[&str]) -> Fault {
    let problem = format!("there is no such key{}", suggest::hint(key, fields));
    Fault::new(SettingsErrorKind::UnknownKey, problem)
}

/// The first key, in the order of the file, that is no field.
fn check_keys(entries: &[Entry], fields: &[&str]) -> Result<(), Stop> {
    match entries
        .iter()
        .find(|entry| !fields.contains(&entry.key.as_str()))
    {
        None => Ok(()),
        Some(entry) => {
            let mut fault = unknown_key(&entry.key, fields);
            fault.at = Some((entry.key_place.clone(), None));
            fault.keys.push(entry.key.clone());
            Err(fault.into())
        }
    }
}

/// The whole section: what the file says, and the environment above it.
struct SectionDeserializer<'a> {
    settings: &'a Settings,
    name: &'a str,
    entry: Option<&'a Entry>,
}

impl<'a> SectionDeserializer<'a> {
    fn entries(&self) -> Vec<Entry> {
        match self.entry.map(|entry| &entry.node.raw) {
            Some(Raw::Table(entries)) => entries.clone(),
            _ => Vec::new(),
        }
    }

    /// Lets a variable take the place of a key.
    fn overlay(&self, entries: &mut Vec<Entry>, key: &str, variable: &str) -> Result<(), Stop> {
        let Some(value) = self.settings.environment.value(variable) else {
            return Ok(());
        };
        let place = Place::Variable(variable.to_owned());
        let text = environment::text(variable, value).map_err(Stop::Error)?;
        let node = Node::loose(text, place.clone());
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.node = node,
            None => entries.push(Entry {
                key: key.to_owned(),
                key_place: place,
                node,
            }),
        }
        Ok(())
    }

    fn check_variables(&self, fields: &[&str]) -> Result<(), Stop> {
        let environment = &self.settings.environment;
        let prefix = environment::section_prefix(self.name);
        let known: Vec<String> = fields
            .iter()
            .map(|field| environment::variable(self.name, field))
            .collect();
        let known = || known.iter().map(String::as_str);
        for name in environment.names().filter(|name| name.starts_with(&prefix)) {
            if known().all(|known| known != name) && !environment.is_service_link(name) {
                let near = environment::near_variable(name, known());
                return Err(Stop::Error(environment::unknown_variable(
                    name,
                    near,
                    known(),
                )));
            }
        }
        Ok(())
    }

    fn map<'de, V: Visitor<'de>>(self, entries: &[Entry], visitor: V) -> Result<V::Value, Stop> {
        let source = self.settings.source.as_deref();
        visitor.visit_map(Entries {
            rest: entries,
            current: None,
            source,
        })
    }
}

impl<'de> Deserializer<'de> for SectionDeserializer<'_> {
    type Error = Stop;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let mut entries = self.entries();
        check_keys(&entries, fields)?;
        self.check_variables(fields)?;
        for field in fields {
            self.overlay(
                &mut entries,
                field,
                &environment::variable(self.name, field),
            )?;
        }
        self.map(&entries, visitor)
    }

    /// A map takes any key, and every variable of the section is one, in lower case.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let mut entries = self.entries();
        let prefix = environment::section_prefix(self.name);
        for variable in self.settings.environment.names() {
            if let Some(key) = variable.strip_prefix(&prefix) {
                if !self.settings.environment.is_service_link(variable) {
                    self.overlay(&mut entries, &key.to_ascii_lowercase(), variable)?;
                }
            }
        }
        self.map(&entries, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The keys of a table, one after the other.
struct Entries<'a> {
    rest: &'a [Entry],
    current: Option<&'a Entry>,
    source: Option<&'a Source>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        let Some((entry, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        self.current = Some(entry);
        let key: serde::de::value::StrDeserializer<'_, Stop> =
            entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|stop| match stop {
            Stop::Fault(mut fault) => {
                fault.at = fault.at.or_else(|| Some((entry.key_place.clone(), None)));
                Stop::Fault(fault)
            }
            Stop::Error(error) => Stop::Error(error),
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        let Some(entry) = self.current.take() else {
            return Err(Stop::custom("a value was asked for before its key"));
        };
        seed.deserialize(NodeDeserializer {
            node: &entry.node,
            source: self.source,
        })
        .map_err(|stop| stop.within(&entry.key))
    }
}

/// One value.
#[derive(Clone, Copy)]
struct NodeDeserializer<'a> {
    node: &'a Node,
    source: Option<&'a Source>,
}

impl<'a> NodeDeserializer<'a> {
    fn at<T>(self, result: Result<T, Stop>) -> Result<T, Stop> {
        result.map_err(|stop| stop.at(self.node, self.source))
    }

    /// The text of a variable, which may be of any type.
    fn loose(self) -> Option<&'a str> {
        match &self.node.raw {
            Raw::Loose(text) => Some(text.trim()),
            _ => None,
        }
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match &self.node.raw {
            Raw::Text(text) | Raw::Loose(text) | Raw::Date(text) => visitor.visit_str(text),
            Raw::Integer(number) => integer(*number, visitor),
            Raw::Float(number) => visitor.visit_f64(*number),
            Raw::Flag(flag) => visitor.visit_bool(*flag),
            Raw::List(nodes) => self.list(nodes, visitor),
            Raw::Table(entries) => visitor.visit_map(self.entries(entries)),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, nodes: &[Node], visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_seq(Elements {
            rest: nodes,
            source: self.source,
        })
    }

    fn entries(self, entries: &'a [Entry]) -> Entries<'a> {
        Entries {
            rest: entries,
            current: None,
            source: self.source,
        }
    }

    fn duration<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let wrong = || {
            let problem = format!("must be a duration: {}", duration::EXAMPLE);
            Fault::new(SettingsErrorKind::WrongType, problem)
        };
        let (Raw::Text(text) | Raw::Loose(text)) = &self.node.raw else {
            return Err(wrong().into());
        };
        let duration = duration::parse(text).map_err(Fault::value)?;
        let parts = [duration.as_secs(), u64::from(duration.subsec_nanos())];
        visitor.visit_seq(SeqDeserializer::new(parts.into_iter()))
    }
}

fn integer<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, Stop> {
    match (u64::try_from(number), i64::try_from(number)) {
        (Ok(number), _) => visitor.visit_u64(number),
        (_, Ok(number)) => visitor.visit_i64(number),
        _ => visitor.visit_i128(number),
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            let number = self.loose().and_then(|text| text.parse::<i128>().ok());
            self.at(match number {
                Some(number) => integer(number, visitor),
                None => self.any(visitor),
            })
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.at(self.any(visitor))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.at(match self.loose() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => self.any(visitor),
        })
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let number = self.loose().and_then(|text| text.parse::<f64>().ok());
        self.at(match number {
            Some(number) => visitor.visit_f64(number),
            None => self.any(visitor),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.at(visitor.visit_newtype_struct(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.at(match self.loose() {
            Some(text) => self.list(&split(text, &self.node.place), visitor),
            None => self.any(visitor),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        // What serde asks for on behalf of `std::time::Duration`.
        if name == "Duration" && fields == ["secs", "nanos"] {
            return self.at(self.duration(visitor));
        }
        if let Raw::Table(entries) = &self.node.raw {
            check_keys(entries, fields)?;
        }
        self.at(self.any(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.at(match &self.node.raw {
            Raw::Text(text) | Raw::Loose(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Raw::Table(entries) if entries.len() != 1 => {
                Err(Fault::value("must have exactly one key: the choice").into())
            }
            Raw::Table(entries) => {
                visitor.visit_enum(MapAccessDeserializer::new(self.entries(entries)))
            }
            _ => self.any(visitor),
        })
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct map identifier ignored_any
    }
}

/// The elements of a list, one after the other.
struct Elements<'a> {
    rest: &'a [Node],
    source: Option<&'a Source>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        let Some((node, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        seed.deserialize(NodeDeserializer {
            node,
            source: self.source,
        })
        .map(Some)
    }
}

/// What was written for a key of a section, the environment above the file.
pub(super) fn node(settings: &Settings, section: &super::Section, key: &str) -> Option<Node> {
    let variable = environment::variable(&section.name, key);
    if let Some(text) = settings
        .environment
        .value(&variable)
        .and_then(|value| value.to_str())
    {
        return Some(Node::loose(text, Place::Variable(variable)));
    }
    let Raw::Table(entries) = &section.entry.as_ref()?.node.raw else {
        return None;
    };
    let mut keys = key.split('.');
    let first = keys.next()?;
    let mut node = &entries.iter().find(|entry| entry.key == first)?.node;
    for key in keys {
        let Raw::Table(entries) = &node.raw else {
            return None;
        };
        node = &entries.iter().find(|entry| entry.key == key)?.node;
    }
    Some(node.clone())
}
