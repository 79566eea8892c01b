//! A TOML text as a tree that knows where each of its values stands.
//!
//! The tree owns everything, so that sections can be read long after the file: by the floors
//! above, and by programs with sections of their own. A place is kept as an offset; lines and
//! columns are counted only for an error, because counting them for every value of one long line
//! would take the square of its length.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ErrorPlace, SettingsError, SettingsErrorKind};
use super::suggest::printable;

/// Tables and lists inside each other. Nothing here needs more, and printing them on one line
/// must stay below what the parser takes.
const DEPTH_MAX: usize = 16;

/// The text of a file, and its name.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: PathBuf,
    pub(super) text: String,
    /// The offset of every line, rising.
    line_starts: Vec<usize>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nobody set it.
    Default,
    /// The program set it.
    Code,
    /// The bytes of the file that hold it.
    File(Range<usize>),
    /// The variable of the environment that holds it.
    Variable(String),
}

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) raw: Raw,
    pub(super) place: Place,
}

/// A value as it was written.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Text(String),
    Integer(i128),
    Float(f64),
    Flag(bool),
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// From the environment or the program: what type it is depends on who asks.
    Loose(String),
}

/// A key with its value, in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn loose(text: impl Into<String>, place: Place) -> Self {
        Self {
            raw: Raw::Loose(text.into()),
            place,
        }
    }

    /// The value as its writer wrote it.
    pub(super) fn excerpt(&self, source: Option<&Source>) -> Option<String> {
        match (&self.raw, &self.place) {
            (Raw::Loose(text), _) => Some(format!("\"{text}\"")),
            // A section is its header and all that follows.
            (Raw::Table(_), _) => None,
            (_, Place::File(span)) => source?.text.get(span.clone()).map(str::to_owned),
            _ => None,
        }
    }
}

impl Source {
    pub(super) fn new(name: PathBuf, text: String) -> Self {
        let after = text.match_indices('\n').map(|(offset, _)| offset + 1);
        let line_starts = std::iter::once(0).chain(after).collect();
        Self {
            name,
            text,
            line_starts,
        }
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Line and column of an offset, both from 1; the column counts characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line(offset);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(line_start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The same place, for an error.
    pub(super) fn error_place(&self, offset: usize) -> ErrorPlace {
        ErrorPlace::File(self.name.clone(), Some(self.position(offset)))
    }

    /// Reads the text.
    pub(super) fn parse(&self) -> Result<Vec<Entry>, SettingsError> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            // Without a place it is about the end: something that never came.
            let offset = error.span().map_or(self.text.len(), |span| span.start);
            self.syntax(offset, format!("is not TOML: {}", error.message()))
        })?;
        self.entries(table.into_inner(), 0)
    }

    fn entries(&self, table: DeTable<'_>, depth: usize) -> Result<Vec<Entry>, SettingsError> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            let key_place = Place::File(key.span());
            let key = key.into_inner().into_owned();
            let node = self.node(value, depth)?;
            entries.push(Entry {
                key,
                key_place,
                node,
            });
        }
        entries.sort_by_key(|entry| match &entry.key_place {
            Place::File(span) => span.start,
            _ => 0,
        });
        Ok(entries)
    }

    fn node(&self, value: Spanned<DeValue<'_>>, depth: usize) -> Result<Node, SettingsError> {
        let span = value.span();
        if depth > DEPTH_MAX {
            let problem = format!("is nested too deeply: at most {DEPTH_MAX} levels");
            return Err(self.syntax(span.start, problem));
        }
        let large = || self.syntax(span.start, "this number is too large".to_owned());
        let raw = match value.into_inner() {
            DeValue::String(text) => Raw::Text(text.into_owned()),
            DeValue::Integer(number) => {
                let integer = i128::from_str_radix(number.as_str(), number.radix());
                Raw::Integer(integer.map_err(|_| large())?)
            }
            DeValue::Float(number) => Raw::Float(number.as_str().parse().map_err(|_| large())?),
            DeValue::Boolean(flag) => Raw::Flag(flag),
            DeValue::Datetime(date) => Raw::Date(date.to_string()),
            DeValue::Array(values) => {
                let nodes = values.into_iter().map(|value| self.node(value, depth + 1));
                Raw::List(nodes.collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => Raw::Table(self.entries(table, depth + 1)?),
        };
        Ok(Node {
            raw,
            place: Place::File(span),
        })
    }

    fn syntax(&self, offset: usize, problem: String) -> SettingsError {
        let (line, _) = self.position(offset);
        let line = self
            .text
            .split('\n')
            .nth(line - 1)
            .unwrap_or_default()
            .trim();
        let problem = match line {
            "" => problem,
            line => format!("{problem} (in: {})", printable(line)),
        };
        SettingsError::new(SettingsErrorKind::Syntax, self.error_place(offset), problem)
    }
}
