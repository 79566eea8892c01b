//! What a process was started for, as its starter put it into the environment.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

// Not `WAYSIDE_…`: those are settings.
const TASK: &str = "_WAYSIDE_AGENT";
const TICKET: &str = "_WAYSIDE_AGENT_TICKET";

/// Whether this process has looked at what it was started for.
static LOOKED: AtomicBool = AtomicBool::new(false);

/// What to do instead of the program's own work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) task: Task,
    /// A file that is there until one process has taken it: what that process starts has inherited
    /// its environment, and another task.
    pub(super) ticket: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Start the agent, and end.
    Launch,
    /// Be the agent.
    Serve,
}

impl Call {
    /// That of this process, unless it was another's.
    pub(super) fn of_process() -> Option<Self> {
        LOOKED.store(true, Ordering::Relaxed);
        let task = match env::var_os(TASK)?.to_str()? {
            "launch" => Task::Launch,
            "serve" => Task::Serve,
            _ => return None,
        };
        let ticket = PathBuf::from(env::var_os(TICKET)?);
        ticket.exists().then_some(Self { task, ticket })
    }

    /// Whether this process was started to do something else than it does.
    pub(super) fn was_overlooked() -> bool {
        !LOOKED.load(Ordering::Relaxed) && env::var_os(TASK).is_some()
    }

    /// Calls the process that this command will start.
    pub(super) fn put_into(&self, command: &mut Command) {
        let task = match self.task {
            Task::Launch => "launch",
            Task::Serve => "serve",
        };
        command.env(TASK, task).env(TICKET, &self.ticket);
    }

    /// No call for what this command will start.
    pub(super) fn remove_from(command: &mut Command) {
        command.env_remove(TASK).env_remove(TICKET);
    }

    /// True for one process only.
    pub(super) fn take_ticket(&self) -> bool {
        fs::remove_file(&self.ticket).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let ticket = folder.path().join("ticket");
        fs::write(&ticket, "").unwrap();
        let task = Task::Serve;
        let call = Call { task, ticket };
        assert!(call.take_ticket());
        assert!(!call.take_ticket());
    }
}
