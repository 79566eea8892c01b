//! The page of guarantees names tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/guarantees.md");

/// The `file::test` of the page, each once.
fn proofs() -> BTreeSet<(&'static str, &'static str)> {
    // Every second piece stands between two backticks.
    PAGE.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once(".rs::"))
        .collect()
}

/// Those are tests without an attribute: a macro of the suite for backends makes them, or a main of the
/// file's own calls them.
const WITHOUT_ATTRIBUTE: [&str; 3] = [
    "src/conformance/",
    "tests/own_agent",
    "tests/readme_program",
];

/// Whether there is a test of this name.
fn has_test(source: &str, name: &str, without_attribute: bool) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let mut above = before.rsplit('\n').map(str::trim).skip(1);
    without_attribute
        || above
            .by_ref()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(|line| line == "#[test]")
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let proofs = proofs();
    assert!(proofs.len() > 20, "the page is not read as it was meant");
    let mut missing = Vec::new();
    for (file, test) in proofs {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{file}.rs"));
        let source = fs::read_to_string(path).unwrap_or_default();
        let without = WITHOUT_ATTRIBUTE.iter().any(|of| file.starts_with(of));
        if !has_test(&source, test, without) {
            missing.push(format!("{file}.rs::{test}"));
        }
    }
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

/// A row is a number, a promise and a proof; a number is used once.
#[test]
fn every_promise_has_a_number_and_a_proof() {
    let mut numbers = BTreeSet::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, promise, proof] = cells[..] else {
            panic!("not three cells: {line}");
        };
        if number == "#" {
            continue;
        }
        assert!(numbers.insert(number), "{number} is there twice");
        assert!(promise.ends_with('.'), "{number}: {promise}");
        let by_simulation = proof == "S" || proof.starts_with("S, ");
        assert!(
            by_simulation || proof.contains(".rs::"),
            "{number}: no proof"
        );
    }
    assert!(numbers.len() > 20, "the page is not read as it was meant");
}
