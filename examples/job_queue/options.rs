//! The command line and the settings.

use std::error::Error;

use wayside::settings::Environment;
use wayside::{Client, Settings, SettingsError};

use crate::PATIENCE;
use crate::protocol::Jobs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    Dispatch,
    Work,
    Submit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub part: Part,
    pub transport: Option<String>,
    /// Where sockets and keys are, if not where the settings say.
    pub dir: Option<std::path::PathBuf>,
    pub jobs: u32,
    pub workers: u32,
    pub once: bool,
}

impl Options {
    /// `None` when help is asked for.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            part: Part::All,
            transport: None,
            dir: None,
            jobs: 300,
            workers: 3,
            once: false,
        };
        let mut words = words.into_iter();
        let mut first = true;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "dispatch" if first => options.part = Part::Dispatch,
                "work" if first => options.part = Part::Work,
                "submit" if first => options.part = Part::Submit,
                "--transport" => options.transport = Some(value()?),
                "--jobs" => options.jobs = number(&word, &value()?)?,
                "--workers" => options.workers = number(&word, &value()?)?,
                "--once" => options.once = true,
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("what is `{word}`?")),
            }
            first = false;
        }
        if options.workers < 2 {
            return Err("--workers must be at least 2, as one is killed".to_owned());
        }
        Ok(Some(options))
    }

    /// What the file and the environment say; the command line stands above both.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let mut environment = Environment::of_process();
        if let Some(transport) = &self.transport {
            environment = environment
                .with("WAYSIDE_TRANSPORT", transport)
                .with("WAYSIDE_ENDPOINT", "");
        }
        if let Some(dir) = &self.dir {
            environment = environment.with("WAYSIDE_DIR", dir);
        }
        Settings::builder()
            .name("job-queue")
            .environment(environment)
            .load()
    }

    pub fn connect(&self) -> Result<Client<Jobs>, Box<dyn Error>> {
        Client::builder()
            .settings(&self.settings()?)?
            .connect(PATIENCE)
            .map_err(|error| format!("{error} (`job_queue dispatch` starts the other side)").into())
    }
}

fn number(option: &str, text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{option} needs a number, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_other_word_is_named_in_the_complaint(word in "[a-z]{1,10}") {
            prop_assume!(!["dispatch", "work", "submit"].contains(&word.as_str()));
            let complaint = Options::parse([word.clone()]).unwrap_err();
            prop_assert!(complaint.contains(&word));
        }
    }
}
