//! Help for tests with real processes: a test binary starts itself again in a role.
//!
//! A file that uses it has a test named `in_a_role`, which does nothing unless it runs in a started
//! process. The two talk by lines: what the child says begins with a mark, as the test harness
//! writes to the same output. A child ends when its input does, so none outlives its parent.

#![allow(dead_code, reason = "no file of tests needs all of it")]
#![allow(clippy::print_stdout, reason = "it is how a child talks to its parent")]

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use wayside::backend::{Link, Listener};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const MARK: &str = "child says: ";
const ROLE: &str = "WAYSIDE_TEST_ROLE";

/// The role of this process, and its arguments; `None` in the test itself.
pub(crate) fn role() -> Option<(String, Vec<String>)> {
    let text = env::var(ROLE).ok()?;
    let mut words = text.split('\n').map(str::to_owned);
    Some((words.next()?, words.collect()))
}

/// Says a line to the parent.
pub(crate) fn say(line: &str) {
    // On a line of its own: the harness may have left one unfinished.
    println!("\n{MARK}{line}");
}

/// The next line from the parent; ends this process when there is none.
pub(crate) fn hear() -> String {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(1..) => line.trim_end().to_owned(),
        _ => std::process::exit(0),
    }
}

/// A started process.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts this binary again in a role.
    pub(crate) fn start(role: &str, arguments: &[&str]) -> Self {
        let exe = env::current_exe().expect("the system knows");
        Self::start_by(Command::new(exe), role, arguments)
    }

    /// Starts it by a command of the caller's: as another user, say.
    pub(crate) fn start_by(mut command: Command, role: &str, arguments: &[&str]) -> Self {
        let words = [&[role], arguments].concat().join("\n");
        command
            .args(["--exact", "in_a_role", "--nocapture"])
            .env(ROLE, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let deadline = Instant::now() + PATIENCE;
        let mut child = loop {
            match command.spawn() {
                Ok(child) => break child,
                // A fresh copy of a binary is busy while a process that another test has just
                // forked, and that has not yet turned into its own program, has it open. Wine, when
                // many start at once, now and then has an internal error.
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        || (cfg!(windows) && error.raw_os_error() == Some(1359)) =>
                {
                    assert!(Instant::now() < deadline, "{error}");
                    thread::yield_now();
                }
                Err(error) => panic!("the process does not start: {error}"),
            }
        };
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix(MARK) {
                    if sender.send(said.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that it says.
    pub(crate) fn says(&mut self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("the child says something")
    }

    /// Says a line to it.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("the child listens");
        input.flush().expect("the child listens");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
        // Waiting closes the input, by which a child of its own may live.
        let input = self.child.stdin.take();
        self.child.wait().expect("it can be waited for");
        self.child.stdin = input;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Polls until there is an event.
fn await_events(poll: &mut Poll, events: &mut Events) {
    loop {
        match poll.poll(events, Some(PATIENCE)) {
            Ok(()) => break,
            // A process that was stopped and goes on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("poll fails: {error}"),
        }
    }
    assert!(!events.is_empty(), "no event within {PATIENCE:?}");
}

/// Calls `attempt` until it is not `WouldBlock`, waiting for the link's events in between.
pub(crate) fn wait<T>(
    link: &mut dyn Link,
    mut attempt: impl FnMut(&mut dyn Link) -> io::Result<T>,
) -> io::Result<T> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(link, Token(0), both)?;
    let result = loop {
        match attempt(link) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => break other,
        }
        await_events(&mut poll, &mut events);
    };
    poll.registry().deregister(link)?;
    result
}

/// Receives so many bytes.
pub(crate) fn receive(link: &mut dyn Link, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let mut buffer = vec![0; len - bytes.len()];
        match wait(link, |link| link.recv(&mut buffer))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            taken => bytes.extend_from_slice(&buffer[..taken]),
        }
    }
    Ok(bytes)
}

/// Sends a few bytes.
pub(crate) fn send(link: &mut dyn Link, bytes: &[u8]) -> io::Result<()> {
    let sent = wait(link, |link| link.send(bytes))?;
    assert_eq!(sent, bytes.len(), "too many bytes for one piece");
    Ok(())
}

/// Waits for the next peer.
pub(crate) fn accept(listener: &mut dyn Listener) -> io::Result<Box<dyn Link>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    let readable = Interest::READABLE;
    poll.registry().register(listener, Token(0), readable)?;
    let result = loop {
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => break other,
        }
        await_events(&mut poll, &mut events);
    };
    poll.registry().deregister(listener)?;
    result
}

/// Drives both ends until each has received a byte, or one has failed: the results of both.
pub(crate) fn greet(mut ends: [&mut dyn Link; 2]) -> [io::Result<()>; 2] {
    let mut poll = Poll::new().expect("the system gives a poll");
    let mut events = Events::with_capacity(4);
    let both = Interest::READABLE | Interest::WRITABLE;
    for (token, link) in ends.iter_mut().enumerate() {
        let registered = poll.registry().register(*link, Token(token), both);
        registered.expect("the link can be registered");
    }
    let mut sent = [false; 2];
    let mut results = [None, None];
    loop {
        for (index, link) in ends.iter_mut().enumerate() {
            if results[index].is_none() {
                results[index] = step(*link, &mut sent[index]);
            }
        }
        let failed = results.iter().flatten().any(Result::is_err);
        if failed || (results.iter().all(Option::is_some) && sent == [true; 2]) {
            break;
        }
        await_events(&mut poll, &mut events);
    }
    for link in ends {
        poll.registry().deregister(link).expect("it was registered");
    }
    results.map(|result| result.unwrap_or(Err(io::ErrorKind::WouldBlock.into())))
}

/// Sends a byte unless it is sent, and receives one.
fn step(link: &mut dyn Link, sent: &mut bool) -> Option<io::Result<()>> {
    let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    if !*sent {
        match link.send(b"x") {
            Ok(_) => *sent = true,
            Err(error) if would_block(&error) => {}
            Err(error) => return Some(Err(error)),
        }
    }
    match link.recv(&mut [0]) {
        Ok(0) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Some(Ok(())),
        Err(error) if would_block(&error) => None,
        Err(error) => Some(Err(error)),
    }
}

/// A directory that is removed at the end.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// The path as an address.
pub(crate) fn address(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// The names in a directory, sorted.
pub(crate) fn names(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("the directory is there");
    let mut names: Vec<PathBuf> = entries
        .map(|entry| PathBuf::from(entry.expect("an entry").file_name()))
        .collect();
    names.sort();
    names
}

/// A user that owns nothing.
#[cfg(unix)]
pub(crate) const NOBODY: u32 = 65534;

/// How to start this binary as a user who is nobody. `None` unless we are root.
#[cfg(unix)]
pub(crate) fn as_nobody(directory: &Path) -> Option<impl Fn() -> Command> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can start a process as another user");
        return None;
    }
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    // Where it lies now may be closed to others.
    let exe = directory.join("exe");
    fs::copy(env::current_exe().expect("a copy of this binary"), &exe)
        .expect("a copy of this binary");
    fs::set_permissions(&exe, Permissions::from_mode(0o755)).expect("a copy of this binary");
    fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("a copy of this binary");
    Some(move || {
        let mut command = Command::new(&exe);
        command.uid(NOBODY).gid(NOBODY);
        command
    })
}
