//! Real processes: the test binary runs itself again, with the name of a role in its environment.
//!
//! Parent and role talk in lines. The role's answers begin with a mark, as the test harness writes
//! to the same pipe. A role ends when its input does, so none outlives the test that started it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use wayside::Transport;

use super::{PATIENCE, Place};

const ROLE: &str = "WAYSIDE_TEST_ROLE";
const MARK: &str = "@";

/// The role that this process was started for, if any.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// What the parent has passed to this role.
pub fn passed(name: &str) -> String {
    std::env::var(format!("WAYSIDE_TEST_{name}")).unwrap_or_default()
}

/// Tells the parent.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub fn tell(what: impl std::fmt::Display) {
    // One write, whatever other threads or processes write to the same pipe.
    let line = format!("\n{MARK}{what}\n");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// What the parent says, line by line, until it has no more to say.
pub fn told() -> impl Iterator<Item = String> {
    std::io::stdin().lines().map_while(Result::ok)
}

/// The transport that the parent has passed.
#[allow(
    unused_variables,
    unused_mut,
    reason = "without a transport nobody asks for the address"
)]
pub fn transport() -> Transport {
    let address = passed("ADDRESS");
    match passed("SCHEME").as_str() {
        #[cfg(feature = "uds")]
        "uds" => Transport::new(wayside::backend::Uds::new(), address),
        #[cfg(feature = "tcp")]
        "tcp" => Transport::new(wayside::backend::Tcp::new(passed("KEY")), address),
        #[cfg(feature = "fifo")]
        "fifo" => Transport::new(wayside::backend::Fifo::new(), address),
        #[cfg(feature = "mqueue")]
        "mqueue" => Transport::new(super::small_queues(), address),
        other => panic!("no transport `{other}`"),
    }
}

/// A process of this binary.
pub struct Role {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// How to start one.
pub struct Casting {
    command: Command,
}

impl Casting {
    /// A role over a transport of this place.
    pub fn new(role: &str, place: &Place, transport: &Transport) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["plays_a_role", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(
                "WAYSIDE_TEST_SCHEME",
                transport.backend().capabilities().scheme,
            )
            .env("WAYSIDE_TEST_ADDRESS", transport.address())
            .env("WAYSIDE_TEST_KEY", place.folder.path().join("key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self { command }
    }

    pub fn pass(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(format!("WAYSIDE_TEST_{name}"), value);
        self
    }

    /// Started by a command of the system's, which gets the program and its arguments.
    pub fn by(mut self, words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        for (name, value) in self.command.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        self.command = command;
        self
    }

    /// Runs as another user.
    #[cfg(unix)]
    pub fn by_user(mut self, uid: u32) -> Self {
        use std::os::unix::process::CommandExt;
        self.command.uid(uid).gid(uid).current_dir("/");
        self
    }

    pub fn start(mut self) -> Role {
        let mut child = self.command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(text) = line.strip_prefix(MARK) {
                    if sender.send(text.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        let input = child.stdin.take();
        Role {
            child,
            input,
            lines,
        }
    }
}

impl Role {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says a line.
    pub fn say(&mut self, what: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{what}").unwrap();
        input.flush().unwrap();
    }

    /// The next line that the role tells.
    pub fn hear(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("process {} told nothing: {error}", self.pid()))
    }

    /// What one that was killed had told and nobody has heard.
    pub fn last_words(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect()
    }

    /// The next line, which has to begin with `what`; gives the rest.
    pub fn expect(&self, what: &str) -> String {
        let line = self.hear();
        let rest = line.strip_prefix(what);
        rest.unwrap_or_else(|| panic!("told `{line}`, not `{what}`"))
            .trim()
            .to_owned()
    }

    /// Asks a question whose answer is a list of `name=number`.
    pub fn ask(&mut self, what: &str) -> HashMap<String, u64> {
        self.say(what);
        let answer = self.expect(what);
        answer
            .split_whitespace()
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Ends it without a chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Lets it end by itself, which has to go well.
    pub fn finish(mut self) {
        self.input = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.input = None;
        // It may have been killed and waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
