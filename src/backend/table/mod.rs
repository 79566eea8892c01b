//! What the transports of this crate can do, by system: one table that is compiled everywhere, so that a
//! test on any system compares all of it with what README and manual say.

use super::{Capabilities, EndOfPeer, PeerIdentity};

/// Why, and what to use instead.
pub(crate) const NO_UDS: &str =
    "Unix domain sockets need a Unix system: use the fifo or tcp transport here";
pub(crate) const NO_MQUEUE: &str = "message queues are supported on Linux and FreeBSD only, as most other \
                                    systems have none: use the uds transport, or fifo on Windows";

/// Systems that differ in what a transport can do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// And Android, which has no message queues.
    Linux,
    /// macOS and its relatives.
    Apple,
    FreeBsd,
    /// NetBSD, OpenBSD and their like.
    Bsd,
    Windows,
}

impl System {
    /// The one that this is compiled for.
    pub(crate) const HERE: Self = if cfg!(any(target_os = "linux", target_os = "android")) {
        Self::Linux
    } else if cfg!(target_vendor = "apple") {
        Self::Apple
    } else if cfg!(target_os = "freebsd") {
        Self::FreeBsd
    } else if cfg!(unix) {
        Self::Bsd
    } else {
        Self::Windows
    };
}

/// What a transport can do on a system that is as it comes, and with its default options.
pub(crate) fn of(scheme: &'static str, system: System) -> Capabilities {
    match scheme {
        "uds" => uds(system),
        "fifo" => fifo(system),
        "mqueue" => mqueue(system),
        _ => tcp(system),
    }
}

fn uds(system: System) -> Capabilities {
    let mut uds = Capabilities::stream("uds");
    uds.short_recv_is_last = true;
    uds.peer_identity = match system {
        System::Linux => PeerIdentity::UserAndProcess,
        // LOCAL_PEERCRED has no process id. Some BSDs tell it all the same; none of them always did.
        _ => PeerIdentity::User,
    };
    if system == System::Windows {
        return not_there("uds", NO_UDS);
    }
    uds
}

fn fifo(system: System) -> Capabilities {
    let fifo = Capabilities::stream("fifo");
    if system == System::Windows {
        return Capabilities {
            peer_identity: PeerIdentity::UserAndProcess,
            ..fifo
        };
    }
    Capabilities {
        peer_identity: PeerIdentity::User,
        end_of_peer: match system {
            // epoll, and the kqueue of FreeBSD, report the end of the last writer.
            System::Linux | System::FreeBsd => EndOfPeer::AtOnce,
            // That of macOS never does; what the others do nobody has tried.
            _ => EndOfPeer::ByPing,
        },
        // On Linux a read empties the FIFO if the buffer has room, and whatever is written to an empty
        // one, or the end of its last writer, is another edge. Elsewhere nobody has tried.
        short_recv_is_last: system == System::Linux,
        descriptors_per_peer: 2,
        ..fifo
    }
}

fn mqueue(system: System) -> Capabilities {
    let mqueue = Capabilities {
        chunk_len_max: Some(896),
        ..Capabilities::stream("mqueue")
    };
    match system {
        // Two queues, and the peer's process.
        System::Linux => Capabilities {
            peer_identity: PeerIdentity::UserAndProcess,
            descriptors_per_peer: 3,
            peers_stock_max: Some(51),
            ..mqueue
        },
        // Two queues, and the lock file of each. Nothing tells when a process ends.
        System::FreeBsd => Capabilities {
            peer_identity: PeerIdentity::User,
            end_of_peer: EndOfPeer::ByPing,
            descriptors_per_peer: 4,
            peers_stock_max: Some(49),
            ..mqueue
        },
        _ => not_there("mqueue", NO_MQUEUE),
    }
}

fn tcp(system: System) -> Capabilities {
    Capabilities {
        peer_identity: PeerIdentity::Key,
        // On Windows mio watches a socket again only once it has seen a `WouldBlock`.
        short_recv_is_last: system != System::Windows,
        ..Capabilities::stream("tcp")
    }
}

fn not_there(scheme: &'static str, reason: &'static str) -> Capabilities {
    Capabilities {
        unsupported: Some(reason),
        ..Capabilities::stream(scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = include_str!("../../../README.md");
    const MANUAL: &str = include_str!("../../lib.rs");

    const SCHEMES: [&str; 4] = ["uds", "fifo", "mqueue", "tcp"];

    /// Each system, and what the README's table calls it: the first of these that a transport has a row
    /// for. Then the column of the manual's table.
    const SYSTEMS: [(System, &[&str], usize); 5] = [
        (System::Linux, &["Linux"], 2),
        (System::Apple, &["macOS, BSD"], 3),
        (System::FreeBsd, &["FreeBSD", "macOS, BSD"], 3),
        (System::Bsd, &["macOS, BSD"], 3),
        (System::Windows, &["Windows"], 4),
    ];

    /// The cells of the lines of a table, which begin so.
    fn rows(text: &'static str, line_start: &str) -> Vec<Vec<&'static str>> {
        let cells = |line: &'static str| {
            let inside = line.split_once('|').map_or("", |(_, inside)| inside);
            inside
                .trim_end_matches('|')
                .split('|')
                .map(str::trim)
                .collect()
        };
        text.lines()
            .filter(|line| line.starts_with(line_start))
            .map(cells)
            .collect()
    }

    fn knows(capabilities: &Capabilities, system: System) -> &'static str {
        match capabilities.peer_identity {
            // Windows has no group that a user acts as.
            PeerIdentity::UserAndProcess if system == System::Windows => "user, process",
            PeerIdentity::UserAndProcess => "user, group, process",
            PeerIdentity::User => "user, group",
            PeerIdentity::Key => "key",
            PeerIdentity::Nobody => "nobody",
        }
    }

    /// What stands in a column of the README's table.
    fn expected(capabilities: &Capabilities, system: System, column: &str) -> String {
        if capabilities.unsupported.is_some() {
            let not_there = column == "knows of a peer";
            return if not_there { "not there" } else { "" }.to_owned();
        }
        match column {
            "knows of a peer" => knows(capabilities, system).to_owned(),
            "the end of a peer shows" => match capabilities.end_of_peer {
                EndOfPeer::AtOnce => "at once".to_owned(),
                EndOfPeer::ByPing => "by ping".to_owned(),
            },
            "moves" => match capabilities.chunk_len_max {
                Some(len) => format!("messages of {len} bytes"),
                None => "a stream".to_owned(),
            },
            "peers by stock limits" => match capabilities.peers_stock_max {
                Some(count) => count.to_string(),
                None if system == System::Windows => "no limit".to_owned(),
                None => format!("descriptors: {} each", capabilities.descriptors_per_peer),
            },
            other => panic!("the table has a column that nothing checks: {other}"),
        }
    }

    #[test]
    fn the_readme_says_of_each_transport_on_each_system_what_the_code_does() {
        let columns = rows(README, "| transport |").remove(0);
        for scheme in SCHEMES {
            let of_scheme = rows(README, &format!("| `{scheme}` |"));
            for (system, names, _) in SYSTEMS {
                let row_on = |name: &&str| of_scheme.iter().find(|row| row[1] == *name);
                let row = names.iter().find_map(row_on);
                let row = row.unwrap_or_else(|| panic!("no row for {scheme} on {system:?}"));
                assert_eq!(row.len(), columns.len(), "{row:?}");
                let capabilities = of(scheme, system);
                for (column, cell) in columns.iter().zip(row).skip(2) {
                    let expected = expected(&capabilities, system, column);
                    assert_eq!(*cell, expected, "{scheme} on {system:?}: {column}");
                }
            }
        }
    }

    #[test]
    fn the_manual_says_the_same_in_its_own_words() {
        for scheme in SCHEMES {
            let row = rows(MANUAL, &format!("//! | `{scheme}` |")).remove(0);
            for (system, _, column) in SYSTEMS {
                let capabilities = of(scheme, system);
                let words = match knows(&capabilities, system) {
                    _ if capabilities.unsupported.is_some() => "`Unsupported` and what to use",
                    "key" => "knows who has the key",
                    words => &format!("knows {words}"),
                };
                let cell = row[column];
                let of_freebsd = cell.strip_prefix("FreeBSD: ");
                let part = match of_freebsd.and_then(|cell| cell.split_once(';')) {
                    Some((there, _)) if system == System::FreeBsd => there,
                    Some((_, elsewhere)) => elsewhere,
                    None => cell.split(';').next().unwrap_or_default(),
                };
                let same = part == "the same";
                assert!(
                    same || part.ends_with(words),
                    "{scheme} on {system:?}: {part:?}, and not {words:?}"
                );
            }
        }
    }

    /// The values here are those that a backend answers with, where it runs.
    #[cfg(all(feature = "uds", feature = "fifo", feature = "mqueue", feature = "tcp"))]
    #[cfg(not(target_os = "android"))]
    #[test]
    fn each_backend_says_of_itself_what_the_table_says() {
        use super::super::{Backend, Fifo, Mqueue, Tcp, Uds};
        let backends: [(&str, &dyn Backend); 4] = [
            ("uds", &Uds::new()),
            ("fifo", &Fifo::new()),
            ("mqueue", &Mqueue::new()),
            ("tcp", &Tcp::new("")),
        ];
        for (scheme, backend) in backends {
            let mut capabilities = backend.capabilities();
            // No column shows it.
            capabilities.in_flight_len_max = 0;
            assert_eq!(capabilities, of(scheme, System::HERE));
        }
    }
}
