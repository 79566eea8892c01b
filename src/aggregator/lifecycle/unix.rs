//! Unix: sessions, and signals.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::call::{Call, Task};
use crate::ambient;

/// How long a launcher may take to start the agent and end.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A process in between starts the agent and ends, so that the agent is nobody's child.
pub(super) fn first_call(ticket: PathBuf) -> Call {
    let task = Task::Launch;
    Call { task, ticket }
}

/// Leaves the starter's session, with its terminal and its signals.
pub(super) fn detach_this() -> io::Result<()> {
    // Fails for the leader of a group only: one that was just started is in its starter's.
    rustix::process::setsid()?;
    Ok(())
}

/// The shell says whether there is such a command, starts it and ends.
const START: &str = "command -v \"$1\" >/dev/null || exit 127; \"$@\" &";

/// A command whose process is not a child of this one.
pub(super) fn detached(program: &OsStr, arguments: &[OsString]) -> Command {
    let mut command = Command::new("/bin/sh");
    // In a group of its own the terminal's signals don't reach it.
    command
        .args(["-c", START, "sh"])
        .arg(program)
        .args(arguments)
        .process_group(0);
    command
}

/// Starts the process in between, and waits for its end: no zombie stays.
pub(super) fn launch(command: &mut Command) -> io::Result<()> {
    let mut child = command.spawn()?;
    let deadline = ambient::now() + LAUNCH_TIMEOUT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if ambient::now() >= deadline {
            child.kill()?;
            child.wait()?;
            let text = "the process that starts the agent did not end: is `lifecycle::hook` at the \
                        top of `main`?";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::park_timeout(LOOK_INTERVAL);
    };
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("its starter failed: {status}")))
}

/// Waits for signals until it is dropped.
pub(super) struct EndSignals {
    ids: Vec<SigId>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

/// Calls back at the first SIGTERM or SIGINT. The second ends the process at once.
pub(super) fn on_end_signal(call: impl FnOnce() + Send + 'static) -> io::Result<EndSignals> {
    let (mut reader, writer) = UnixStream::pair()?;
    let begun = Arc::new(AtomicBool::new(false));
    let mut ids = Vec::new();
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag down, and raises it.
        let exit = signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&begun))?;
        let raise = signal_hook::flag::register(signal, Arc::clone(&begun))?;
        let wake = signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        ids.extend([exit, raise, wake]);
    }
    let waker = reader.try_clone()?;
    let wait = move || {
        // The end of the stream is that of `EndSignals`.
        if let Ok(1..) = reader.read(&mut [0]) {
            call();
        }
    };
    let builder = thread::Builder::new().name("wayside-signals".to_owned());
    let thread = Some(builder.spawn(wait)?);
    Ok(EndSignals { ids, waker, thread })
}

impl Drop for EndSignals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
        // It is connected, so this can't fail; and if it did, the thread would just stay.
        if self.waker.shutdown(Shutdown::Both).is_ok() {
            if let Some(thread) = self.thread.take() {
                // A panic of it was logged.
                thread.join().ok();
            }
        }
    }
}
