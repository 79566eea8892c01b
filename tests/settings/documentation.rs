//! The pages say what the code does.

use wayside::Limits;
use wayside::settings::Settings;

#[test]
fn the_documented_tables_are_those_of_the_code() {
    let page = include_str!("../../docs/settings.md");
    let reference = Settings::reference();
    assert!(
        page.contains(&reference),
        "docs/settings.md must contain:\n{reference}"
    );
}

#[test]
fn the_example_in_the_docs_is_a_valid_file() {
    let source = include_str!("../../src/settings/mod.rs");
    let example: String = source
        .lines()
        .map(|line| line.trim_start_matches("//!"))
        .skip_while(|line| *line != " ```toml")
        .skip(1)
        .take_while(|line| *line != " ```")
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    // Without the transport, for systems that lack it.
    let example = if cfg!(unix) {
        example
    } else {
        example.replace("\"uds\"", "\"tcp\"")
    };
    let settings = Settings::from_text(&example, "wayside.toml").unwrap();
    assert_eq!(settings.name(), "shop");
    assert_eq!(settings.limits(), &Limits::default());
    for section in [
        "[uds]", "[tcp]", "[fifo]", "[mqueue]", "[limits]", "[agent]", "[worker]",
    ] {
        assert!(example.contains(section), "{section}");
    }
}
