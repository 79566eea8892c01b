//! The transports that settings can name, and how one is made of them. Outside `backend` this is
//! the only file that knows backends by their names.

use std::fmt;

use super::Settings;
use super::document::{Node, Place};
use super::error::{SettingsError, SettingsErrorKind};
use super::suggest;
use super::value::{self, Fault, PathProblem};
#[cfg(any(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue"))]
use crate::backend::Backend;
#[cfg(feature = "fifo")]
use crate::backend::Fifo;
#[cfg(feature = "tcp")]
use crate::backend::Tcp;
#[cfg(feature = "uds")]
use crate::backend::Uds;
#[cfg(feature = "mqueue")]
use crate::backend::{Mqueue, MqueueOptions};
use crate::endpoint::{Endpoint, EndpointError};
use crate::transport::Transport;

/// One element of `transport`.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) scheme: String,
    /// Given by a full endpoint; else it follows from the other settings.
    pub(super) address: Option<String>,
    /// What was written.
    pub(super) node: Node,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        match &self.address {
            Some(address) => write!(f, ":{address}"),
            None => Ok(()),
        }
    }
}

/// A transport of this crate.
struct Builtin {
    scheme: &'static str,
    presence: fn() -> Presence,
    check_address: fn(&str) -> Result<(), String>,
}

/// Makes a transport at an address, or at the one that follows from the settings.
type Make = fn(&Settings, Option<&str>, Directory) -> Result<Transport, SettingsError>;

/// What becomes of the directory of sockets and keys when an address follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    /// It is created if it is missing.
    Create,
    /// It is left as it is, there or not.
    Leave,
}

/// Whether this build, on this system, has a transport.
#[cfg_attr(
    any(
        all(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue"),
        not(any(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue"))
    ),
    expect(dead_code, reason = "this build has all of them, or none")
)]
enum Presence {
    Here(Make),
    /// The system lacks it: why, and what to use instead.
    NotOnThisSystem(&'static str),
    /// Its cargo feature is off.
    NotInThisBuild,
}

const BUILTINS: [Builtin; 4] = [
    Builtin {
        scheme: "uds",
        presence: uds,
        check_address: check_file_path,
    },
    Builtin {
        scheme: "tcp",
        presence: tcp,
        check_address: value::check_socket_address,
    },
    Builtin {
        scheme: "fifo",
        presence: fifo,
        check_address: check_file_path,
    },
    Builtin {
        scheme: "mqueue",
        presence: mqueue,
        check_address: check_queue_name,
    },
];

#[cfg(feature = "uds")]
fn uds() -> Presence {
    fn make(
        settings: &Settings,
        address: Option<&str>,
        directory: Directory,
    ) -> Result<Transport, SettingsError> {
        let mut uds = Uds::new();
        for uid in settings.ids("uds", "allow_uids") {
            uds = uds.allow_uid(*uid);
        }
        for gid in settings.ids("uds", "allow_gids") {
            uds = uds.allow_gid(*gid);
        }
        let address = match address {
            Some(address) => address.to_owned(),
            None => settings.path_or_derived("uds", "path", "sock", directory)?,
        };
        Ok(Transport::new(uds, address))
    }
    presence(&Uds::new(), make)
}

#[cfg(not(feature = "uds"))]
fn uds() -> Presence {
    Presence::NotInThisBuild
}

#[cfg(feature = "tcp")]
fn tcp() -> Presence {
    fn make(
        settings: &Settings,
        address: Option<&str>,
        directory: Directory,
    ) -> Result<Transport, SettingsError> {
        let mut tcp = Tcp::new(settings.path_or_derived("tcp", "key", "key", directory)?);
        if settings.flag("tcp", "beyond_loopback") {
            tcp = tcp.beyond_loopback();
        }
        let address = address.or(settings.text("tcp", "address"));
        Ok(Transport::new(tcp, address.unwrap_or_default()))
    }
    presence(&Tcp::new(""), make)
}

#[cfg(not(feature = "tcp"))]
fn tcp() -> Presence {
    Presence::NotInThisBuild
}

#[cfg(feature = "fifo")]
fn fifo() -> Presence {
    fn make(
        settings: &Settings,
        address: Option<&str>,
        directory: Directory,
    ) -> Result<Transport, SettingsError> {
        let address = match address {
            Some(address) => address.to_owned(),
            None => settings.path_or_derived("fifo", "path", "fifo", directory)?,
        };
        Ok(Transport::new(Fifo::new(), address))
    }
    presence(&Fifo::new(), make)
}

#[cfg(not(feature = "fifo"))]
fn fifo() -> Presence {
    Presence::NotInThisBuild
}

#[cfg(feature = "mqueue")]
fn mqueue() -> Presence {
    fn make(
        settings: &Settings,
        address: Option<&str>,
        _: Directory,
    ) -> Result<Transport, SettingsError> {
        let defaults = MqueueOptions::default();
        let options = MqueueOptions {
            messages: settings
                .count("mqueue", "messages")
                .unwrap_or(defaults.messages),
            message_len: settings
                .count("mqueue", "message_len")
                .unwrap_or(defaults.message_len),
        };
        let address = match address {
            Some(address) => address.to_owned(),
            None => format!("/wayside-{}", settings.name()),
        };
        Ok(Transport::new(Mqueue::with(options), address))
    }
    presence(&Mqueue::new(), make)
}

#[cfg(not(feature = "mqueue"))]
fn mqueue() -> Presence {
    Presence::NotInThisBuild
}

#[cfg(any(feature = "uds", feature = "tcp", feature = "fifo", feature = "mqueue"))]
fn presence(backend: &dyn Backend, make: Make) -> Presence {
    match backend.capabilities().unsupported {
        Some(reason) => Presence::NotOnThisSystem(reason),
        None => Presence::Here(make),
    }
}

fn check_file_path(text: &str) -> Result<(), String> {
    value::check_path(text).map_err(|problem: PathProblem| problem.to_string())
}

fn check_queue_name(text: &str) -> Result<(), String> {
    match text.strip_prefix('/') {
        Some(name) if !name.is_empty() && !name.contains(['/', '\0']) => Ok(()),
        _ => Err("is no queue's name: write a slash and a name, such as /wayside-shop".to_owned()),
    }
}

/// A transport that could be used, or why not.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) scheme: String,
    pub(crate) standing: Standing,
    pub(crate) transport: Result<Transport, NotMade>,
}

/// Whether the settings name a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They do.
    Chosen,
    /// They could.
    Possible,
}

/// Why there is no such transport.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// This system, or this build, lacks it.
    NotHere(String),
    /// What it needs of the settings can't be had.
    Settings(SettingsError),
}

/// The transports that may be named: this crate's, and the program's own.
pub(super) struct Known<'a> {
    pub(super) own: &'a [Transport],
}

impl Known<'_> {
    /// The transports that work here, this crate's first.
    pub(super) fn here(&self) -> Vec<&'static str> {
        let here = |builtin: &&Builtin| matches!((builtin.presence)(), Presence::Here(_));
        let builtins = BUILTINS.iter().filter(here).map(|builtin| builtin.scheme);
        let own = self.own.iter().map(|own| own.backend().capabilities());
        let own = own
            .filter(|own| own.unsupported.is_none())
            .map(|own| own.scheme);
        builtins.chain(own).collect()
    }

    /// The same for an error.
    pub(super) fn list(&self) -> String {
        let here = self.here();
        if here.is_empty() {
            "none".to_owned()
        } else {
            here.join(", ")
        }
    }

    /// The program's own transport of that name.
    pub(super) fn own(&self, scheme: &str) -> Option<&Transport> {
        self.own
            .iter()
            .find(|transport| own_scheme(transport) == scheme)
    }

    /// Reads a name or a full endpoint.
    pub(super) fn choice(&self, text: &str) -> Result<Choice, Fault> {
        let scheme = text.split_once(':').map_or(text, |(scheme, _)| scheme);
        let builtin = BUILTINS.iter().find(|builtin| builtin.scheme == scheme);
        if builtin.is_none() && self.own(scheme).is_none() {
            return Err(self.no_such_transport(text, scheme));
        }
        let address = if text == scheme {
            None
        } else {
            let endpoint: Endpoint = text
                .parse()
                .map_err(|error: EndpointError| Fault::value(error.to_string()))?;
            Some(endpoint.address().to_owned())
        };
        // A program's own transport of the same name takes the place of this crate's.
        if let (Some(builtin), Some(address), None) = (builtin, &address, self.own(scheme)) {
            (builtin.check_address)(address).map_err(Fault::value)?;
        }
        let node = Node::loose(text, Place::Default);
        Ok(Choice {
            scheme: scheme.to_owned(),
            address,
            node,
        })
    }

    /// How it is made; an error where this build, or this system, does not have it.
    fn make(&self, scheme: &str) -> Result<Make, Fault> {
        let Some(builtin) = BUILTINS.iter().find(|builtin| builtin.scheme == scheme) else {
            return Err(self.no_such_transport(scheme, scheme));
        };
        let problem = match (builtin.presence)() {
            Presence::Here(make) => return Ok(make),
            Presence::NotOnThisSystem(reason) => not_on_this_system(reason),
            Presence::NotInThisBuild => format!(
                "the transport is known, but this build does not have it: enable the cargo \
                 feature `{scheme}` of wayside"
            ),
        };
        Err(self.not_here(&problem))
    }

    /// Whether this build, on this system, has it.
    pub(super) fn check_here(&self, choice: &Choice) -> Result<(), Fault> {
        match self.own(&choice.scheme) {
            Some(own) => match own.backend().capabilities().unsupported {
                Some(reason) => Err(self.not_here(&not_on_this_system(reason))),
                None => Ok(()),
            },
            None => self.make(&choice.scheme).map(|_| ()),
        }
    }

    fn not_here(&self, problem: &str) -> Fault {
        let problem = format!("{problem} (here: {})", self.list());
        Fault::new(SettingsErrorKind::Transport, problem)
    }

    /// Makes the transport.
    pub(super) fn transport(
        &self,
        choice: &Choice,
        settings: &Settings,
    ) -> Result<Transport, SettingsError> {
        match (self.own(&choice.scheme), &choice.address) {
            (Some(own), Some(address)) => Ok(own.at(address)),
            (Some(own), None) => Ok(own.clone()),
            (None, address) => {
                let make = self
                    .make(&choice.scheme)
                    .map_err(|fault| self.unusable(choice, fault, settings))?;
                make(settings, address.as_deref(), Directory::Create)
            }
        }
    }

    /// A transport that can't be made here. The default was named by nobody, so another can be.
    fn unusable(&self, choice: &Choice, fault: Fault, settings: &Settings) -> SettingsError {
        if choice.node.place != Place::Default {
            return settings.error(fault, "transport", &choice.node);
        }
        let scheme = &choice.scheme;
        let fault = self.not_here(&format!(
            "none is named, and this build does not have `{scheme}`, the default on this system: \
             enable the cargo feature `{scheme}` of wayside, or name another transport"
        ));
        settings.default_error(fault, "transport")
    }

    /// The transports that settings name, in their order, and then all others there are: made
    /// without creating anything.
    pub(super) fn candidates(&self, settings: &Settings) -> Vec<Candidate> {
        let choices = settings.choices();
        let chosen = choices.iter().map(|choice| {
            let address = choice.address.as_deref();
            self.candidate(&choice.scheme, address, Standing::Chosen, settings)
        });
        let builtins = BUILTINS.iter().map(|builtin| builtin.scheme);
        let mut others: Vec<&str> = builtins.chain(self.own.iter().map(own_scheme)).collect();
        others.retain(|scheme| choices.iter().all(|choice| choice.scheme != *scheme));
        let others = others
            .iter()
            .map(|scheme| self.candidate(scheme, None, Standing::Possible, settings));
        chosen.chain(others).collect()
    }

    fn candidate(
        &self,
        scheme: &str,
        address: Option<&str>,
        standing: Standing,
        settings: &Settings,
    ) -> Candidate {
        let transport = match (self.own(scheme), address) {
            (Some(own), Some(address)) => Ok(own.at(address)),
            (Some(own), None) => Ok(own.clone()),
            (None, address) => match self.make(scheme) {
                Ok(make) => make(settings, address, Directory::Leave).map_err(NotMade::Settings),
                Err(fault) => Err(NotMade::NotHere(fault.problem)),
            },
        };
        Candidate {
            scheme: scheme.to_owned(),
            standing,
            transport,
        }
    }

    fn no_such_transport(&self, text: &str, scheme: &str) -> Fault {
        let here = self.list();
        if scheme.contains(',') && text == scheme {
            let parts: Vec<String> = text
                .split(',')
                .map(|part| value::quoted(part.trim()))
                .collect();
            let parts = suggest::printable(&parts.join(", "));
            return Fault::value(format!("write several as a list: [{parts}] (here: {here})"));
        }
        let builtins = BUILTINS.iter().map(|builtin| builtin.scheme);
        let own = self.own.iter().map(own_scheme);
        let near = suggest::near_miss(scheme, builtins.chain(own));
        let hint = suggest::did_you_mean(near);
        Fault::value(format!("there is no such transport{hint} (here: {here})"))
    }
}

fn not_on_this_system(reason: &str) -> String {
    format!("this system does not have the transport: {reason}")
}

fn own_scheme(transport: &Transport) -> &'static str {
    transport.backend().capabilities().scheme
}
