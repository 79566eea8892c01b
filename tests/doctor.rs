//! Each thing that can stand in the way of a transport is brought about, and found; and what is
//! looked at stays as it was.
#![cfg(all(
    target_os = "linux",
    feature = "settings",
    feature = "uds",
    feature = "fifo",
    feature = "mqueue",
    feature = "tcp"
))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking"
)]

mod support;

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::role::{Casting, Role, passed, role, tell, told};
use support::*;
use wayside::backend::{About, Backend, Capabilities, Finding, Link, Listener};
use wayside::doctor::{self, Examined, Report, Verdict, Weight};
use wayside::{Client, Server, Settings, Transport};

const NOBODY: u32 = 65534;

/// Whether the system tells of the locks of all processes: not inside a container.
fn is_in_the_first_namespace() -> bool {
    fs::read_link("/proc/self/ns/pid").unwrap() == Path::new("pid:[4026531836]")
}

/// What a lock file that may be a socket's owner's means inside a container.
fn assert_nobody_can_tell(examined: &str) {
    let told = "from inside this container nobody can tell whose it is";
    assert!(
        examined.contains("works, with a warning") && examined.contains(told),
        "{examined}"
    );
}

/// Settings in a directory of the test's own, and a free port.
fn text(transports: &str, dir: &Path) -> String {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    format!(
        "transport = [{transports}]\nname = 'doctor-{}'\ndir = '{}'\ntcp.address = '127.0.0.1:{port}'\n",
        dir.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_lowercase()
            .replace('.', ""),
        dir.display()
    )
}

fn settings(text: &str) -> Settings {
    Settings::from_text(text, "wayside.toml").unwrap()
}

fn examine(text: &str) -> Report {
    let report = doctor::examine(&settings(text));
    eprintln!("{report}");
    report
}

fn of<'a>(report: &'a Report, scheme: &str) -> &'a Examined {
    let mut transports = report.transports.iter();
    transports.find(|found| found.scheme == scheme).unwrap()
}

/// The weight and the text of the first finding about it.
fn found(examined: &Examined, about: impl Fn(&About) -> bool) -> (Weight, &str) {
    let mut findings = examined.findings.iter();
    let found = findings.find(|finding| about(&finding.about));
    let found = found.unwrap_or_else(|| panic!("not found: {examined}"));
    (found.weight, &found.text)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The report of a process of another user, or with other limits, with a bar for each new line.
fn examined_by(change: impl FnOnce(Casting) -> Casting, text: &str) -> String {
    let place = places().remove(0);
    let casting = Casting::new("examiner", &place, &place.transport).pass("SETTINGS", text);
    let report = change(casting).start().expect("report");
    eprintln!("{report}");
    report
}

/// What it says of one transport.
fn section<'a>(report: &'a str, scheme: &str) -> &'a str {
    let mut sections = report.split(" | ");
    let starts = [":", " "].map(|end| format!("{scheme}{end}"));
    sections
        .find(|section| starts.iter().any(|start| section.starts_with(start)))
        .unwrap_or_else(|| panic!("nothing of {scheme}: {report}"))
}

/// A server process with these settings.
fn start_server(text: &str) -> Role {
    let place = places().remove(0);
    let casting = Casting::new("server", &place, &place.transport).pass("SETTINGS", text);
    let role = casting.start();
    role.expect("bound");
    role
}

const ALL: &str = "'uds', 'fifo', 'mqueue', 'tcp'";

#[test]
fn where_nothing_is_wrong_all_would_work_and_nothing_is_created() {
    let folder = private_folder();
    let dir = folder.path().join("below");
    let report = examine(&text("'fifo'", &dir));
    let order: Vec<&str> = report
        .transports
        .iter()
        .map(|found| found.scheme.as_str())
        .collect();
    assert_eq!(order, ["fifo", "uds", "tcp", "mqueue"], "the chosen first");
    for examined in &report.transports {
        assert_eq!(examined.verdict(), Verdict::Works, "{examined}");
        assert_eq!(examined.is_chosen, examined.scheme == "fifo");
        if examined.scheme != "mqueue" {
            let is_directory = |about: &About| *about == About::Directory { path: dir.clone() };
            let (weight, text) = found(examined, is_directory);
            assert_eq!(weight, Weight::Note);
            assert!(text.contains("is missing"), "{text}");
        }
    }
    assert!(report.is_good());
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_live_server_is_seen_and_does_not_notice() {
    let folder = private_folder();
    let text = text(ALL, folder.path());
    let server = Server::<Chat>::builder()
        .settings(&settings(&text))
        .unwrap()
        .bind(Recorder::default())
        .unwrap()
        .spawn()
        .unwrap();
    let before = names(folder.path());
    let report = examine(&text);
    for examined in &report.transports {
        assert_eq!(examined.verdict(), Verdict::WorksWithAWarning, "{examined}");
        let (weight, text) = found(examined, |about| matches!(about, About::Taken { .. }));
        assert_eq!(weight, Weight::Warning);
        if examined.scheme != "tcp" {
            let pid = format!("process {}", std::process::id());
            assert!(text.contains(&pid), "{text}");
        }
    }
    assert!(report.is_good());
    assert_eq!(names(folder.path()), before);
    let counters = server.counters();
    assert_eq!(
        (
            counters.accepted,
            counters.refused,
            counters.accept_failures
        ),
        (0, 0, 0)
    );
    for scheme in ["uds", "fifo", "mqueue", "tcp"] {
        let text = text.replace(ALL, &format!("'{scheme}'"));
        let builder = Client::<Chat>::builder()
            .settings(&settings(&text))
            .unwrap();
        let client = builder.connect(PATIENCE).unwrap();
        assert_eq!(echo(&client, scheme), scheme);
    }
}

#[test]
fn what_a_killed_server_has_left_is_named_with_its_owner_and_left_there() {
    let folder = private_folder();
    let text = text("'uds', 'fifo', 'mqueue'", folder.path());
    start_server(&text).kill();
    // And what a client of it has left, killed on its way.
    let report = examine(&text);
    let mailbox = of(&report, "fifo").address.clone().unwrap();
    let pair = format!("{mailbox}.{:032x}.up", 4711);
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600", &pair])
        .status();
    assert!(made.unwrap().success());
    let before = names(folder.path());
    let own = rustix::process::geteuid().as_raw();
    for _ in 0..2 {
        let report = examine(&text);
        for (scheme, count) in [("uds", 2), ("fifo", 3), ("mqueue", 1)] {
            let examined = of(&report, scheme);
            if scheme == "uds" && !is_in_the_first_namespace() {
                assert_nobody_can_tell(&examined.to_string());
                continue;
            }
            assert_eq!(examined.verdict(), Verdict::Works, "{examined}");
            let leftovers = examined.findings.iter().filter(
                |finding| matches!(&finding.about, About::Leftover { uid, .. } if *uid == Some(own)),
            );
            let whose = format!("was left by a process of uid {own}: the next server removes it");
            let told = leftovers.filter(|finding| finding.text.ends_with(&whose));
            assert_eq!(told.count(), count, "{examined}");
        }
        assert_eq!(names(folder.path()), before);
    }
    // The next server does what the report says of it.
    start_server(&text).finish();
}

#[test]
fn a_path_that_is_too_long_is_an_obstacle_with_the_limit() {
    let folder = private_folder();
    let dir = folder.path().join("x".repeat(100));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    let text = text("'uds'", &dir).replace(&"x".repeat(100), "long");
    let text = text.replace("/long'", &format!("/{}'", "x".repeat(100)));
    let report = examine(&text);
    let (weight, problem) = found(of(&report, "uds"), |about| *about == About::Address);
    assert_eq!(weight, Weight::Obstacle);
    assert!(problem.contains("107"), "{problem}");
    assert!(!report.is_good());
    assert_eq!(of(&report, "fifo").verdict(), Verdict::Works);
}

#[test]
fn a_directory_that_others_may_write_to_is_an_obstacle() {
    let folder = private_folder();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let path = |scheme: &str| format!("{scheme}.path = '{}/a'\n", open.display());
    let text = text("'uds', 'fifo'", folder.path()) + &path("uds") + &path("fifo");
    let report = examine(&text);
    for scheme in ["uds", "fifo"] {
        let is_directory = |about: &About| *about == About::Directory { path: open.clone() };
        let (weight, text) = found(of(&report, scheme), is_directory);
        assert_eq!(weight, Weight::Obstacle);
        assert!(text.contains("0777"), "{text}");
    }

    // The directory of the settings: whatever follows from it can't be used.
    let text = text.replace(
        &format!("dir = '{}'", folder.path().display()),
        &format!("dir = '{}'", open.display()),
    );
    let report = examine(&text);
    let (weight, text) = found(of(&report, "tcp"), |about| *about == About::Settings);
    assert_eq!(weight, Weight::Obstacle);
    assert!(text.contains("0777"), "{text}");
    assert_eq!(of(&report, "mqueue").verdict(), Verdict::Works);
}

#[test]
fn directories_that_a_user_may_not_write_to_are_obstacles() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let folder = private_folder();
    let dir = folder.path();
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    let below = dir.join("theirs");
    fs::create_dir(&below).unwrap();
    let text = text("'uds', 'fifo', 'tcp'", &below);
    let by_nobody = || examined_by(|casting| casting.by_user(NOBODY), &text);
    let owned = |uid, mode| {
        chown(&below, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&below, Permissions::from_mode(mode)).unwrap();
    };
    // Its own, for reading only.
    owned(NOBODY, 0o500);
    let report = by_nobody();
    for scheme in ["uds", "fifo", "tcp"] {
        let section = section(&report, scheme);
        assert!(section.contains("would not work"), "{section}");
        assert!(section.contains("may not write to it"), "{section}");
    }
    // Somebody else's.
    owned(1234, 0o700);
    let report = by_nobody();
    assert!(
        section(&report, "uds").contains("belongs to uid 1234"),
        "{report}"
    );
    // Missing, where the user may create none.
    fs::remove_dir(&below).unwrap();
    let report = by_nobody();
    assert!(
        section(&report, "fifo").contains("may not create it"),
        "{report}"
    );
}

#[test]
fn another_file_with_the_name_is_an_obstacle() {
    let folder = private_folder();
    let text = text("'uds', 'fifo'", folder.path());
    let addresses: Vec<(&str, String)> = ["uds", "fifo"]
        .map(|scheme| {
            let address = of(&examine(&text), scheme).address.clone();
            (scheme, address.unwrap())
        })
        .into();
    for (_, address) in &addresses {
        fs::write(address, "precious").unwrap();
    }
    let report = examine(&text);
    for (scheme, address) in &addresses {
        let is_it =
            |about: &About| matches!(about, About::InTheWay { path } if path == Path::new(address));
        let (weight, text) = found(of(&report, scheme), is_it);
        assert_eq!(weight, Weight::Obstacle);
        assert!(text.contains("remove it or use another name"), "{text}");
        assert_eq!(fs::read(address).unwrap(), b"precious");
    }
}

#[test]
fn a_key_that_others_can_read_is_an_obstacle() {
    let folder = private_folder();
    let key = folder.path().join("open.key");
    fs::write(&key, "0".repeat(64)).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let text = text("'tcp'", folder.path()) + &format!("tcp.key = '{}'\n", key.display());
    let report = examine(&text);
    let (weight, problem) = found(of(&report, "tcp"), |about| {
        matches!(about, About::Key { .. })
    });
    assert_eq!(weight, Weight::Obstacle);
    assert!(problem.contains("0644"), "{problem}");
}

#[test]
fn limits_that_are_too_small_are_named_with_their_value() {
    let folder = private_folder();
    let text = text("'mqueue'", folder.path());
    let with = |name, value| examined_by(|casting| casting.pass(name, value), &text);
    let report = with("MSGQUEUE", "1000");
    let mqueue = section(&report, "mqueue");
    for part in [
        "would not work",
        "1000 bytes (RLIMIT_MSGQUEUE)",
        "0 peers",
        "ulimit -q",
    ] {
        assert!(mqueue.contains(part), "{part}: {mqueue}");
    }
    let report = with("MSGQUEUE", "50000");
    let mqueue = section(&report, "mqueue");
    for part in ["works, with a warning", "3 peers"] {
        assert!(mqueue.contains(part), "{part}: {mqueue}");
    }
    let report = with("NOFILE", "40");
    for (scheme, peers) in [("uds", 24), ("fifo", 12), ("mqueue", 8)] {
        let section = section(&report, scheme);
        let room = format!("40 open files (RLIMIT_NOFILE) are room for about {peers} peers");
        for part in ["works, with a warning", &room, "ulimit -n"] {
            assert!(section.contains(part), "{part}: {section}");
        }
    }
    let large = format!("{text}mqueue.messages = 1000000\n");
    let report = examine(&large);
    let is_limit =
        |about: &About| matches!(about, About::Limit { name, .. } if *name == "fs.mqueue.msg_max");
    let (weight, _) = found(of(&report, "mqueue"), is_limit);
    assert_eq!(weight, Weight::Obstacle);
}

/// In a container only locks of its own processes are to be seen.
#[test]
fn from_another_process_namespace_a_live_server_is_not_taken_for_a_dead_one() {
    let container = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let made = std::process::Command::new(container[0])
        .args(&container[1..])
        .arg("true")
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user, or this system, has no unshare --pid");
        return;
    }
    let folder = private_folder();
    let text = text("'uds', 'fifo', 'mqueue'", folder.path());
    let from_inside = || examined_by(|casting| casting.by(&container), &text);
    let mut server = start_server(&text);
    let report = from_inside();
    for (scheme, expected) in [
        ("uds", "nobody can tell whose it is"),
        ("fifo", "in use by a process that can't be seen from here"),
        ("mqueue", "in use by a process that can't be seen from here"),
    ] {
        let section = section(&report, scheme);
        assert!(section.contains("works, with a warning"), "{section}");
        assert!(section.contains(expected), "{section}");
        assert!(!section.contains("was left by"), "{section}");
    }

    server.kill();
    let report = from_inside();
    for scheme in ["fifo", "mqueue"] {
        let section = section(&report, scheme);
        assert!(section.contains("was left by"), "{section}");
        assert!(!section.contains("in use by"), "{section}");
    }
    start_server(&text).finish();
}

/// A server that runs for long would hide for long what its clients have left.
#[test]
fn beside_a_live_server_what_killed_clients_have_left_is_named_and_no_client_that_waits() {
    let folder = private_folder();
    let text = text("'fifo'", folder.path());
    let mailbox = of(&examine(&text), "fifo").address.clone().unwrap();
    let fifo = wayside::backend::Fifo::new();
    let mut listener = fifo.bind(&mailbox).unwrap();
    let _waits = fifo.connect(&mailbox).unwrap();
    let left = ["up", "down"].map(|end| format!("{mailbox}.{:032x}.{end}", 4711));
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .args(&left)
        .status();
    assert!(made.unwrap().success());
    let report = examine(&text);
    let findings = &of(&report, "fifo").findings;
    let mut leftovers: Vec<&str> = findings
        .iter()
        .filter_map(|finding| match &finding.about {
            About::Leftover { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    leftovers.sort_unstable();
    assert_eq!(leftovers, [left[1].as_str(), left[0].as_str()]);
    // The one that waits has not noticed.
    listener.accept().unwrap();
}

#[test]
fn what_another_user_has_left_or_holds_is_an_obstacle_with_the_owners_name() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let folder = private_folder();
    let text = text("'uds', 'fifo', 'mqueue'", folder.path());
    for scheme in ["uds", "fifo"] {
        let address = of(&examine(&text), scheme).address.clone().unwrap();
        fs::write(format!("{address}.lock"), "1\n").unwrap();
    }
    let queue = of(&examine(&text), "mqueue").address.clone().unwrap();
    let _held = wayside::backend::Mqueue::new().bind(&queue).unwrap();
    chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let report = examined_by(|casting| casting.by_user(NOBODY), &text);
    for scheme in ["uds", "fifo"] {
        let section = section(&report, scheme);
        if scheme == "uds" && !is_in_the_first_namespace() {
            assert_nobody_can_tell(section);
            continue;
        }
        assert!(section.contains("would not work"), "{section}");
        let whose =
            format!("was left by a process of uid 0, and we (uid {NOBODY}) may not take it");
        assert!(section.contains(&whose), "{section}");
    }
    let section = section(&report, "mqueue");
    assert!(section.contains("would not work"), "{section}");
    let shown = fs::metadata(format!("/dev/mqueue{queue}")).is_ok();
    let whose = if shown {
        "another user (uid 0) has the queue"
    } else {
        "another user has the queue"
    };
    assert!(section.contains(whose), "{section}");
}

#[test]
fn names_that_are_too_long_are_obstacles_with_their_limit() {
    let folder = private_folder();
    let long = "x".repeat(300);
    let path = format!("fifo.path = '{}/{long}'\n", folder.path().display());
    let transports = format!("'fifo', 'mqueue:/{long}'");
    let report = examine(&(text(&transports, folder.path()) + &path));
    for scheme in ["fifo", "mqueue"] {
        let (weight, problem) = found(of(&report, scheme), |about| *about == About::Address);
        assert_eq!(weight, Weight::Obstacle);
        assert!(problem.contains("300 bytes, at most "), "{problem}");
    }
}

/// As another system would have it.
struct Nowhere;

impl Backend for Nowhere {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::stream("carrier-pigeon");
        capabilities.unsupported = Some("pigeons need a loft: use uds");
        capabilities
    }

    fn bind(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect(&self, _: &str) -> io::Result<Box<dyn Link>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn examine(&self, _: &str) -> Vec<Finding> {
        panic!("what is not there is not asked")
    }
}

#[test]
fn a_transport_that_this_system_lacks_says_why_and_what_to_use() {
    let folder = private_folder();
    let settings = Settings::builder()
        .own_transport(Transport::new(Nowhere, "loft"))
        .load_text(&text("'uds'", folder.path()), "wayside.toml")
        .unwrap();
    let report = doctor::examine(&settings);
    let pigeon = of(&report, "carrier-pigeon");
    assert_eq!(pigeon.verdict(), Verdict::WouldNotWork);
    assert!(!pigeon.is_chosen);
    let (_, text) = found(pigeon, |about| *about == About::Unsupported);
    assert!(text.contains("use uds"), "{text}");
    assert!(report.is_good(), "it was not chosen");
    assert!(
        report
            .to_string()
            .contains("carrier-pigeon:loft: would not work\n  obstacle: pigeons")
    );
}

// ---- the roles ----

#[test]
fn plays_a_role() {
    match role().as_deref() {
        None => {}
        Some("server") => serve(),
        Some("examiner") => report_once(),
        Some(other) => panic!("no role `{other}`"),
    }
}

fn serve() {
    let _server = Server::<Chat>::builder()
        .settings(&settings(&passed("SETTINGS")))
        .unwrap()
        .bind(Recorder::default())
        .unwrap()
        .spawn()
        .unwrap();
    tell("bound");
    told().for_each(drop);
}

fn report_once() {
    for (name, resource) in [
        ("NOFILE", Resource::Nofile),
        ("MSGQUEUE", Resource::Msgqueue),
    ] {
        if let Ok(current) = passed(name).parse() {
            let maximum = getrlimit(resource).maximum;
            let current = Some(current);
            setrlimit(resource, Rlimit { current, maximum }).unwrap();
        }
    }
    let report = doctor::examine(&settings(&passed("SETTINGS")));
    let sections: Vec<String> = report
        .transports
        .iter()
        .map(|examined| examined.to_string().replace('\n', " / "))
        .collect();
    tell(format!("report {}", sections.join(" | ")));
}
