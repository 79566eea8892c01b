//! The variables that begin with `WAYSIDE_`: what the environment says over the file.
//!
//! A value here is a copy, taken once. Tests and embedders make their own instead of changing
//! the process's environment, which is not safe while other threads read it.
//!
//! # Variables that nobody knows
//!
//! A file belongs to one application, so an unknown key in it is a mistake. The environment is
//! shared with everything that runs, so a variable is only called a mistake when it can hardly be
//! anything else:
//!
//! - it begins with the name of a section (`WAYSIDE_TCP_PORT`), or
//! - it is one slip away from a variable that exists (`WAYSIDE_ENDPIONT`).
//!
//! Any other is left alone and listed by [`unused_variables`](super::Settings::unused_variables).
//! So are the links that Kubernetes and Docker put into every container when a service happens to
//! be named `wayside…` (`WAYSIDE_TCP_SERVICE_HOST`, `WAYSIDE_PORT_7471_TCP_ADDR`): a service's
//! name must not keep programs from starting.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::error::{ErrorPlace, SettingsError, SettingsErrorKind};
use super::keys;
use super::suggest;

/// What all variables begin with.
pub(super) const PREFIX: &str = "WAYSIDE_";
/// Names the file.
pub(super) const CONFIG: &str = "WAYSIDE_CONFIG";
/// Full endpoints, which replace `transport`.
pub(super) const ENDPOINT: &str = "WAYSIDE_ENDPOINT";

/// The `WAYSIDE_…` variables that settings are read from.
///
/// ```
/// use wayside::settings::{Environment, Settings};
///
/// let environment = Environment::from_iter([("WAYSIDE_NAME", "shop")]);
/// let settings = Settings::builder().environment(environment).build()?;
/// assert_eq!(settings.name(), "shop");
/// # Ok::<(), wayside::settings::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// A copy of the variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// No variables at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The same with this variable set, or set to another value. For what a command line says,
    /// which stands above the environment.
    ///
    /// ```
    /// use wayside::settings::{Environment, Settings};
    ///
    /// let environment = Environment::from_iter([("WAYSIDE_NAME", "shop")]);
    /// let environment = environment.with("WAYSIDE_NAME", "stall");
    /// let settings = Settings::builder().environment(environment).build()?;
    /// assert_eq!(settings.name(), "stall");
    /// # Ok::<(), wayside::settings::SettingsError>(())
    /// ```
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        let (name, value) = (name.into(), value.into());
        if name.starts_with(PREFIX) {
            self.variables.insert(name, value);
        }
        self
    }

    /// The value of a variable. One that is set to nothing counts as not set.
    pub(super) fn value(&self, name: &str) -> Option<&OsStr> {
        self.value_or_empty(name).filter(|value| !value.is_empty())
    }

    /// As [`value`](Self::value), for the settings that nothing is a value of: lists.
    pub(super) fn value_or_empty(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str)
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The variables that nobody knows; the first that is a mistake is the error.
    /// `sections` are those whose keys are checked when they are read.
    pub(super) fn unused(&self, sections: &[&str]) -> Result<Vec<String>, SettingsError> {
        let mut unused = Vec::new();
        let known: Vec<String> = keys::variables().collect();
        let begins_with = |name: &str, section: &str| name.starts_with(&section_prefix(section));
        for name in self.names() {
            if known.iter().any(|known| known == name) {
                continue;
            }
            if sections.iter().any(|section| begins_with(name, section)) {
                continue;
            }
            let section = keys::sections().find(|section| begins_with(name, section));
            let near = near_variable(name, known.iter().map(String::as_str));
            if self.is_service_link(name) || (section.is_none() && near.is_none()) {
                unused.push(name.to_owned());
                continue;
            }
            let of_section = known.iter().filter(|known| match section {
                Some(section) => begins_with(known, section),
                None => false,
            });
            return Err(unknown_variable(name, near, of_section.map(String::as_str)));
        }
        Ok(unused)
    }

    /// Whether Kubernetes or Docker made it: `…_SERVICE_HOST`, `…_SERVICE_PORT…`, `…_PORT` with a
    /// URL, `…_PORT_7471_TCP…`.
    pub(super) fn is_service_link(&self, name: &str) -> bool {
        let text = |name: &str| self.variables.get(name).and_then(|value| value.to_str());
        let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
        name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || (name.ends_with("_PORT") && text(name).is_some_and(|value| value.contains("://")))
            || name
                .split_once("_PORT_")
                .is_some_and(|(_, rest)| numbered(rest))
    }
}

/// The variables of the iterator that begin with `WAYSIDE_`; others are left out.
impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { variables }
    }
}

/// `WAYSIDE_TCP_ADDRESS` for `tcp` and `address`; the section may be empty.
pub(super) fn variable(section: &str, key: &str) -> String {
    let key = key.replace('-', "_").to_ascii_uppercase();
    if section.is_empty() {
        format!("{PREFIX}{key}")
    } else {
        format!("{}{key}", section_prefix(section))
    }
}

/// What the variables of a section begin with: `WAYSIDE_TCP_`.
pub(super) fn section_prefix(section: &str) -> String {
    format!("{PREFIX}{}_", section.to_ascii_uppercase())
}

/// The variable that `name` is a misspelling of. What all begin with is not compared: it would
/// make strangers look alike.
pub(super) fn near_variable<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let rest = |name: &'a str| name.strip_prefix(PREFIX).map(|rest| (rest, name));
    let known: Vec<(&str, &str)> = known.filter_map(rest).collect();
    let near = suggest::near_miss(
        name.strip_prefix(PREFIX)?,
        known.iter().map(|(rest, _)| *rest),
    )?;
    known
        .iter()
        .find(|(rest, _)| *rest == near)
        .map(|(_, name)| *name)
}

/// The error for a variable that nobody knows.
pub(super) fn unknown_variable<'a>(
    name: &str,
    near: Option<&str>,
    of_section: impl Iterator<Item = &'a str>,
) -> SettingsError {
    let mut problem = format!("there is no such variable{}", suggest::did_you_mean(near));
    let of_section: Vec<&str> = of_section.collect();
    if near.is_none() && !of_section.is_empty() {
        problem.push_str(&format!(" (there is: {})", of_section.join(", ")));
    }
    let place = ErrorPlace::Variable(name.to_owned());
    SettingsError::new(SettingsErrorKind::UnknownKey, place, problem)
}

/// The value of a variable as text.
pub(super) fn text<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, SettingsError> {
    value.to_str().ok_or_else(|| {
        let place = ErrorPlace::Variable(name.to_owned());
        SettingsError::new(SettingsErrorKind::BadValue, place, "is not UTF-8")
            .with_excerpt(Some(format!("\"{}\"", value.to_string_lossy())))
    })
}
