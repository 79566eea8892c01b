//! The files that processes agree by.

use std::fs::{self, DirEntry};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::aggregator::files::{self, Lock};
use crate::ambient;
use crate::settings::{Settings, SettingsError};

/// What a ticket's name begins with, behind the application's.
const TICKET: &str = "agent-ticket-";
/// Whoever was to take a ticket has done so by then, or never will.
const TICKET_AGE_MAX: Duration = Duration::from_secs(5 * 60);

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

    /// Makes a file that one process will take, and sweeps those whose starters were killed before.
    pub(super) fn issue_ticket(&self) -> io::Result<PathBuf> {
        self.sweep_tickets();
        let number = ambient::fresh_number();
        let path = self.file(&format!("{TICKET}{number:032x}"));
        files::create(&path)?;
        Ok(path)
    }

    fn sweep_tickets(&self) {
        let beginning = format!("{}.{TICKET}", self.name);
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_ticket = name
                .to_str()
                .is_some_and(|name| name.starts_with(&beginning));
            if is_ticket && is_old(&entry) {
                // It only takes room: the next to issue one tries again.
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}.{ending}", self.name))
    }
}

/// By the wall clock, which may jump: then a ticket stays longer, or its agent is started again.
fn is_old(entry: &DirEntry) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > TICKET_AGE_MAX)
}
