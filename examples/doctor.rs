//! Prints which transports would work here and now, why not, and what to do.
//!
//! ```text
//! cargo run --example doctor
//! ```
//!
//! run where a program's `wayside.toml` lies, as the user that the program runs as, prints (numbers
//! and places differ):
//!
//! ```text
//! uds:/run/user/1000/wayside/wayside.sock (chosen): works
//!   note: directory /run/user/1000/wayside is missing: the first to need it creates it
//! tcp:127.0.0.1:7471: works, with a warning
//!   warning: somebody listens at 127.0.0.1:7471; clients can connect if it is our server, a second …
//! fifo:/run/user/1000/wayside/wayside.fifo: works
//! mqueue:/wayside-wayside: works
//!   note: the queues of this user may take 819200 bytes (RLIMIT_MSGQUEUE), room for 51 peers: …
//! ```
//!
//! It ends with success if every transport that the settings choose would work: fit for a script that
//! runs before a deployment.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

use std::env;
use std::process::ExitCode;

use wayside::settings::Environment;
use wayside::{Settings, SettingsError, doctor};

const HELP: &str = "\
Says which transports would work here and now, with the settings at hand, why not, and what to do.

usage: doctor [OPTIONS]

  --transport T   as if T were chosen: uds, fifo, mqueue, tcp, or an endpoint such as tcp:127.0.0.1:9000
  --name N        as if the settings had this name

It reads wayside.toml and WAYSIDE_…, looks at directories, names, limits and what the system has, creates
nothing and connects to nobody. Exit code 0: each chosen transport would work. 1: one would not, or the
settings have a mistake. 2: this command line has one.";

fn main() -> ExitCode {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("doctor: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    match options.settings(Environment::of_process()) {
        Ok(settings) => {
            let report = doctor::examine(&settings);
            println!("{report}");
            ExitCode::from(u8::from(!report.is_good()))
        }
        Err(error) => {
            eprintln!("doctor: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    transport: Option<String>,
    name: Option<String>,
}

impl Options {
    /// `None` when help is asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--transport" => options.transport = Some(value()?),
                "--name" => options.name = Some(value()?),
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(Some(options))
    }

    /// What the file and the environment say; the command line stands above both.
    fn settings(&self, mut environment: Environment) -> Result<Settings, SettingsError> {
        if let Some(transport) = &self.transport {
            environment = environment
                .with("WAYSIDE_TRANSPORT", transport)
                .with("WAYSIDE_ENDPOINT", "");
        }
        if let Some(name) = &self.name {
            environment = environment.with("WAYSIDE_NAME", name);
        }
        Settings::builder().environment(environment).load()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;
    use wayside::doctor::{Report, Verdict};

    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    /// The report for a command line, and a directory.
    fn examine(line: &str, dir: &Path) -> Report {
        let environment = Environment::empty().with("WAYSIDE_DIR", dir);
        let options = parse(line).unwrap().unwrap();
        doctor::examine(&options.settings(environment).unwrap())
    }

    /// The words that there are, and any others.
    fn word() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec!["--transport", "--name", "--help", "-h", "tcp"]);
        prop_oneof![known.prop_map(str::to_owned), ".{1,12}"]
    }

    proptest! {
        #[test]
        fn any_command_line_is_taken_or_a_word_of_it_is_named(
            words in prop::collection::vec(word(), 0..6),
        ) {
            match Options::parse(words.clone()) {
                Ok(Some(Options { transport, name })) => {
                    let values = [transport, name].into_iter().flatten();
                    prop_assert_eq!(words.len() % 2, 0);
                    prop_assert!(values.into_iter().all(|value| words.contains(&value)));
                }
                Ok(None) => prop_assert!(words.iter().any(|word| word == "--help" || word == "-h")),
                Err(problem) => prop_assert!(
                    words.iter().any(|word| problem.contains(word)),
                    "{problem}"
                ),
            }
        }
    }

    #[test]
    fn the_command_line_stands_above_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let line = "--transport tcp:127.0.0.1:1 --name bakery";
        let report = examine(line, &folder.path().join("run"));
        let chosen: Vec<String> = report
            .transports
            .iter()
            .filter(|found| found.is_chosen)
            .map(|found| {
                format!(
                    "{}:{}",
                    found.scheme,
                    found.address.as_deref().unwrap_or("")
                )
            })
            .collect();
        assert_eq!(chosen, ["tcp:127.0.0.1:1"]);
        let others = report.to_string();
        assert!(others.contains("bakery"), "{others}");
        assert!(parse("--transport").unwrap_err().contains("--transport"));
        assert!(parse("uds").unwrap_err().contains("`uds`"));
        assert_eq!(parse("--name a --help"), Ok(None));
    }

    #[test]
    fn it_succeeds_only_if_what_is_chosen_would_work() {
        let folder = tempfile::tempdir().unwrap();
        // A file where a directory should be.
        let dir = folder.path().join("file");
        fs::write(&dir, "").unwrap();
        let report = examine("--transport tcp", &dir);
        let tcp = &report.transports[0];
        assert_eq!(tcp.verdict(), Verdict::WouldNotWork, "{report}");
        assert!(!report.is_good());
        // It is the first line that a reader sees, and the next one says why.
        let text = report.to_string();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("tcp (chosen): would not work"));
        assert!(
            lines.next().is_some_and(|line| line.contains("obstacle: ")),
            "{text}"
        );
    }
}
