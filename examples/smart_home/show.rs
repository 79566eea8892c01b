//! All of it, to show it: starts the parts, lets a burglar in, and reads the log back.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use wayside::Settings;
use wayside::aggregator::lifecycle;

use crate::PATIENCE;
use crate::log::{LOG, read_back};
use crate::places::{Side, Variable, settings, surroundings};

/// A part that was started. Dropping it kills the process if it is still there.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn start(part: &str, variables: &[Variable]) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(part).envs(variables.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("the output is not piped")?;
        let lines = BufReader::new(output).lines();
        let mut started = Self { child, lines };
        let line = started.line()?;
        match line.ends_with(": ready") {
            true => Ok(started),
            false => Err(format!("it began with `{line}`").into()),
        }
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        Ok(self.lines.next().ok_or("a part ended too soon")??)
    }

    /// Something happens at this part.
    fn happens(&mut self, word: &str) -> Result<(), Box<dyn Error>> {
        let input = self.child.stdin.as_mut().ok_or("the input is not piped")?;
        Ok(writeln!(input, "{word}")?)
    }

    /// Its next line is this one.
    fn says(&mut self, expected: &str) -> Result<(), Box<dyn Error>> {
        let line = self.line()?;
        println!("{line}");
        match line == expected {
            true => Ok(()),
            false => Err(format!("that should have been `{expected}`").into()),
        }
    }

    /// Asks it to end, by a signal where there are any, and waits until it has.
    fn end(mut self) -> Result<(), Box<dyn Error>> {
        if cfg!(unix) {
            let process = self.child.id().to_string();
            Command::new("kill").args(["-TERM", &process]).status()?;
        } else {
            drop(self.child.stdin.take());
        }
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a part failed: {status}").into()),
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

pub fn show(transport: Option<&str>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let variables = surroundings(transport, folder.path())?;
    let start = |part: &str| Started::start(part, &variables);
    let controller = start("controller")?;
    let [mut motion, mut door, mut window] = [start("motion")?, start("door")?, start("window")?];
    let [mut camera, mut siren, mut phone] = [start("camera")?, start("siren")?, start("phone")?];

    // Somebody is at home.
    motion.happens("motion")?;
    motion.says("motion: told the controller")?;
    // And leaves.
    phone.happens("arm")?;
    phone.says("phone: armed")?;
    // Somebody else comes.
    door.happens("open")?;
    door.says("door: told the controller")?;
    siren.says("siren: sounds")?;
    camera.says("camera: took a picture")?;
    phone.says("phone: alert: door")?;
    phone.happens("disarm 0000")?;
    phone.says("phone: wrong code")?;
    window.happens("open")?;
    window.says("window: told the controller")?;
    camera.says("camera: took a picture")?;
    phone.says("phone: alert: window")?;
    phone.happens("disarm 1234")?;
    phone.says("phone: disarmed")?;
    siren.says("siren: silent")?;

    for part in [motion, door, window, camera, siren, phone, controller] {
        part.end()?;
    }
    check_log(&settings(Side::Agent, &variables)?)
}

/// Waits until the agent has left, with a last heartbeat, and compares what it has written.
fn check_log(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let expected = [
        "alert: door",
        "alert: window",
        "pictures=2",
        "pushes{to=\"camera\"}=2",
        "pushes{to=\"phone\"}=2",
        "pushes{to=\"siren\"}=2",
        "sensed{by=\"door\"}=1",
        "sensed{by=\"motion\"}=1",
        "sensed{by=\"window\"}=1",
    ];
    let path = settings.dir()?.join(LOG);
    if !lifecycle::wait_gone(settings, PATIENCE)? {
        return Err("the agent stays, for nobody".into());
    }
    let log = read_back(&fs::read_to_string(path)?);
    for line in &log {
        println!("log: {line}");
    }
    match log == expected {
        true => Ok(()),
        false => Err(format!("that should have been {expected:#?}").into()),
    }
}
