//! A house: sensors, a camera, a siren, a controller and a phone, each a process of its own.
//!
//! ```text
//! cargo run --example smart_home --features aggregator
//! ```
//!
//! prints:
//!
//! ```text
//! motion: told the controller
//! phone: armed
//! door: told the controller
//! siren: sounds
//! camera: took a picture
//! phone: alert: door
//! phone: wrong code
//! window: told the controller
//! camera: took a picture
//! phone: alert: window
//! phone: disarmed
//! siren: silent
//! log: alert: door
//! log: alert: window
//! log: pictures=2
//! log: pushes{to="camera"}=2
//! log: pushes{to="phone"}=2
//! log: pushes{to="siren"}=2
//! log: sensed{by="door"}=1
//! log: sensed{by="motion"}=1
//! log: sensed{by="window"}=1
//! ```
//!
//! What it shows: two floors side by side. The parts of the house talk with the controller in a
//! protocol of their own: sensors send events, the phone makes calls, the controller pushes. And each
//! has a worker, so that what all of them did and every alert is in one log, written by an agent that
//! the first of them has started. Each part ends on SIGTERM, or when its input ends.
//!
//! In terminals of their own, what happens in the house is typed in (`motion`, `open`, `arm`,
//! `disarm 1234`):
//!
//! ```text
//! cargo run --example smart_home --features aggregator -- controller
//! cargo run --example smart_home --features aggregator -- door
//! cargo run --example smart_home --features aggregator -- phone
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod alarm;
mod controller;
mod log;
mod part;
mod places;
mod protocol;
mod show;
mod words;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use wayside::aggregator::lifecycle;

use crate::places::{Side, settings};
use crate::protocol::Part;

const HELP: &str = "\
A house of sensors, camera, siren, controller and phone, each a process of its own.

usage: smart_home [OPTIONS]    shows it: starts all parts and lets a burglar in
       smart_home PART         one of: controller, motion, door, window, camera, siren, phone

  --transport T   uds, fifo, mqueue or tcp

Without --transport, wayside.toml and WAYSIDE_TRANSPORT decide.";

fn main() -> ExitCode {
    // In the process that a worker has started to be the agent, this does not return.
    lifecycle::hook(|| log::agent(&settings(Side::Agent, &[])?));

    let result = match Wish::parse(env::args().skip(1)) {
        Ok(Wish::Help) => {
            println!("{HELP}");
            Ok(())
        }
        Ok(Wish::Show(transport)) => show::show(transport.as_deref()),
        Ok(Wish::Control) => controller::control(),
        Ok(Wish::TakePart(part)) => part::take_part(part),
        Err(problem) => {
            eprintln!("smart_home: {problem}; --help shows what there is");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smart_home: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what has come.
const PAUSE: Duration = Duration::from_millis(10);

/// The command line.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Help,
    /// By this transport.
    Show(Option<String>),
    Control,
    TakePart(Part),
}

impl Wish {
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut wish = Self::Show(None);
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            wish = match (word.as_str(), &wish) {
                ("--help" | "-h", _) => return Ok(Self::Help),
                ("--transport", Self::Show(None)) => {
                    let transport = words.next().ok_or("--transport needs a value")?;
                    Self::Show(Some(transport))
                }
                ("--transport", _) => {
                    return Err("--transport is for the show; a part takes it from \
                                WAYSIDE_TRANSPORT"
                        .to_owned());
                }
                ("controller", Self::Show(None)) => Self::Control,
                (name, Self::Show(None)) => match Part::named(name) {
                    Some(part) => Self::TakePart(part),
                    None => return Err(format!("what is `{word}`?")),
                },
                _ => return Err(format!("what is `{word}`?")),
            };
        }
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(words: &[&str]) -> Result<Wish, String> {
        Wish::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn the_command_line_is_understood() {
        assert_eq!(parse(&[]), Ok(Wish::Show(None)));
        let tcp = Wish::Show(Some("tcp".to_owned()));
        assert_eq!(parse(&["--transport", "tcp"]), Ok(tcp));
        assert_eq!(parse(&["controller"]), Ok(Wish::Control));
        for part in Part::ALL {
            assert_eq!(parse(&[part.name()]), Ok(Wish::TakePart(part)));
            assert_eq!(parse(&[part.name(), "--help"]), Ok(Wish::Help));
            assert!(parse(&[part.name(), "--transport", "tcp"]).is_err());
        }
        assert!(parse(&["--transport"]).is_err());
    }

    proptest! {
        #[test]
        fn any_other_word_is_named_in_the_complaint(word in "[a-z]{1,10}") {
            prop_assume!(word != "controller" && Part::named(&word).is_none());
            prop_assert!(parse(&[&word]).unwrap_err().contains(&word));
            prop_assert!(parse(&["door", &word]).unwrap_err().contains(&word));
        }
    }
}
