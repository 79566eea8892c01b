//! What to start when there is no agent.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::call::Call;
use super::platform;
use super::post::Post;
use super::resident::Resident;
use crate::aggregator::files::append_to;

/// What to start when there is no agent.
///
/// ```
/// use wayside::aggregator::lifecycle::Spawn;
///
/// // Needs `lifecycle::hook` at the top of `main`.
/// let itself = Spawn::this_program().log("/var/log/shop-agent.log");
/// let other = Spawn::command("/usr/lib/shop/agent", ["--quiet"]);
/// ```
#[derive(Clone)]
pub struct Spawn {
    program: Program,
    log: Option<PathBuf>,
    in_process: Option<Arc<Make>>,
}

pub(super) type Make = dyn Fn() -> Result<Resident, Box<dyn std::error::Error>> + Send + Sync;

#[derive(Debug, Clone)]
enum Program {
    This,
    Command(OsString, Vec<OsString>),
    None,
}

impl Spawn {
    /// This program again, which has to call [`hook`](super::hook) at the top of `main`.
    #[must_use]
    pub fn this_program() -> Self {
        Self::new(Program::This)
    }

    /// This command. It is the agent, or starts one; it should use [`Resident`], so that there is
    /// only one.
    pub fn command<A: Into<OsString>>(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self::new(Program::Command(program.into(), arguments))
    }

    /// No other process: an agent on threads of this one. It ends with the worker that has it, and
    /// the next one takes its place. So that a process that ends then loses nothing, the end of that worker
    /// waits within its time ([`Worker::close`], [`WorkerLimits::drop_timeout`]) until the agent's sinks
    /// have what it was given.
    ///
    /// [`Worker::close`]: crate::aggregator::Worker::close
    /// [`WorkerLimits::drop_timeout`]: crate::aggregator::WorkerLimits::drop_timeout
    pub fn in_process(
        agent: impl Fn() -> Result<Resident, Box<dyn std::error::Error>> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Program::None).or_in_process(agent)
    }

    /// The last resort, if the other process can't be started.
    #[must_use]
    pub fn or_in_process(
        mut self,
        agent: impl Fn() -> Result<Resident, Box<dyn std::error::Error>> + Send + Sync + 'static,
    ) -> Self {
        self.in_process = Some(Arc::new(agent));
        self
    }

    /// Appends what the agent writes to standard output and error to this file. Without, it is lost.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    fn new(program: Program) -> Self {
        Self {
            program,
            log: None,
            in_process: None,
        }
    }

    pub(super) fn make_in_process(&self) -> Option<&Arc<Make>> {
        self.in_process.as_ref()
    }

    /// Starts the process, and leaves it to itself. `None` if there is none to start.
    pub(super) fn launch(&self, post: &Post) -> io::Result<Option<Launched>> {
        match &self.program {
            Program::None => Ok(None),
            Program::This => {
                let ticket = post.issue_ticket()?;
                let launched = Launched(Some(ticket.clone()));
                let mut command = this_program(&platform::first_call(ticket))?;
                self.direct(&mut command).and_then(platform::launch)?;
                Ok(Some(launched))
            }
            Program::Command(program, arguments) => {
                let mut command = platform::detached(program, arguments);
                // It is no longer this program, whatever this one was started for.
                Call::remove_from(&mut command);
                self.direct(&mut command).and_then(platform::launch)?;
                Ok(Some(Launched(None)))
            }
        }
    }

    /// Says where its output goes.
    fn direct<'a>(&self, command: &'a mut Command) -> io::Result<&'a mut Command> {
        command.stdin(Stdio::null());
        match &self.log {
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
            Some(path) => {
                let file = append_to(path)?;
                command.stdout(file.try_clone()?).stderr(file)
            }
        };
        Ok(command)
    }
}

/// A process on its way to be the agent. Dropping this takes the ticket back, if nobody has it.
pub(super) struct Launched(Option<PathBuf>);

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(ticket) = &self.0 {
            // Usually the agent has taken it.
            fs::remove_file(ticket).ok();
        }
    }
}

/// This program, called to do something else.
pub(super) fn this_program(call: &Call) -> io::Result<Command> {
    let mut command = Command::new(path_of_this_program()?);
    call.put_into(&mut command);
    Ok(command)
}

/// Where this program is now. One that was replaced since it was started is known to Linux as deleted;
/// what has its place is the newer one, and right.
fn path_of_this_program() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    if path.exists() {
        return Ok(path);
    }
    let replaced = path
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"));
    Ok(replaced.map(Path::new).unwrap_or(&path).to_path_buf())
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("program", &self.program)
            .field("log", &self.log)
            .field("in_process", &self.in_process.is_some())
            .finish()
    }
}
