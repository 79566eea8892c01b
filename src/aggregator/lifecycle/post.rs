//! The files that processes agree by.

use std::io;
use std::path::PathBuf;

use crate::aggregator::files::{self, Lock};
use crate::ambient;
use crate::settings::{Settings, SettingsError};

/// Where the agent of an application is, or is to be.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    dir: PathBuf,
    name: String,
}

impl Post {
    pub(crate) fn of(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            dir: settings.dir()?,
            name: settings.name().to_owned(),
        })
    }

    /// Held by the agent for as long as it lives.
    pub(super) fn take(&self) -> io::Result<Option<Lock>> {
        Lock::take(&self.file("agent"))
    }

    /// Whether there is an agent, or one that is just starting or ending.
    pub(super) fn is_taken(&self) -> io::Result<bool> {
        Ok(self.take()?.is_none())
    }

    /// Held by the one that starts an agent.
    pub(super) fn elect(&self) -> io::Result<Option<Lock>> {
        Lock::take(&self.file("agent-start"))
    }

    /// Makes a file that one process will take.
    pub(super) fn issue_ticket(&self) -> io::Result<PathBuf> {
        let number = ambient::fresh_number();
        let path = self.file(&format!("agent-ticket-{number:032x}"));
        files::create(&path)?;
        Ok(path)
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", self.name))
    }
}
