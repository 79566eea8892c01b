//! Settings as a file again, each value with who set it.

use std::fmt;

use super::document::{Entry, Node, Raw};
use super::keys::{Default as KeyDefault, KEYS, Key};
use super::suggest::printable;
use super::value::quoted;
use super::{Section, Set, Settings, environment};

/// The effective settings as TOML; behind each value a comment says who set it, and a key that
/// follows from others is a comment altogether. `{:#}` leaves all comments out.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for (key, set) in KEYS.iter().zip(&self.values) {
            if key.section != section {
                section = key.section;
                write!(f, "\n[{section}]\n")?;
            }
            self.write_key(f, key, set)?;
        }
        for section in &self.sections {
            self.write_section(f, section)?;
        }
        if !f.alternate() {
            for variable in &self.unused {
                writeln!(f, "\n# {} means nothing to wayside", printable(variable))?;
            }
        }
        Ok(())
    }
}

impl Settings {
    fn write_key(&self, f: &mut fmt::Formatter<'_>, key: &Key, set: &Set) -> fmt::Result {
        let Some(value) = &set.value else {
            return match key.default {
                KeyDefault::Derived(derived) if !f.alternate() => {
                    writeln!(f, "# {}  # default: {}", key.name, derived.replace('`', ""))
                }
                _ => Ok(()),
            };
        };
        write!(f, "{} = {}", key.name, value.to_toml(key.kind))?;
        if !f.alternate() {
            write!(f, "  # {}", self.origin(&key.path()))?;
        }
        writeln!(f)
    }

    fn write_section(&self, f: &mut fmt::Formatter<'_>, section: &Section) -> fmt::Result {
        let prefix = environment::section_prefix(&section.name);
        let overrides = |name: &&str| name.starts_with(&prefix);
        let variables: Vec<&str> = self.environment.names().filter(overrides).collect();
        let entries = match section.entry.as_ref().map(|entry| &entry.node.raw) {
            Some(Raw::Table(entries)) => Some(entries),
            _ => None,
        };
        if entries.is_none() && (variables.is_empty() || f.alternate()) {
            return Ok(());
        }
        // A section of variables alone is a comment: in a file there is none.
        let mark = if entries.is_some() { "" } else { "# " };
        write!(f, "\n{mark}[{}]\n", section.name)?;
        for entry in entries.into_iter().flatten() {
            write!(f, "{} = ", bare_or_quoted(&entry.key))?;
            write_node(f, &entry.node)?;
            if !f.alternate() {
                write!(f, "  # {}", self.origin_of(&entry.node.place))?;
            }
            writeln!(f)?;
        }
        if f.alternate() {
            return Ok(());
        }
        // What type they are is only known to whoever reads the section.
        for variable in variables {
            let value = self.environment.value(variable).unwrap_or_default();
            let value = printable(&value.to_string_lossy());
            writeln!(f, "# {} = \"{value}\"  # environment", printable(variable))?;
        }
        Ok(())
    }
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    match &node.raw {
        Raw::Text(text) | Raw::Loose(text) => f.write_str(&quoted(text)),
        Raw::Integer(number) => write!(f, "{number}"),
        Raw::Float(number) if number.is_nan() => f.write_str("nan"),
        // As Rust, with a point or an exponent: an integer would be another type.
        Raw::Float(number) => write!(f, "{number:?}"),
        Raw::Flag(flag) => write!(f, "{flag}"),
        Raw::Date(date) => f.write_str(date),
        Raw::List(nodes) => {
            f.write_str("[")?;
            for (index, node) in nodes.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { ", " })?;
                write_node(f, node)?;
            }
            f.write_str("]")
        }
        Raw::Table(entries) => write_table(f, entries),
    }
}

fn write_table(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    f.write_str("{")?;
    for (index, entry) in entries.iter().enumerate() {
        f.write_str(if index == 0 { " " } else { ", " })?;
        write!(f, "{} = ", bare_or_quoted(&entry.key))?;
        write_node(f, &entry.node)?;
    }
    f.write_str(" }")
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}
