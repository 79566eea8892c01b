//! The body of the fuzz target `settings`, which also runs as a test over the kept corpus.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::{Environment, Settings, SettingsError, Size, file};

/// A section with something of everything.
#[derive(Deserialize)]
#[serde(default)]
struct Worker {
    flush: Duration,
    batch: Size,
    shards: Option<u8>,
    ratio: f64,
    mode: Mode,
    tags: Vec<String>,
    retry: BTreeMap<String, i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Plain,
    Sampled { rate: f32 },
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            flush: Duration::from_secs(1),
            batch: Size(0),
            shards: None,
            ratio: 0.0,
            mode: Mode::Plain,
            tags: Vec::new(),
            retry: BTreeMap::new(),
        }
    }
}

/// Reads `data` as a file; after a zero byte, which no file can have, as lines `NAME=value` of an
/// environment. Whatever it is: no panic, an error is one line whose place is in the text, and
/// settings print as a file that means the same.
///
/// # Panics
/// One of these does not hold.
pub fn fuzz_settings(data: &[u8]) {
    let (bytes, variables) = match data.iter().position(|byte| *byte == 0) {
        Some(zero) => (&data[..zero], &data[zero + 1..]),
        None => (data, &data[..0]),
    };
    let environment = String::from_utf8_lossy(variables)
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect::<Environment>();
    let source = match file::text(Path::new("fuzz.toml"), bytes.to_vec()) {
        Ok(source) => source,
        Err(error) => return check_error(&error, &String::from_utf8_lossy(bytes)),
    };
    let builder = Settings::builder().environment(environment);
    let settings = match builder.load_text(&source.text, "fuzz.toml") {
        Ok(settings) => settings,
        Err(error) => return check_error(&error, &source.text),
    };
    match settings.section::<Worker>("worker") {
        Ok(worker) => {
            if let Mode::Sampled { rate } = worker.mode {
                assert!(rate.is_nan() || rate.abs() >= 0.0);
            }
        }
        Err(error) => check_error(&error, &source.text),
    }
    for printed in [settings.to_string(), format!("{settings:#}")] {
        let again = Settings::from_text(&printed, "printed.toml");
        let again = again.unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(format!("{again:#}"), format!("{settings:#}"));
        assert_eq!(again.limits(), settings.limits());
    }
}

fn check_error(error: &SettingsError, text: &str) {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "one line: {line}");
    if error.variable().is_some() {
        return;
    }
    assert_eq!(error.file(), Some(Path::new("fuzz.toml")), "{line}");
    let (Some(row), Some(column)) = (error.line(), error.column()) else {
        panic!("no place: {line}");
    };
    let found = text.split('\n').nth(row - 1);
    let Some(found) = found else {
        panic!("line {row} is not in the text: {line}");
    };
    assert!((1..=found.chars().count() + 1).contains(&column), "{line}");
}
