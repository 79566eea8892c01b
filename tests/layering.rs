//! Who may know whom: the rules between modules that the compiler can't hold.
//!
//! The sources are read as text, without comments, texts and tests, and every path in them is
//! resolved. A rule that is broken fails with the file, what it names, and why it must not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a group of modules must not name.
struct Rule {
    /// The modules, by path: `client` also means `client::calls`.
    of: &'static [&'static str],
    /// Paths that must not occur: of this crate with `crate::` in front, of others as they are.
    never: &'static [&'static str],
    why: &'static str,
}

/// The only modules of this crate that a group may name, besides itself.
struct Allowance {
    of: &'static [&'static str],
    only: &'static [&'static str],
    why: &'static str,
}

/// Bytes, time and threads go in as arguments here, so that every case is a function call in a test.
const CORE: &[&str] = &[
    "close", "decode", "encoded", "envelope", "frame", "hello", "inbox", "outbox", "session",
    "timers",
];

/// Where an application meets the crate.
const ENGINES: &[&str] = &["server", "client"];

const RULES: &[Rule] = &[
    Rule {
        of: CORE,
        never: &[
            "mio",
            "log",
            "std::fs",
            "std::net",
            "std::thread",
            "std::os",
            "std::process",
        ],
        why: "the core does no I/O, has no threads and logs nothing: it returns what happened",
    },
    Rule {
        // `close` carries a link's error to whoever asks for it.
        of: &[
            "decode", "envelope", "frame", "hello", "inbox", "outbox", "session", "timers",
        ],
        never: &["std::io", "std::sync"],
        why: "whoever drives the core has the link and the lock",
    },
    Rule {
        of: &["frame", "outbox", "inbox", "timers"],
        never: &["serde", "crate::envelope"],
        why: "they know where frames end, not what they say",
    },
    Rule {
        of: &[
            "server",
            "client",
            "wire",
            "event_loop",
            "session",
            "transport",
        ],
        never: &[
            "libc",
            "rustix",
            "interprocess",
            "windows_sys",
            "std::os",
            "hmac_sha256",
        ],
        why: "what differs between systems belongs in a backend",
    },
    Rule {
        of: &[
            "server",
            "client",
            "wire",
            "event_loop",
            "transport",
            "doctor",
        ],
        never: &[
            "crate::backend::Uds",
            "crate::backend::Tcp",
            "crate::backend::Fifo",
            "crate::backend::Mqueue",
            "crate::backend::Shm",
            "crate::backend::Pipe",
            "crate::backend::uds",
            "crate::backend::tcp",
            "crate::backend::fifo",
            "crate::backend::mqueue",
            "crate::backend::shm",
            "crate::backend::pipe",
        ],
        why: "above the backends nobody knows which transport it is",
    },
    Rule {
        of: &["server"],
        never: &["crate::client"],
        why: "each side must be understood, and used, without the other",
    },
    Rule {
        of: &["client"],
        never: &["crate::server"],
        why: "each side must be understood, and used, without the other",
    },
];

const ALLOWANCES: &[Allowance] = &[
    Allowance {
        of: &["frame"],
        only: &["close", "limits"],
        why: "lengths and boundaries depend on nothing but their bounds",
    },
    Allowance {
        of: &["outbox", "inbox"],
        only: &["close", "frame", "limits"],
        why: "queues of frames depend on frames",
    },
    Allowance {
        of: &["envelope", "decode"],
        only: &["close", "decode", "hello", "limits"],
        why: "what a frame says does not depend on how it travels",
    },
    Allowance {
        of: &["encoded"],
        only: &["close", "envelope"],
        why: "a message is a message, whoever sends it",
    },
    Allowance {
        of: &["session", "hello"],
        only: &[
            "close", "envelope", "frame", "hello", "identity", "limits", "outbox", "protocol",
        ],
        why: "the protocol of a connection knows no links, no clock and no application",
    },
    Allowance {
        of: &["wire"],
        only: &[
            "backend", "envelope", "frame", "identity", "inbox", "limits", "outbox", "session",
        ],
        why: "it joins a link, an inbox and an outbox, whoever has them",
    },
    Allowance {
        of: &["event_loop"],
        only: &["ambient"],
        why: "a poll and its waker, whatever is polled",
    },
    Allowance {
        of: &["backend"],
        only: &[
            "ambient", "backend", "endpoint", "fork", "identity", "limits",
        ],
        why: "a backend moves bytes: it never sees a frame, a message or a session",
    },
    Allowance {
        of: &["fork", "ambient", "sync", "identity", "limits", "endpoint"],
        only: &[],
        why: "the ground on which everything stands stands on nothing",
    },
    Allowance {
        of: &["conformance"],
        // The last is a macro, which has no other place than the root.
        only: &["backend", "identity", "__conformance_each"],
        why: "the suite is for backends of other crates, too: it uses what they can see",
    },
    Allowance {
        of: &["doctor"],
        only: &["backend", "doctor", "settings"],
        why: "it asks the backends, and knows none by name",
    },
    Allowance {
        of: &["settings"],
        only: &[
            "backend",
            "endpoint",
            "limits",
            "settings",
            "spin",
            "transport",
        ],
        why: "settings become transports, limits and ways to wait; what those are used for is not their business",
    },
];

/// Paths with one home: the modules that may name them.
const HOMES: &[(&str, &[&str], &str)] = &[
    (
        "postcard",
        &["envelope", "client::error"],
        "the format is the envelope's business alone, so that it can be changed in one place",
    ),
    (
        "Instant::now",
        &["ambient", "conformance", "fuzzing"],
        "a simulation supplies the time: `ambient::now` asks it",
    ),
    (
        "SystemTime::now",
        &["ambient"],
        "a simulation supplies the time: `ambient::now` asks it",
    ),
    (
        "thread::sleep",
        &[],
        "whoever sleeps can't be woken: wait for an event with a deadline",
    ),
];

/// One source file, as the rules see it.
struct Source {
    path: PathBuf,
    /// `client::calls` for `src/client/calls.rs`, `client` for `src/client/mod.rs`.
    module: String,
    /// Its text without comments, texts and tests.
    code: String,
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Self {
        let relative = path.strip_prefix(root).unwrap().with_extension("");
        let mut segments: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        if matches!(segments.last(), Some(&"mod" | &"lib")) {
            segments.pop();
        }
        let code = bare(&fs::read_to_string(&path).unwrap());
        // Tests of private invariants stand at the foot of a file, behind one attribute.
        let tests = code
            .find("\nmod tests {")
            .map(|at| code[..at].rfind("#[cfg(").unwrap());
        let end = tests.unwrap_or(code.len());
        Self {
            module: segments.join("::"),
            code: code[..end].to_owned(),
            path,
        }
    }

    fn is_of(&self, group: &str) -> bool {
        is_within(&self.module, group)
    }

    /// Every path that it names, with those of this crate in full.
    fn paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        for written in written_paths(&self.code) {
            let mut here: Vec<&str> = self.module.split("::").collect();
            let mut rest = written.as_str();
            if let Some(inner) = rest.strip_prefix("super::") {
                rest = inner;
                // The parent of a file is its folder, that of a folder the one above.
                here.pop();
                while let Some(inner) = rest.strip_prefix("super::") {
                    rest = inner;
                    here.pop();
                }
            } else if let Some(inner) = rest.strip_prefix("self::") {
                rest = inner;
            } else {
                paths.insert(written);
                continue;
            }
            let full = here.iter().copied().chain([rest]).collect::<Vec<_>>();
            paths.insert(format!("crate::{}", full.join("::")));
        }
        paths
    }
}

/// Whether a path is this one or below it.
fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Blanks out comments, texts and characters; lines stay where they are.
fn bare(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = raw_text_len(rest, &code) {
            len
        } else if first == '"' {
            text_len(rest, '"')
        } else if first == '\'' && is_character(rest) {
            text_len(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(rest[..len].chars().filter(|&c| c == '\n'));
        rest = &rest[len..];
    }
    code
}

/// The length of `r#"…"#`, if that is what it starts with.
fn raw_text_len(rest: &str, before: &str) -> Option<usize> {
    let inside = rest.strip_prefix('r')?;
    let hashes = inside.len() - inside.trim_start_matches('#').len();
    let in_word =
        before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with('b');
    if in_word || !inside[hashes..].starts_with('"') {
        return None;
    }
    let start = 1 + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(
        rest[start..]
            .find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

/// The length up to and with the closing quote.
fn text_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Tells `'a'` from the lifetime `'a`.
fn is_character(rest: &str) -> bool {
    let mut inside = rest.chars().skip(1);
    inside.next() == Some('\\') || inside.next() == Some('\'')
}

/// The paths in code: `a::b::c`, and each of the list in `a::{b, c::d}`.
fn written_paths(code: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    // The prefixes of the lists that are open, and whether a brace opened one.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut path = String::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let prefix = open.iter().rev().find_map(Option::as_ref);
        if word > 0 {
            if path.is_empty() || !path.ends_with("::") {
                path = prefix.cloned().unwrap_or_default();
            }
            path.push_str(&rest[..word]);
            paths.insert(path.clone());
            rest = &rest[word..];
            continue;
        }
        let len = if rest.starts_with("::") {
            path.push_str("::");
            2
        } else {
            match first {
                '{' => {
                    let list = path.ends_with("::").then(|| path.clone());
                    // A block inside of a list does not occur.
                    open.push(list);
                }
                '}' => drop(open.pop()),
                _ => {}
            }
            if !first.is_whitespace() || !path.ends_with("::") {
                path.clear();
            }
            first.len_utf8()
        };
        rest = &rest[len..];
    }
    paths
}

/// All Rust files under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn sources() -> Vec<Source> {
    let root = root("src");
    let sources: Vec<_> = files(&root)
        .into_iter()
        .map(|path| Source::read(&root, path))
        .collect();
    assert!(sources.len() > 50, "the sources are there");
    sources
}

/// Fails with all that was found.
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_module_names_what_it_must_not_know() {
    let mut broken = Vec::new();
    for source in sources() {
        for rule in RULES {
            if !rule.of.iter().any(|group| source.is_of(group)) {
                continue;
            }
            for path in source.paths() {
                if rule.never.iter().any(|never| is_within(&path, never)) {
                    broken.push(format!("{} names {path}: {}", source.module, rule.why));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn modules_name_only_those_below_them() {
    let mut broken = Vec::new();
    for source in sources() {
        for allowance in ALLOWANCES {
            if !allowance.of.iter().any(|group| source.is_of(group)) {
                continue;
            }
            for path in source.paths() {
                let Some(named) = path.strip_prefix("crate::") else {
                    continue;
                };
                let own = source.module.split("::").next().unwrap();
                let mut allowed = allowance.only.iter().copied().chain([own]);
                if !allowed.any(|allowed| is_within(named, allowed)) {
                    let module = &source.module;
                    broken.push(format!("{module} names {path}: {}", allowance.why));
                }
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn what_has_one_home_is_named_nowhere_else() {
    let mut broken = Vec::new();
    for source in sources() {
        let paths = source.paths();
        for (path, homes, why) in HOMES {
            let at_home = homes.iter().any(|home| source.is_of(home));
            let named = |written: &String| {
                is_within(written, path) || written.ends_with(&format!("::{path}"))
            };
            if !at_home && paths.iter().any(named) {
                broken.push(format!("{} names {path}: {why}", source.module));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn no_backend_knows_another() {
    let mut broken = Vec::new();
    let sources = sources();
    let backends: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.module.strip_prefix("backend::"))
        .filter_map(|module| module.split("::").next())
        // What backends share.
        .filter(|module| {
            !matches!(
                *module,
                "capabilities"
                    | "descriptors"
                    | "directory"
                    | "finding"
                    | "lock_holder"
                    | "name"
                    | "table"
            )
        })
        .collect();
    assert!(!backends.is_empty());
    for source in &sources {
        let Some(module) = source.module.strip_prefix("backend::") else {
            continue;
        };
        let own = module.split("::").next().unwrap();
        for path in source.paths() {
            let other = backends.iter().any(|other| {
                *other != own && is_within(&path, &format!("crate::backend::{other}"))
            });
            if other {
                let module = &source.module;
                broken.push(format!(
                    "{module} names {path}: a backend can be taken out alone"
                ));
            }
        }
    }
    assert_none(&broken);
}

/// The files that are chosen whole for a platform.
fn is_platform_file(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let platforms = ["unix", "windows", "linux", "apple", "bsd", "freebsd", "sys"];
    // Nothing but system calls, for the systems that have no better way.
    let calls = ["sigpipe"];
    calls.contains(&name)
        || platforms.contains(&name)
        || path.components().any(|part| part.as_os_str() == "sys")
}

#[test]
fn unsafe_code_is_in_platform_files_only() {
    let mut broken = Vec::new();
    for source in sources() {
        let words = written_paths(&source.code);
        let is_unsafe = words.contains("unsafe") || words.contains("unsafe_code");
        // The crate root may only speak of it to forbid it.
        if is_unsafe && !is_platform_file(&source.path) {
            let path = source.path.display();
            broken.push(format!(
                "{path}: unsafe code is read where the system is called"
            ));
        }
    }
    assert_none(&broken);
}

#[test]
fn systems_are_told_apart_only_where_whole_files_are_chosen() {
    let systems = [
        "unix",
        "windows",
        "target_os",
        "target_family",
        "target_vendor",
        "target_env",
    ];
    let mut broken = Vec::new();
    for source in sources() {
        let places = [
            "backend",
            "fork",
            "settings::trust",
            "aggregator::files",
            "aggregator::lifecycle",
        ];
        let chooses =
            source.path.ends_with("mod.rs") && places.iter().any(|place| source.is_of(place));
        let lines = source.code.lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| line.contains("cfg")) {
            let words = written_paths(line);
            let tells = words.contains("cfg") || words.contains("cfg_attr");
            let by_system = systems.iter().any(|system| words.contains(*system));
            if !(tells && by_system) || chooses {
                continue;
            }
            let path = source.path.display();
            let number = number + 1;
            broken.push(format!(
                "{path}:{number}: {}: a folder's mod.rs chooses",
                line.trim()
            ));
        }
    }
    assert_none(&broken);
}

#[test]
fn no_test_and_no_example_sleeps() {
    let mut broken = Vec::new();
    // Benches pace their load by the clock.
    for folder in ["tests", "examples"].map(root) {
        if !folder.exists() {
            continue;
        }
        for path in files(&folder) {
            let code = bare(&fs::read_to_string(&path).unwrap());
            let sleeps = written_paths(&code).iter().any(|written| {
                is_within(written, "thread::sleep") || written.ends_with("::thread::sleep")
            });
            if sleeps {
                let path = path.display();
                broken.push(format!(
                    "{path}: a sleep is too short on one machine, too long on another"
                ));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_rule_is_about_something() {
    let sources = sources();
    let groups = RULES.iter().flat_map(|rule| rule.of);
    let groups = groups.chain(ALLOWANCES.iter().flat_map(|allowance| allowance.of));
    for group in groups.chain(ENGINES) {
        let there = sources.iter().any(|source| source.is_of(group));
        assert!(there, "there is no module {group}");
    }
}

#[test]
fn the_reader_sees_paths_and_nothing_else() {
    let text = r##"
        // mio::Poll in a comment
        /* std::io in another */
        use crate::{client::{calls::CallId, Client}, wire::Wire};
        use super::super::event_loop;
        const TEXT: &str = "std::fs \" and a quote";
        const RAW: &str = r#"std::net "quoted""#;
        const QUOTE: char = '"';
        fn f<'a>(x: &'a mio::Token) { g(std::thread::sleep); }
    "##;
    let code = bare(text);
    let paths = written_paths(&code);
    for named in [
        "crate::client::calls::CallId",
        "crate::client::Client",
        "crate::wire::Wire",
        "mio::Token",
        "std::thread::sleep",
    ] {
        assert!(paths.contains(named), "{named} in {paths:?}");
    }
    for hidden in ["mio::Poll", "std::io", "std::fs", "std::net"] {
        assert!(!paths.contains(hidden), "{hidden}");
    }
    let source = Source {
        path: PathBuf::from("src/server/engine.rs"),
        module: "server::engine".to_owned(),
        code,
    };
    assert!(
        source.paths().contains("crate::event_loop"),
        "{:?}",
        source.paths()
    );
}
