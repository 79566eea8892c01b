//! Settings over the choices of a program: code < file < environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounds;
use super::document::{Entry, Node, Place, Raw, Source};
use super::environment::{self, CONFIG, ENDPOINT, Environment};
use super::error::{ErrorPlace, SettingsError, SettingsErrorKind};
use super::file::{self, NamedBy};
use super::keys::{self, Default as KeyDefault, KEYS, Key};
use super::suggest;
use super::transports::{Choice, Known};
use super::value::{Fault, Value, split};
use super::{Section, Set, Settings};
use crate::backend::DEFAULT_SCHEME;
use crate::limits::Limits;
use crate::spin::Spin;
use crate::transport::Transport;

/// What a program chooses before the file and the environment are read, and where those are.
///
/// ```
/// use wayside::Limits;
/// use wayside::settings::{Environment, Settings};
///
/// let settings = Settings::builder()
///     .name("shop")
///     .limits(Limits { calls_max: 64, ..Limits::default() })
///     .environment(Environment::from_iter([("WAYSIDE_LIMITS_CALLS_MAX", "128")]))
///     .load_text("name = \"stall\"", "wayside.toml")?;
/// assert_eq!(settings.name(), "stall");
/// assert_eq!(settings.limits().calls_max, 128);
/// # Ok::<(), wayside::settings::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings are read by `load`, `load_file`, `load_text` or `build`"]
pub struct SettingsBuilder {
    name: Option<String>,
    dir: Option<PathBuf>,
    transports: Vec<String>,
    limits: Limits,
    spin: Option<Spin>,
    own: Vec<Transport>,
    sections: Vec<String>,
    environment: Option<Environment>,
}

impl SettingsBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            dir: None,
            transports: Vec::new(),
            limits: Limits::default(),
            spin: None,
            own: Vec::new(),
            sections: Vec::new(),
            environment: None,
        }
    }

    /// The name, unless file or environment give one.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The directory, unless file or environment give one.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// A transport's name or a full endpoint, unless file or environment give some. Each call
    /// adds one; they are tried in the order of the calls.
    pub fn transport(mut self, transport: impl Into<String>) -> Self {
        self.transports.push(transport.into());
        self
    }

    /// The bounds, where file and environment don't give others.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether waits spin before they sleep, unless file or environment say it.
    pub fn spin(mut self, spin: Spin) -> Self {
        self.spin = Some(spin);
        self
    }

    /// A backend of your own, which settings can then name by its scheme. Its address here is what
    /// `transport = "<scheme>"` means; a full endpoint gives another.
    pub fn own_transport(mut self, transport: Transport) -> Self {
        self.own.push(transport);
        self
    }

    /// Declares a section of your own, to be read by [`Settings::section`]. Its name is of
    /// lower-case letters and digits. `agent` and `worker` need no declaration.
    pub fn section(mut self, name: impl Into<String>) -> Self {
        self.sections.push(name.into());
        self
    }

    /// These variables instead of those of the process.
    ///
    /// Where neither they nor anything else name a directory, the default one still follows the
    /// process: see [`Settings::dir`].
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Reads the file that `WAYSIDE_CONFIG` names, else `wayside.toml` in the current directory if
    /// it is there, then the environment.
    ///
    /// # Errors
    /// The first mistake in them.
    pub fn load(mut self) -> Result<Settings, SettingsError> {
        let environment = self.take_environment();
        let source = match environment.value(CONFIG) {
            Some(path) => Some(file::read(Path::new(path), NamedBy::Variable(CONFIG))?),
            None => file::read_if_present(Path::new("."))?,
        };
        self.assemble(source, environment)
    }

    /// Reads this file, then the environment.
    ///
    /// # Errors
    /// The file can't be read, or the first mistake.
    pub fn load_file(mut self, path: impl AsRef<Path>) -> Result<Settings, SettingsError> {
        let environment = self.take_environment();
        let source = file::read(path.as_ref(), NamedBy::Program)?;
        self.assemble(Some(source), environment)
    }

    /// Reads this text, then the environment; `origin_name` stands for the file's name in errors.
    ///
    /// # Errors
    /// The first mistake.
    pub fn load_text(mut self, text: &str, origin_name: &str) -> Result<Settings, SettingsError> {
        let environment = self.take_environment();
        let source = file::text(Path::new(origin_name), text.as_bytes().to_vec())?;
        self.assemble(Some(source), environment)
    }

    /// Reads no file, only the environment.
    ///
    /// # Errors
    /// The first mistake.
    pub fn build(mut self) -> Result<Settings, SettingsError> {
        let environment = self.take_environment();
        self.assemble(None, environment)
    }

    fn take_environment(&mut self) -> Environment {
        self.environment
            .take()
            .unwrap_or_else(Environment::of_process)
    }

    fn assemble(
        self,
        source: Option<Source>,
        environment: Environment,
    ) -> Result<Settings, SettingsError> {
        let reserved = keys::RESERVED.iter().map(|name| (*name).to_owned());
        let names = reserved.chain(self.sections.iter().cloned());
        let mut settings = Settings {
            source: source.map(Arc::new),
            environment,
            values: Vec::with_capacity(KEYS.len()),
            limits: self.limits.clone(),
            sections: names.map(|name| Section { name, entry: None }).collect(),
            own: self.own.clone(),
            unused: Vec::new(),
        };
        self.check_sections()?;
        settings.apply_defaults(&self.limits);
        settings.apply_program(&self)?;
        settings.apply_file()?;
        settings.apply_environment()?;
        settings.check()?;
        Ok(settings)
    }

    fn check_sections(&self) -> Result<(), SettingsError> {
        for (index, name) in self.sections.iter().enumerate() {
            let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            // Without an underscore no two sections can mean the same variable.
            let problem = if name.is_empty() || !name.chars().all(letters) {
                "is no name for a section: use lower-case letters and digits"
            } else if keys::sections()
                .chain(keys::RESERVED)
                .any(|taken| taken == name)
                || keys::index("", name).is_some()
                || self.sections[..index].contains(name)
            {
                "is taken: choose another name for the section"
            } else {
                continue;
            };
            let kind = SettingsErrorKind::BadValue;
            return Err(SettingsError::new(kind, ErrorPlace::Program, problem).with_key(name));
        }
        Ok(())
    }
}

/// How the layers are laid over each other. The order of the calls is the precedence.
impl Settings {
    fn apply_defaults(&mut self, limits: &Limits) {
        let known = Known { own: &self.own };
        let choice = known.choice(DEFAULT_SCHEME).ok();
        let transports = Value::Transports(choice.into_iter().collect());
        let value = |key: &Key| match key.default {
            KeyDefault::Text(text) => key.default_text_value(text),
            KeyDefault::Limit => bounds::value(limits, key.name),
            KeyDefault::Derived(_) if key.name == "transport" => Some(transports.clone()),
            KeyDefault::Derived(_) => None,
        };
        let values: Vec<Set> = KEYS
            .iter()
            .map(|key| Set {
                value: value(key),
                node: None,
            })
            .collect();
        self.values = values;
    }

    fn apply_program(&mut self, program: &SettingsBuilder) -> Result<(), SettingsError> {
        if let Some(name) = &program.name {
            self.apply("", "name", Node::loose(name, Place::Code))?;
        }
        if let Some(dir) = &program.dir {
            let node = Node::loose(dir.to_string_lossy(), Place::Code);
            if dir.to_str().is_none() {
                return Err(self.error(Fault::value("is not UTF-8"), "dir", &node));
            }
            self.apply("", "dir", node)?;
        }
        if let Some(spin) = program.spin {
            let word = match spin {
                Spin::Off => "off",
                Spin::Adaptive => "adaptive",
                Spin::Always => "always",
            };
            self.apply("", "spin", Node::loose(word, Place::Code))?;
        }
        if !program.transports.is_empty() {
            let parts = program
                .transports
                .iter()
                .map(|text| Node::loose(text, Place::Code));
            let node = Node {
                raw: Raw::List(parts.collect()),
                place: Place::Code,
            };
            self.apply("", "transport", node)?;
        }
        let defaults = Limits::default();
        for key in keys::of_section("limits") {
            let (was, is) = (
                bounds::value(&defaults, key.name),
                bounds::value(&program.limits, key.name),
            );
            let (Some(was), Some(is)) = (was, is) else {
                continue;
            };
            if was.to_toml(key.kind) != is.to_toml(key.kind) {
                let text = is.to_toml(key.kind).trim_matches('"').to_owned();
                let node = Node::loose(text, Place::Code);
                self.put(
                    "limits",
                    key.name,
                    Set {
                        value: Some(is),
                        node: Some(node),
                    },
                );
            }
        }
        Ok(())
    }

    fn apply_file(&mut self) -> Result<(), SettingsError> {
        let Some(source) = self.source.clone() else {
            return Ok(());
        };
        for entry in source.parse()? {
            let key = entry.key.as_str();
            if keys::index("", key).is_some() {
                self.apply("", key, entry.node)?;
            } else if let Some(section) = keys::sections().find(|section| *section == key) {
                for inner in self.table(entry)? {
                    if keys::index(section, &inner.key).is_none() {
                        return Err(self.unknown_key(section, &inner));
                    }
                    self.apply(section, &inner.key, inner.node)?;
                }
            } else if let Some(index) = self.sections.iter().position(|other| other.name == key) {
                self.table(entry.clone())?;
                self.sections[index].entry = Some(entry);
            } else {
                return Err(self.unknown_key("", &entry));
            }
        }
        Ok(())
    }

    /// The keys of a section.
    fn table(&self, entry: Entry) -> Result<Vec<Entry>, SettingsError> {
        match entry.node.raw {
            Raw::Table(entries) => Ok(entries),
            _ => {
                let problem = format!(
                    "must be a section: write [{}], and its keys below",
                    entry.key
                );
                let place = self.error_place(&entry.key_place);
                let kind = SettingsErrorKind::WrongType;
                Err(SettingsError::new(kind, place, problem).with_key(entry.key))
            }
        }
    }

    fn apply_environment(&mut self) -> Result<(), SettingsError> {
        for key in &KEYS {
            let variable = key.variable();
            let value = match key.kind {
                keys::Kind::Ids => self.environment.value_or_empty(&variable),
                _ => self.environment.value(&variable),
            };
            if let Some(value) = value {
                let text = environment::text(&variable, value)?.to_owned();
                self.apply(
                    key.section,
                    key.name,
                    Node::loose(text, Place::Variable(variable)),
                )?;
            }
        }
        if let Some(value) = self.environment.value(ENDPOINT) {
            let text = environment::text(ENDPOINT, value)?.to_owned();
            let node = Node::loose(text, Place::Variable(ENDPOINT.to_owned()));
            self.check_endpoints(&node)?;
            self.apply("", "transport", node)?;
        }
        let sections: Vec<&str> = self
            .sections
            .iter()
            .map(|other| other.name.as_str())
            .collect();
        self.unused = self.environment.unused(&sections)?;
        Ok(())
    }

    fn check_endpoints(&self, node: &Node) -> Result<(), SettingsError> {
        let Raw::Loose(text) = &node.raw else {
            return Ok(());
        };
        match split(text, &node.place)
            .iter()
            .find(|part| !is_endpoint(part))
        {
            None => Ok(()),
            Some(part) => {
                let problem = "is no full endpoint: write scheme:address, such as \
                               tcp:127.0.0.1:9000 (WAYSIDE_TRANSPORT takes names)";
                Err(self.error(Fault::value(problem), "transport", part))
            }
        }
    }

    /// Reads a value and puts it in place of the one before.
    fn apply(&mut self, section: &str, name: &str, node: Node) -> Result<(), SettingsError> {
        let Some(key) = keys::of_section(section).find(|key| key.name == name) else {
            return Ok(());
        };
        let known = Known { own: &self.own };
        let value = key
            .kind
            .read(&node, self.source.as_deref(), &known)
            .map_err(|fault| self.error(fault, &key.path(), &node))?;
        self.put(
            section,
            name,
            Set {
                value: Some(value),
                node: Some(node),
            },
        );
        Ok(())
    }

    fn put(&mut self, section: &str, name: &str, set: Set) {
        if let (true, Some(value)) = (section == "limits", &set.value) {
            bounds::set(&mut self.limits, name, value);
        }
        if let Some(place) = keys::index(section, name).and_then(|i| self.values.get_mut(i)) {
            *place = set;
        }
    }

    fn unknown_key(&self, section: &str, entry: &Entry) -> SettingsError {
        let is_table = matches!(entry.node.raw, Raw::Table(_));
        let problem = match (
            is_table && section.is_empty(),
            other_home(section, &entry.key),
        ) {
            (true, _) => self.no_such_section(&entry.key),
            (_, Some(home)) => home,
            (_, None) => no_such_key(section, &entry.key),
        };
        let place = self.error_place(&entry.key_place);
        SettingsError::new(SettingsErrorKind::UnknownKey, place, problem)
            .with_key(keys::path(section, &entry.key))
    }

    fn no_such_section(&self, name: &str) -> String {
        let mut sections: Vec<&str> = keys::sections().collect();
        sections.extend(self.sections.iter().map(|section| section.name.as_str()));
        format!("there is no such section{}", suggest::hint(name, &sections))
    }

    /// What only the whole can tell.
    fn check(&self) -> Result<(), SettingsError> {
        let known = Known { own: &self.own };
        // Whether the default is here matters only to those who connect by it.
        let named = |choice: &&Choice| choice.node.place != Place::Default;
        for choice in self.choices().iter().filter(named) {
            known
                .check_here(choice)
                .map_err(|fault| self.error(fault, "transport", &choice.node))?;
        }
        self.check_loopback()?;
        self.check_allowed()?;
        self.limits.check().map_err(|error| {
            // The key to point at is the one that somebody set last: the other may be a default.
            let set = |name: &&&str| {
                let place = self.set("limits", name).and_then(|set| set.node.as_ref());
                match place.map(|node| &node.place) {
                    None | Some(Place::Default) => 3,
                    Some(Place::Code) => 2,
                    Some(Place::File(_)) => 1,
                    Some(Place::Variable(_)) => 0,
                }
            };
            let name = error
                .bounds()
                .iter()
                .min_by_key(set)
                .copied()
                .unwrap_or_default();
            let fault = Fault::new(SettingsErrorKind::Limits, error.problem());
            let key = keys::path("limits", name);
            match self.set("limits", name).and_then(|set| set.node.as_ref()) {
                Some(node) => self.error(fault, &key, node),
                None => self.default_error(fault, &key),
            }
        })
    }

    fn check_loopback(&self) -> Result<(), SettingsError> {
        if self.flag("tcp", "beyond_loopback") {
            return Ok(());
        }
        let fault = || {
            Fault::value(
                "is not a loopback address, and what is sent is not encrypted: use 127.0.0.1, or \
                 set tcp.beyond_loopback = true if the network can be trusted",
            )
        };
        let beyond = |address: &str| {
            let address = address.parse::<std::net::SocketAddr>();
            address.is_ok_and(|address| !address.ip().to_canonical().is_loopback())
        };
        let set = self.set("tcp", "address").and_then(|set| set.node.as_ref());
        if let (Some(node), Some(address)) = (set, self.text("tcp", "address")) {
            if beyond(address) {
                return Err(self.error(fault(), "tcp.address", node));
            }
        }
        let known = Known { own: &self.own };
        for choice in self.choices() {
            let is_ours = choice.scheme == "tcp" && known.own("tcp").is_none();
            if is_ours && choice.address.as_deref().is_some_and(beyond) {
                return Err(self.error(fault(), "transport", &choice.node));
            }
        }
        Ok(())
    }

    /// Other users can't reach a socket in a directory that belongs to this one alone.
    fn check_allowed(&self) -> Result<(), SettingsError> {
        let known = Known { own: &self.own };
        let derives = |choice: &Choice| {
            choice.scheme == "uds" && choice.address.is_none() && known.check_here(choice).is_ok()
        };
        if self.text("uds", "path").is_some() || !self.choices().iter().any(derives) {
            return Ok(());
        }
        for key in ["allow_uids", "allow_gids"] {
            let node = self.set("uds", key).and_then(|set| set.node.as_ref());
            if let (Some(node), false) = (node, self.ids("uds", key).is_empty()) {
                let problem = "needs uds.path, in a directory that those users may pass: the one \
                               of `dir` is closed to them";
                return Err(self.error(Fault::value(problem), &keys::path("uds", key), node));
            }
        }
        Ok(())
    }
}

fn is_endpoint(node: &Node) -> bool {
    matches!(&node.raw, Raw::Loose(text) if text.contains(':'))
}

/// Where a key belongs that stands in the wrong section.
fn other_home(section: &str, name: &str) -> Option<String> {
    let home = KEYS
        .iter()
        .find(|key| key.name == name && key.section != section)?;
    Some(if home.section.is_empty() {
        format!(
            "belongs at the top of the file, above the first section: here it is a key of \
             [{section}]"
        )
    } else {
        format!("belongs in the section [{}]", home.section)
    })
}

fn no_such_key(section: &str, name: &str) -> String {
    let keys: Vec<&str> = keys::of_section(section).map(|key| key.name).collect();
    format!("there is no such key{}", suggest::hint(name, &keys))
}
