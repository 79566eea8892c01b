//! The README says what the code does.

use std::path::Path;

use wayside::backend::{Backend, Capabilities, EndOfPeer, PeerIdentity};

const README: &str = include_str!("../README.md");

/// What the table calls this system: the first of these that a transport has a row for.
const SYSTEM: &[&str] = if cfg!(any(target_os = "linux", target_os = "android")) {
    &["Linux"]
} else if cfg!(windows) {
    &["Windows"]
} else if cfg!(target_os = "freebsd") {
    &["FreeBSD", "macOS, BSD"]
} else {
    &["macOS, BSD"]
};

/// The transports that this build has, wherever it runs.
fn backends() -> Vec<Box<dyn Backend>> {
    vec![
        #[cfg(feature = "uds")]
        Box::new(wayside::backend::Uds::new()),
        #[cfg(feature = "fifo")]
        Box::new(wayside::backend::Fifo::new()),
        #[cfg(feature = "mqueue")]
        Box::new(wayside::backend::Mqueue::new()),
        #[cfg(feature = "tcp")]
        Box::new(wayside::backend::Tcp::new("")),
    ]
}

/// The rows of the table that begins with this column, header first.
fn table(first: &str) -> Vec<Vec<&'static str>> {
    let start = format!("| {first} |");
    let lines = README
        .lines()
        .skip_while(|line| !line.starts_with(&start))
        .take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| {
        let inside = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'));
        inside.unwrap_or(line).split('|').map(str::trim).collect()
    };
    let rows: Vec<Vec<&str>> = lines.map(cells).collect();
    assert!(rows.len() > 2, "no table that begins with {first}");
    rows
}

/// What stands in a column about a transport that works here.
fn expected(capabilities: &Capabilities, column: &str) -> String {
    match column {
        "knows of a peer" => match capabilities.peer_identity {
            // Windows has no group that a user acts as.
            PeerIdentity::UserAndProcess if cfg!(windows) => "user, process".to_owned(),
            PeerIdentity::UserAndProcess => "user, group, process".to_owned(),
            PeerIdentity::User => "user, group".to_owned(),
            PeerIdentity::Key => "key".to_owned(),
            other => panic!("the table has no words for {other:?}"),
        },
        "the end of a peer shows" => match capabilities.end_of_peer {
            EndOfPeer::AtOnce => "at once".to_owned(),
            EndOfPeer::ByPing => "by ping".to_owned(),
            other => panic!("the table has no words for {other:?}"),
        },
        "moves" => match capabilities.chunk_len_max {
            Some(len) => format!("messages of {len} bytes"),
            None => "a stream".to_owned(),
        },
        "peers by stock limits" => match capabilities.peers_stock_max {
            Some(count) => count.to_string(),
            None => format!("descriptors: {} each", capabilities.descriptors_per_peer),
        },
        other => panic!("the table has a column that nothing checks: {other}"),
    }
}

/// The same of a transport that is not there.
fn expected_of_none(column: &str) -> String {
    match column {
        "knows of a peer" => "not there".to_owned(),
        _ => String::new(),
    }
}

#[test]
fn the_table_of_transports_is_what_they_say_of_themselves() {
    let rows = table("transport");
    let columns = &rows[0];
    assert_eq!(columns[..2], ["transport", "on"]);
    for backend in backends() {
        let capabilities = backend.capabilities();
        let name = format!("`{}`", capabilities.scheme);
        let row_on = |system: &&str| rows.iter().find(|row| row[..2] == [name.as_str(), *system]);
        let row = SYSTEM.iter().find_map(row_on);
        let row = row.unwrap_or_else(|| panic!("no row for {name} on {SYSTEM:?}"));
        assert_eq!(row.len(), columns.len(), "{row:?}");
        for (column, cell) in columns.iter().zip(row).skip(2) {
            let expected = match capabilities.unsupported {
                Some(_) => expected_of_none(column),
                None => expected(&capabilities, column),
            };
            assert_eq!(*cell, expected, "{name}: {column}");
        }
    }
}

/// Which rows there are does not depend on where the test runs.
#[test]
fn the_table_has_a_row_for_each_transport_on_each_system() {
    let mut rows: Vec<(&str, &str)> = table("transport")[2..]
        .iter()
        .map(|row| (row[0], row[1]))
        .collect();
    rows.retain(|row| {
        !["`fifo`", "`mqueue`"]
            .map(|name| (name, "FreeBSD"))
            .contains(row)
    });
    let systems = ["Linux", "macOS, BSD", "Windows"];
    let expected: Vec<_> = ["`uds`", "`fifo`", "`mqueue`", "`tcp`"]
        .iter()
        .flat_map(|name| systems.map(|system| (*name, system)))
        .collect();
    assert_eq!(rows, expected);
}

/// The one that `tests/readme_program.rs` runs.
#[test]
fn the_program_with_an_agent_is_the_one_that_is_tested() {
    let program = include_str!("readme_program/shop.rs");
    let block = format!("```rust,no_run\n{program}```");
    assert!(
        README.contains(&block),
        "tests/readme_program/shop.rs is another"
    );
}

#[test]
fn the_examples_it_names_exist_and_none_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("an entry").path();
        // A file, or a folder with several.
        let name = path.file_stem().expect("a name").to_string_lossy();
        assert!(
            README.contains(&format!("`{name}`")) || README.contains(&format!("--example {name}")),
            "{name} is not named"
        );
        count += 1;
    }
    assert!(count > 0);
    for words in README.split("cargo run --example ").skip(1) {
        let name = words.split_whitespace().next().expect("a name");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let exists = [format!("{name}.rs"), format!("{name}/main.rs")]
            .iter()
            .any(|file| folder.join(file).exists());
        assert!(exists, "{name} does not exist");
    }
}

/// What a deployment reads there is what it sees.
#[cfg(all(
    feature = "settings",
    feature = "tcp",
    feature = "uds",
    feature = "fifo",
    feature = "mqueue",
    target_os = "linux"
))]
#[test]
fn the_mistake_it_shows_is_what_is_printed() {
    let text = "transport = \"udp\"";
    let error = wayside::Settings::from_text(text, "wayside.toml").expect_err("a mistake");
    assert!(README.contains(&error.to_string()), "{error}");
}
