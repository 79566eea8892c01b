//! Every key there is: the one table that reading, printing, suggestions and
//! `docs/settings.md` are made from.

use super::document::{Node, Place};
use super::environment::{self, CONFIG, ENDPOINT};
use super::transports::Known;
use super::value::Value;

/// A key of the file.
#[derive(Debug)]
pub(super) struct Key {
    /// The section; empty for the keys before the first section.
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    /// For people, in Markdown, one line.
    pub(super) meaning: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Transports,
    Name,
    /// A path from the root: a relative one would mean another place to every process.
    Path,
    SocketAddress,
    Flag,
    /// User or group numbers.
    Ids,
    Size(Width),
    Count,
    Duration,
    Spin,
}

/// How large a size may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    U32,
    Usize,
}

/// What holds when nobody sets a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// This, as it would be written into a variable of the environment.
    Text(&'static str),
    /// The field of this name in `Limits::default()`.
    Limit,
    /// Something that follows from other values: here in words.
    Derived(&'static str),
}

const fn top(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key {
        section: "",
        name,
        kind,
        default,
        meaning,
    }
}

const fn uds(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key {
        section: "uds",
        name,
        kind,
        default,
        meaning,
    }
}

const fn tcp(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key {
        section: "tcp",
        name,
        kind,
        default,
        meaning,
    }
}

const fn fifo(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key {
        section: "fifo",
        name,
        kind,
        default,
        meaning,
    }
}

const fn mqueue(name: &'static str, kind: Kind, default: Default, meaning: &'static str) -> Key {
    Key {
        section: "mqueue",
        name,
        kind,
        default,
        meaning,
    }
}

const fn limit(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        section: "limits",
        name,
        kind,
        default: Default::Limit,
        meaning,
    }
}

/// In the order in which settings are printed.
pub(super) const KEYS: [Key; 28] = [
    top(
        "transport",
        Kind::Transports,
        Default::Derived("`\"uds\"`; on Windows `\"tcp\"`"),
        "How to connect: a transport's name, or a full endpoint such as `\"tcp:127.0.0.1:9000\"`. In a list a server listens on all, and a client tries them in order.",
    ),
    top(
        "name",
        Kind::Name,
        Default::Text("wayside"),
        "The application. Socket, key and queue names derive from it: 1 to 32 of `a`-`z`, `0`-`9`, `_`, `-`, the first a letter or digit.",
    ),
    top(
        "dir",
        Kind::Path,
        Default::Derived(
            "`$XDG_RUNTIME_DIR/wayside`, else `/tmp/wayside-<uid>`; on Windows `%LOCALAPPDATA%\\wayside`",
        ),
        "The directory of sockets and keys. It is created, and refused unless it belongs to this user alone.",
    ),
    top(
        "spin",
        Kind::Spin,
        Default::Text("adaptive"),
        "Whether a caller that waits for its answer, and a server that was just asked, stay awake for a moment, 50 µs and 1 µs for each KiB that was sent (longer while it is tried whether that pays): `\"off\"`, `\"adaptive\"` (where it was seen to pay) or `\"always\"`.",
    ),
    uds(
        "path",
        Kind::Path,
        Default::Derived("`<dir>/<name>.sock`"),
        "The socket.",
    ),
    uds(
        "allow_uids",
        Kind::Ids,
        Default::Text(""),
        "Users that may connect, and be connected to, besides our own and root. Needs `path`, in a directory that they may pass.",
    ),
    uds(
        "allow_gids",
        Kind::Ids,
        Default::Text(""),
        "The same for groups: a peer's effective group.",
    ),
    tcp(
        "address",
        Kind::SocketAddress,
        Default::Text("127.0.0.1:7471"),
        "IP address and port as digits. The port does not follow from `name`: a second application on the host needs another.",
    ),
    tcp(
        "key",
        Kind::Path,
        Default::Derived("`<dir>/<name>.key`"),
        "The file with the key that both sides must know. Whoever comes first creates it.",
    ),
    tcp(
        "beyond_loopback",
        Kind::Flag,
        Default::Text("false"),
        "Also take addresses that other hosts can reach. What is sent is not encrypted.",
    ),
    fifo(
        "path",
        Kind::Path,
        Default::Derived("`<dir>/<name>.fifo`"),
        "The FIFO where clients announce themselves. Each then gets two of its own beside it, which lose their names once both sides have them. On Windows the path stands for a named pipe, or is one: `\\\\.\\pipe\\shop`.",
    ),
    mqueue(
        "messages",
        Kind::Count,
        Default::Text("8"),
        "The messages that each queue of a client holds. Without privilege the system allows 10 (`fs.mqueue.msg_max`).",
    ),
    mqueue(
        "message_len",
        Kind::Size(Width::U32),
        Default::Text("896"),
        "The longest message, in bytes: at most 1 MiB; without privilege the system allows 8192 (`fs.mqueue.msgsize_max`). With the defaults 51 clients fit into what a user may have (`RLIMIT_MSGQUEUE`).",
    ),
    limit(
        "frame_len_max",
        Kind::Size(Width::U32),
        "The longest frame: head and body of one message. A peer that announces more is closed.",
    ),
    limit(
        "outbox_len_max",
        Kind::Size(Width::Usize),
        "The bytes of encoded messages that wait to be written to one peer.",
    ),
    limit(
        "partial_len_max",
        Kind::Size(Width::Usize),
        "The bytes of half-received frames over all peers of a server.",
    ),
    limit(
        "calls_max",
        Kind::Count,
        "The calls of one peer that wait for an answer.",
    ),
    limit(
        "peers_max",
        Kind::Count,
        "The peers of a server. One more takes the place of one that has not said hello, or is turned away.",
    ),
    limit(
        "handshakes_max",
        Kind::Count,
        "The peers of a server that have not said hello. One more closes the one that has waited longest.",
    ),
    limit(
        "pushes_max",
        Kind::Count,
        "The pushes of a client that wait to be looked at. One more drops the oldest.",
    ),
    limit(
        "pushes_len_max",
        Kind::Size(Width::Usize),
        "The bytes of the pushes of a client that wait to be looked at. More drop the oldest.",
    ),
    limit(
        "handshake_timeout",
        Kind::Duration,
        "From the connection to the end of both hellos.",
    ),
    limit(
        "ping_interval",
        Kind::Duration,
        "A client that has heard nothing for so long asks for a sign of life.",
    ),
    limit(
        "silence_timeout",
        Kind::Duration,
        "A peer from which nothing has come for so long is dead. At least twice `ping_interval`.",
    ),
    limit(
        "frame_timeout",
        Kind::Duration,
        "From the first byte of a frame to its last.",
    ),
    limit(
        "stall_timeout",
        Kind::Duration,
        "A peer that has taken no byte for so long, while some waited, is closed.",
    ),
    limit(
        "reconnect_delay_min",
        Kind::Duration,
        "The pause before the first attempt to connect again; doubled each time, with jitter.",
    ),
    limit(
        "reconnect_delay_max",
        Kind::Duration,
        "The longest pause between two attempts.",
    ),
];

/// Sections that belong to the floors above. They may always stand in the file, because one file
/// serves all programs of an application; whoever reads one checks its keys.
pub(super) const RESERVED: [&str; 2] = ["agent", "worker"];

impl Key {
    /// With its section: `tcp.address`.
    pub(super) fn path(&self) -> String {
        path(self.section, self.name)
    }

    /// The default, where it is given as text.
    pub(super) fn default_text_value(&self, text: &str) -> Option<Value> {
        let node = Node::loose(text, Place::Default);
        self.kind.read(&node, None, &Known { own: &[] }).ok()
    }

    /// The variable that overrides it.
    pub(super) fn variable(&self) -> String {
        environment::variable(self.section, self.name)
    }
}

/// A section and a key as one text.
pub(super) fn path(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// Where a key stands in [`KEYS`].
pub(super) fn index(section: &str, name: &str) -> Option<usize> {
    KEYS.iter()
        .position(|key| key.section == section && key.name == name)
}

/// The sections of the table, in order.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let first = |index: usize| index == 0 || KEYS[index - 1].section != KEYS[index].section;
    (0..KEYS.len())
        .filter(move |index| first(*index))
        .map(|index| KEYS[index].section)
        .filter(|section| !section.is_empty())
}

/// The keys of a section; of the top for an empty name.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

/// Every variable that is read, but for those of the sections that others check.
pub(super) fn variables() -> impl Iterator<Item = String> {
    [CONFIG, ENDPOINT]
        .into_iter()
        .map(str::to_owned)
        .chain(KEYS.iter().map(Key::variable))
}
