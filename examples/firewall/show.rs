//! The front door: starts the workers, hands out requests, changes the rules, compares the books.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, IsTerminal, Read, Seek, SeekFrom, Write, stderr};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wayside::Settings;
use wayside::aggregator::{ApplicationStatus, Status, WorkerReport, lifecycle, status};
use wayside::settings::Environment;

use crate::books::{Books, Outcome, Reported, Said};
use crate::shop::{LOGINS_MAX, Rules};
use crate::traffic::{BLOCK_LEN, Kind, MALLORY, Request, Traffic, WAVE_IP};
use crate::{NAME, Options, PATIENCE};

/// How this program is told to be a worker. Its tests are another program: see there.
const WORK: &[&str] = if cfg!(test) {
    &["tests::plays_a_worker", "--exact", "--nocapture"]
} else {
    &["work"]
};

/// A variable of the environment.
type Variable = (&'static str, OsString);

/// Between two blocks of requests.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two pictures of how things stand.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Starts all parts, with these variables besides their own, and ends with an error if anything
/// does not balance.
pub fn show(options: &Options, variables: &[Variable]) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let environment = [&surroundings(options, folder.path())?, variables].concat();
    let mut show = Show::begin(options, &environment)?;
    println!(
        "show: {} workers and one agent, {} requests of seed {}",
        options.workers, options.requests, options.seed
    );
    let traffic = Traffic {
        seed: options.seed,
        count: options.requests,
    };
    let mut requests = traffic.requests();
    let mut block: Vec<Request>;
    let mut late_mallory = 0;
    let mut blocked = false;
    while {
        block = requests.by_ref().take(BLOCK_LEN).collect();
        !block.is_empty()
    } {
        if !blocked && show.handed_out * 2 >= options.requests {
            show.block_mallory()?;
            blocked = true;
            if options.kill_agent {
                show.kill_agent()?;
            }
        }
        for request in &block {
            late_mallory += u64::from(blocked && request.kind == Kind::Mallory);
            show.hand_out(request)?;
        }
        show.flush()?;
        show.look(false)?;
        thread::park_timeout(PAUSE);
    }
    let attacks = traffic
        .requests()
        .filter(|request| request.kind.is_attack());
    let expected = Expected {
        late_mallory,
        attacks: u64::try_from(attacks.count())?,
        agents: 1 + u64::from(options.kill_agent),
    };
    show.end(&expected)
}

/// What must have come of it, whatever the books say.
struct Expected {
    /// Requests of mallory that were handed out after all workers had the rule.
    late_mallory: u64,
    attacks: u64,
    agents: u64,
}

/// All that runs, and what is known of it.
struct Show {
    settings: Settings,
    dir: PathBuf,
    workers: Vec<Front>,
    reports: ReportsFile,
    handed_out: u64,
    total: u64,
    looked: Instant,
    lines_drawn: usize,
}

/// A worker process, and the way to it. Dropping it kills the process if it is still there.
struct Front(Child);

impl Show {
    fn begin(options: &Options, environment: &[Variable]) -> Result<Self, Box<dyn Error>> {
        let of_process = Environment::of_process();
        let all = environment.iter().cloned();
        let all = all.fold(of_process, |all, (name, value)| all.with(name, value));
        let settings = crate::settings(all)?;
        let dir = settings.dir()?;
        let mut show = Self {
            reports: ReportsFile::at(dir.join("reports.jsonl")),
            settings,
            dir,
            workers: Vec::new(),
            handed_out: 0,
            total: options.requests,
            looked: Instant::now(),
            lines_drawn: 0,
        };
        show.write_rules(&Rules::default())?;
        for _ in 0..options.workers {
            let mut command = Command::new(env::current_exe()?);
            command.args(WORK).envs(environment.iter().cloned());
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            show.workers.push(Front(command.spawn()?));
        }
        let all_there = |application: &ApplicationStatus, workers: usize| {
            application.workers.len() == workers && all_run(application, application.config)
        };
        show.wait_for(all_there)?;
        Ok(show)
    }

    /// Replaces the file: the agent would take half a file for a file. Windows replaces none that
    /// somebody reads at that moment, so there it is tried again.
    fn write_rules(&self, rules: &Rules) -> Result<(), Box<dyn Error>> {
        let (next, path) = (
            self.dir.join("rules.json.next"),
            self.dir.join("rules.json"),
        );
        fs::write(&next, serde_json::to_vec(rules)?)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match fs::rename(&next, &path) {
                Err(error)
                    if cfg!(windows)
                        && error.kind() == ErrorKind::PermissionDenied
                        && Instant::now() < deadline =>
                {
                    thread::yield_now();
                }
                done => return Ok(done?),
            }
        }
    }

    /// Each worker gets its share of every client's requests.
    fn hand_out(&mut self, request: &Request) -> Result<(), Box<dyn Error>> {
        let worker = usize::try_from(self.handed_out)? % self.workers.len();
        let input = self.workers[worker].0.stdin.as_mut();
        let input = input.ok_or("a worker has no input")?;
        serde_json::to_writer(&mut *input, request)?;
        input.write_all(b"\n")?;
        self.handed_out += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        let inputs = self
            .workers
            .iter_mut()
            .filter_map(|front| front.0.stdin.as_mut());
        for input in inputs {
            input.flush()?;
        }
        Ok(())
    }

    /// Changes the rules, and waits until all workers run them.
    fn block_mallory(&mut self) -> Result<(), Box<dyn Error>> {
        let before = self.ask()?.application(NAME).and_then(|known| known.config);
        let blocked_users = [MALLORY.to_owned()].into();
        let start = Instant::now();
        self.write_rules(&Rules { blocked_users })?;
        self.wait_for(|application, _| {
            application.config > before && all_run(application, application.config)
        })?;
        self.say(&format!(
            "{MALLORY} is blocked in all workers after {} ms",
            start.elapsed().as_millis()
        ));
        Ok(())
    }

    /// As `kill -9` does: it can't say goodbye, nor bring anything away.
    fn kill_agent(&mut self) -> Result<(), Box<dyn Error>> {
        let process = self.ask()?.process.to_string();
        let mut kill = if cfg!(windows) {
            let mut kill = Command::new("taskkill");
            kill.args(["/F", "/PID"]);
            kill
        } else {
            let mut kill = Command::new("kill");
            kill.arg("-9");
            kill
        };
        let status = kill.arg(&process).stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("the agent, process {process}, can't be killed: {status}").into());
        }
        self.say(&format!("the agent, process {process}, was killed"));
        Ok(())
    }

    /// A line that stays, above the picture.
    fn say(&mut self, line: &str) {
        self.lines_drawn = 0;
        println!("show: {line}");
    }

    fn ask(&self) -> Result<Status, Box<dyn Error>> {
        Ok(status(&self.settings, PATIENCE)?)
    }

    /// Waits until the agent says so of this application and its connected workers.
    fn wait_for(
        &mut self,
        is_so: impl Fn(&ApplicationStatus, usize) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + PATIENCE;
        let workers = self.workers.len();
        loop {
            let status = status(&self.settings, PATIENCE);
            match &status {
                Ok(status)
                    if status
                        .application(NAME)
                        .is_some_and(|it| is_so(it, workers)) =>
                {
                    return Ok(());
                }
                _ if Instant::now() < deadline => thread::park_timeout(PAUSE),
                Ok(status) => return Err(format!("it takes too long:\n{status}").into()),
                Err(error) => return Err(format!("it takes too long: {error}").into()),
            }
            let ended = self
                .workers
                .iter_mut()
                .find_map(|front| front.0.try_wait().ok()?);
            if let Some(ended) = ended {
                return Err(format!("a worker has ended: {ended}").into());
            }
        }
    }

    /// Draws how things stand, if it is time.
    fn look(&mut self, now: bool) -> Result<(), Box<dyn Error>> {
        if !now && self.looked.elapsed() < LOOK_INTERVAL {
            return Ok(());
        }
        self.looked = Instant::now();
        self.reports.read()?;
        // Just after it was killed there is none.
        let status = status(&self.settings, LOOK_INTERVAL / 2).ok();
        let picture = Picture {
            handed_out: self.handed_out,
            total: self.total,
            reported: &self.reports.reported,
            status: status.as_ref(),
        };
        let picture = picture.to_string();
        let mut output = stderr().lock();
        if output.is_terminal() && self.lines_drawn > 0 {
            // Up to the first line of the last picture, and clear from there.
            write!(output, "\x1b[{}A\x1b[J", self.lines_drawn)?;
        }
        write!(output, "{picture}")?;
        self.lines_drawn = picture.lines().count();
        Ok(())
    }

    /// Lets the workers end, waits for the last report, and compares.
    fn end(mut self, expected: &Expected) -> Result<(), Box<dyn Error>> {
        self.look(true)?;
        for front in &mut self.workers {
            drop(front.0.stdin.take());
        }
        let said: Vec<Said> = self
            .workers
            .iter_mut()
            .map(Front::end)
            .collect::<Result<_, _>>()?;
        let stays = self.wait_until_agent_has_left().err();
        self.reports.read()?;
        let books = self.books(&said);
        let faults = books.faults();
        println!("\n  {:22} {:>12} {:>12}", "", "workers say", "reported");
        println!("{books}");
        let reported = &self.reports.reported;
        println!(
            "  {} heartbeats, {} attacks from {} addresses, {} reports came again",
            reported.heartbeats,
            reported.totals.attacks,
            reported.attackers.len(),
            reported.again
        );
        for finding in &reported.findings {
            println!("  {}: {}", finding.detector, finding.text);
        }
        let missed = expected.compare(&self.books(&said));
        let stays = stays.map(|error| error.to_string());
        let faults = faults.into_iter().chain(missed).chain(stays);
        let faults: Vec<String> = faults.collect();
        if faults.is_empty() {
            println!("show: everything balances");
            return Ok(());
        }
        if let Ok(log) = fs::read_to_string(self.dir.join("agent.log")) {
            eprint!("{log}");
        }
        Err(faults.join("\n          ").into())
    }

    /// It leaves by itself when no worker needs it any more, with a last heartbeat.
    fn wait_until_agent_has_left(&self) -> Result<(), Box<dyn Error>> {
        if lifecycle::wait_gone(&self.settings, PATIENCE)? {
            return Ok(());
        }
        Err(format!("the agent stays, for nobody:\n{}", self.ask()?).into())
    }

    fn books<'a>(&'a self, said: &'a [Said]) -> Books<'a> {
        Books {
            handed_out: self.handed_out,
            said,
            reported: &self.reports.reported,
        }
    }
}

impl Expected {
    /// What the firewall has missed.
    fn compare(&self, books: &Books<'_>) -> Vec<String> {
        let tally = books.tally();
        let of = |outcome| tally.get(&outcome).copied().unwrap_or_default();
        let mut missed = Vec::new();
        let (stopped, attacks) = (of(Outcome::Attack), self.attacks);
        if stopped != attacks {
            missed.push(format!("{stopped} attacks were stopped, of {attacks}"));
        }
        let (blocked, late) = (of(Outcome::Blocked), self.late_mallory);
        if blocked < late {
            missed.push(format!("{MALLORY} was blocked {blocked} times, of {late}"));
        }
        // A limit does not outlive its agent, and without one everybody may come in.
        let logins: u64 = books.said.iter().map(|said| said.logins).sum();
        let fallbacks: u64 = books.said.iter().map(|said| said.fallbacks).sum();
        let logins_max = u64::from(LOGINS_MAX) * self.agents + fallbacks;
        println!("  {logins} logins of one client were let through, of at most {logins_max}");
        if logins > logins_max {
            missed.push(format!("{logins} logins are more than {logins_max}"));
        }
        let mut findings = books.reported.findings.iter();
        if !findings.any(|finding| finding.key == WAVE_IP) {
            missed.push(format!("nobody has seen the wave from {WAVE_IP}"));
        }
        missed
    }
}

fn all_run(application: &ApplicationStatus, config: Option<u64>) -> bool {
    let runs = |worker: &WorkerReport| worker.connected && worker.config == config;
    config.is_some() && application.workers.iter().all(runs)
}

/// What all processes of this run find in their environment: a place of their own.
fn surroundings(options: &Options, folder: &Path) -> Result<Vec<Variable>, Box<dyn Error>> {
    // The agent that is started last has the port of the first, so it is chosen here.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut variables = vec![
        ("WAYSIDE_DIR", folder.join("run").into()),
        // Message queues are in no directory.
        (
            "WAYSIDE_NAME",
            format!("{NAME}-{}", std::process::id()).into(),
        ),
        ("WAYSIDE_TCP_ADDRESS", format!("127.0.0.1:{port}").into()),
    ];
    if let Some(transport) = &options.transport {
        variables.push(("WAYSIDE_TRANSPORT", transport.into()));
        variables.push(("WAYSIDE_ENDPOINT", "".into()));
    }
    Ok(variables)
}

impl Front {
    /// Waits until it has ended, and gives what it has said.
    fn end(&mut self) -> Result<Said, Box<dyn Error>> {
        let output = self.0.stdout.take().ok_or("a worker has no output")?;
        let mut said = None;
        for line in BufReader::new(output).lines() {
            // A test's output begins with the test's name.
            let line = line?;
            if let Some(json) = line.find('{').and_then(|start| line.get(start..)) {
                said = serde_json::from_str(json).ok().or(said);
            }
        }
        let status = self.0.wait()?;
        if !status.success() {
            return Err(format!("a worker failed: {status}").into());
        }
        said.ok_or_else(|| "a worker has not said what it has recorded".into())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // It may have ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The sink's file, read as it grows.
struct ReportsFile {
    path: PathBuf,
    read: u64,
    reported: Reported,
}

impl ReportsFile {
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            read: 0,
            reported: Reported::default(),
        }
    }

    /// Takes the lines that are new. One that a killed agent has left torn is none.
    fn read(&mut self) -> Result<(), Box<dyn Error>> {
        let Ok(mut file) = fs::File::open(&self.path) else {
            // The agent has not begun yet.
            return Ok(());
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut new = Vec::new();
        file.read_to_end(&mut new)?;
        for line in new.split_inclusive(|byte| *byte == b'\n') {
            if line.last() != Some(&b'\n') {
                break;
            }
            self.read += u64::try_from(line.len())?;
            if let Ok(report) = serde_json::from_slice(line) {
                self.reported.take(report);
            }
        }
        Ok(())
    }
}

/// How things stand.
struct Picture<'a> {
    handed_out: u64,
    total: u64,
    reported: &'a Reported,
    status: Option<&'a Status>,
}

impl fmt::Display for Picture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} requests;", self.handed_out, self.total)?;
        for outcome in Outcome::ALL {
            let count = self.reported.tally.get(&outcome).copied();
            write!(f, " {} {},", count.unwrap_or_default(), outcome.name())?;
        }
        writeln!(f, " {} waves", self.reported.findings.len())?;
        let Some(application) = self.status.and_then(|status| status.application(NAME)) else {
            return writeln!(f, "  no agent just now");
        };
        writeln!(
            f,
            "  {:>8} {:>10} {:>9} {:>9} {:>8} {:>8}",
            "worker", "config", "recorded", "applied", "dropped", "pending"
        )?;
        for worker in &application.workers {
            let config = worker.config.map(|version| version.to_string());
            writeln!(
                f,
                "  {:>8} {:>10} {:>9} {:>9} {:>8} {:>8}",
                worker.process,
                config.as_deref().unwrap_or("-"),
                worker.ledger.recorded.hits,
                worker.ledger.applied.hits,
                worker.ledger.dropped_total().hits,
                worker.ledger.pending.hits
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wayside::aggregator::{Heartbeat, Report};

    use super::*;

    #[test]
    fn whatever_part_of_the_file_is_there_each_report_is_taken_once() {
        let few = ProptestConfig::with_cases(32);
        proptest!(few, |(count in 1..20_u64, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5))| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("reports.jsonl");
            let mut reports = ReportsFile::at(path.clone());
            reports.read().unwrap();
            let lines = (0..count).map(|number| {
                let id = number.to_string();
                let report = Report::Heartbeat(Heartbeat { id, ..Heartbeat::default() });
                serde_json::to_string(&report).unwrap() + "\n"
            });
            let text = "{\"torn\n".to_owned() + &lines.collect::<String>();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            cuts.sort_unstable();
            for cut in cuts.into_iter().chain([text.len()]) {
                fs::write(&path, &text[..cut]).unwrap();
                reports.read().unwrap();
            }
            prop_assert_eq!(reports.reported.heartbeats, count);
            prop_assert_eq!(reports.reported.again, 0);
        });
    }
}
