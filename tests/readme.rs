//! The README says what the code does.

use std::path::Path;

use wayside::backend::{Backend, Capabilities, EndOfPeer, PeerIdentity};

const README: &str = include_str!("../README.md");

/// The column of this platform.
const SYSTEM: &str = if cfg!(any(target_os = "linux", target_os = "android")) {
    "Linux"
} else if cfg!(windows) {
    "Windows"
} else {
    "macOS, BSD"
};

/// The transports that this build has, wherever it runs.
fn backends() -> Vec<Box<dyn Backend>> {
    vec![
        #[cfg(feature = "uds")]
        Box::new(wayside::backend::Uds::new()),
        #[cfg(feature = "fifo")]
        Box::new(wayside::backend::Fifo::new()),
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
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<&str>> = lines.map(cells).collect();
    assert!(rows.len() > 2, "no table that begins with {first}");
    rows
}

fn expected(capabilities: &Capabilities, column: &str) -> Option<String> {
    Some(match column {
        "transport" => format!("`{}`", capabilities.scheme),
        _ if column == SYSTEM => match capabilities.unsupported {
            Some(_) => "not there".to_owned(),
            None => match capabilities.peer_identity {
                // Windows has no group that a user acts as.
                PeerIdentity::UserAndProcess if cfg!(windows) => "user, process".to_owned(),
                PeerIdentity::UserAndProcess => "user, group, process".to_owned(),
                PeerIdentity::User => "user, group".to_owned(),
                PeerIdentity::Key => "key".to_owned(),
                other => panic!("the table has no words for {other:?}"),
            },
        },
        "Linux" | "macOS, BSD" | "Windows" => return None,
        "end of a peer shows" => match capabilities.end_of_peer {
            EndOfPeer::AtOnce => "at once".to_owned(),
            EndOfPeer::ByPing => "by ping".to_owned(),
            other => panic!("the table has no words for {other:?}"),
        },
        "largest piece" => match capabilities.chunk_len_max {
            Some(len) => format!("{len} bytes"),
            None => "a stream".to_owned(),
        },
        "peers by stock limits" => match capabilities.peers_stock_max {
            Some(count) => count.to_string(),
            None => "as descriptors allow".to_owned(),
        },
        other => panic!("the table has a column that nothing checks: {other}"),
    })
}

#[test]
fn the_table_of_transports_is_what_they_say_of_themselves() {
    let rows = table("transport");
    let columns = &rows[0];
    assert!(columns.contains(&SYSTEM), "no column for this system");
    for backend in backends() {
        let capabilities = backend.capabilities();
        let name = format!("`{}`", capabilities.scheme);
        let row = rows.iter().find(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        for (column, cell) in columns.iter().zip(row) {
            if let Some(expected) = expected(&capabilities, column) {
                assert_eq!(*cell, expected, "{name}: {column}");
            }
        }
    }
}

#[cfg(all(feature = "uds", feature = "fifo", feature = "tcp"))]
#[test]
fn the_table_has_no_transport_that_is_not_there() {
    let schemes: Vec<String> = backends()
        .iter()
        .map(|backend| format!("`{}`", backend.capabilities().scheme))
        .collect();
    for row in &table("transport")[2..] {
        assert!(schemes.contains(&row[0].to_owned()), "{}", row[0]);
    }
}

#[test]
fn the_examples_it_names_exist_and_none_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("there are examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().expect("a name").to_string_lossy();
            assert!(README.contains(name.as_ref()), "{name} is not named");
            count += 1;
        }
    }
    assert!(count > 0);
    for words in README.split("cargo run --example ").skip(1) {
        let name = words.split_whitespace().next().expect("a name");
        let file = format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        assert!(Path::new(&file).exists(), "{name} does not exist");
    }
}

/// What a deployment reads there is what it sees.
#[cfg(all(feature = "settings", feature = "tcp", feature = "uds", unix))]
#[test]
fn the_mistake_it_shows_is_what_is_printed() {
    let text = "transport = \"udp\"";
    let error = wayside::Settings::from_text(text, "wayside.toml").expect_err("a mistake");
    assert!(README.contains(&error.to_string()), "{error}");
}
