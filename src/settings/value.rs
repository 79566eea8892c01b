//! From what somebody wrote to a value of the right type, and back to text.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::document::{Node, Place, Raw, Source};
use super::duration;
use super::error::SettingsErrorKind;
use super::keys::{Kind, Width};
use super::size;
use super::suggest::printable;
use super::transports::{Choice, Known};
use crate::spin::Spin;

/// A value of a key of the table.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Transports(Vec<Choice>),
    Text(String),
    Flag(bool),
    Ids(Vec<u32>),
    /// A size or a count.
    Number(u64),
    Duration(Duration),
}

/// What is wrong with a value. Who reads it knows the key, and makes the error.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: SettingsErrorKind,
    pub(super) problem: String,
    /// The part of the value that is wrong, where it is not the whole.
    pub(super) at: Option<(Place, Option<String>)>,
    /// The keys inside a section that lead to it, the last one first.
    pub(super) keys: Vec<String>,
}

impl Fault {
    pub(super) fn new(kind: SettingsErrorKind, problem: impl Into<String>) -> Self {
        Self {
            kind,
            problem: problem.into(),
            at: None,
            keys: Vec::new(),
        }
    }

    pub(super) fn value(problem: impl Into<String>) -> Self {
        Self::new(SettingsErrorKind::BadValue, problem)
    }

    fn wrong_type(kind: Kind) -> Self {
        Self::new(
            SettingsErrorKind::WrongType,
            format!("must be {}", kind.expected()),
        )
    }

    /// Says where, unless a part inside was already named.
    pub(super) fn at(mut self, node: &Node, source: Option<&Source>) -> Self {
        if self.at.is_none() {
            self.at = Some((node.place.clone(), node.excerpt(source)));
        }
        self
    }
}

impl Kind {
    /// What a value must be: `must be …`.
    fn expected(self) -> String {
        match self {
            Self::Transports => {
                "the name of a transport such as \"tcp\", an endpoint such as \
                 \"tcp:127.0.0.1:9000\", or a list of these"
            }
            Self::Name => "a text such as \"shop\"",
            Self::Path => "a text: a path from the root",
            Self::SocketAddress => "a text such as \"127.0.0.1:7471\"",
            Self::Flag => "true or false",
            Self::Ids => "a list of numbers such as [33]",
            Self::Size(_) => return format!("a size: {}", size::EXAMPLE),
            Self::Count => "an integer from 0 to 4294967295",
            Self::Duration => return format!("a duration: {}", duration::EXAMPLE),
            Self::Spin => "\"off\", \"adaptive\" or \"always\"",
        }
        .to_owned()
    }

    /// Reads a value of this kind.
    pub(super) fn read(
        self,
        node: &Node,
        source: Option<&Source>,
        known: &Known<'_>,
    ) -> Result<Value, Fault> {
        match self {
            Self::Transports => transports(node, source, known),
            Self::Name => text(self, node).and_then(name),
            Self::Path => text(self, node).and_then(|text| path(text, node, source)),
            Self::SocketAddress => text(self, node).and_then(socket_address),
            Self::Flag => flag(node),
            Self::Spin => text(self, node).and_then(|text| match spin(text) {
                Some(_) => Ok(Value::Text(text.to_owned())),
                None => Err(Fault::value(format!("must be {}", self.expected()))),
            }),
            Self::Ids => ids(node, source),
            Self::Size(width) => number(self, width, node),
            Self::Count => number(self, Width::U32, node),
            Self::Duration => match &node.raw {
                Raw::Text(text) | Raw::Loose(text) => duration::parse(text)
                    .map(Value::Duration)
                    .map_err(Fault::value),
                _ => Err(Fault::wrong_type(self)),
            },
        }
    }
}

impl Width {
    fn max(self) -> u64 {
        match self {
            Self::U32 => u64::from(u32::MAX),
            Self::Usize => u64::try_from(usize::MAX).unwrap_or(u64::MAX),
        }
    }
}

fn text(kind: Kind, node: &Node) -> Result<&str, Fault> {
    match &node.raw {
        Raw::Text(text) | Raw::Loose(text) if text.is_empty() => Err(Fault::value("is empty")),
        Raw::Text(text) | Raw::Loose(text) => Ok(text),
        _ => Err(Fault::wrong_type(kind)),
    }
}

/// It becomes the name of files and queues, on systems with different ideas of what those may
/// be; on some upper and lower case are the same there.
fn name(text: &str) -> Result<Value, Fault> {
    const RULE: &str = "use 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit";
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if let Some(wrong) = text.chars().find(|c| !allowed(*c)) {
        let wrong = printable(&wrong.to_string());
        return Err(Fault::value(format!("a name can't have `{wrong}`: {RULE}")));
    }
    if text.starts_with(['_', '-']) || text.len() > 32 {
        return Err(Fault::value(format!("is no name: {RULE}")));
    }
    Ok(Value::Text(text.to_owned()))
}

fn path(text: &str, node: &Node, source: Option<&Source>) -> Result<Value, Fault> {
    check_path(text).map_err(|problem| match (problem, &node.place, source) {
        // Which path was meant is clear to whoever wrote it into a file: next to that file.
        (PathProblem::Relative, Place::File(_), Some(source)) => {
            let beside = source.name.parent().map(|parent| parent.join(text));
            let beside = beside.and_then(|path| std::path::absolute(path).ok());
            match beside.as_deref().and_then(Path::to_str) {
                Some(path) => Fault::value(format!(
                    "{}, such as \"{}\"",
                    PathProblem::Relative,
                    printable(path)
                )),
                None => Fault::value(PathProblem::Relative.to_string()),
            }
        }
        (problem, _, _) => Fault::value(problem.to_string()),
    })?;
    Ok(Value::Text(text.to_owned()))
}

/// Why a path can't be used.
pub(super) enum PathProblem {
    Relative,
    Nul,
}

impl fmt::Display for PathProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => {
                "is a relative path, which means another place to every process: write the whole \
                 path"
            }
            Self::Nul => "no path can have a zero byte",
        })
    }
}

pub(super) fn check_path(text: &str) -> Result<(), PathProblem> {
    if text.contains('\0') {
        return Err(PathProblem::Nul);
    }
    // Not `is_absolute`: on Windows that wants a drive, and the file may serve both.
    if !Path::new(text).has_root() {
        return Err(PathProblem::Relative);
    }
    Ok(())
}

fn socket_address(text: &str) -> Result<Value, Fault> {
    check_socket_address(text).map_err(Fault::value)?;
    Ok(Value::Text(text.to_owned()))
}

pub(super) fn check_socket_address(text: &str) -> Result<(), String> {
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(());
    }
    Err(match text.strip_prefix("localhost:") {
        Some(port) => format!(
            "names depend on the host: write \"127.0.0.1:{0}\" or \"[::1]:{0}\"",
            printable(port)
        ),
        None => "is no address: write an IP address, a colon and a port, such as \
                 \"127.0.0.1:7471\""
            .to_owned(),
    })
}

/// What a word says about spinning.
pub(super) fn spin(word: &str) -> Option<Spin> {
    match word {
        "off" => Some(Spin::Off),
        "adaptive" => Some(Spin::Adaptive),
        "always" => Some(Spin::Always),
        _ => None,
    }
}

fn flag(node: &Node) -> Result<Value, Fault> {
    match &node.raw {
        Raw::Flag(flag) => Ok(Value::Flag(*flag)),
        Raw::Loose(text) => match text.trim() {
            "true" => Ok(Value::Flag(true)),
            "false" => Ok(Value::Flag(false)),
            _ => Err(Fault::wrong_type(Kind::Flag)),
        },
        _ => Err(Fault::wrong_type(Kind::Flag)),
    }
}

/// A size or a count: an integer, or for a size also a text.
fn number(kind: Kind, width: Width, node: &Node) -> Result<Value, Fault> {
    let is_size = matches!(kind, Kind::Size(_));
    let number = match &node.raw {
        Raw::Integer(number) if *number < 0 => return Err(Fault::value("can't be negative")),
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) | Raw::Loose(text) if is_size => {
            Some(size::parse(text).map_err(Fault::value)?)
        }
        Raw::Loose(text) => Some(text.trim().parse().map_err(|_| Fault::wrong_type(kind))?),
        _ => return Err(Fault::wrong_type(kind)),
    };
    let max = width.max();
    match number.filter(|number| *number <= max) {
        Some(number) => Ok(Value::Number(number)),
        None => Err(Fault::value(format!("is out of range: at most {max}"))),
    }
}

fn ids(node: &Node, source: Option<&Source>) -> Result<Value, Fault> {
    let id = |node: &Node| -> Result<u32, Fault> {
        let number: i128 = match &node.raw {
            Raw::Integer(number) => *number,
            Raw::Loose(text) => text
                .trim()
                .parse()
                .map_err(|_| Fault::wrong_type(Kind::Ids))?,
            Raw::Text(_) => {
                return Err(Fault::new(
                    SettingsErrorKind::WrongType,
                    "must be a number: names are not looked up (`id` prints the number)",
                ));
            }
            _ => return Err(Fault::wrong_type(Kind::Ids)),
        };
        // The last one is -1 to the system: "no such user".
        match u32::try_from(number) {
            Ok(id) if id < u32::MAX => Ok(id),
            _ => Err(Fault::value("is out of range: 0 to 4294967294")),
        }
    };
    let parts = match &node.raw {
        Raw::List(nodes) => nodes.clone(),
        Raw::Loose(text) => split(text, &node.place),
        _ => return Err(Fault::wrong_type(Kind::Ids)),
    };
    let ids = parts
        .iter()
        .map(|node| id(node).map_err(|fault| fault.at(node, source)));
    Ok(Value::Ids(ids.collect::<Result<_, _>>()?))
}

/// The parts of a list in one variable.
pub(super) fn split(text: &str, place: &Place) -> Vec<Node> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',')
        .map(|part| Node::loose(part.trim(), place.clone()))
        .collect()
}

fn transports(node: &Node, source: Option<&Source>, known: &Known<'_>) -> Result<Value, Fault> {
    let parts = match &node.raw {
        Raw::Text(_) => vec![node.clone()],
        Raw::List(nodes) => nodes.clone(),
        Raw::Loose(text) => split(text, &node.place),
        _ => return Err(Fault::wrong_type(Kind::Transports)),
    };
    if parts.is_empty() {
        return Err(Fault::value(format!(
            "names no transport (here: {})",
            known.list()
        )));
    }
    let mut choices: Vec<Choice> = Vec::new();
    for part in &parts {
        let text = text(Kind::Transports, part).map_err(|fault| fault.at(part, source))?;
        let choice = Choice {
            node: part.clone(),
            ..known.choice(text).map_err(|fault| fault.at(part, source))?
        };
        if choices
            .iter()
            .any(|other| other.scheme == choice.scheme && other.address == choice.address)
        {
            return Err(Fault::value("stands in the list twice").at(part, source));
        }
        choices.push(choice);
    }
    Ok(Value::Transports(choices))
}

/// As TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transports(choices) => match choices.as_slice() {
                [choice] => f.write_str(&quoted(&choice.to_string())),
                _ => list(f, choices.iter().map(|choice| quoted(&choice.to_string()))),
            },
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Ids(ids) => list(f, ids.iter().map(u32::to_string)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Duration(duration) => f.write_str(&quoted(&duration::format(*duration))),
        }
    }
}

impl Value {
    /// As TOML, a size with its unit.
    pub(super) fn to_toml(&self, kind: Kind) -> String {
        match (kind, self) {
            (Kind::Size(_), Self::Number(bytes)) => {
                let text = size::format(*bytes);
                if text.contains(' ') {
                    quoted(&text)
                } else {
                    text
                }
            }
            _ => self.to_string(),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    write!(f, "[{}]", items.join(", "))
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
