//! Who set a value.

use std::fmt;
use std::path::PathBuf;

use super::suggest::printable_whole;

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody: it is the default, or follows from other values.
    Default,
    /// The program, by [`SettingsBuilder`](super::SettingsBuilder).
    Program,
    /// The file.
    File {
        /// As it was named.
        name: PathBuf,
        /// From 1.
        line: usize,
    },
    /// This variable of the environment.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Program => f.write_str("set by the program"),
            Self::File { name, line } => {
                write!(f, "{}:{line}", printable_whole(&name.to_string_lossy()))
            }
            Self::Variable(name) => write!(f, "environment {name}"),
        }
    }
}
