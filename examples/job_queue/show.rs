//! All of it, to show it.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::options::Options;
use crate::submitter::submit;

/// A process that was started here: it does not outlive this value.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("the output is not piped")?;
        let lines = BufReader::new(output).lines();
        Ok(Self { child, lines })
    }

    /// Prints the next line and gives it back.
    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let line = self.lines.next().ok_or("a part ended too soon")??;
        println!("{line}");
        Ok(line)
    }

    /// Prints the rest and waits for the end.
    fn end(mut self) -> Result<(), Box<dyn Error>> {
        for line in &mut self.lines {
            println!("{}", line?);
        }
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a part failed: {status}").into())
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let start = |part: &str, arguments: &[&str]| {
        let mut command = Command::new(env::current_exe()?);
        // Neither the address nor the port of anybody else.
        command.env("WAYSIDE_DIR", folder.path().join("run"));
        command.env("WAYSIDE_TCP_ADDRESS", "127.0.0.1:0");
        Started::start(command.arg(part).args(arguments))
    };
    let mut dispatcher = match &options.transport {
        Some(transport) => start("dispatch", &["--once", "--transport", transport])?,
        None => start("dispatch", &["--once"])?,
    };
    let line = dispatcher.line()?;
    let (_, endpoint) = line.split_once("listening on ").ok_or("no endpoint")?;
    let mut workers = Vec::new();
    for _ in 0..options.workers {
        workers.push(start("work", &["--transport", endpoint])?);
    }
    for worker in &mut workers {
        worker.line()?;
    }

    let mut victim = Some(workers.remove(0));
    let options = Options {
        transport: Some(endpoint.to_owned()),
        dir: Some(folder.path().join("run")),
        ..options.clone()
    };
    submit(&options, |progress| {
        if progress.ledger.done * 3 >= progress.ledger.submitted {
            if let Some(victim) = victim.take() {
                let process = victim.child.id();
                // As `kill -9` does.
                drop(victim);
                println!("show: process {process} was killed");
            }
        }
        Ok(())
    })?;
    for worker in workers {
        worker.end()?;
    }
    dispatcher.end()
}
