//! The README says what the code does.

use std::path::Path;

const README: &str = include_str!("../README.md");

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

/// What stands in them compares `src/backend/table/mod.rs`.
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
