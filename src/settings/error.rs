//! What is wrong with the settings: one type, one line, always with the place and what would be
//! right.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::suggest::{printable, printable_whole};

/// What is wrong with the settings, where, and what would be right.
///
/// It prints as one line:
///
/// ```
/// use wayside::settings::Settings;
///
/// let error = Settings::from_text("name = \"shop\"\ntransport = \"udp\"", "wayside.toml")
///     .unwrap_err();
/// let line = error.to_string();
/// assert!(line.starts_with(
///     "wayside.toml:2:13: transport = \"udp\": there is no such transport; did you mean `uds`?"
/// ));
/// assert_eq!((error.line(), error.column(), error.key()), (Some(2), Some(13), Some("transport")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: SettingsErrorKind,
    place: ErrorPlace,
    key: Option<String>,
    excerpt: Option<String>,
    problem: String,
}

/// What sort of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsErrorKind {
    /// The file can't be read, or the directory can't be used.
    Io(io::ErrorKind),
    /// The file is not UTF-8, or not TOML.
    Syntax,
    /// There is no such section, key or variable.
    UnknownKey,
    /// A text where a number belongs, and the like.
    WrongType,
    /// The right type, and still not a value that can be used.
    BadValue,
    /// A section of a program lacks a key that has no default.
    Missing,
    /// The transport is not in this build, or not on this system.
    Transport,
    /// The limits contradict each other.
    Limits,
}

/// Where a mistake was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ErrorPlace {
    /// In a file: its name, and line and column from 1.
    File(PathBuf, Option<(usize, usize)>),
    /// In a variable of the environment.
    Variable(String),
    /// In the program that made the settings.
    Program,
    /// In nothing that anybody wrote.
    Default,
}

impl SettingsError {
    pub(super) fn new(
        kind: SettingsErrorKind,
        place: ErrorPlace,
        problem: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            place,
            key: None,
            excerpt: None,
            problem: problem.into(),
        }))
    }

    pub(super) fn with_key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    pub(super) fn with_excerpt(mut self, excerpt: Option<String>) -> Self {
        self.0.excerpt = excerpt;
        self
    }

    /// What sort of mistake it is.
    #[must_use]
    pub fn kind(&self) -> SettingsErrorKind {
        self.0.kind
    }

    /// The file, if the mistake is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0.place {
            ErrorPlace::File(path, _) => Some(path),
            _ => None,
        }
    }

    /// The line in the file, from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position().map(|(line, _)| line)
    }

    /// The column in the line, in characters from 1.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.position().map(|(_, column)| column)
    }

    /// The variable of the environment, if the mistake is in one.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match &self.0.place {
            ErrorPlace::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// The key, with its section: `tcp.address`.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// What is wrong and what would be right, without the place.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.0.problem
    }

    fn position(&self) -> Option<(usize, usize)> {
        match &self.0.place {
            ErrorPlace::File(_, position) => *position,
            _ => None,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            place,
            key,
            excerpt,
            problem,
            ..
        } = &*self.0;
        let mut key = key.as_deref();
        match place {
            ErrorPlace::File(path, position) => {
                f.write_str(&printable_whole(&path.to_string_lossy()))?;
                if let Some((line, column)) = position {
                    write!(f, ":{line}:{column}")?;
                }
                f.write_str(": ")?;
            }
            // The name of the variable says which key it is.
            ErrorPlace::Variable(name) => {
                key = None;
                f.write_str(&printable(name))?;
                match excerpt {
                    Some(excerpt) => write!(f, " = {}: ", printable(excerpt))?,
                    None => f.write_str(": ")?,
                }
            }
            ErrorPlace::Program => f.write_str("set by the program: ")?,
            ErrorPlace::Default => {}
        }
        if let Some(key) = key {
            f.write_str(&printable(key))?;
            match excerpt {
                Some(excerpt) => write!(f, " = {}: ", printable(excerpt))?,
                None => f.write_str(": ")?,
            }
        }
        f.write_str(problem)
    }
}

impl std::error::Error for SettingsError {}
