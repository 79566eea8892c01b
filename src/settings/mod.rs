//! `wayside.toml` and the environment: which transport, under which name, within which limits.
//!
//! What a program is made of stays in its code; how its processes find each other is decided
//! where it runs. Changing one line moves all of them from Unix sockets to TCP, say:
//!
//! ```toml
//! # wayside.toml: every key may be left out, and the sections too.
//!
//! # How to connect. ["uds", "tcp"] would listen on both, and connect to the first that answers.
//! # "tcp:127.0.0.1:9000" gives the address as well.
//! transport = "uds"
//! # The application: /run/shop/shop.sock and /run/shop/shop.key derive from it.
//! name = "shop"
//! # Where those are. It belongs to one user; left out, each user has one of their own.
//! dir = "/run/shop"
//! # Whether waits for an answer stay awake for a moment: "off", "adaptive" or "always".
//! spin = "adaptive"
//!
//! [uds]
//! path = "/srv/shop/shop.sock"      # instead of <dir>/<name>.sock
//! allow_uids = [33]                 # others that may connect; needs a path that they may reach
//! allow_gids = []
//!
//! [tcp]
//! address = "127.0.0.1:7471"
//! key = "/run/shop/shop.key"        # instead of <dir>/<name>.key
//! beyond_loopback = false
//!
//! [fifo]
//! path = "/srv/shop/shop.fifo"      # instead of <dir>/<name>.fifo
//!
//! [mqueue]                          # the queues are /wayside-<name> and what derives from it
//! messages = 8
//! message_len = 896
//!
//! [limits]                          # the fields of `Limits`
//! frame_len_max = "4 MiB"           # sizes: bytes as an integer, or with a unit
//! ping_interval = "5s"              # durations: "250ms", "5s", "1m 30s"
//! silence_timeout = "15s"
//!
//! [agent]                           # read by the aggregator
//!
//! [worker]
//! ```
//!
//! All keys with their defaults and variables are in
//! [docs/settings.md](https://docs.rs/crate/wayside/latest/source/docs/settings.md).
//!
//! # Who wins
//!
//! The program's own choices ([`SettingsBuilder`]) stand above the defaults, the file above the
//! program, and the environment above the file:
//!
//! | variable | |
//! |---|---|
//! | `WAYSIDE_CONFIG` | the file; else `wayside.toml` in the current directory, if it is there |
//! | `WAYSIDE_TRANSPORT`, `WAYSIDE_NAME`, `WAYSIDE_DIR`, `WAYSIDE_SPIN` | the keys at the top; lists with commas |
//! | `WAYSIDE_<SECTION>_<KEY>` | the others: `WAYSIDE_TCP_ADDRESS`, `WAYSIDE_LIMITS_PING_INTERVAL` |
//! | `WAYSIDE_ENDPOINT` | full endpoints, with commas; they replace `transport`, also in its variable |
//!
//! A variable that is set to nothing counts as not set; for `allow_uids` and `allow_gids` it is
//! the empty list. Variables that begin with `WAYSIDE_` and that nobody knows: see
//! [`Settings::unused_variables`].
//!
//! The file in the current directory is refused when any user of the system may write to it or to
//! the directory. One that was named is trusted.
//!
//! # Mistakes
//!
//! Every mistake is one [`SettingsError`] with file, line, column, key, and what would be right.
//! Nothing is skipped: an unknown key is a mistake, and so is a bad value that the environment
//! would have overridden.
//!
//! # Sections of your own
//!
//! A program can keep its own settings in the same file, typed by serde:
//!
//! ```
//! use std::time::Duration;
//! use wayside::settings::Settings;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(default)]
//! struct Cache {
//!     keep: Duration,
//!     shards: u8,
//! }
//!
//! impl Default for Cache {
//!     fn default() -> Self {
//!         Self { keep: Duration::from_secs(60), shards: 4 }
//!     }
//! }
//!
//! let settings = Settings::builder()
//!     .section("cache")
//!     .load_text("[cache]\nkeep = \"5m\"", "wayside.toml")?;
//! let cache: Cache = settings.section("cache")?;
//! assert_eq!((cache.keep, cache.shards), (Duration::from_secs(300), 4));
//!
//! let settings = Settings::builder()
//!     .section("cache")
//!     .load_text("[cache]\nkep = \"5m\"", "wayside.toml")?;
//! let error = settings.section::<Cache>("cache").err().map(|error| error.to_string());
//! assert_eq!(
//!     error.as_deref(),
//!     Some("wayside.toml:2:1: cache.kep: there is no such key; did you mean `keep`?")
//! );
//! # Ok::<(), wayside::settings::SettingsError>(())
//! ```

// The way of a setting:
//
//   file         finds and reads the text           environment   the variables
//   document     TOML with places                        |
//      |                                                 |
//      +---------------> builder: code < file < environment <- keys: the table
//                           |      value: text to type, by kind <- duration, size, transports
//                           v
//                        Settings -> transports, limits, display; section: serde
mod bounds;
mod builder;
mod display;
mod document;
mod duration;
mod environment;
mod error;
mod file;
#[cfg(feature = "internals")]
pub(crate) mod fuzz;
mod keys;
mod origin;
mod quantity;
mod reference;
mod section;
mod size;
mod suggest;
mod transports;
mod trust;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use self::document::{Entry, Node, Place, Source};
use self::error::ErrorPlace;
use self::transports::{Choice, Directory, Known};
use self::value::{Fault, Value};
use crate::limits::Limits;
use crate::spin::Spin;
use crate::transport::Transport;

pub use self::builder::SettingsBuilder;
pub use self::environment::Environment;
pub use self::error::{SettingsError, SettingsErrorKind};
pub use self::origin::Origin;
pub use self::size::Size;
pub(crate) use self::transports::{Candidate, NotMade, Standing};

/// The settings of a process: checked, and each with the knowledge of where it comes from.
///
/// Printed (`{settings}`) they are a file again, with a comment behind every value that says who
/// set it; `{settings:#}` leaves the comments out.
///
/// ```
/// use wayside::settings::Settings;
///
/// let settings = Settings::from_text("name = \"shop\"", "wayside.toml")?;
/// assert_eq!(settings.name(), "shop");
/// assert!(settings.to_string().contains("name = \"shop\"  # wayside.toml:1"));
/// # Ok::<(), wayside::settings::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file, for the excerpts and places of later errors.
    source: Option<Arc<Source>>,
    environment: Environment,
    /// One for each of [`keys::KEYS`], in that order.
    values: Vec<Set>,
    /// What the values of `[limits]` say, and proven by `Limits::check`.
    limits: Limits,
    /// The sections whose keys are checked when they are read.
    sections: Vec<Section>,
    own: Vec<Transport>,
    unused: Vec<String>,
}

/// The value of a key.
#[derive(Debug, Clone)]
struct Set {
    /// `None` when it follows from other values.
    value: Option<Value>,
    /// What was written; `None` when nobody did.
    node: Option<Node>,
}

/// A section of a floor above or of the program, with what the file has of it.
#[derive(Debug, Clone)]
struct Section {
    name: String,
    entry: Option<Entry>,
}

impl Settings {
    /// The settings of this process: from the file that `WAYSIDE_CONFIG` names, else from
    /// `wayside.toml` in the current directory if it is there; then from the environment.
    ///
    /// # Errors
    /// The first mistake in them.
    pub fn load() -> Result<Self, SettingsError> {
        Self::builder().load()
    }

    /// From this file, then from the environment.
    ///
    /// # Errors
    /// The file can't be read, or the first mistake in it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        Self::builder().load_file(path)
    }

    /// From this text alone; `origin_name` stands for the file's name in errors.
    ///
    /// # Errors
    /// The first mistake in it.
    pub fn from_text(text: &str, origin_name: &str) -> Result<Self, SettingsError> {
        Self::builder()
            .environment(Environment::empty())
            .load_text(text, origin_name)
    }

    /// The defaults, for an application of this name: no file and no environment.
    ///
    /// # Errors
    /// The name can't be one.
    pub fn default_for(name: &str) -> Result<Self, SettingsError> {
        Self::builder()
            .environment(Environment::empty())
            .name(name)
            .build()
    }

    /// Settings over choices of the program.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::new()
    }

    /// The transports in their order, ready to bind and connect.
    ///
    /// Where an address derives from the directory, the directory is created and checked.
    ///
    /// # Errors
    /// The directory can't be used; or the settings name no transport, and this build does not have the
    /// one that is the default.
    pub fn transports(&self) -> Result<Vec<Transport>, SettingsError> {
        let known = Known { own: &self.own };
        self.choices()
            .iter()
            .map(|choice| known.transport(choice, self))
            .collect()
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether waits spin before they sleep.
    #[must_use]
    pub fn spin(&self) -> Spin {
        let word = self.text("", "spin");
        word.and_then(value::spin).unwrap_or_default()
    }

    /// The application's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("", "name").unwrap_or_default()
    }

    /// The directory of sockets and keys, created if it is missing. Without a setting it is the
    /// user's own: [`runtime_directory`](crate::backend::runtime_directory).
    ///
    /// # Errors
    /// It can't be created, or does not belong to this user alone.
    pub fn dir(&self) -> Result<PathBuf, SettingsError> {
        self.directory(Directory::Create)
    }

    fn directory(&self, directory: Directory) -> Result<PathBuf, SettingsError> {
        let explicit = self.text("", "dir").map(Path::new);
        let path = match directory {
            Directory::Create => crate::backend::runtime_directory(explicit),
            Directory::Leave => crate::backend::runtime_directory_as_it_is(explicit),
        };
        path.map_err(|error| {
            let kind = SettingsErrorKind::Io(error.kind());
            let fault = Fault::new(kind, suggest::printable_whole(&error.to_string()));
            match self.set("", "dir").and_then(|set| set.node.as_ref()) {
                Some(node) => self.error(fault, "dir", node),
                None => self.default_error(fault, "dir"),
            }
        })
    }

    /// The file that was read.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.source.as_deref().map(|source| source.name.as_path())
    }

    /// Reads a section that the program declared by [`SettingsBuilder::section`]. The keys are
    /// the fields of `T`, and `WAYSIDE_<SECTION>_<FIELD>` overrides each.
    ///
    /// `std::time::Duration` is written as in `"5s"`, [`Size`] as in `"4 MiB"`. Fields need
    /// `#[serde(default)]` unless the section has to be there. A `T` that takes any key (a map, or
    /// a struct with `#[serde(flatten)]`) gives up the check for unknown ones.
    ///
    /// # Errors
    /// The first mistake in the section; or the program has not declared it.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        match self.sections.iter().find(|section| section.name == name) {
            Some(section) => section::read(self, name, section.entry.as_ref()),
            None => {
                let problem = "is read without having been declared by `SettingsBuilder::section`";
                let kind = SettingsErrorKind::UnknownKey;
                Err(SettingsError::new(kind, ErrorPlace::Program, problem).with_key(name))
            }
        }
    }

    /// An error about the value of a key (`worker.flush`), for checks of your own: with its place
    /// and what was written there.
    ///
    /// ```
    /// # let settings = wayside::settings::Settings::from_text("name = \"shop\"", "wayside.toml")?;
    /// let error = settings.reject("name", "is taken by another program");
    /// assert_eq!(
    ///     error.to_string(),
    ///     "wayside.toml:1:8: name = \"shop\": is taken by another program"
    /// );
    /// # Ok::<(), wayside::settings::SettingsError>(())
    /// ```
    #[must_use]
    pub fn reject(&self, key: &str, problem: impl fmt::Display) -> SettingsError {
        let fault = Fault::value(suggest::printable_whole(&problem.to_string()));
        match self.node(key) {
            Some(node) => self.error(fault, key, &node),
            None => self.default_error(fault, key),
        }
    }

    /// Who set the value of a key (`tcp.address`). A key that does not exist was set by nobody.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        match self.node(key) {
            Some(node) => self.origin_of(&node.place),
            None => Origin::Default,
        }
    }

    /// The variables that begin with `WAYSIDE_` and mean nothing to wayside, in order.
    ///
    /// The environment is shared with everything that runs, so a variable is only an error when it
    /// can hardly be anything but a slip: when it begins with the name of a section
    /// (`WAYSIDE_TCP_PORT`) or is nearly one that exists (`WAYSIDE_ENDPIONT`). Others are left
    /// alone and listed here, as are the links that Kubernetes and Docker make for services
    /// (`WAYSIDE_TCP_SERVICE_HOST`).
    #[must_use]
    pub fn unused_variables(&self) -> &[String] {
        &self.unused
    }

    /// The transports that these settings name and all others there are, without creating anything.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        Known { own: &self.own }.candidates(self)
    }

    fn set(&self, section: &str, name: &str) -> Option<&Set> {
        self.values.get(keys::index(section, name)?)
    }

    fn value(&self, section: &str, name: &str) -> Option<&Value> {
        self.set(section, name)?.value.as_ref()
    }

    fn text(&self, section: &str, name: &str) -> Option<&str> {
        match self.value(section, name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn flag(&self, section: &str, name: &str) -> bool {
        matches!(self.value(section, name), Some(Value::Flag(true)))
    }

    fn ids(&self, section: &str, name: &str) -> &[u32] {
        match self.value(section, name) {
            Some(Value::Ids(ids)) => ids,
            _ => &[],
        }
    }

    #[cfg(feature = "mqueue")]
    fn count(&self, section: &str, name: &str) -> Option<u32> {
        match self.value(section, name)? {
            Value::Number(number) => u32::try_from(*number).ok(),
            _ => None,
        }
    }

    fn choices(&self) -> &[Choice] {
        match self.value("", "transport") {
            Some(Value::Transports(choices)) => choices,
            _ => &[],
        }
    }

    /// The path that a key gives, else `<dir>/<name>.<extension>`.
    #[cfg(any(feature = "uds", feature = "tcp", feature = "fifo"))]
    fn path_or_derived(
        &self,
        section: &str,
        key: &str,
        extension: &str,
        directory: Directory,
    ) -> Result<String, SettingsError> {
        if let Some(path) = self.text(section, key) {
            return Ok(path.to_owned());
        }
        let path = self
            .directory(directory)?
            .join(format!("{}.{extension}", self.name()));
        path.into_os_string().into_string().map_err(|path| {
            let problem = format!("is not UTF-8: {}", path.to_string_lossy());
            let fault = Fault::value(suggest::printable_whole(&problem));
            self.default_error(fault, "dir")
        })
    }

    /// What was written for a key, of the table or of a section of others.
    fn node(&self, key: &str) -> Option<Node> {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        if let Some(set) = self.set(section, name) {
            return set.node.clone();
        }
        let section = self
            .sections
            .iter()
            .find(|candidate| candidate.name == section)?;
        section::node(self, section, name)
    }

    /// The error about a value.
    fn error(&self, fault: Fault, key: &str, node: &Node) -> SettingsError {
        let source = self.source.as_deref();
        let (place, excerpt) = fault
            .at
            .unwrap_or_else(|| (node.place.clone(), node.excerpt(source)));
        SettingsError::new(fault.kind, self.error_place(&place), fault.problem)
            .with_key(key)
            .with_excerpt(excerpt)
    }

    /// The error about a value that nobody set.
    fn default_error(&self, fault: Fault, key: &str) -> SettingsError {
        SettingsError::new(fault.kind, ErrorPlace::Default, fault.problem).with_key(key)
    }

    fn error_place(&self, place: &Place) -> ErrorPlace {
        match (place, &self.source) {
            (Place::File(span), Some(source)) => source.error_place(span.start),
            (Place::Variable(name), _) => ErrorPlace::Variable(name.clone()),
            (Place::Code, _) => ErrorPlace::Program,
            (Place::Default | Place::File(_), _) => ErrorPlace::Default,
        }
    }

    fn origin_of(&self, place: &Place) -> Origin {
        match (place, &self.source) {
            (Place::File(span), Some(source)) => Origin::File {
                name: source.name.clone(),
                line: source.line(span.start),
            },
            (Place::Variable(name), _) => Origin::Variable(name.clone()),
            (Place::Code, _) => Origin::Program,
            (Place::Default | Place::File(_), _) => Origin::Default,
        }
    }
}
