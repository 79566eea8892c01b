//! Windows: processes without a console. Children are nobody's zombies here, and nothing like SIGTERM
//! reaches a process that has no console and no window.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::call::{Call, Task};

const DETACHED_PROCESS: u32 = 0x0000_0008;
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;

/// The agent is started directly.
pub(super) fn first_call(ticket: PathBuf) -> Call {
    let task = Task::Serve;
    Call { task, ticket }
}

/// Its starter has seen to it.
pub(super) fn detach_this() -> io::Result<()> {
    Ok(())
}

/// A command of its own.
pub(super) fn detached(program: &OsStr, arguments: &[OsString]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Starts the process and leaves it to itself.
pub(super) fn launch(command: &mut Command) -> io::Result<()> {
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    drop(command.spawn()?);
    Ok(())
}

/// There are none: this only keeps what would be called.
pub(super) struct EndSignals {
    _call: Box<dyn FnOnce() + Send>,
}

/// Never calls back.
pub(super) fn on_end_signal(call: impl FnOnce() + Send + 'static) -> io::Result<EndSignals> {
    let _call = Box::new(call);
    Ok(EndSignals { _call })
}
