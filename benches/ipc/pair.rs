//! The two processes of one case.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::Error;
use crate::case::{Case, Workload};
use crate::percentiles::Percentiles;
use crate::platform;
use crate::side::{Amount, Figures, Outcome, SIDE};

/// What came of one case.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub messages: u64,
    pub outcome: Outcome,
    /// Of round trips, or of messages until they were handled.
    pub delays: Percentiles,
    pub client: Figures,
    pub server: Figures,
    /// What the machine's host took from both sides, and from everybody else.
    pub stolen_ns: u64,
}

impl Run {
    /// Two cores that share one at the host are not two, and what is measured then is the host's
    /// scheduler: a call takes 40 times as long, whoever makes it.
    pub fn is_disturbed(&self) -> bool {
        self.stolen_ns > self.outcome.elapsed_ns / 5
    }
}

/// Where to write what strace counts, for each side.
pub struct Traces {
    pub client: PathBuf,
    pub server: PathBuf,
}

/// Both sides, at work.
pub struct Pair {
    workload: Workload,
    server: Side,
    client: Side,
    /// Holds the sockets and the key.
    _folder: TempDir,
}

impl Pair {
    pub fn start(case: &Case, amount: Amount, traces: Option<&Traces>) -> Result<Self, Error> {
        let folder = private_folder()?;
        let path = folder.path().to_str().ok_or("a path that is no text")?;
        let (workload, case) = (case.workload, case.to_string());
        let trace = traces.map(|traces| traces.server.as_path());
        let mut server = Side::start(&["server", &case, path], trace)?;
        let address = server.hear("address")?;
        let amount = amount.to_string();
        let trace = traces.map(|traces| traces.client.as_path());
        let arguments = ["client", &case, path, &amount, address.trim()];
        Ok(Self {
            workload,
            client: Side::start(&arguments, trace)?,
            server,
            _folder: folder,
        })
    }

    pub fn finish(mut self) -> Result<Run, Error> {
        self.client.hear("warm")?;
        let (before, _) = self.mark_server()?;
        let stolen_before = platform::stolen_ns();
        self.client.say("go")?;
        let client = self.client.hear("figures")?.parse()?;
        let round_trips = self.client.hear("delays")?.parse()?;
        let outcome: Outcome = self.client.hear("result")?.parse()?;
        let (after, delays) = self.mark_server()?;
        let server = after.since(before);
        let stolen = platform::stolen_ns().zip(stolen_before);
        self.client.end()?;
        self.server.end()?;
        if server.handled != outcome.messages {
            let (handled, messages) = (server.handled, outcome.messages);
            return Err(format!("the server has handled {handled} of {messages} messages").into());
        }
        Ok(Run {
            messages: outcome.messages,
            outcome,
            delays: if self.workload == Workload::Calls {
                round_trips
            } else {
                delays
            },
            client,
            server,
            stolen_ns: stolen.map_or(0, |(after, before)| after.saturating_sub(before)),
        })
    }

    fn mark_server(&mut self) -> Result<(Figures, Percentiles), Error> {
        self.server.say("mark")?;
        let figures = self.server.hear("figures")?.parse()?;
        Ok((figures, self.server.hear("delays")?.parse()?))
    }
}

/// One process.
struct Side {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Side {
    fn start(arguments: &[&str], trace: Option<&Path>) -> Result<Self, Error> {
        let program = std::env::current_exe()?;
        let mut command = match trace {
            None => Command::new(program),
            Some(file) => {
                let mut command = Command::new("strace");
                command.args(["-f", "-c", "-o"]).arg(file);
                command.arg("--").arg(program);
                command
            }
        };
        let mut child = command
            .arg(SIDE)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().ok_or("no output")?),
            child,
        })
    }

    fn say(&mut self, word: &str) -> Result<(), Error> {
        let input = self.input.as_mut().ok_or("the input is closed")?;
        Ok(writeln!(input, "{word}")?)
    }

    /// The rest of the next line, which starts with `word`.
    fn hear(&mut self, word: &str) -> Result<String, Error> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let rest = line.trim_end().strip_prefix(word);
        let rest = rest.ok_or_else(|| format!("said `{line}` where `{word}` was due"))?;
        Ok(rest.to_owned())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.input = None;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a side has failed: {status}").into())
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // After a failure: the process may wait for a word that won't come. It may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A folder open to nobody else: keys and sockets are refused in any other.
fn private_folder() -> Result<TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("ws");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    Ok(builder.tempdir()?)
}
